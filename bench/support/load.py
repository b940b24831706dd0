"""Milliseconds that polars and ADBC take to load a Parquet file into a table, as JSON; the URL and the file are the arguments."""

import json
import sys
import time

import polars


def measure(load, times=5):
    load()
    took = []
    for _ in range(times):
        started = time.perf_counter()
        load()
        took.append((time.perf_counter() - started) * 1000)
    return sorted(took)[times // 2]


def main():
    url, file = sys.argv[1:]

    def load():
        rows = polars.read_parquet(file)
        rows.write_database("loaded_by_polars", url, engine="adbc", if_table_exists="replace")

    json.dump({"polars and ADBC": measure(load)}, sys.stdout)


main()

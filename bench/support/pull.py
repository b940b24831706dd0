"""Milliseconds that ADBC and ConnectorX take to pull a table into Arrow, as JSON; the URL and the query are the arguments."""

import json
import sys
import time

import adbc_driver_postgresql.dbapi
import connectorx


def measure(pull, times=5):
    pull()
    took = []
    for _ in range(times):
        started = time.perf_counter()
        pull()
        took.append((time.perf_counter() - started) * 1000)
    return sorted(took)[times // 2]


def main():
    url, query = sys.argv[1:]
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:

        def adbc():
            cursor.execute(query)
            return cursor.fetch_arrow_table()

        took = {"ADBC": measure(adbc)}
    took["ConnectorX"] = measure(lambda: connectorx.read_sql(url, query, return_type="arrow"))
    json.dump(took, sys.stdout)


main()

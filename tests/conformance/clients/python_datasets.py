"""Reads the folder that pull wrote with pyarrow, polars and DuckDB, and has each of them write one for load. Usage: FOLDER"""

import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds

folder = sys.argv[1]
pulled = f"{folder}/pulled-parquet"
columns = ["id", "said", "fare", "at", "year", "zone"]

by_pyarrow = ds.dataset(pulled, partitioning="hive").to_table(columns=columns).sort_by("id")
by_polars = polars.scan_parquet(pulled, hive_partitioning=True).select(columns).sort("id").collect()
quoted = ", ".join(f'"{name}"' for name in columns)
by_duckdb = duckdb.sql(
    f"SELECT {quoted} FROM read_parquet('{pulled}/**/*.parquet', hive_partitioning = true) ORDER BY id"
).to_arrow_table()

wanted = by_pyarrow.to_pylist()
assert len(wanted) == 1000
for name, rows in {"polars": by_polars.to_arrow(), "DuckDB": by_duckdb}.items():
    different = [(a, b) for a, b in zip(wanted, rows.to_pylist(), strict=True) if a != b]
    assert not different, (name, different[:3])

hive = ds.partitioning(pa.schema([("year", pa.int64()), ("zone", pa.string())]), flavor="hive")
table = by_pyarrow.set_column(4, "year", by_pyarrow["year"].cast(pa.int64()))
table = table.set_column(5, "zone", table["zone"].cast(pa.string()))
ds.write_dataset(table, f"{folder}/pyarrow", format="parquet", partitioning=hive)
by_polars.write_parquet(polars.PartitionBy(f"{folder}/polars", key=["year", "zone"]), mkdir=True)
duckdb.sql(f"COPY (FROM by_duckdb) TO '{folder}/duckdb' (FORMAT parquet, PARTITION_BY (year, zone))")
print("done")

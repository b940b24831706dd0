"""Writes a Parquet file again with row groups of 1,000,000 rows, as pandas does, and one of 30 texts by as many rows."""

import sys

import pyarrow
import pyarrow.parquet as parquet

ROWS = 1_000_000


def main():
    source, again, wide = sys.argv[1:]
    parquet.write_table(parquet.read_table(source), again, row_group_size=ROWS)
    text = pyarrow.array([f"{n:08d} and what else a line of text may hold" for n in range(ROWS)])
    parquet.write_table(pyarrow.table({f"c{n}": text for n in range(30)}), wide, row_group_size=ROWS)


main()

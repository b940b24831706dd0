"""databricks-sdk on a SQL warehouse: lists, starts and stops it, runs statements, and fetches their results."""

import datetime
import os
import urllib.request

import pyarrow.ipc
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound
from databricks.sdk.service.sql import (
    Disposition,
    ExecuteStatementRequestOnWaitTimeout,
    Format,
    StatementParameterListItem,
    StatementState,
)

w = WorkspaceClient()
(warehouse,) = w.warehouses.list()
assert warehouse.id == os.environ["DATABRICKS_WAREHOUSE_ID"]
assert w.warehouses.stop_and_wait(warehouse.id).state.value == "STOPPED"
assert w.warehouses.start_and_wait(warehouse.id).state.value == "RUNNING"
assert w.warehouses.get(warehouse.id).name == warehouse.name

answer = w.statement_execution.execute_statement(
    statement="SELECT :name AS name, :n + 1 AS n, :at AS at, :none AS none, 1.50::numeric(5, 2) AS fare",
    warehouse_id=warehouse.id,
    parameters=[
        StatementParameterListItem(name="name", value="Harlem"),
        StatementParameterListItem(name="n", value="41", type="BIGINT"),
        StatementParameterListItem(name="at", value="2024-03-02T12:30:00Z", type="TIMESTAMP"),
        StatementParameterListItem(name="none"),
    ],
    on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CANCEL,
    wait_timeout="50s",
    row_limit=10,
)
assert answer.status.state == StatementState.SUCCEEDED, answer.status
assert answer.result.data_array == [["Harlem", "42", "2024-03-02T12:30:00.000Z", None, "1.50"]], answer.result
columns = answer.manifest.schema.columns
assert [column.type_name.value for column in columns] == ["STRING", "LONG", "TIMESTAMP", "STRING", "DECIMAL"]
assert (columns[4].type_precision, columns[4].type_scale, columns[4].type_text) == (5, 2, "DECIMAL(5,2)")
assert answer.manifest.truncated is False


def wait_for(answer):
    while answer.status.state in (StatementState.PENDING, StatementState.RUNNING):
        answer = w.statement_execution.get_statement(answer.statement_id)
    return answer


VALUES = """
SELECT n::bigint AS n, n::smallint AS s, CASE WHEN n > 1 THEN 'row ' || n END AS name, (n * 1.25)::numeric(10, 2) AS fare,
  timestamptz '2024-03-02 12:30:00+00' + n * interval '1.000001 s' AS at, timestamp '2024-03-02 12:30:00' AS local,
  date '2024-03-02' AS day, n % 2 = 0 AS even, n / 4.0::float8 AS quarter, ARRAY[n, NULL] AS list, 'ab'::bytea AS bytes,
  interval '1 day 00:00:01' AS took
FROM generate_series(1, 2500) AS n
"""
answer = wait_for(
    w.statement_execution.execute_statement(
        statement=VALUES,
        warehouse_id=warehouse.id,
        disposition=Disposition.EXTERNAL_LINKS,
        format=Format.ARROW_STREAM,
        wait_timeout="0s",
    )
)
assert answer.status.state == StatementState.SUCCEEDED, answer.status
assert (answer.manifest.total_chunk_count, answer.manifest.total_row_count) == (3, 2500)
tables = []
for chunk in answer.manifest.chunks:
    data = w.statement_execution.get_statement_result_chunk_n(answer.statement_id, chunk.chunk_index)
    (link,) = data.external_links
    assert link.row_count == chunk.row_count
    request = urllib.request.Request(link.external_link, headers=link.http_headers)
    with urllib.request.urlopen(request) as response:
        tables.append(pyarrow.ipc.open_stream(response.read()).read_all())
table = pyarrow.concat_tables(tables)
table.validate(full=True)
assert [str(field.type) for field in table.schema] == [
    "int64",
    "int16",
    "string",
    "decimal128(10, 2)",
    "timestamp[us, tz=Etc/UTC]",
    "timestamp[us]",
    "date32[day]",
    "bool",
    "double",
    "list<element: int32>",
    "binary",
    "duration[us]",
], table.schema
rows = table.to_pylist()
assert [row["n"] for row in rows] == list(range(1, 2501))
assert rows[0]["name"] is None and rows[2499]["name"] == "row 2500"
assert str(rows[2]["fare"]) == "3.75" and rows[1]["even"] is True and rows[2]["quarter"] == 0.75
assert rows[0]["at"].isoformat() == "2024-03-02T12:30:01.000001+00:00", rows[0]["at"]
assert rows[0]["list"] == [1, None] and rows[0]["bytes"] == b"ab"
assert rows[0]["took"] == datetime.timedelta(days=1, seconds=1)

slow = w.statement_execution.execute_statement("SELECT pg_sleep(600)", warehouse.id, wait_timeout="0s")
w.statement_execution.cancel_execution(slow.statement_id)
assert wait_for(slow).status.state == StatementState.CANCELED

failed = w.statement_execution.execute_statement("SELECT * FROM nope", warehouse.id)
assert failed.status.state == StatementState.FAILED and failed.status.error.error_code.value == "BAD_REQUEST"
assert failed.status.sql_state == "42P01", failed.status
for error, call in [
    (BadRequest, lambda: w.statement_execution.execute_statement("SELECT 1", "none")),
    (NotFound, lambda: w.statement_execution.get_statement("none")),
    (NotFound, lambda: w.warehouses.get("none")),
]:
    try:
        call()
        raise AssertionError(f"no {error}")
    except error:
        pass
print("done")

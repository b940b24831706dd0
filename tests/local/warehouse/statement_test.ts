import assert from "node:assert/strict";
import { type RecordBatch, RecordBatchReader } from "apache-arrow";
import { bothTests, ownLakebase } from "../../support/lakebase.ts";
import { call } from "../client.ts";
import { type Answer, json, type Link, rows, run, STATEMENTS, untilEnded } from "./statements.ts";

const OPTIONS = { warehouses: [{ name: "small", chunkRows: 3 }] };
const test = bothTests(OPTIONS);

/** The SQL of a value, its `type_text`, `type_name` and text. */
const VALUES: [string, string, string, string | null][] = [
  ["32767::int2", "SMALLINT", "SHORT", "32767"],
  ["(-2147483648)::int4", "INT", "INT", "-2147483648"],
  ["9223372036854775807", "BIGINT", "LONG", "9223372036854775807"],
  ["1.1::float4", "FLOAT", "FLOAT", "1.1"],
  ["16777216::float4", "FLOAT", "FLOAT", "1.6777216E7"],
  ["0.1::float8", "DOUBLE", "DOUBLE", "0.1"],
  ["1::float8", "DOUBLE", "DOUBLE", "1.0"],
  ["1e20::float8", "DOUBLE", "DOUBLE", "1.0E20"],
  ["'-infinity'::float8", "DOUBLE", "DOUBLE", "-Infinity"],
  ["12.5::numeric(10,2)", "DECIMAL(10,2)", "DECIMAL", "12.50"],
  ["(-0.005)::numeric(10,3)", "DECIMAL(10,3)", "DECIMAL", "-0.005"],
  ["99999999999999999999999999999999999999::numeric(38,0)", "DECIMAL(38,0)", "DECIMAL", "9".repeat(38)],
  ["0.00012::numeric(3,5)", "DECIMAL(5,5)", "DECIMAL", "0.00012"],
  ["12345::numeric(3,-2)", "DECIMAL(5,0)", "DECIMAL", "12300"],
  ["1/3::numeric", "DECIMAL(38,18)", "DECIMAL", "0.333333333333333333"],
  ["true", "BOOLEAN", "BOOLEAN", "true"],
  ["'é😀'", "STRING", "STRING", "é😀"],
  ["'ab'::char(4)", "STRING", "STRING", "ab  "],
  ["'\\x00ff'::bytea", "BINARY", "BINARY", "AP8="],
  ["X'1FF'", "BINARY", "BINARY", "Af8="],
  ["unhex('00ff')", "BINARY", "BINARY", "AP8="],
  ["date '2024-02-29'", "DATE", "DATE", "2024-02-29"],
  ["timestamptz '2024-01-01 12:00:00.000001+02'", "TIMESTAMP", "TIMESTAMP", "2024-01-01T10:00:00.000001Z"],
  ["timestamp '1969-12-31 23:59:59.5'", "TIMESTAMP_NTZ", "TIMESTAMP_NTZ", "1969-12-31T23:59:59.500"],
  ["interval '-1 day -02:03:04.5'", "INTERVAL DAY TO SECOND", "INTERVAL", "-1 02:03:04.500000000"],
  ["interval '1-2' year to month", "INTERVAL YEAR TO MONTH", "INTERVAL", "1-2"],
  ["ARRAY[1, NULL]", "ARRAY<INT>", "ARRAY", '["1",null]'],
  ["ARRAY[]::text[]", "ARRAY<STRING>", "ARRAY", "[]"],
  ["'{\"a\": 1}'::json", "VARIANT", "VARIANT", '{"a": 1}'],
  ["'{\"a\":1}'::jsonb", "VARIANT", "VARIANT", '{"a": 1}'],
  ["NULL", "STRING", "STRING", null],
  ["'00000000-0000-0000-0000-0000000000ff'::uuid", "STRING", "STRING", "00000000-0000-0000-0000-0000000000ff"],
  ["time '12:00'", "STRING", "STRING", "12:00:00"],
  ["ARRAY['calm']::mood[]", "ARRAY<STRING>", "ARRAY", '["calm"]'],
  ["7::small", "SMALLINT", "SHORT", "7"],
  ["ARRAY[7::small, NULL]", "ARRAY<SMALLINT>", "ARRAY", '["7",null]'],
  ["'{10.0.0.0/8}'::inet[]", "STRING", "STRING", "{10.0.0.0/8}"],
  ["ROW(1, 'a')", "STRING", "STRING", "(1,a)"],
  ["ROW(1, 'a')::pair", "STRUCT<n: INT, `a b`: STRING>", "STRUCT", '{"n":"1","a b":"a"}'],
  ["ARRAY[ROW(1, NULL)::pair]", "ARRAY<STRUCT<n: INT, `a b`: STRING>>", "ARRAY", '[{"n":"1","a b":null}]'],
];

test("the types of a warehouse have their names and texts", async ({ local }) => {
  await rows(local, 'CREATE TYPE pair AS (n int, "a b" text)');
  await rows(local, "CREATE TYPE mood AS ENUM ('calm')");
  await rows(local, "CREATE DOMAIN small AS int2");
  const { status, manifest, result } = await run(local, `SELECT ${VALUES.map(([sql]) => sql).join(", ")}`);
  assert.equal(status.error?.message, undefined);
  const columns = manifest.schema.columns!;
  assert.deepEqual(
    VALUES.map(([sql], at) => [sql, columns[at]!.type_text, columns[at]!.type_name, result.data_array![0]![at]]),
    VALUES,
  );
});

/** The type and the value of a parameter, and its text in a result. */
const PARAMETERS: [string | undefined, string | undefined, string | null][] = [
  [undefined, "it's", "it's"],
  [undefined, undefined, null],
  ["INT", "-5", "-5"],
  ["BIGINT", "9223372036854775807", "9223372036854775807"],
  ["SMALLINT", "7", "7"],
  ["decimal(10, 2)", "1.005", "1.01"],
  ["DECIMAL(38,18)", "0.000000000000000001", "0.000000000000000001"],
  ["DOUBLE", "1e-5", "1.0E-5"],
  ["FLOAT", "0.5", "0.5"],
  ["BOOLEAN", "false", "false"],
  ["DATE", "2024-02-29", "2024-02-29"],
  ["TIMESTAMP", "2024-02-29T12:00:00.5+01:00", "2024-02-29T11:00:00.500Z"],
  ["TIMESTAMP_NTZ", "2024-02-29 12:00:00", "2024-02-29T12:00:00.000"],
  ["BINARY", "é", "w6k="],
  ["STRING", "", ""],
  ["INT", undefined, null],
];

test("parameters are bound by name, with their types", async ({ local }) => {
  const parameters = PARAMETERS.map(([type, value], at) => ({ name: `p${at}`, type, value }));
  const [row] = await rows(local, `SELECT ${parameters.map(({ name }) => `:${name}`).join(", ")}`, { parameters });
  assert.deepEqual(row, PARAMETERS.map(([, , expected]) => expected));
  const text =
    "SELECT ':p0', :p0 || :p0, '1'::text /* :p0 */, $$:p0$$, \":p0\" -- :p0\n FROM (SELECT 1 AS \":p0\") AS q";
  assert.deepEqual(await rows(local, text, { parameters: parameters.slice(0, 1) }), [[
    ":p0",
    "it'sit's",
    "1",
    ":p0",
    "1",
  ]]);
});

test("names can have three parts and backticks", async ({ local }) => {
  await rows(local, "CREATE SCHEMA IF NOT EXISTS main.taxi");
  assert.deepEqual(await rows(local, "CREATE TABLE main.taxi.`trips ``2``` AS SELECT 1 AS id, 'x' AS `Zone 1`"), [[
    "1",
    "1",
  ]]);
  assert.deepEqual(await rows(local, "SELECT t.`Zone 1` FROM `main`.taxi.`trips ``2``` AS t"), [["x"]]);
  assert.deepEqual(await rows(local, "SELECT id FROM `trips ``2```", { catalog: "main", schema: "taxi" }), [["1"]]);
  assert.deepEqual(await rows(local, "UPDATE taxi.`trips ``2``` SET id = 2"), [["1"]]);
});

/** A statement and its error: the message's beginning, its end, and the SQLSTATE. */
const FAILURES: [string, RegExp, string][] = [
  [
    "SELECT * FROM main.taxi.nope",
    /^\[TABLE_OR_VIEW_NOT_FOUND\] The table or view `taxi`\.`nope` .*; line 1 pos 14$/s,
    "42P01",
  ],
  [
    "SELECT 1 AS n,\n fro FROM (SELECT 1 AS id) AS t",
    /^\[UNRESOLVED_COLUMN\.[A-Z_]+\].*`fro`.*; line 2 pos 1$/s,
    "42703",
  ],
  [
    "SELECT * FORM x",
    /^\n\[PARSE_SYNTAX_ERROR\] Syntax error at or near 'FORM'\. .*\(line 1, pos 9\)\n\n== SQL ==\n/s,
    "42601",
  ],
  ["SELECT 1/0", /^\[DIVIDE_BY_ZERO\] /, "22012"],
  ["SELECT 'é', `é` || :x", /^\[UNBOUND_SQL_PARAMETER\] Found the unbound parameter: x\. .*; line 1 pos 19$/s, "42P02"],
  ["SELECT nope(1)", /^\[UNRESOLVED_ROUTINE\] .*`nope`.*; line 1 pos 7$/s, "42883"],
  ["SELECT * FROM other.taxi.trips", /^\[NO_SUCH_CATALOG_EXCEPTION\] Catalog 'other' .*; line 1 pos 14$/s, "42704"],
  ["CREATE TABLE none.t (a int)", /^\[SCHEMA_NOT_FOUND\] The schema `none` /, "42704"],
  ["SELECT CAST('x' AS int)", /^\[CAST_INVALID_INPUT\] The value 'x' .*position 13\) ==\n/s, "22018"],
  [" -- nothing\n;", /^\[PARSE_EMPTY_STATEMENT\] /, "42617"],
  ["SELECT 1; SELECT 2", /^\n\[PARSE_SYNTAX_ERROR\] /, "42601"],
  ["SELECT interval '1 month'", /^\[DATATYPE_MISMATCH\] /, "42K09"],
  ["SELECT 'infinity'::timestamptz", /^\[DATETIME_OVERFLOW\] /, "22008"],
  ["SELECT 1e30::numeric", /^\[NUMERIC_VALUE_OUT_OF_RANGE\.WITHOUT_SUGGESTION\] /, "22003"],
  ["SELECT ARRAY[[1],[2]]", /^\[DATATYPE_MISMATCH\] /, "42K09"],
  ["COPY (SELECT 1) TO STDOUT", /^\[LOCAL_POSTGRES_ERROR\] a warehouse has no COPY TO STDOUT/, "0A000"],
  ["SELECT pg_catalog.set_config('work_mem', 'x', false)", /^\[LOCAL_POSTGRES_ERROR\] invalid value/, "22023"],
];

test("a failed statement has an error class, a SQLSTATE and a position", async ({ local }) => {
  for (const [statement, message, sqlState] of FAILURES) {
    const { status } = await run(local, statement);
    assert.equal(status.state, "FAILED", statement);
    assert.match(status.error!.message, message);
    assert.deepEqual([status.error!.error_code, status.sql_state], ["BAD_REQUEST", sqlState], statement);
  }
  assert.deepEqual(await rows(local, "SELECT 1"), [["1"]]);
});

async function batches(link: Link): Promise<RecordBatch[]> {
  const response = await fetch(link.external_link, { headers: link.http_headers });
  assert.equal(response.status, 200);
  return [...RecordBatchReader.from(new Uint8Array(await response.arrayBuffer()))];
}

const EXTERNAL = { disposition: "EXTERNAL_LINKS", format: "ARROW_STREAM" };

test("a large result has chunks, and the link to each leads to an Arrow stream", async ({ local }) => {
  const { statement_id, manifest, result } = await run(
    local,
    "SELECT n, CASE WHEN n > 1 THEN n::text END AS t, n AS n FROM generate_series(1, 7) AS n",
    EXTERNAL,
  );
  assert.deepEqual([manifest.total_chunk_count, manifest.total_row_count, manifest.truncated], [3, 7, false]);
  const found: unknown[] = [];
  for (let [link] = result.external_links!; link !== undefined;) {
    for (const batch of await batches(link)) {
      assert.deepEqual(batch.schema.fields.map(({ name }) => name), ["n", "t", "n"]);
      const columns = [0, 1, 2].map((at) => [...batch.getChildAt(at)!]);
      found.push(...columns[0]!.map((n, at) => [n, columns[1]![at], columns[2]![at]]));
    }
    const next: string | undefined = link.next_chunk_internal_link;
    [link] = next === undefined ? [] : (await json<Answer["result"]>(local, `GET ${next}`)).external_links!;
  }
  assert.deepEqual(found, Array.from({ length: 7 }, (_, i) => [i + 1, i === 0 ? null : String(i + 1), i + 1]));
  const beyond = await call(local, `GET ${STATEMENTS}/${statement_id}/result/chunks/3`);
  assert.deepEqual([beyond.status, (await beyond.json()).error_code], [400, "INVALID_PARAMETER_VALUE"]);
});

test("a result is truncated at its limit of rows or bytes, and an inline result over 25 MiB fails", async ({ local }) => {
  const many = "SELECT n FROM generate_series(1, 100000) AS n";
  for (const [limit, count] of [[{ row_limit: 3 }, 3], [{ row_limit: 4 }, 4], [{ byte_limit: 80 }, 10]] as const) {
    const { manifest } = await run(local, many, limit);
    assert.deepEqual([manifest.total_row_count, manifest.truncated], [count, true]);
  }
  for (const [nothing, columns] of [["SELECT 1 WHERE false", 1], ["SELECT WHERE false", 0]] as const) {
    const { manifest } = await run(local, nothing, EXTERNAL);
    const { schema: { column_count }, total_chunk_count, total_row_count, truncated } = manifest;
    assert.deepEqual([column_count, total_chunk_count, total_row_count, truncated], [columns, 0, 0, false]);
  }
  const { status } = await run(local, "SELECT repeat('x', 1000000) FROM generate_series(1, 30)");
  assert.match(status.error!.message, /^Inline byte limit exceeded\..*26214400 bytes/);
});

test("a running statement can be canceled", async ({ local }) => {
  const { statement_id, status } = await run(local, "SELECT pg_sleep(600)", { wait_timeout: "0s" });
  assert.equal(status.state, "PENDING");
  assert.deepEqual(await json(local, `POST ${STATEMENTS}/${statement_id}/cancel`, {}), {});
  assert.deepEqual((await untilEnded(local, statement_id)).status, { state: "CANCELED" });
  assert.deepEqual(await rows(local, "SELECT 1"), [["1"]]);
});

test("a closed statement no longer has a result", async ({ local }) => {
  const { statement_id } = await run(local, "SELECT 1", EXTERNAL);
  assert.deepEqual(await json(local, `DELETE ${STATEMENTS}/${statement_id}`), {});
  assert.deepEqual(await json(local, `GET ${STATEMENTS}/${statement_id}`), {
    statement_id,
    status: { state: "CLOSED" },
  });
  assert.equal((await call(local, `GET ${STATEMENTS}/${statement_id}/result/chunks/0`)).status, 404);
  assert.equal((await call(local, `GET ${STATEMENTS}/none`)).status, 404);
});

test("external results come as JSON and as CSV, too", async ({ local }) => {
  const statement = "SELECT n, CASE WHEN n > 1 THEN 'a \"b\", ' || n END AS t FROM generate_series(1, 4) AS n";
  for (
    const [format, expected] of [
      ["JSON_ARRAY", ['[["1",null],["2","a \\"b\\", 2"],["3","a \\"b\\", 3"]]', '[["4","a \\"b\\", 4"]]']],
      ["CSV", ['n,t\r\n1,null\r\n2,"a ""b"", 2"\r\n3,"a ""b"", 3"\r\n', '4,"a ""b"", 4"\r\n']],
    ] as const
  ) {
    const { statement_id } = await run(local, statement, { disposition: "EXTERNAL_LINKS", format });
    const texts = await Promise.all([0, 1].map(async (chunk) => {
      const path = `GET ${STATEMENTS}/${statement_id}/result/chunks/${chunk}`;
      const [link] = (await json<Answer["result"]>(local, path)).external_links!;
      return await (await fetch(link!.external_link, { headers: link!.http_headers })).text();
    }));
    assert.deepEqual(texts, expected);
  }
});

test("old results are removed", async ({ local }) => {
  const { statement_id } = await run(local, "SELECT 1");
  const state = async () => (await json<Answer>(local, `GET ${STATEMENTS}/${statement_id}`)).status.state;
  await rows(local, "SELECT 2");
  assert.equal(await state(), "SUCCEEDED");
  local.faults.clockOffset = 3_700_000;
  await rows(local, "SELECT 2");
  assert.equal(await state(), "CLOSED");
});

Deno.test("a statement is visible only to its user", { sanitizeOps: false, sanitizeResources: false }, async () => {
  const client = { clientId: "other", clientSecret: "the secret" };
  await using local = await ownLakebase({ ...OPTIONS, servicePrincipals: [client] });
  const { statement_id } = await run(local, "SELECT current_user");
  const form = { grant_type: "client_credentials", client_id: client.clientId, client_secret: client.clientSecret };
  const granted = await fetch(`${local.env["DATABRICKS_HOST"]}/oidc/v1/token`, {
    method: "POST",
    body: new URLSearchParams(form),
  });
  const { access_token } = await granted.json();
  assert.equal((await call(local, `GET ${STATEMENTS}/${statement_id}`, undefined, access_token)).status, 404);
  const warehouse_id = local.env["DATABRICKS_WAREHOUSE_ID"];
  const own = await call(local, `POST ${STATEMENTS}`, { warehouse_id, statement: "SELECT current_user" }, access_token);
  assert.deepEqual((await own.json()).result.data_array, [["other"]]);
});

import assert from "node:assert/strict";
import { encodeArrow } from "../../../src/transfer/formats/arrow/write.ts";
import { type ColumnarFile, readArrow, readParquet } from "../../../src/transfer/formats/columnar_reader.ts";
import { encodeParquet } from "../../../src/transfer/formats/parquet/write/write.ts";
import { postgresMissing } from "../../support/postgres.ts";
import { requires } from "../../support/requirements.ts";
import { copyRows, readAll, writeFile } from "./files.ts";
import { duckdb, python, pythonReadersMissing } from "./readers.ts";

/** A column of three rows, the last of which is NULL. */
interface Case {
  /** The type, and its name in the file that comes back. */
  type: string;
  back?: string;
  /** Two values as the server writes them. */
  values: [string, string];
  /** The types that other readers report: pyarrow's, then polars'. */
  duckdb: string;
  pyarrow: string;
  polars: string;
  /** The values as DuckDB writes them. */
  shown?: [string, string];
}

const UUID = ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"] as [string, string];
const D38 = "999999999999999999999999999999.99999999";
const BLOBS = ["\\xFF\\x00", ""] as [string, string];
const LONG = "é".repeat(100);

const CASES: Record<string, Case> = {
  bool: { type: "boolean", values: ["true", "false"], duckdb: "BOOLEAN", pyarrow: "bool", polars: "Boolean" },
  int2: { type: "smallint", values: ["-32768", "32767"], duckdb: "SMALLINT", pyarrow: "int16", polars: "Int16" },
  int4: { type: "integer", values: ["-2147483648", "7"], duckdb: "INTEGER", pyarrow: "int32", polars: "Int32" },
  int8: {
    type: "bigint",
    values: ["-9223372036854775808", "9223372036854775807"],
    duckdb: "BIGINT",
    pyarrow: "int64",
    polars: "Int64",
  },
  oid: {
    type: "oid",
    back: "bigint",
    values: ["4294967295", "0"],
    duckdb: "UINTEGER",
    pyarrow: "uint32",
    polars: "UInt32",
  },
  float4: { type: "real", values: ["0.1", "-1e+30"], duckdb: "FLOAT", pyarrow: "float", polars: "Float32" },
  float8: {
    type: "double precision",
    values: ["0.1", "Infinity"],
    shown: ["0.1", "inf"],
    duckdb: "DOUBLE",
    pyarrow: "double",
    polars: "Float64",
  },
  "numeric(5,2)": {
    type: "numeric(5,2)",
    values: ["-999.99", "0.05"],
    duckdb: "DECIMAL(5,2)",
    pyarrow: "decimal128(5, 2)",
    polars: "Decimal(precision=5, scale=2)",
  },
  "numeric(18,0)": {
    type: "numeric(18,0)",
    values: ["-999999999999999999", "1"],
    duckdb: "DECIMAL(18,0)",
    pyarrow: "decimal128(18, 0)",
    polars: "Decimal(precision=18, scale=0)",
  },
  "numeric(38,8)": {
    type: "numeric(38,8)",
    values: [D38, `-${D38}`],
    duckdb: "DECIMAL(38,8)",
    pyarrow: "decimal128(38, 8)",
    polars: "Decimal(precision=38, scale=8)",
  },
  date: {
    type: "date",
    values: ["1969-12-31", "9999-12-31"],
    duckdb: "DATE",
    pyarrow: "date32[day]",
    polars: "Date",
  },
  time: {
    type: "time",
    values: ["00:00:00", "23:59:59.999999"],
    duckdb: "TIME",
    pyarrow: "time64[us]",
    polars: "Time",
  },
  timestamp: {
    type: "timestamp",
    values: ["1969-12-31 23:59:59.999999", "2026-01-31 12:00:00"],
    duckdb: "TIMESTAMP",
    pyarrow: "timestamp[us]",
    polars: "Datetime(time_unit='us', time_zone=None)",
  },
  timestamptz: {
    type: "timestamptz",
    values: ["1969-12-31 23:59:59.999999+00", "2026-01-31 12:00:00+00"],
    duckdb: "TIMESTAMP WITH TIME ZONE",
    pyarrow: "timestamp[us, tz=UTC]",
    polars: "Datetime(time_unit='us', time_zone='UTC')",
  },
  uuid: { type: "uuid", values: UUID, duckdb: "UUID", pyarrow: "extension<arrow.uuid>", polars: "Binary" },
  text: { type: "text", values: [LONG, ""], duckdb: "VARCHAR", pyarrow: "string", polars: "String" },
  jsonb: {
    type: "jsonb",
    values: ['{"a": [1, 2.50]}', "null"],
    duckdb: "JSON",
    pyarrow: "extension<arrow.json>",
    polars: "String",
  },
  bytea: {
    type: "bytea",
    values: ["\\xff00", "\\x"],
    shown: BLOBS,
    duckdb: "BLOB",
    pyarrow: "binary",
    polars: "Binary",
  },
  "int4[]": {
    type: "integer[]",
    values: ['{"1",NULL,"3"}', "{}"],
    shown: ["[1, NULL, 3]", "[]"],
    duckdb: "INTEGER[]",
    pyarrow: "list<element: int32>",
    polars: "List(Int32)",
  },
  "text[]": {
    type: "text[]",
    values: ['{"a b",""}', '{"NULL"}'],
    shown: ["[a b, '']", "['NULL']"],
    duckdb: "VARCHAR[]",
    pyarrow: "list<element: string>",
    polars: "List(String)",
  },
  "uuid[]": {
    type: "uuid[]",
    values: [`{"${UUID[0]}"}`, "{NULL}"],
    shown: [`[${UUID[0]}]`, "[NULL]"],
    duckdb: "UUID[]",
    pyarrow: "list<element: extension<arrow.uuid>>",
    polars: "List(Binary)",
  },
  "bool[]": {
    type: "boolean[]",
    values: ['{"true","false",NULL}', "{}"],
    shown: ["[true, false, NULL]", "[]"],
    duckdb: "BOOLEAN[]",
    pyarrow: "list<element: bool>",
    polars: "List(Boolean)",
  },
  nothing: {
    type: "text",
    values: ["NULL", "NULL"],
    duckdb: "VARCHAR",
    pyarrow: "string",
    polars: "String",
  },
};

const NAMES = Object.keys(CASES);

function query(): string {
  const columns = Object.entries(CASES).map(([name, { type, values }]) => {
    if (name === "nothing") return `NULL::${type} AS "${name}"`;
    const [a, b] = values.map((value) => `'${value.replaceAll("'", "''")}'`);
    return `(CASE n WHEN 1 THEN ${a} WHEN 2 THEN ${b} END)::${type} AS "${name}"`;
  });
  return `SELECT ${columns.join(", ")} FROM generate_series(1, 3) AS n`;
}

function byName<Value>(valueOf: (value: Case, name: string) => Value): Record<string, Value> {
  return Object.fromEntries(Object.entries(CASES).map(([name, value]) => [name, valueOf(value, name)]));
}

const PYTHON = `
import json, sys, pyarrow.parquet as pq, pyarrow as pa, polars as pl
parquet, arrow = pq.read_table(sys.argv[1]), pa.ipc.open_file(pa.memory_map(sys.argv[2])).read_all()
stream = pa.ipc.open_stream(pa.py_buffer(open(sys.argv[2], "rb").read()[8:])).read_all()
frame, mapped = pl.read_parquet(sys.argv[1]), pl.read_ipc(sys.argv[2])
same = [n for n in parquet.column_names if parquet[n].to_pylist() == arrow[n].to_pylist() == stream[n].to_pylist()
  and frame[n].to_list() == mapped[n].to_list()]
types = {f.name: str(f.type).replace("<item:", "<element:") for f in parquet.schema}
print(json.dumps({"parquet": types, "same": same, "polars": {n: str(t) for n, t in frame.schema.items()}}))
`;

Deno.test({
  ...requires("DuckDB, pyarrow and polars read every type, with NULL", postgresMissing, pythonReadersMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const [parquet, arrow] = [`${folder}/types.parquet`, `${folder}/types.arrow`];
    const rows = await copyRows(query());
    await writeFile(parquet, encodeParquet, rows);
    await writeFile(arrow, encodeArrow, rows);

    const described = await duckdb(`SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '${parquet}')`);
    assert.deepEqual(Object.fromEntries(described), byName((one) => one.duckdb));
    const texts = await duckdb(`SELECT ${NAMES.map((name) => `"${name}"::VARCHAR`)} FROM '${parquet}'`);
    const shown = [0, 1].map((row) =>
      NAMES.map((name) => name === "nothing" ? null : (CASES[name]!.shown ?? CASES[name]!.values)[row]!)
    );
    assert.deepEqual(texts, [...shown, NAMES.map(() => null)]);

    const found = await python<Record<string, unknown>>(PYTHON, parquet, arrow);
    assert.deepEqual(found["parquet"], byName((one) => one.pyarrow));
    assert.deepEqual(found["polars"], byName((one) => one.polars));
    assert.deepEqual(found["same"], NAMES);

    await comesBack(await readParquet(parquet), {});
    await comesBack(await readArrow(arrow), { jsonb: "text" });
    await Deno.remove(folder, { recursive: true });
  },
});

async function comesBack(file: ColumnarFile, otherTypes: Record<string, string>): Promise<void> {
  const { types, texts } = await readAll(file);
  assert.deepEqual(types, byName((one, name) => otherTypes[name] ?? one.back ?? one.type));
  for (const [at, name] of Object.keys(types).entries()) {
    const expected = name === "nothing" ? [null, null, null] : [...CASES[name]!.values, null];
    assert.deepEqual(texts.map((row) => row[at]), expected, name);
  }
}

import assert from "node:assert/strict";
import type { ColumnData, ColumnType } from "../../../src/transfer/columns/batch.ts";
import { binaryCellWriter, hasBinaryForm } from "../../../src/transfer/columns/copy_cells.ts";
import { CopyBinaryWriter } from "../../../src/transfer/copy/binary_writer.ts";
import { openResultColumns } from "../../../src/transfer/load/columnar.ts";
import type { LoadColumn, LoadTable } from "../../../src/transfer/load/table.ts";
import { errorOf } from "../../support/queries.ts";
import { pullTest } from "../../support/transfers.ts";

/** Columns of each type that has a binary form, and values at its edges. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  bool: ["true", "false"],
  int2: ["-32768", "-1", "0", "32767"],
  int4: ["-2147483648", "-1", "0", "2147483647"],
  int8: ["-9223372036854775808", "-4294967297", "-1", "0", "4294967296", "9223372036854775807"],
  oid: ["0", "4294967295"],
  float4: ["0.1", "-0", "1e38", "NaN", "Infinity", "-Infinity"],
  float8: ["0.1", "-0", "1e308", "5e-324", "NaN", "Infinity", "-Infinity"],
  "numeric(10,2)": ["0", "0.01", "-0.01", "1", "-9999.99", "10000", "99999999.99"],
  "numeric(38,0)": ["99999999999999999999999999999999999999", "-9007199254740993", "10000000000000000", "-1"],
  "numeric(38,37)": ["9.9999999999999999999999999999999999999", "-0.0000000000000000000000000000000000001", "0"],
  "numeric(15,5)": ["1.00001", "-1234567.89", "0.5", "9007199254.74099"],
  "numeric(6,3)": ["0.001", "123.456", "-100"],
  date: ["4714-11-24 BC", "1969-12-31", "2000-01-01", "5874897-12-31", "infinity", "-infinity"],
  time: ["00:00:00", "12:34:56.789012", "24:00:00"],
  timestamp: ["4714-11-24 00:00:00 BC", "1999-12-31 23:59:59.999999", "2026-01-31 12:00:00", "infinity", "-infinity"],
  timestamptz: ["0044-03-15 12:00:00+00 BC", "1970-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "infinity"],
  uuid: ["00000000-0000-0000-0000-000000000000", "f47ac10b-58cc-4372-a567-0e02b2c3d479"],
  text: ["", "a\tb\nc\\.\r", "ü€😀", "NULL", "\\N", "x".repeat(100_000)],
  varchar: ["", "a b "],
  json: ['{"a": [1, null]}', '"x"', "null"],
  jsonb: ['{"a": [1, null]}', '"x"', "null"],
  bytea: ["\\x", "\\x00ff5c"],
  "int4[]": ["{}", "{1,NULL,-3}"],
  "text[]": ["{}", '{"","NULL",NULL,"a,b\\\\"}'],
  "timestamptz[]": ["{infinity,2026-01-31 12:00:00+00}"],
  "numeric(6,3)[]": ["{0.001,-100.000}"],
};

pullTest("binary rows have the values of their text, for each type", async ({ db }) => {
  const types = Object.entries(VALUES);
  const rows = Math.max(...types.map(([, values]) => values.length)) + 1; // the last row has only NULLs
  const literal = (text: string | undefined) => text === undefined ? "NULL" : `'${text.replaceAll("'", "''")}'`;
  const definitions = types.map(([type], at) => `c${at} ${type}`).join(", ");
  await db.query(`CREATE TABLE encoded (n int, ${definitions})`);
  await db.query(`CREATE TABLE encoded_copy (LIKE encoded)`);
  try {
    for (let row = 0; row < rows; row++) {
      const values = types.map(([type, values]) => `${literal(values[row])}::${type}`).join(", ");
      await db.query(`INSERT INTO encoded VALUES (${row}, ${values})`);
    }
    const columns = await db.sql`SELECT * FROM encoded ORDER BY n`.columns();
    const oids = columns.fields.map(({ oid }) => oid);
    const target = columns.fields.map(({ key }, at): LoadColumn => ({
      name: key,
      type: at === 0 ? "integer" : types[at - 1]![0],
      oid: oids[at]!,
      form: "scalar",
      generated: false,
    }));
    assert.equal(openResultColumns(columns, {}).copy({ columns: target } as LoadTable)?.options, "FORMAT binary");
    await db.load("encoded_copy", columns);
    for (const [at, [type]] of types.entries()) {
      const texts = async (
        table: string,
      ) => [...await db.query(`SELECT c${at}::text AS text FROM ${table} ORDER BY n`)];
      assert.deepEqual(await texts("encoded_copy"), await texts("encoded"), type);
    }
  } finally {
    await db.query("DROP TABLE encoded, encoded_copy");
  }
});

const TIMESTAMP: ColumnType = { kind: "timestamp", utc: false };
const DECIMAL: ColumnType = { kind: "decimal", precision: 10, scale: 2 };

/** Whether a column is sent in binary. If not, the server would read another value, or its error would not show the value. */
const FORMS: [type: ColumnType, oid: number, target: string, binary: boolean][] = [
  [{ kind: "int16" }, 23, "integer", true],
  [{ kind: "int64" }, 23, "integer", false],
  [{ kind: "int32" }, 1700, "numeric", false],
  [{ kind: "float32" }, 701, "double precision", false],
  [TIMESTAMP, 1114, "timestamp without time zone", true],
  [TIMESTAMP, 1184, "timestamp with time zone", false],
  [{ kind: "timestamp", utc: true }, 1114, "timestamp without time zone", true],
  [DECIMAL, 1700, "numeric", true],
  [DECIMAL, 1700, "numeric(12,2)", true],
  [DECIMAL, 1700, "numeric(12,4)", true],
  [DECIMAL, 1700, "numeric(10,4)", false],
  [DECIMAL, 1700, "numeric(10,1)", false],
  [{ kind: "text" }, 1043, "character varying", true],
  [{ kind: "text" }, 1043, "character varying(20)", false],
  [{ kind: "text" }, 1042, "character(3)", false],
  [{ kind: "text" }, 23, "integer", false],
  [{ kind: "text" }, 16_500, "citext", false],
  [{ kind: "binary" }, 17, "bytea", true],
  [{ kind: "list", element: { kind: "int32" } }, 1007, "integer[]", true],
  [{ kind: "list", element: { kind: "int32" } }, 1016, "bigint[]", true],
  [{ kind: "list", element: { kind: "int32" } }, 23, "integer", false],
  [{ kind: "list", element: { kind: "list", element: { kind: "int32" } } }, 1007, "integer[]", false],
];

Deno.test("a value that a type of Postgres can't hold is refused with its row and column, in a list too", () => {
  const times = { name: "t", type: TIMESTAMP, length: 1, nullCount: 0, values: BigInt64Array.of(-(2n ** 62n)) };
  const list = { ...times, type: { kind: "list", element: TIMESTAMP } as const, values: new Uint8Array() };
  const refuse = (row: number, column: number, state: string) => new Error(`row ${row}, column ${column} ${state}`);
  const write = (data: ColumnData, oid: number) => () => {
    const out = new CopyBinaryWriter(refuse, 2, 1024);
    out.null();
    binaryCellWriter(data, oid)(0, out);
  };
  const message = /^row 1, column 1 has \d+-\d\d-\d\d .* BC, which a timestamp of Postgres can't hold/;
  assert.throws(write(times, 1114), { message });
  assert.throws(write({ ...list, offsets: Int32Array.of(0, 1), child: times }, 1115), { message });
});

Deno.test("a column is sent in binary only if its values stay unchanged", () => {
  for (const [type, oid, target, binary] of FORMS) {
    assert.equal(hasBinaryForm(type, { oid, type: target }), binary, `${JSON.stringify(type)} to ${target}`);
  }
});

pullTest("an error in binary rows names the row and the column", async ({ db, folder }) => {
  await db.query("CREATE TABLE encoded_errors (v int, t text NOT NULL)");
  try {
    await db.pull(db.sql`SELECT g AS v, nullif(g, 3)::text AS t FROM generate_series(1, 5) g`, `${folder}/x.parquet`);
    const { message } = await errorOf(db.load("encoded_errors", `${folder}/x.parquet`));
    assert.match(message, /x\.parquet into public\.encoded_errors: row 3.*: null value in column "t"/);
    await db.pull(db.sql`SELECT g AS v, '{' AS t FROM generate_series(1, 2) g`, `${folder}/x.parquet`);
    await db.query("ALTER TABLE encoded_errors ALTER t TYPE jsonb USING NULL");
    const json = await errorOf(db.load("encoded_errors", `${folder}/x.parquet`));
    assert.match(json.message, /row 1, column t: invalid input syntax for type json/);
  } finally {
    await db.query("DROP TABLE encoded_errors");
  }
});

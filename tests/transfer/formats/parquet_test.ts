import { MessageReader, type Schema } from "apache-arrow";
import assert from "node:assert/strict";
import type { ColumnType } from "../../../src/transfer/columns/batch.ts";
import { arrowSchema, encodeArrow } from "../../../src/transfer/formats/arrow/write.ts";
import type { Encode, EncodeContext } from "../../../src/transfer/formats/file_format.ts";
import { encodeArrowSchema, encodeParquet } from "../../../src/transfer/formats/parquet/write/write.ts";
import { postgresMissing } from "../../support/postgres.ts";
import { errorOf } from "../../support/queries.ts";
import { requires } from "../../support/requirements.ts";
import { copyRows, writeFile } from "./files.ts";
import { duckdb, python, pythonReadersMissing } from "./readers.ts";

interface FileTest {
  /** Writes a query's rows to a file of this format. Returns its path. */
  file: (encode: Encode, query: string, options?: EncodeContext["options"]) => Promise<string>;
}

function fileTest(name: string, run: (test: FileTest) => Promise<void>): void {
  Deno.test({
    ...requires(name, postgresMissing, pythonReadersMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      let count = 0;
      const file: FileTest["file"] = async (encode, query, options) => {
        const path = `${folder}/${count++}.${encode === encodeArrow ? "arrow" : "parquet"}`;
        await writeFile(path, encode, await copyRows(query), options);
        return path;
      };
      await run({ file });
      await Deno.remove(folder, { recursive: true });
    },
  });
}

Deno.test("the Arrow schema in a file is that of apache-arrow, for each type", () => {
  const plain = ["bool", "int16", "int32", "int64", "uint32", "float32", "float64", "date", "time"] as const;
  const types: ColumnType[] = [
    ...[...plain, "uuid", "text", "json", "binary"].map((kind) => ({ kind }) as ColumnType),
    ...[[1, 0], [10, 2], [38, 38]].map(([precision, scale]): ColumnType => ({
      kind: "decimal",
      precision: precision!,
      scale: scale!,
    })),
    { kind: "timestamp", utc: true },
    { kind: "timestamp", utc: false },
  ];
  const all = [...types, ...types.map((element): ColumnType => ({ kind: "list", element }))];
  const columns = all.map((type, at) => ({ name: at === 1 ? "東京 \0 🗽" : at === 2 ? "" : `c${at}`, type }));
  const described = (fields: Schema["fields"]): unknown[] =>
    fields.map(({ name, type, nullable, metadata }) => [
      ...[name, String(type), nullable, [...metadata]],
      ...described(type.children as Schema["fields"] | null ?? []),
    ]);
  for (const some of [columns, columns.slice(0, 1), []]) {
    const read = new MessageReader(encodeArrowSchema(some)).readSchema()!;
    assert.deepEqual(described(read.fields), described(arrowSchema(some).fields));
    assert.deepEqual([read.metadataVersion, [...read.metadata]], [4, []]);
  }
});

const SHAPE = `
import json, sys, pyarrow.parquet as pq, pyarrow.ipc as ipc, polars as pl
path = sys.argv[1]
table = pq.read_table(path) if path.endswith("parquet") else ipc.open_file(path).read_all()
frame = pl.read_parquet(path) if path.endswith("parquet") else pl.read_ipc(path)
print(json.dumps({"names": table.column_names, "rows": table.num_rows, "polars": frame.shape[0]}))
`;

fileTest("row groups have as many rows as asked for, and bounds", async ({ file }) => {
  const query = `SELECT n, (n / 4.0)::numeric(8, 2) AS fare, 'zone ' || n AS zone, NULLIF(n % 2, 0) AS odd,
    n::float8 AS f, NULL::int AS nothing FROM generate_series(1, 30000) AS n`;
  const path = await file(encodeParquet, query, { rowGroupSize: 10_000 });
  const groups = await duckdb(`SELECT DISTINCT row_group_num_rows FROM parquet_metadata('${path}')`);
  assert.ok(groups.length >= 3, String(groups));
  const bounds = await duckdb(
    `SELECT path_in_schema, min(stats_min_value::double), max(stats_max_value::double), sum(stats_null_count)
       FROM parquet_metadata('${path}') WHERE path_in_schema IN ('n', 'fare', 'odd', 'f') GROUP BY 1 ORDER BY 1`,
  );
  assert.deepEqual(bounds, [
    ["f", "1", "30000", "0"],
    ["fare", "0.25", "7500", "0"],
    ["n", "1", "30000", "0"],
    ["odd", "1", "1", "15000"],
  ]);
  const sums = await duckdb(`SELECT count(*), sum(n), sum(fare), count(odd), count(nothing), max(zone) FROM '${path}'`);
  assert.deepEqual(sums, [["30000", "450015000", "112503750.00".slice(0, 12), "15000", "0", "zone 9999"]]);
  const few = await duckdb(`SELECT count(*) FROM '${path}' WHERE n BETWEEN 9990 AND 10010 AND zone > 'zone 9995'`);
  assert.deepEqual(few, [["4"]]);
});

fileTest("each compression is written", async ({ file }) => {
  for (const compression of ["zstd", "gzip", "none"] as const) {
    const path = await file(encodeParquet, "SELECT n FROM generate_series(1, 1000) AS n", { compression });
    assert.deepEqual(await duckdb(`SELECT sum(n) FROM '${path}'`), [["500500"]]);
    const codec = await duckdb(`SELECT DISTINCT compression FROM parquet_metadata('${path}')`);
    assert.deepEqual(codec, [[compression === "none" ? "UNCOMPRESSED" : compression.toUpperCase()]]);
  }
});

fileTest("files without rows, with odd names and with 1,600 columns are written", async ({ file }) => {
  const names = ["a", 'quo"te', "com,ma", "new\nline", "dot.ted", "É", "a_2"];
  const odd = names.map((name, at) => `${at} AS "${name.replaceAll('"', '""')}"`).join(", ");
  const wide = Array.from({ length: 1600 }, (_, at) => `${at} AS c${at}`).join(", ");
  for (const encode of [encodeParquet, encodeArrow]) {
    const none = await file(encode, `SELECT ${odd}, 9 AS a WHERE false`);
    assert.deepEqual(await python(SHAPE, none), { names: [...names, "a_3"], rows: 0, polars: 0 });
    const one = await file(encode, `SELECT ${odd}, 9 AS a`);
    assert.deepEqual(await python(SHAPE, one), { names: [...names, "a_3"], rows: 1, polars: 1 });
    const many = await python<{ names: string[]; rows: number }>(SHAPE, await file(encode, `SELECT ${wide}`));
    assert.deepEqual([many.names.length, many.names.at(-1), many.rows], [1600, "c1599", 1]);
    if (encode === encodeParquet) {
      assert.deepEqual(await duckdb(`SELECT a_3, c1 FROM '${one}', (SELECT 1 AS c1)`), [["9", "1"]]);
    }
  }
});

fileTest("(slow) a long value is a row group of its own", async ({ file }) => {
  const query = "SELECT n, repeat(chr(64 + n), 70000000) AS long FROM generate_series(1, 3) AS n";
  const path = await file(encodeParquet, query);
  const groups = await duckdb(`SELECT row_group_num_rows FROM parquet_metadata('${path}') WHERE path_in_schema = 'n'`);
  assert.deepEqual(groups, [["1"], ["1"], ["1"]]);
  const read = await duckdb(`SELECT n, length(long), long[1], long[-1] FROM '${path}'`);
  assert.deepEqual(read, [1, 2, 3].map((n) => [`${n}`, "70000000", ..."ABC"[n - 1]!.repeat(2)]));
});

fileTest("a column with NaN has no bounds, and zeros in bounds have both signs", async ({ file }) => {
  const path = await file(
    encodeParquet,
    "SELECT * FROM (VALUES ('NaN'::float8, 0::float4), (1, '-0')) AS v(nan, zero)",
  );
  const bounds = await duckdb(
    `SELECT path_in_schema, stats_min_value, stats_max_value FROM parquet_metadata('${path}')`,
  );
  assert.deepEqual(bounds, [["nan", null, null], ["zero", "-0.0", "0.0"]]);
  assert.deepEqual(await duckdb(`SELECT count(*) FROM '${path}' WHERE nan > 5`), [["1"]]);
});

fileTest("values that a file can't represent are refused", async ({ file }) => {
  const cases: [expression: string, row: number, value: string][] = [
    ["CASE n WHEN 3 THEN 'infinity' ELSE now() END::timestamptz", 3, "infinity"],
    ["CASE n WHEN 2 THEN ARRAY['2026-01-31', '-infinity'] END::date[]", 2, "-infinity"],
    ["'24:00'::time", 1, "24:00:00"],
  ];
  for (const encode of [encodeParquet, encodeArrow]) {
    for (const [expression, row, value] of cases) {
      const query = `SELECT n, ${expression} AS v FROM generate_series(1, 3) AS n`;
      const error = await errorOf(file(encode, query));
      assert.equal(
        error.message,
        `Cannot convert column "v": row ${row} has the value ${value}, ` +
          "which Arrow and Parquet can't represent; select it as ::text",
      );
    }
  }
  const error = await errorOf(file(encodeParquet, "SELECT FROM generate_series(1, 3)"));
  assert.equal(error.message, "Cannot write Parquet: the query has no columns; a Parquet file needs at least one");
});

import assert from "node:assert/strict";
import type { PullOptions } from "../../../mod.ts";
import { errorOf } from "../../support/queries.ts";
import { namesIn, pullTest } from "../../support/transfers.ts";

const ROWS =
  `SELECT n::int2 AS small, n AS id, n * 3000000000 AS big, n / 4.0::float8 AS ratio, (n / 3.0)::float4 AS single,
  (n * 1.10)::numeric AS fare, n % 2 = 0 AS even, DATE '2024-02-28' + n AS day, time '12:30:00.5' + n * interval '1 s' AS at,
  timestamp '1600-02-28 12:30:00' + n * interval '1 day' AS local, timestamptz '2024-02-28 12:30:00.123+00' AS zoned,
  gen_random_uuid() AS uuid, 'a "q", ' || n || E'\\n\\t\\\\' AS said, '' AS nothing, NULL::text AS void,
  jsonb_build_object('n', n, 't', 'x') AS doc, '"text"'::jsonb AS word, decode('00ff0a', 'hex') AS bytes,
  ARRAY[n, NULL, 2] AS list, '{}'::text[] AS empty, ARRAY['a "b"', NULL] AS words, interval '1 day 2 hours' AS span,
  CASE WHEN n % 3 = 0 THEN NULL ELSE n END AS holes, 'NaN'::float8 AS nan, 9::oid AS oid
  FROM generate_series(1, 500) AS n`;

const FILES: readonly (readonly [name: string, options?: PullOptions])[] = [
  ["t.csv"],
  ["t.csv.gz", { delimiter: ";", nullText: "-" }],
  ["t.tsv"],
  ["t.tsv", { delimiter: "|" }],
  ["t.ndjson"],
  ["t.arrow"],
  ["t.parquet"],
  ["t.parquet", { rowGroupSize: 33, compression: "gzip" }],
];

pullTest(
  "(slow) rows and columns in memory are pulled as their query is, without running it again",
  async ({ db, folder }) => {
    await db.query(
      `DROP TABLE IF EXISTS origin, again; CREATE TABLE origin AS ${ROWS}; CREATE TABLE again (LIKE origin)`,
    );
    const rows = await db.sql`SELECT * FROM origin`;
    const columns = await db.sql`SELECT * FROM origin`.columns();
    await db.query("ALTER TABLE origin RENAME TO hidden"); // running it again would fail
    for (const [name, options = {}] of FILES) {
      for (const held of [rows, columns]) {
        const { compression: _, rowGroupSize: __, ...loaded } = options;
        const pulled = await held.pull(`${folder}/${name}`, options);
        assert.deepEqual([pulled.rows, pulled.path], [500, `${folder}/${name}`]);
        assert.equal(pulled.bytes > 500, true);
        await db.load("again", `${folder}/${name}`, { mode: "replace", ...loaded });
        const [different] = await db.query(
          "SELECT (SELECT row(d.*)::text FROM (TABLE hidden EXCEPT ALL TABLE again) AS d LIMIT 1) AS d",
        );
        assert.deepEqual({ ...different as object }, { d: null }, name);
      }
    }
    for (const held of [rows, columns]) {
      const { rows: count } = await held.load("again", { mode: "replace" });
      const [different] = await db.query("SELECT count(*)::int AS n FROM (TABLE hidden EXCEPT ALL TABLE again) AS d");
      assert.deepEqual([count, { ...different as object }], [500, { n: 0 }]);
    }
    await db.query("DROP TABLE hidden");
  },
);

pullTest("text formats of rows in memory equal the server's, byte for byte", async ({ db, folder }) => {
  const query = db
    .sql`SELECT true AS "a,b", '' AS t, NULL::text AS v, 'x"y' AS q, 1.50 AS n, '\.' AS dot, E'l\nm' AS line,
    '{"a": [1, "x"]}'::jsonb AS j, ARRAY[1, 2] AS list, DATE '2024-02-29' AS d, timestamp '2024-02-29 01:02:03' AS ts`;
  for (const name of ["t.csv", "t.tsv", "t.ndjson"]) {
    await query.pull(`${folder}/${name}`);
    const expected = await Deno.readTextFile(`${folder}/${name}`);
    for (const held of [await query, await query.columns()]) {
      await held.pull(`${folder}/${name}`);
      const found = await Deno.readTextFile(`${folder}/${name}`);
      // The JSON of a result was parsed, so its own spaces are lost.
      const bare = (text: string) => text.replace(/(?<=[:,]) (?=[["\d])/g, "").replaceAll('\\": [', '\\":[');
      assert.equal(bare(found), bare(expected), name);
    }
  }
});

pullTest("rows in memory that can't be pulled are refused, and leave no file", async ({ db, folder }) => {
  const rows = await db.sql<Record<string, unknown>>`SELECT 1 AS id, DATE '2024-01-01' AS day, 'a' AS name`;
  const columns = await db.sql`SELECT 1 AS id`.columns();
  assert.match((await errorOf(rows.pull(`${folder}/x/`))).message, /a folder is for a table or a query/);
  assert.match(
    (await errorOf(rows.pull(`${folder}/x.csv`, { parallel: 2 }))).message,
    /parallel is for rows that a COPY reads/,
  );
  assert.match((await errorOf(columns.pull(`${folder}/x.csv`, { columns: ["idd"] }))).message, /did you mean "id"/);
  assert.match((await errorOf(columns.pull(`${folder}/x.cvs`))).message, /did you mean \.csv/);
  const wrong = [["id", "one"], ["id", 2 ** 40], ["id", 1.5], ["day", "soon"], ["day", {}], [
    "name",
    () => {},
  ]] as const;
  for (const [key, value] of wrong) {
    const [row] = rows;
    const before = row![key];
    row![key] = value;
    const error = await errorOf(rows.pull(`${folder}/x.parquet`));
    assert.match(error.message, new RegExp(`row 1, column "${key}" is .*, which is not a value of the column's type`));
    assert.equal(error.code, "BAD_PARAMETER");
    row![key] = before;
  }
  const stop = new AbortController();
  const stopped = rows.pull(`${folder}/x.csv`, { signal: stop.signal, onProgress: () => stop.abort() });
  await assert.rejects(stopped, { name: "AbortError" });
  assert.deepEqual(namesIn(folder), []);
});

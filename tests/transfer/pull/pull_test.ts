import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";
import { pathToFileURL } from "node:url";
import { drawn, errorOf } from "../../support/queries.ts";
import { namesIn, pullTest, recordingStream } from "../../support/transfers.ts";

pullTest("pull() writes CSV and TSV as the server does", async ({ db, folder }) => {
  const query = db
    .sql`SELECT * FROM (VALUES (1, 'a,"b"'), (2, NULL), (3, ''), (4, E'tab\tline\nback\\')) t(id, "odd name")`;
  const csv = await query.pull(`${folder}/t.csv`);
  assert.deepEqual([csv.rows, csv.path, csv.paths], [4, `${folder}/t.csv`, [`${folder}/t.csv`]]);
  const text = await Deno.readTextFile(`${folder}/t.csv`);
  assert.equal(text, 'id,odd name\n1,"a,""b"""\n2,\n3,""\n4,"tab\tline\nback\\"\n');
  assert.equal(csv.bytes, text.length);
  await query.pull(`${folder}/t.tsv`);
  assert.equal(
    await Deno.readTextFile(`${folder}/t.tsv`),
    'id\todd name\n1\ta,"b"\n2\t\\N\n3\t\n4\ttab\\tline\\nback\\\\\n',
  );
  assert.deepEqual(namesIn(folder), ["t.csv", "t.tsv"]);
});

pullTest("pull() takes a header, a delimiter, a null text and columns", async ({ db, folder }) => {
  const path = `${folder}/t.txt`;
  const query = db.sql`SELECT 1 AS a, NULL AS b, 'x' AS a, 'y' AS "c d"`;
  const options = { format: "csv", header: false, delimiter: ";", nullText: "(none)" } as const;
  await query.pull(path, options);
  assert.equal(await Deno.readTextFile(path), "1;(none);x;y\n");
  await query.pull(path, { ...options, header: true, columns: ["c d", "a_2", "a"] });
  assert.equal(await Deno.readTextFile(path), "c d;a_2;a\ny;x;1\n");
  const error = await errorOf(query.pull(path, { ...options, columns: ["a_3"] }));
  assert.equal(error.message, 'Cannot read the rows: columns has "a_3", which is not a column; did you mean "a_2"?');
});

pullTest("pull() writes NDJSON with all digits, one line for each row", async ({ db, folder }) => {
  const path = `${folder}/t.ndjson`;
  const { rows } = await db.sql`SELECT 9007199254740993::int8 AS big, 1.50::numeric AS n, 'NaN'::numeric AS nan,
    '-Infinity'::float8 AS inf, '2024-02-29T12:00:00.123456Z'::timestamptz AT TIME ZONE 'UTC' AS at, 'a"\' AS t,
    E'{"x":\n [1,\r\n2]}'::json AS j, '\x00ff'::bytea AS b, ARRAY[1,NULL] AS list, NULL AS none, 1 AS big
    UNION ALL SELECT 1, 2, 3, 4, NULL, NULL, '"plain"', NULL, NULL, NULL, 2`.pull(path);
  assert.equal(rows, 2);
  const [first, second, rest] = (await Deno.readTextFile(path)).split("\n");
  assert.equal(
    first,
    '{"big":9007199254740993,"n":1.50,"nan":"NaN","inf":"-Infinity","at":"2024-02-29T12:00:00.123456","t":"a\\"\\\\",' +
      '"j":{"x":  [1,  2]},"b":"\\\\x00ff","list":[1,null],"none":null,"big_2":1}',
  );
  assert.equal(JSON.parse(second!).j, "plain");
  assert.equal(rest, "");
});

pullTest(
  "pull() takes tables by their names: plain ones, views, generated columns, odd names",
  async ({ db, folder }) => {
    await db.query('CREATE TABLE "Odd ""name"", x" (id int, "double, ""d""" int GENERATED ALWAYS AS (id * 2) STORED)');
    await db.query('INSERT INTO "Odd ""name"", x" VALUES (1), (2)');
    await db.query('CREATE VIEW odd_view AS SELECT id FROM "Odd ""name"", x"');
    await db.query(
      "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (7)",
    );
    await db.query("CREATE INDEX parent_index ON parent (id); CREATE SEQUENCE counts");
    try {
      const { rows } = await db.pull('"Odd ""name"", x"', `${folder}/odd.csv`);
      assert.equal(rows, 2);
      assert.equal(await Deno.readTextFile(`${folder}/odd.csv`), 'id,"double, ""d"""\n1,2\n2,4\n');
      assert.equal((await db.pull("odd_view", `${folder}/view.csv`)).rows, 2);
      assert.equal((await db.pull(db.sql.id("public", "parent"), `${folder}/parent.csv`)).rows, 1);
      const error = await errorOf(db.pull("od_view", `${folder}/no.csv`));
      assert.deepEqual([error.code, error.sqlstate], ["QUERY_FAILED", "42P01"]);
      assert.match(error.message, /Cannot pull od_view: there is no such table\nDid you mean odd_view\?/);
      await assert.rejects(db.pull("parent_index", `${folder}/no.csv`), {
        message: /Cannot pull parent_index: it is not a table \(kind: index\)/,
        sqlstate: "42809",
      });
      await db.transaction(async (tx) => {
        await assert.rejects(tx.pull("od_view", `${folder}/no.csv`), { message: /there is no such table/ });
        assert.equal(await tx.sql`SELECT 1`.value(), 1); // a wrong name does not end the transaction
      });
      assert.deepEqual(namesIn(folder), ["odd.csv", "parent.csv", "view.csv"]);
      assert.equal((await db.pull("counts", `${folder}/counts.csv`)).rows, 1);
      assert.equal((await db.pull("counts", `${folder}/counts.parquet`)).rows, 1);
    } finally {
      await db.query('DROP VIEW odd_view; DROP TABLE "Odd ""name"", x", child, parent; DROP SEQUENCE counts');
    }
  },
);

pullTest("pull() compresses text with gzip if the name or the option says so", async ({ db, folder }) => {
  const query = db.sql`SELECT n FROM generate_series(1, 5000) n`;
  const plain = await query.pull(`${folder}/n.csv`);
  const packed = await query.pull(`${folder}/n.csv.gz`);
  assert.equal(packed.rows, 5000);
  assert.ok(packed.bytes < plain.bytes / 2);
  assert.deepEqual(gunzipSync(await Deno.readFile(`${folder}/n.csv.gz`)), await readBuffer(`${folder}/n.csv`));
  await query.pull(`${folder}/n.bin`, { format: "csv", gzip: true });
  assert.deepEqual(gunzipSync(await Deno.readFile(`${folder}/n.bin`)), await readBuffer(`${folder}/n.csv`));
  await query.pull(`${folder}/plain.csv.gz`, { gzip: false });
  assert.deepEqual(await readBuffer(`${folder}/plain.csv.gz`), await readBuffer(`${folder}/n.csv`));
});

pullTest(
  "pull() writes to a stream, which it closes, to a file: URL, and within its transaction",
  async (test) => {
    const { db, folder } = test;
    const { stream, text, state } = recordingStream();
    const result = await db.sql`SELECT 1 AS one`.pull(stream, { format: "csv" });
    assert.deepEqual([text(), state(), result.path], ["one\n1\n", "closed", undefined]);
    await db.transaction(async (tx) => {
      await tx.query("CREATE TABLE pulled_here (id int)");
      await tx.query("INSERT INTO pulled_here VALUES (1), (2)");
      assert.equal((await tx.pull("pulled_here", pathToFileURL(`${folder}/tx.csv`))).rows, 2);
      assert.equal((await tx.sql`DELETE FROM pulled_here RETURNING *`.pull(`${folder}/gone.ndjson`)).rows, 2);
      assert.equal(await tx.sql`SELECT count(*) FROM pulled_here`.value(), 0);
      await tx.query("DROP TABLE pulled_here");
    });
    assert.equal(await Deno.readTextFile(`${folder}/gone.ndjson`), '{"id":1}\n{"id":2}\n');
  },
);

pullTest("pull() works without rows, without columns, and with a column of NULLs", async ({ db, folder }) => {
  for (const format of ["csv", "tsv", "ndjson", "arrow", "parquet"] as const) {
    const path = `${folder}/t.${format}`;
    assert.equal((await db.sql`SELECT 1 AS one WHERE false`.pull(path)).rows, 0, format);
    assert.equal((await db.sql`SELECT NULL AS none FROM generate_series(1, 3)`.pull(path)).rows, 3, format);
  }
  for (const format of ["csv", "tsv", "ndjson"] as const) {
    assert.equal((await db.sql`SELECT FROM generate_series(1, 2)`.pull(`${folder}/t.${format}`)).rows, 2, format);
  }
  assert.equal(await Deno.readTextFile(`${folder}/t.ndjson`), "{}\n{}\n");
});

pullTest("pull() writes 1,600 columns", async ({ db, folder }) => {
  const list = Array.from({ length: 1600 }, (_, index) => `${index} AS "c ${index}"`).join(", ");
  for (const format of ["csv", "ndjson", "parquet"] as const) {
    assert.equal((await db.sql`SELECT ${db.sql.unsafe(list)}`.pull(`${folder}/wide.${format}`)).rows, 1);
  }
  assert.equal(Object.keys(JSON.parse(await Deno.readTextFile(`${folder}/wide.ndjson`))).length, 1600);
});

pullTest(
  "the result of pull() is drawn as one line, and a statement without rows is refused before anything is written",
  async ({ db, folder }) => {
    const path = `${folder}/t.csv`;
    const line = await drawn(await db.sql`SELECT 1 AS one`.pull(path));
    assert.match(line, /^1 row to t\.csv \(6 bytes\), [\d.]+ m?s$/);
    await Deno.remove(path);
    const refused: readonly (readonly [statement: string, message: RegExp])[] = [
      ["", /there is no statement/],
      ["SHOW all", /Postgres can copy the rows of SELECT.* but not of SHOW/],
      ["EXPLAIN SELECT 1", /but not of EXPLAIN/],
      ["SELECT 1; SELECT 2", /these are several statements/],
      ["CREATE TEMP TABLE t (id int)", /CREATE gives no rows/],
      ["DELETE FROM pg_class", /DELETE gives no rows; add RETURNING/],
      ["SELECT 1) TO STDOUT; DROP TABLE x --", /syntax error/],
      ["SELECT one\nFROM nowhere", /LINE 2: FROM nowhere\n {13}\^/],
    ];
    for (const [statement, message] of refused) {
      const error = await errorOf(db.sql`${db.sql.unsafe(statement)}`.pull(path));
      assert.equal(error.code, "QUERY_FAILED", statement);
      assert.match(error.message, message);
    }
    assert.match(
      (await errorOf(db.pull("SELECT 1", path))).message,
      /a text that is a query; pull\(\) takes a table's name/,
    );
    assert.deepEqual(namesIn(folder), []);
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  },
);

async function readBuffer(path: string): Promise<Buffer> {
  return Buffer.from(await Deno.readFile(path));
}

pullTest("the signal and the timeout of a query apply to its pull, but not its limit", async ({ db, folder }) => {
  const slow = db.sql`SELECT pg_sleep(10)`.with({ timeout: 0.2 });
  for (const pull of [() => slow.pull(`${folder}/t.csv`), () => db.pull(slow, `${folder}/t.csv`)]) {
    assert.match((await errorOf(pull())).message, /longer than its timeout of 0\.2 s/);
  }
  const few = db.sql`SELECT generate_series(1, 10)`.with({ limit: 5 });
  const inside = () => db.transaction((tx) => tx.pull(few, `${folder}/t.csv`));
  for (const pull of [() => few.pull(`${folder}/t.csv`), () => db.pull(few, `${folder}/t.csv`), inside]) {
    const error = await errorOf(pull());
    assert.equal(error.code, "BAD_PARAMETER");
    assert.match(error.message, /^Cannot pull: the query has \.with\(\{ limit: 5 \}\).*write LIMIT 5 in the SQL/);
  }
  assert.deepEqual(namesIn(folder), []);
}, { notOnPglite: "it can't be interrupted inside of a function" });

import assert from "node:assert/strict";
import type { Queryable } from "../../../mod.ts";
import { SESSION } from "../../../src/api/lakebase.ts";
import { onConnection } from "../../../src/sql/run.ts";
import { describeSource, findSource, uncheckedTable } from "../../../src/transfer/copy/source.ts";
import { errorOf, queryTest } from "../../support/queries.ts";
import { pullTest, recordingStream } from "../../support/transfers.ts";

const TEXTS = [
  "",
  " ",
  "'",
  "''",
  "\\",
  "\\'",
  "'; DROP TABLE victims; --",
  "\\'; DROP TABLE victims; --",
  "E'\\''",
  "$1",
  "$$ $a$ $1 $a$",
  "/* -- */",
  "%s %% ?",
  "line\nbreak\r\n\ttab",
  "\u0001\u0002\u007f",
  "é 😀 \u202e",
  "NULL",
  "\\N",
  "\\.",
  "a".repeat(100_000) + "'\\",
];

const OTHERS: readonly (readonly [value: unknown, type: string])[] = [
  [null, "text"],
  [null, "int"],
  [-5, "int"],
  [9007199254740993n, "int8"],
  [0.1, "float8"],
  ["NaN", "numeric"],
  [true, "bool"],
  [new Date("2024-02-29T12:00:00.123Z"), "timestamptz"],
  [new Date("-000044-03-15T00:00:00Z"), "timestamptz"],
  [{ quote: "'", slash: "\\", list: [1, null] }, "jsonb"],
  [{ quote: "'\\\"" }, "json"],
  [[1, null, 3], "int[]"],
  [[["a'b", 'c"d'], ["e\\f", "NULL"]], "text[]"],
  [[], "text[]"],
  [Uint8Array.from({ length: 256 }, (_, byte) => byte), "bytea"],
  [[Uint8Array.of(0, 39, 92)], "bytea[]"],
  [new TextEncoder().encode("it's \\ bytes"), "text"],
  ["101", "bit(3)"],
  ["x", '"char"'],
  ["abc", "char(5)"],
  ["1 day 02:00", "interval"],
  ["10.0.0.1/8", "inet"],
  ["[1,5)", "int4range"],
  ["5f0c1a52-0c5e-4d4f-9d3e-0d8f6b1c2a3b", "uuid"],
];

/** The result of a query whose value is bound, and of its pull. */
async function both(db: Queryable, value: unknown, type: string): Promise<[bound: unknown, pulled: unknown]> {
  const query = db.sql`SELECT ((${value}::${db.sql.unsafe(type)}))::text AS v`;
  const { stream, text } = recordingStream();
  await query.pull(stream, { format: "ndjson" });
  return [await query.value(), JSON.parse(text()).v];
}

pullTest("a parameter in pull() means the same as the bound value", async ({ db }) => {
  await db.query("CREATE TABLE victims (id int)");
  for (const conforming of ["on", "off"]) {
    await db.transaction(async (tx) => {
      await tx.query(`SET LOCAL standard_conforming_strings = ${conforming}`);
      for (const text of TEXTS) {
        const [bound, pulled] = await both(tx, text, "text");
        assert.equal(bound, text);
        assert.equal(pulled, text, `standard_conforming_strings ${conforming}`);
      }
      for (const [value, type] of OTHERS) {
        const [bound, pulled] = await both(tx, value, type);
        assert.equal(pulled, bound, `${type} ${Deno.inspect(value)}`);
      }
    });
  }
  await db.query("DROP TABLE victims"); // fails if a parameter has dropped it
});

pullTest("pull() finds the parameters between quotes and comments of every kind", async ({ db }) => {
  const { sql } = db;
  const hostile = "'); SELECT 1; --\\";
  const queries = [
    sql`SELECT '$1' AS a, ${hostile} AS b, $$ $1 ' $$ AS c -- $1 '`,
    sql`SELECT E'\'$1' AS a, ${hostile} AS b /* $1 /* ' */ */`,
    sql`SELECT 'a'
      '$1' AS a, ${hostile} AS b, "c ' $1" FROM (VALUES (1)) AS t("c ' $1")`,
    sql`SELECT '\' AS a, ${hostile} AS b`,
    sql`SELECT a$1, ${hostile} AS b FROM (VALUES (1)) AS t(a$1)`,
    sql`WITH t AS (SELECT ${hostile}::text AS b) SELECT b FROM t ORDER BY ${1}::int LIMIT ${1};`,
  ];
  for (const query of queries) {
    const { stream, text } = recordingStream();
    await query.pull(stream, { format: "ndjson" });
    const bound = await query.first();
    assert.deepEqual(JSON.parse(text()), { ...bound });
    assert.equal(bound?.["b"], hostile);
  }
});

pullTest("pull() keeps the columns' names and a user's own types with parameters", async ({ db }) => {
  await db.query(`DROP TYPE IF EXISTS "Odd mood"`);
  await db.query(`CREATE TYPE "Odd mood" AS ENUM ('it''s', 'fine')`);
  const { stream, text } = recordingStream();
  await db.sql`SELECT ${"x"}, ${1}::int, ${"it's"}::"Odd mood", ${[1]}::int[], ${Uint8Array.of(65)}::text`
    .pull(stream, { format: "csv" });
  assert.equal(text(), "?column?,int4,Odd mood,int4,text\nx,1,it's,{1},A\n");
  await db.query(`DROP TYPE "Odd mood"`);
});

pullTest("pull() refuses a value where no parameter is possible", async ({ db }) => {
  const { sql } = db;
  const hostile = "' || pg_sleep(9) || '";
  for (const query of [sql`SELECT 'x ${hostile}'`, sql`SELECT 1 -- ${hostile}`, sql`SELECT $$${hostile}$$`]) {
    const error = await errorOf(query.pull(recordingStream().stream, { format: "csv" }));
    assert.equal(error.code, "BAD_PARAMETER");
    assert.match(error.message, /a \$\{value\} is (within quotes|in a comment)/);
  }
  const half = await errorOf(sql`SELECT '${hostile}', ${1}::int`.pull(recordingStream().stream, { format: "csv" }));
  assert.equal(half.sqlstate, "42P18");
  const bytes = await errorOf(sql`SELECT ${Uint8Array.of(1)}::int`.pull(recordingStream().stream, { format: "csv" }));
  assert.match(bytes.message, /parameter 1 is bytes, but the statement takes int4 there/);
  const wrong = await errorOf(sql`SELECT ${"many"}::int`.pull(recordingStream().stream, { format: "csv" }));
  assert.deepEqual([wrong.code, wrong.sqlstate], ["QUERY_FAILED", "22P02"]);
});

queryTest("a table's columns, found by its name, equal the server's description of its query", async ({ db }) => {
  await db.query(`CREATE TYPE mood AS ENUM ('fine');
    CREATE TYPE pair AS (a int, b text);
    CREATE TABLE known ("odd ""name" varchar(10), fare numeric(10, 2), bare numeric, codes bpchar(3)[], gone int,
      at timestamptz(3), every interval hour to minute, flags bit varying(5), mood mood, pair pair, doc jsonb,
      twice int GENERATED ALWAYS AS (1 + 1) STORED);
    ALTER TABLE known DROP COLUMN gone;
    CREATE VIEW known_view AS SELECT *, 1 AS one, NULL AS nothing FROM known;
    CREATE DOMAIN zone AS varchar(7);
    CREATE TABLE with_domain (id int, zone zone, zones zone[]);
    CREATE TABLE without_columns ()`);
  const session = db[SESSION];
  const find = () => Promise.resolve(session);
  const cases: [string, known: boolean][] = [
    ["known", true],
    ["known_view", true],
    ["with_domain", false],
    ["without_columns", false],
  ];
  for (const [name, known] of cases) {
    const source = await findSource(find, name);
    assert.equal(source.columns !== undefined, known, name);
    const describe = (columns: typeof source.columns) =>
      onConnection(session, source.statement, undefined, (lease) => {
        return describeSource(session, lease, { ...source, columns }, undefined);
      });
    assert.deepEqual(await describe(source.columns), await describe(undefined), name);
  }
  await db.query(
    "DROP VIEW known_view; DROP TABLE known, with_domain, without_columns; DROP TYPE mood, pair; DROP DOMAIN zone",
  );
});

Deno.test("a table is not looked up if its name has only one meaning", () => {
  const texts: [name: string, text: string | undefined][] = [
    ["trips", 'SELECT * FROM "trips"'],
    ["public.trips", 'SELECT * FROM "public"."trips"'],
    ['"Odd ""name"""', 'SELECT * FROM "Odd ""name"""'],
    ["Trips", undefined], // "Trips", or trips
  ];
  for (const [name, text] of texts) assert.equal(uncheckedTable(name)?.statement.text, text, name);
});

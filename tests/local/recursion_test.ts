import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "../support/lakebase.ts";
import { LOCKED } from "../support/files.ts";

const quiet = { sanitizeOps: false, sanitizeResources: false };

const NESTED_JSON = `repeat('[', 20000) || repeat(']', 20000)`;

/** Each statement ends with 54001 or succeeds; 42601 is the parser's own limit. */
const DEEP = [
  `SELECT (${NESTED_JSON})::jsonb`, // first, because code that has run often is compiled and then uses less stack
  `SELECT (${NESTED_JSON})::json`,
  `SELECT (repeat('{"a":', 100000))::json`,
  "SELECT fact(300)",
  "SELECT fact(100000)",
  `SELECT ${"(".repeat(3000)}1${")".repeat(3000)}`,
  `SELECT 1${"+1".repeat(20_000)}`,
  `SELECT * FROM ${"(SELECT * FROM ".repeat(1000)}(SELECT 1) a${") a".repeat(1000)}`,
  `SELECT 'a' ~ '${"(".repeat(2000)}a${")".repeat(2000)}'`,
  `SELECT ('(' || repeat('!(', 5000) || 'a' || repeat(')', 5000) || ')')::tsquery`,
  `SELECT ('$' || repeat('?(@', 5000) || repeat(')', 5000))::jsonpath`,
  "WITH RECURSIVE t AS (SELECT deep('x', 5000)) SELECT * FROM t",
];

Deno.test({
  name: "endless recursion in the embedded database ends its statement, not the database",
  ...quiet,
  fn: async () => {
    await using local = await startLocal();
    await using db = await connect({ ...optionsOf(local), max: 1 });
    await db.query(`CREATE TABLE kept AS SELECT 1 AS n;
      CREATE FUNCTION fact(n int) RETURNS numeric LANGUAGE plpgsql AS
        $$ BEGIN IF n < 2 THEN RETURN 1; END IF; RETURN n * fact(n - 1); END $$;
      CREATE FUNCTION deep(x text, n int) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'SELECT deep($1, $2 - 1)' USING x, n; RETURN x; END $$;
      SET application_name TO mine`);
    const caught =
      `DO $$ BEGIN PERFORM (${NESTED_JSON})::jsonb; EXCEPTION WHEN statement_too_complex THEN NULL; END $$`;
    await db.query(caught);
    assert.equal(await db.sql`SELECT fact(30)`.value<string>().then((text) => text?.length), 33);
    for (const text of DEEP) {
      const error = await db.query(text).then(() => undefined, (error) => error);
      assert.ok([undefined, "54001", "42601"].includes(error?.sqlstate), `${text.slice(0, 60)}: ${error}`);
      assert.equal(await db.sql`SELECT n FROM kept`.value(), 1, text.slice(0, 60));
    }
    assert.equal(await db.sql`SHOW application_name`.value(), "mine");
  },
});

Deno.test("(slow) with a larger stack of Deno, embedded functions recurse deeper, and still end with 54001", async () => {
  const code = `import { connect } from ${JSON.stringify(import.meta.resolve("../../mod.ts"))};
    await using db = await connect({ local: true, envFile: false });
    await db.query("CREATE FUNCTION fact(n int) RETURNS numeric LANGUAGE plpgsql AS " +
      "'BEGIN IF n < 2 THEN RETURN 1; END IF; RETURN n * fact(n - 1); END'");
    const digits = await db.query("SELECT length(fact(300)::text) AS n").then(([row]) => row.n, (error) => error.sqlstate);
    const error = await db.query("SELECT fact(100000)").catch((error) => error.sqlstate);
    console.log(JSON.stringify([digits, error, await db.query("SELECT 1 AS n").then(([row]) => row.n)]));`;
  const runs = ["2000", "5000"].map(async (size) => {
    const args = [
      "run",
      "-A",
      "--no-check",
      ...LOCKED,
      `--v8-flags=--stack-size=${size}`,
      `data:text/javascript,${encodeURIComponent(code)}`,
    ];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).output();
    return JSON.parse(new TextDecoder().decode(stdout));
  });
  assert.deepEqual(await Promise.all(runs), [[615, "54001", 1], [615, "54001", 1]]);
});

/** Reads memory at an invalid address. */
const CRASH = "SELECT crash(2147483647)";

for (const kept of [true, false]) {
  Deno.test({
    name: `${kept ? "" : "(slow) "}a crash of the embedded database is reported once, and then it starts again with ${
      kept ? "its folder" : "no data"
    }`,
    ...quiet,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        const options = kept ? { dataDir: `${folder}/data` } : {};
        await using local = await startLocal({ ...options, passwords: { postgres: "secret" } });
        const login = { ...optionsOf(local), user: "postgres", password: "secret" };
        await using db = await connect({ ...login, max: 1 });
        await db.query(`CREATE TABLE kept AS SELECT 1 AS n;
          CREATE FUNCTION crash(int) RETURNS cstring LANGUAGE internal STRICT AS 'textout'`);
        const error = await db.query(CRASH).then(() => undefined, (error) => error);
        assert.deepEqual([error.code, error.sqlstate], ["CONNECTION_LOST", "57P02"]);
        assert.match(error.message, /The local database has crashed/);
        assert.match(error.message, kept ? /data folder/ : /empty database/);
        const found = await db.query("SELECT n FROM kept").then(() => "kept", (error) => error.sqlstate);
        assert.equal(found, kept ? "kept" : "42P01");
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

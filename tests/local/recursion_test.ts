import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "../support/lakebase.ts";

const quiet = { sanitizeOps: false, sanitizeResources: false };

const DEEP = [
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
  name: "recursion in the embedded database ends its statement, not the database",
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
    assert.equal(await db.sql`SELECT fact(30)`.value<string>().then((text) => text?.length), 33);
    for (const text of DEEP) {
      const error = await db.query(text).then(() => undefined, (error) => error);
      assert.ok([undefined, "54001", "42601"].includes(error?.sqlstate), `${text.slice(0, 60)}: ${error}`);
      assert.equal(await db.sql`SELECT n FROM kept`.value(), 1, text.slice(0, 60));
    }
    assert.equal(await db.sql`SHOW application_name`.value(), "mine");
  },
});

Deno.test({
  name: "an embedded database that crashes says so once, and starts again with what its folder has",
  ...quiet,
  fn: async () => {
    const dataDir = await Deno.makeTempDir();
    try {
      await using local = await startLocal({ dataDir: `${dataDir}/data` });
      await using db = await connect({ ...optionsOf(local), max: 1 });
      await db.query("CREATE TABLE kept AS SELECT 1 AS n");
      const error = await db.query("SELECT (repeat('[', 20000) || repeat(']', 20000))::jsonb")
        .then(() => undefined, (error) => error);
      if (error.sqlstate !== "54001") { // as on a system whose stack is larger
        assert.deepEqual([error.code, error.sqlstate], ["CONNECTION_LOST", "57P02"]);
        assert.match(
          error.message,
          /The local database has crashed \(.*\), and all its sessions are over\. It starts again with/,
        );
      }
      assert.equal(await db.sql`SELECT n FROM kept`.value(), 1);
    } finally {
      await Deno.remove(dataDir, { recursive: true });
    }
  },
});

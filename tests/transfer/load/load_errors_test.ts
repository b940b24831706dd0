import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import { Table, tableToIPC, TimestampMicrosecond, vectorFromArray } from "apache-arrow";
import { type Lakebase, LakebaseError } from "../../../mod.ts";
import { errorOf, queryTest, sharedPostgres, untilEnded, untilRuns } from "../../support/queries.ts";
import { pullTest } from "../../support/transfers.ts";

/** Separate tables, each made by a statement in which `t` stands for its name. The last one is loaded. */
async function withTables(db: Lakebase, definitions: string[], work: (table: string) => Promise<void>): Promise<void> {
  const name = `errors_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
  const named = (sql: string) => sql.replace(/\bt(\d)\b/g, `${name}_$1`);
  for (const definition of definitions) await db.query(named(definition));
  try {
    await work(name);
  } finally {
    await db.query(named(definitions.map((_, index) => `DROP TABLE t${index} CASCADE`).join("; ")));
  }
}

const PARENT = "CREATE TABLE t0 (id int PRIMARY KEY)";
const CHILD = "CREATE TABLE t1 (parent int REFERENCES t0)";

queryTest(
  "the error of a constraint that is checked after the rows says where to look, and that nothing was loaded",
  async ({ db }) => {
    await withTables(db, [PARENT, CHILD], async (name) => {
      const { message, sqlstate } = await errorOf(db.load(`${name}_1`, [{ parent: 5 }]));
      assert.equal(sqlstate, "23503");
      assert.match(
        message,
        /^Cannot load the rows into errors_\w+_1: insert or update on table .* foreign key constraint/,
      );
      assert.match(
        message,
        /\nDETAIL: Key \(parent\)=\(5\) is not present[^]*\nHINT: .* look for the value in the rows\nNothing/,
      );
      assert.match(message, /\nNothing was loaded\.$/);
    });
    const deferred = "CREATE TABLE t0 (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    await withTables(db, [deferred], async (name) => {
      const { message, sqlstate } = await errorOf(db.load(`${name}_0`, [{ id: 1 }, { id: 1 }]));
      assert.equal(sqlstate, "23505");
      assert.match(
        message,
        /^Cannot load the rows into \w+: duplicate key value[^]*\nDETAIL: Key \(id\)=\(1\)[^]*\nNothing was loaded\.$/,
      );
      assert.deepEqual([...await db.query(`SELECT * FROM ${name}_0`)], []);
    });
  },
);

queryTest("a trigger's error says that nothing was loaded, whatever its first words are", async ({ db }) => {
  const raise = `CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'Cannot load on Sundays'; END$$`;
  const table = `${raise}; CREATE TABLE t0 (id int);
    CREATE TRIGGER refuse BEFORE INSERT ON t0 EXECUTE FUNCTION pg_temp.refuse()`;
  await withTables(db, [table], async (name) => {
    const { message, sqlstate } = await errorOf(db.load(`${name}_0`, [{ id: 1 }]));
    assert.equal(sqlstate, "P0001");
    assert.match(message, /^Cannot load the rows into \w+: Cannot load on Sundays [^]*\nNothing was loaded\.$/);
  });
});

queryTest("mode replace of a table that others reference says what to do, and that works", async ({ db }) => {
  await withTables(db, [PARENT, CHILD], async (name) => {
    await db.load(`${name}_0`, [{ id: 1 }]);
    await db.load(`${name}_1`, [{ parent: 1 }]);
    const { message } = await errorOf(db.load(`${name}_0`, [{ id: 2 }], { mode: "replace" }));
    assert.match(
      message,
      /^Cannot load the rows into \w+: cannot truncate[^]*\nHINT: rows of another table refer to it; in a/,
    );
    assert.match(message, /\nNothing was loaded\.$/);
    assert.doesNotMatch(message, /CASCADE/);
    await db.transaction(async (tx) => {
      await tx.query(`TRUNCATE ${name}_0, ${name}_1`);
      await tx.load(`${name}_0`, [{ id: 2 }]);
    });
    assert.deepEqual([...await db.query(`SELECT * FROM ${name}_0`)], [{ id: 2 }]);
  });
});

queryTest("if a connection is lost before the end, the error says that nothing was loaded", async ({ open, local }) => {
  const db = await open();
  await withTables(db, [PARENT], async (name) => {
    const rows = async function* () {
      for (let id = 0;; id++) {
        if (id === 1000) local.faults.dropConnections();
        yield await Promise.resolve({ id });
      }
    };
    const error = await errorOf(db.load(`${name}_0`, rows()));
    assert.equal(error.code, "CONNECTION_LOST");
    assert.match(error.message, /^Cannot load the rows into \w+: the connection is lost: .*\nNothing was loaded\.$/);
    assert.deepEqual([...await db.query(`SELECT * FROM ${name}_0`)], []);
  });
});

queryTest(
  "if a connection is lost at the COMMIT, the error says that the outcome is not known",
  async ({ open, local }) => {
    const db = await open();
    await withTables(db, ["CREATE TABLE t0 (id int)"], async (name) => {
      const holder = new pg.Client((await sharedPostgres()).url);
      await holder.connect();
      await holder.query("SELECT pg_advisory_lock(4713)");
      await db.query(
        `CREATE FUNCTION ${name}_wait() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_advisory_xact_lock(4713); RETURN NULL; END';
      CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ${name}_0 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      EXECUTE FUNCTION ${name}_wait()`,
      );
      const loading = errorOf(db.load(`${name}_0`, [{ id: 1 }]));
      await untilRuns(db, "COMMIT%");
      local.faults.dropConnections();
      const error = await loading;
      await holder.end();
      assert.equal(error.code, "CONNECTION_LOST");
      assert.match(error.message, /^Cannot load the rows into \w+: .*\nIt is not known whether the rows were saved/);
      await untilEnded(db, "COMMIT%");
    });
  },
  { notOnPglite: "one statement at a time" },
);

queryTest("an error of the source stays the same error, even if it is a LakebaseError", async ({ db }) => {
  await withTables(db, [PARENT], async (name) => {
    const mine = new LakebaseError("QUERY_FAILED", 'column "nothing" does not exist', { sqlstate: "42703" });
    const rows = async function* () {
      for (let id = 0; id < 2000; id++) yield { id }; // more rows than the sample
      throw await Promise.resolve(mine);
    };
    assert.equal(await errorOf(db.load(`${name}_0`, rows())), mine);
  });
});

pullTest("the trace of an error of a load begins at the caller's line", async ({ db, folder }) => {
  await Deno.writeTextFile(`${folder}/x.arrow`, "this is no Arrow file");
  await Deno.writeTextFile(`${folder}/x.csv`, "");
  const callerOfLoad = async (source: string) => await db.load("nowhere", source, { create: true });
  for (const source of ["x.arrow", "none.parquet", "x.csv", "none.csv"]) {
    const { stack } = await errorOf(callerOfLoad(`${folder}/${source}`));
    assert.match(stack!, /^.*\n\s+at (async )?callerOfLoad \(.*load_errors_test\.ts/, source);
  }
});

pullTest("an error does not say that a type was sampled if it comes from the file", async ({ db, folder }) => {
  await db.pull(db.sql`SELECT '5 days'::interval::text AS v`, `${folder}/x.parquet`);
  await withTables(db, ["CREATE TABLE t0 (v int)"], async (name) => {
    const { message } = await errorOf(db.load(`${name}_0`, `${folder}/x.parquet`));
    assert.match(message, /row 1, column v: invalid input[^]*"5 days" \(SQLSTATE 22P02\)\nNothing was loaded\.$/);
  });
  const tooEarly = new Table({ v: vectorFromArray([-(2 ** 52)], new TimestampMicrosecond()) });
  await Deno.writeFile(`${folder}/x.arrow`, tableToIPC(tooEarly, "file"));
  const failed = (types: Record<string, string>) =>
    errorOf(db.load("errors_new", `${folder}/x.arrow`, { create: true, types }));
  assert.match(
    (await failed({})).message,
    /row 1 of .*x\.arrow.*, column "v" has 140745-\d\d-\d\d [^"]* BC, which a timestamp of Postgres can't hold; load it into/,
  );
});

pullTest(
  "load() with create refuses a file that has one column because its delimiter is not detected",
  async ({ db, folder }) => {
    const cases: [name: string, text: string, delimiter: string][] = [
      ["a.csv", "a;b\n1;2;3\n", ";"],
      ["a.tsv", "a,b\n1,2\n", ","],
    ];
    for (const [name, text, delimiter] of cases) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
      const error = await errorOf(db.load("errors_new", `${folder}/${name}`, { create: true }));
      assert.equal(error.code, "BAD_FILE");
      assert.ok(
        error.message.includes(`separated by "${delimiter}", use { format: "csv", delimiter: "${delimiter}" }`),
      );
      const { rows } = await db.load("errors_new", `${folder}/${name}`, { create: true, columns: ["one"] });
      assert.equal(rows, 1);
      await db.query("DROP TABLE errors_new");
    }
  },
);

queryTest("deeply nested rows are loaded, or refused with that reason", async ({ db }) => {
  const nested = (depth: number, wrap: (value: unknown) => unknown) => {
    let value: unknown = 1;
    for (let level = 0; level < depth; level++) value = wrap(value);
    return value;
  };
  for (const wrap of [(value: unknown) => [value], (value: unknown) => ({ a: value })]) {
    for (const depth of [500, 5000, 200_000]) {
      const value = nested(depth, wrap);
      for (const type of [undefined, "jsonb", "text[]"]) {
        if (type !== undefined) await db.query(`CREATE TABLE nested_rows (value ${type})`);
        const options = type === undefined ? { create: true } : {};
        const error = await db.load("nested_rows", [{ value }], options).then(() => undefined, (error) => error);
        if (type !== "text[]" && depth === 500) assert.equal(error, undefined);
        else if (error !== undefined) {
          assert.match(`${error.code} ${error.sqlstate}`, /QUERY_FAILED (54001|54000|22P02)|BAD_PARAMETER/);
        }
        await db.query("DROP TABLE IF EXISTS nested_rows");
      }
    }
  }
});

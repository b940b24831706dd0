import assert from "node:assert/strict";
import { type Lakebase, SESSION } from "../../src/api/lakebase.ts";
import { findCatalog } from "../../src/cells/completion_catalog.ts";
import { makeSqlCells, type SqlCellOptions, type SqlCellTarget } from "../../src/cells/sql_cell.ts";
import { parseCatalog } from "../../src/kernel/catalog.ts";
import { eventually } from "../support/eventually.ts";
import { drawn, errorOf, queryTest } from "../support/queries.ts";

/**
 * Makes the call that the kernel makes of a `%%sql` cell. Each text is a statement; the values are bound in the order
 * of the `?`.
 */
function cellOn(db: Lakebase) {
  const cells = makeSqlCells({
    current: () => Promise.resolve(db as SqlCellTarget),
    countOpen: () => Promise.resolve(1),
    session: () => db[SESSION],
  });
  return (options: Partial<SqlCellOptions>, ...statements: [text: string, ...values: unknown[]][]) =>
    cells(
      { magic: "%%sql", use: "draw", ...options },
      ...statements.map(([text, ...values]) => [text.split("?"), values] as const),
    );
}

queryTest("a %%sql cell fetches only the rows that it shows", async ({ db, open }) => {
  const cell = cellOn(db);
  await cell({}, ["CREATE TABLE cells AS SELECT n FROM generate_series(1, 100) AS n"]);
  const twenty = await cell({}, ["SELECT n FROM cells ORDER BY n"]);
  assert.match(await drawn(twenty), / 20\n\(first 20 rows, there are more, [\d.]+ m?s\)$/);
  const one = await cell({ limit: 1 }, ["SELECT n FROM cells WHERE n > ?", 41]);
  assert.match(await drawn(one), / 42\n\(first row, there are more/);
  assert.equal(await cell({ "no-display": true }, ["DELETE FROM cells WHERE n > ?", 90]), undefined);
  await open({ readOnly: true });
  const counted = await drawn(await cell({}, ["SELECT count(*) FROM cells"]));
  assert.match(counted, / 90\n\(1 row, [\d.]+ m?s, on databricks_postgres at localhost:\d+\)$/);
  const dropped = await drawn(await cell({}, ["DROP TABLE cells"]));
  assert.match(dropped, /^DROP TABLE, on databricks_postgres at localhost:\d+, /);
});

queryTest("a %%sql cell stores its whole result, and checks the variable before it runs", async ({ db, open }) => {
  const cell = cellOn(db);
  let kept: unknown[] = [];
  const store: Partial<SqlCellOptions> = {
    store: "rows",
    check: () => {},
    keep: (result) => kept = result as unknown[],
  };
  const line = await cell(store, ["SELECT n FROM generate_series(1, 100) AS n"]);
  assert.equal(kept.length, 100);
  assert.match(await drawn(line), /^rows: 100 rows, [\d.]+ m?s$/);
  assert.match(await drawn(await cell({ ...store, limit: 2 }, ["SELECT 1 AS one"])), /one\n-+\n +1\n\(1 row/);
  assert.match(await drawn(await cell({ ...store, explain: true }, ["SELECT 1"])), /^rows is set$/);

  await open({ readOnly: true });
  assert.match(await drawn(await cell(store, ["SELECT 1"])), /^rows: 1 row, on databricks_postgres at localhost:\d+, /);

  const constant = () => {
    throw new TypeError("Assignment to constant variable.");
  };
  const error = await errorOf(() => cell({ ...store, check: constant }, ["CREATE TABLE never (a int)"]));
  assert.match(error.message, /can't be stored as rows, which is a const/);
  assert.deepEqual(await db.sql`SELECT to_regclass('never') AS found`.value(), null);

  const undeclared = () => {
    throw new ReferenceError("stored_by_cell is not defined");
  };
  await cell({ store: "stored_by_cell", check: undeclared, keep: undeclared }, ["SELECT 7 AS seven"]);
  assert.deepEqual((Reflect.get(globalThis, "stored_by_cell") as unknown[])[0], { seven: 7 });
  Reflect.deleteProperty(globalThis, "stored_by_cell");
});

queryTest("statements with values run in one transaction", async ({ db }) => {
  const cell = cellOn(db);
  await cell({}, ["CREATE TABLE pairs (n int)"]);
  const last = await cell({ use: "value" }, ["INSERT INTO pairs VALUES (?)", 1], [
    "SELECT n + ?::int AS n FROM pairs",
    1,
  ]);
  assert.deepEqual([...last as unknown[]], [{ n: 2 }]);
  await errorOf(() => cell({}, ["INSERT INTO pairs VALUES (?)", 2], ["SELECT 1 / ?::int", 0]));
  assert.equal(await db.sql`SELECT count(*) FROM pairs`.value(), 1);
  await db.sql`DROP TABLE pairs`;
});

queryTest("statements with values may begin and end transactions, like statements without values", async ({ db }) => {
  const cell = cellOn(db);
  await cell({}, ["CREATE TABLE kept (n int)"]);
  const count = async () => await db.sql`SELECT count(*) FROM kept`.value();
  const values = (end: string): [string, ...unknown[]][] => [["BEGIN"], ["INSERT INTO kept VALUES (?)", 3], [end]];
  await cell({}, ...values("/* c */ ROLLBACK"));
  assert.equal(await count(), 0);
  await cell({}, ["BEGIN; INSERT INTO kept VALUES (3); ROLLBACK"]);
  assert.equal(await count(), 0);
  await cell({}, ...values("COMMIT"));
  assert.equal(await count(), 1);
  const last = await cell({ use: "value" }, ...values("END"), ["SELECT count(*) + ? AS n FROM kept", 1]);
  assert.deepEqual([...last as unknown[]], [{ n: 3 }]);
  await cell({}, ["SAVEPOINT s"], ["INSERT INTO kept VALUES (?)", 3], ["ROLLBACK TO SAVEPOINT s"]);
  assert.equal(await count(), 2);

  const left = await errorOf(() => cell({}, ["BEGIN"], ["INSERT INTO kept VALUES (?)", 3]));
  assert.match(left.message, /Cannot leave a transaction open: .* was rolled back/);
  await errorOf(() => cell({}, ["BEGIN"], ["INSERT INTO kept VALUES (?)", 3], ["SELECT 1 / ?::int", 0], ["COMMIT"]));
  assert.equal(await count(), 2);
  const open = async () =>
    await db.sql`SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'`.value();
  // A session of an earlier test is listed until its server process is gone.
  await eventually("no transaction is open", async () => await open() === 0);
  await db.sql`DROP TABLE kept`;
});

queryTest(
  "the error of a statement that can't run in a transaction says that the cell is a transaction",
  async ({ db }) => {
    const cell = cellOn(db);
    const hint =
      /cannot [^]*\(SQLSTATE 25001\)\nHINT: The statements of a cell run in one transaction\. Put this statement into a cell/;
    assert.match((await errorOf(() => cell({}, ["VACUUM"], ["SELECT ?::int", 1]))).message, hint);
    assert.match((await errorOf(() => cell({}, ["VACUUM; SELECT 1"]))).message, hint);
    await cell({}, ["VACUUM"]);
  },
);

queryTest("a %%sql cell runs on the connection or transaction that it names", async ({ db }) => {
  const cell = cellOn(db);
  const on = (value: unknown): Partial<SqlCellOptions> => ({ use: "value", connection: "it", find: () => value });
  assert.deepEqual([...await cell(on(Promise.resolve(db)), ["SELECT 1 AS one"]) as unknown[]], [{ one: 1 }]);
  const rolledBack = db.transaction(async (tx) => {
    await cell(on(tx), ["CREATE TABLE inside (a int)"]);
    await cell(on(tx), ["INSERT INTO inside VALUES (?)", 1], ["INSERT INTO inside VALUES (?)", 2]);
    assert.deepEqual([...await cell(on(tx), ["SELECT count(*) AS n FROM inside"]) as unknown[]], [{ n: 2 }]);
    const refused = await errorOf(() => cell({ ...on(tx), command: "dt" }));
    assert.match(refused.message, /\\dt: it needs a connection, and this is a transaction/);
    throw new Error("roll back");
  });
  await assert.rejects(rolledBack, /roll back/);
  for (const value of [undefined, null, 5, {}, { sql: "text" }]) {
    assert.match(
      (await errorOf(() => cell(on(value), ["SELECT 1"]))).message,
      /Cannot run %%sql on it: it is not a connection/,
    );
  }
  const missing = () => {
    throw new ReferenceError("it is not defined");
  };
  const error = await errorOf(() => cell({ ...on(0), find: missing }, ["SELECT 1"]));
  assert.match(
    error.message,
    /there is no such variable\. Make one with const it = await connect\(\.\.\.\), or leave it out/,
  );
  assert.match(
    (await errorOf(() => cell({ ...on(undefined), connection: "db.nope" }, ["SELECT 1"]))).message,
    /Cannot run %%sql on db\.nope: it is not a connection\. Make one with const db = await connect\(.*leave db\.nope out/,
  );
});

queryTest("a %%sql cell answers psql's commands", async ({ db }) => {
  const cell = cellOn(db);
  await db.query("CREATE TABLE commanded (id int PRIMARY KEY)");
  const shown = async (command: string, argument = "") => await drawn(await cell({ command, argument }));
  assert.match(await shown("d"), /public +\| commanded/);
  assert.match(await shown("d", "commanded"), /table public\.commanded[^]*id +\| integer/);
  assert.match(await shown("d", "comm*"), /public +\| commanded \| table/);
  assert.match(await shown("dt", "commanded"), /public +\| commanded \| table/);
  assert.match(await shown("dn"), /public/);
  assert.match(await shown("conninfo"), /^Lakebase\n/);
  assert.match((await errorOf(() => cell({ command: "d", argument: "nobody" }))).message, /nobody/);
  await db.query("CREATE VIEW commanded_view AS SELECT id FROM commanded");
  await db.query("CREATE FUNCTION commanded_sum(a int, b int DEFAULT 1) RETURNS int RETURN a + b");
  assert.match(await shown("dv"), /commanded_view \| view +\|[^]*FROM commanded/);
  assert.match(await shown("di", "public.commanded*"), /commanded_pkey \| commanded \| true[^]* \| btree +\| id *\n/);
  assert.match(await shown("df"), /commanded_sum \| function \| a integer, b integer DEFAULT 1 \| integer \| sql/);
  assert.doesNotMatch(await shown("df"), /pg_catalog/);
  assert.match(await shown("df", "pg_catalog.lower"), /pg_catalog \| lower/);
  assert.match(await shown("du"), /you@example\.com/);
  assert.match(await shown("l"), /postgres +\|.*UTF8/);
  assert.match(await shown("l", "template?"), /template1/);
  assert.match(await shown("timing"), /each result shows its time/);
  assert.match(await shown("?"), /\\di \[pattern\] +\| lists indexes/);
  assert.match((await errorOf(() => cell({ command: "du", argument: "a.b" }))).message, /a role is in no schema/);
  await db.query("DROP TABLE commanded CASCADE; DROP FUNCTION commanded_sum");
});

queryTest("a + after a command shows details, and after any command nothing fails", async ({ db }) => {
  const cell = cellOn(db);
  await db.query('CREATE TABLE detailed (id int PRIMARY KEY, zone text COLLATE "C") WITH (fillfactor = 70)');
  await db.query("COMMENT ON COLUMN detailed.zone IS 'of the city'");
  await db.query("CREATE VIEW detailed_view AS SELECT id,\n  zone FROM detailed WHERE id > 1");
  await db.query("CREATE FUNCTION detailed_sum(a int, b int) RETURNS int IMMUTABLE RETURN a + b");
  const shown = async (command: string, argument = "") =>
    await drawn(await cell({ command, argument, detailed: true }));
  const table = await shown("d", "detailed");
  assert.match(table, /zone \| text +\| C .*\| extended .*\| of the city/);
  assert.match(table, /\nowner {10}\S+\naccess method {2}heap\noptions {8}fillfactor=70$/);
  assert.match(await shown("d", "detailed_view"), /\ndefinition {2}SELECT .*id,\n {12} *.*zone\n[^]*WHERE .*id > 1;$/);
  assert.match(await shown("d"), /public \| detailed/);
  assert.match(await shown("df", "detailed*"), /immutable +\| unsafe +\| invoker +\| .*RETURN \(a \+ b\)/);
  assert.match(await shown("di", "detailed*"), /detailed_pkey .* permanent/);
  assert.match(await shown("l"), /postgres .* pg_default/);
  for (const command of ["dt", "dv", "dn", "du"]) assert.match(await shown(command), /\(\d+ \w+, /, command);
  const refused = await errorOf(() => cell({ command: "d", argument: "nobody", detailed: true }));
  assert.match(refused.message, /^Cannot describe nobody: there is no such table/);
  await db.query("DROP TABLE detailed CASCADE; DROP FUNCTION detailed_sum");
});

queryTest("\\x draws each value on its own line until it is turned off", async ({ db }) => {
  const cell = cellOn(db);
  const x = async (argument = "") => await drawn(await cell({ command: "x", argument }));
  const rows = async () => await drawn(await cell({}, ["SELECT 7 AS a, 'b' AS c"]));
  assert.match(await x(), /^Expanded display is on/);
  assert.match(await rows(), /1 \| a +\| 7 *\n +1 \| c +\| b *\n\(1 row/);
  assert.match(await x("on"), /is on/);
  assert.match(await x("OFF"), /is off/);
  assert.match(await rows(), / 7 \| b *\n\(1 row/);
  assert.match((await errorOf(() => x("maybe"))).message, /\\x maybe: it takes on or off/);
});

queryTest(
  "a %%sql cell sends a catalog that the kernel can read, with the person's own tables first",
  async ({ db }) => {
    await db.query(`CREATE TABLE "Odd Name" ("Id" int NOT NULL, "a b" numeric(8, 2)[])`);
    await db.query("CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2'");
    await db.query("CREATE PROCEDURE ring(n int) LANGUAGE sql AS 'SELECT n'");
    const own = parseCatalog({ connections: [], ...await findCatalog(db[SESSION], false) });
    assert.deepEqual(own?.tables, [{
      schema: "public",
      name: "Odd Name",
      kind: "r",
      visible: true,
      columns: [{ name: "Id", type: "integer", notNull: true }, {
        name: "a b",
        type: "numeric(8,2)[]",
        notNull: false,
      }],
    }]);
    assert.deepEqual(own.functions.map(({ name, args, result }) => [name, args, result]), [
      ["ring", "IN n integer", ""],
      ["twice", "n integer", "integer"],
    ]);
    const all = parseCatalog({ connections: [], ...await findCatalog(db[SESSION], true) })!;
    assert.equal(all.tables[0]?.name, "Odd Name");
    assert.ok(all.tables.some(({ schema, name }) => schema === "pg_catalog" && name === "pg_class"));
    for (const name of ["count", "generate_series", "lower", "now"]) {
      assert.equal(all.functions.filter((item) => item.name === name).length, 1, name);
    }
    assert.ok(!all.functions.some(({ name }) => name === "int4in" || name === "array_in"));
    assert.ok(JSON.stringify(all).length < 1_000_000);
    await db.query('DROP TABLE "Odd Name"');
    await db.query("DROP FUNCTION twice; DROP PROCEDURE ring");
  },
);

queryTest("a %%sql cell draws a chart, and stores it under a name", async ({ db }) => {
  const cell = cellOn(db);
  const rows = "SELECT n % 2 = 0 AS even, n FROM generate_series(1, ?::int) AS n";
  const bars = await cell({ plot: ["bar", "even", "avg(n)"] }, [rows, 4]);
  assert.match(await drawn(bars), /^Bar chart: avg\(n\) by even \(2 values of 4 rows\)$/);
  assert.match(await drawn(await cell({ plot: [] }, ["SELECT 1 AS n"])), /^Histogram: n/);
  let kept: unknown;
  const chart = await cell({ store: "chart", keep: (value) => kept = value, plot: ["histogram", "n"] }, [rows, 4]);
  assert.equal(chart, kept);
  assert.match((await errorOf(() => cell({ plot: ["bars"] }, ["SELECT 1"]))).message, /did you mean "bar"\?/);
  assert.match(
    (await errorOf(() => cell({ plot: [], explain: true }, ["SELECT 1"]))).message,
    /--plot and --explain can.t be used together/,
  );
});

queryTest("a saved query is a table of later ones, nested, with its values in their order", async ({ db }) => {
  const cell = cellOn(db);
  const rows = async (options: Partial<SqlCellOptions>, ...statement: [string, ...unknown[]]) => [
    ...await cell({ use: "value", ...options }, statement) as unknown[],
  ];
  const shown = await drawn(
    await cell({ save: "dear" }, ["SELECT n FROM generate_series(1, ?::int) AS n WHERE n > ? ; -- c", 9, 5]),
  );
  assert.match(shown, / 9\n\(4 rows/);
  assert.deepEqual(
    await rows({ with: ["dear"] }, "-- c\nSELECT count(*)::int + ?::int AS n FROM dear WHERE n < ?", 10, 9),
    [{ n: 13 }],
  );
  await cell({ save: "dearest", with: ["dear"] }, ["SELECT n FROM dear WHERE n > ?", 7]);
  const both =
    "WITH own AS (SELECT ?::int AS n) SELECT n, 'a' AS t FROM dearest UNION SELECT n, 'b' FROM own UNION SELECT 1, 'c' FROM dear ORDER BY 1";
  assert.deepEqual(await rows({ with: ["dearest", "dear"] }, both, 20), [
    ...[{ n: 1, t: "c" }, { n: 8, t: "a" }, { n: 9, t: "a" }, { n: 20, t: "b" }],
  ]);
  const counting =
    "with recursive up AS (SELECT ?::int AS n UNION ALL SELECT n + 1 FROM up WHERE n < 3) SELECT max(up.n + dear.n) AS n FROM up, dear";
  assert.deepEqual(await rows({ with: ["dear"] }, counting, 1), [{ n: 12 }]);
  assert.match(await drawn(await cell({ explain: true, with: ["dear"] }, ["(SELECT n FROM dear)"])), /Function Scan/);
  await cell({}, ["CREATE TABLE dear_rows (n int)"]);
  assert.match(
    await drawn(await cell({ with: ["dear"] }, ["INSERT INTO dear_rows SELECT n FROM dear"])),
    /^INSERT 0 4/,
  );
  await cell({ save: "dear" }, ["SELECT 1 AS n"]);
  assert.deepEqual(await rows({ with: ["dearest"] }, "SELECT n FROM dearest"), [{ n: 8 }, { n: 9 }]);

  const unknown = await errorOf(() => cell({ with: ["deer"] }, ["SELECT 1"]));
  assert.match(
    unknown.message,
    /no statement was saved as deer; did you mean dear\?\. Run a cell that begins with %%sql --save deer first/,
  );
  await errorOf(() => cell({ save: "failed" }, ["SELECT nowhere"]));
  assert.match(
    (await errorOf(() => cell({ with: ["failed"] }, ["SELECT 1"]))).message,
    /no statement was saved as failed/,
  );
  const wrong = await errorOf(() => cell({ with: ["dear"] }, ["SELECT m FROM dear"]));
  assert.match(wrong.message, /\nLINE 4: SELECT m FROM dear\n {15}\^/);
  await db.query("DROP TABLE dear_rows");
});

queryTest("--csv and --parquet write all rows of the last statement into a file", async ({ db }) => {
  const cell = cellOn(db);
  const folder = await Deno.makeTempDir();
  try {
    const csv = `${folder}/rows.csv`;
    const line = await drawn(await cell({ csv }, ["SELECT n, ?::text AS t FROM generate_series(1, 100) AS n", "a,b"]));
    assert.match(line, /100 rows/);
    const lines = (await Deno.readTextFile(csv)).split("\n");
    assert.deepEqual([lines.length, lines[0], lines[100]], [102, "n,t", '100,"a,b"']);
    const parquet = `${folder}/rows`;
    await cell({ parquet }, ["CREATE TEMP TABLE few AS SELECT 1 AS n"], ["SELECT n + ?::int AS n FROM few", 1]);
    const file = await Deno.readFile(parquet);
    assert.equal(new TextDecoder().decode(file.slice(-4)), "PAR1");
    await errorOf(() => cell({ csv: `${folder}/none.csv` }, ["SELECT 1 / 0"]));
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), ["rows", "rows.csv"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { connect, type Lakebase } from "../../mod.ts";
import { DISPLAY } from "../../src/draw/notebook.ts";
import { bothTests } from "../support/lakebase.ts";

const test = bothTests();

/** Makes a separate schema for each test. */
async function withSchema(db: Lakebase, name: string): Promise<AsyncDisposable> {
  const id = db.sql.id(name);
  await db.sql`DROP SCHEMA IF EXISTS ${id} CASCADE`;
  await db.sql`CREATE SCHEMA ${id}`;
  return { [Symbol.asyncDispose]: async () => void await db.sql`DROP SCHEMA ${id} CASCADE` };
}

test("tables() lists tables and views with their kind", async ({ settings }) => {
  await using db = await connect(settings());
  await using _schema = await withSchema(db, "kinds");
  await db.query("CREATE TABLE kinds.plain (id int)");
  await db.query("INSERT INTO kinds.plain SELECT generate_series(1, 1000)");
  await db.query("COMMENT ON TABLE kinds.plain IS 'a <b>comment</b>'");
  await db.query("CREATE VIEW kinds.seen AS SELECT 1 AS one");
  await db.query("CREATE MATERIALIZED VIEW kinds.kept AS SELECT 1 AS one");
  await db.query("CREATE TABLE kinds.parted (id int) PARTITION BY RANGE (id)");
  await db.query("CREATE TABLE kinds.parted_1 PARTITION OF kinds.parted FOR VALUES FROM (0) TO (10)");
  await db.query("CREATE SEQUENCE kinds.counter");
  const before = await db.tables("kinds.*");
  assert.deepEqual(before.map(({ name, kind }) => [name, kind]), [
    ["kept", "materialized view"],
    ["parted", "partitioned table"],
    ["plain", "table"],
    ["seen", "view"],
  ]);
  assert.deepEqual(before.map(({ rows }) => rows), [null, null, null, null]);
  assert.equal(before.find(({ name }) => name === "seen")?.size, null);
  await db.query("INSERT INTO kinds.parted VALUES (1), (2)");
  await db.query("ANALYZE kinds.plain, kinds.parted, kinds.parted_1");
  const [plain] = await db.tables("kinds.plain");
  assert.equal(plain?.rows, 1000);
  assert.ok(plain.size! >= 32 * 1024);
  assert.equal(plain.comment, "a <b>comment</b>");
  const [parted] = await db.tables("kinds.parted");
  assert.equal(parted?.rows, 2);
  assert.ok(parted.size! > 0);
});

test("tables() without a pattern leaves out the system's tables, and lists partitions as part of their table", async ({ settings }) => {
  await using db = await connect(settings());
  await using _schema = await withSchema(db, "users");
  await db.query("CREATE TABLE users.parted (id int) PARTITION BY LIST (id)");
  await db.query("CREATE TABLE users.parted_1 PARTITION OF users.parted DEFAULT");
  const all = await db.tables();
  assert.deepEqual(all.filter(({ schema }) => /^pg_|^information_schema$/.test(schema)), []);
  assert.deepEqual(all.filter(({ schema }) => schema === "users").map(({ name }) => name), ["parted"]);
  assert.deepEqual((await db.tables("users.parted_*")).map(({ name }) => name), ["parted_1"]);
  assert.deepEqual((await db.tables("pg_catalog.pg_clas?")).map(({ name }) => name), ["pg_class"]);
  assert.deepEqual([...await db.tables("pg_class")], []);
});

test("tables() reads a pattern like psql", async ({ settings }) => {
  await using db = await connect(settings());
  await using _schema = await withSchema(db, "Pat.tern");
  const names = ["Trip", "trips", "trip_x", "tripox", "a*b", "a%b", `q"uote`, "dot.ted"];
  for (const name of names) await db.sql`CREATE TABLE ${db.sql.id("Pat.tern", name)} (id int)`;
  const found = async (pattern: string) => (await db.tables(`"Pat.tern".${pattern}`)).map(({ name }) => name).sort();
  assert.deepEqual(await found("*"), names.toSorted());
  assert.deepEqual(await found(""), names.toSorted());
  assert.deepEqual(await found("trips"), ["trips"]);
  assert.deepEqual(await found("TRIPS"), ["trips"]);
  assert.deepEqual(await found("Trip"), ["Trip"]);
  assert.deepEqual(await found('"TRIPS"'), []);
  assert.deepEqual(await found("trip_x"), ["trip_x"]);
  assert.deepEqual(await found("trip?x"), ["trip_x", "tripox"]);
  assert.deepEqual(await found('"a*b"'), ["a*b"]);
  assert.deepEqual(await found("a%b"), ["a%b"]);
  assert.deepEqual(await found('"q""uote"'), [`q"uote`]);
  assert.deepEqual(await found('"dot.ted"'), ["dot.ted"]);
  assert.deepEqual(await found("'; DROP TABLE x; --"), []);
  await assert.rejects(db.tables("a.b.c"), { code: "BAD_PARAMETER", message: /trip\*/ });
});

test("a listing is an array that draws itself in a cell, awaited or not, and in console.log", async ({ settings }) => {
  await using db = await connect(settings());
  await using _schema = await withSchema(db, "drawn");
  await db.query("CREATE TABLE drawn.t (id int)");
  await db.query("COMMENT ON TABLE drawn.t IS '<script>'");
  const tables = await db.tables("drawn.*");
  assert.ok(Array.isArray(tables));
  assert.equal(tables.map(({ name }) => name).constructor, Array);
  assert.deepEqual(tables.fields.map(({ name }) => name), Object.keys(tables[0]!));
  assert.match(Deno.inspect(tables), /drawn +\| t +\| table[^]*\(1 table, /);
  const lazy = await db.tables("drawn.*")[DISPLAY]();
  for (const html of [tables[DISPLAY]()["text/html"]!, lazy["text/html"]!]) {
    assert.match(html, /<table/);
    assert.doesNotMatch(html, /<script>/);
  }
  assert.match(Deno.inspect(db.tables()), /await/);
});

test("schemas() counts the tables and views of each schema", async ({ settings }) => {
  await using db = await connect(settings());
  await using _schema = await withSchema(db, "counted");
  await db.query("CREATE TABLE counted.a (id int PRIMARY KEY)");
  await db.query("CREATE VIEW counted.b AS SELECT 1 AS one");
  await db.query("COMMENT ON SCHEMA counted IS 'ours'");
  const schemas = await db.schemas();
  const { owner, size, ...counted } = schemas.find(({ name }) => name === "counted")!;
  assert.deepEqual(counted, { name: "counted", tables: 1, views: 1, comment: "ours" });
  assert.equal(typeof owner, "string");
  assert.ok(size >= 8192);
  assert.equal(schemas.some(({ name }) => name.startsWith("pg_")), false);
});

test("a listing stops on a signal, and refuses a timeout below 0", async ({ settings }) => {
  await using db = await connect(settings());
  const reason = new Error("enough");
  await assert.rejects(db.tables("*", { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  await assert.rejects(db.schemas({ timeout: -1 }), { code: "BAD_PARAMETER" });
});

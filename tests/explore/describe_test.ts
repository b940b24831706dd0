import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { DISPLAY } from "../../src/draw/notebook.ts";
import { bothTests } from "../support/lakebase.ts";

const test = bothTests();

test("describe() gives columns, keys, indexes, constraints and sizes", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query(`CREATE TABLE d_zones (id int PRIMARY KEY, code text UNIQUE, a int, b int, UNIQUE (a, b))`);
  await db.query(`CREATE TABLE d_trips (
    id bigint GENERATED ALWAYS AS IDENTITY, zone int NOT NULL REFERENCES d_zones, fare numeric(10,2) DEFAULT 0 CHECK (fare >= 0),
    double_fare numeric GENERATED ALWAYS AS (fare * 2) STORED, at timestamptz DEFAULT now(), dropped int, PRIMARY KEY (id, zone))`);
  await db.query("ALTER TABLE d_trips DROP COLUMN dropped");
  await db.query("CREATE INDEX d_trips_at ON d_trips USING brin (at)");
  await db.query("CREATE UNIQUE INDEX d_trips_some ON d_trips (lower(zone::text)) WHERE fare > 1");
  await db.query("COMMENT ON COLUMN d_trips.fare IS 'in dollars'");
  await db.query("COMMENT ON TABLE d_trips IS 'rides'");
  const trips = await db.describe("d_trips");
  assert.deepEqual(
    [...trips],
    [
      ["id", "bigint", false, "generated always as identity", "primary", null],
      ["zone", "integer", false, null, "primary, foreign -> d_zones(id)", null],
      ["fare", "numeric(10,2)", true, "0", null, "in dollars"],
      ["double_fare", "numeric", true, "generated always as ((fare * (2)::numeric)) stored", null, null],
      ["at", "timestamp with time zone", true, "now()", null, null],
    ].map(([name, type, nullable, by, key, comment]) => ({ name, type, nullable, default: by, key, comment })),
  );
  assert.deepEqual([trips.schema, trips.name, trips.kind, trips.rows], ["public", "d_trips", "table", null]);
  assert.ok(trips.size! > 0);
  assert.deepEqual(
    trips.indexes.map(({ name, method, columns, primary, unique }) => [name, method, columns, primary, unique]),
    [
      ["d_trips_pkey", "btree", "id, zone", true, true],
      ["d_trips_at", "brin", "at", false, false],
      ["d_trips_some", "btree", "lower(zone::text)", false, true],
    ],
  );
  assert.match(trips.indexes[2]!.definition, /^CREATE UNIQUE INDEX d_trips_some .* WHERE \(fare > /);
  assert.deepEqual(trips.constraints.map(({ kind }) => kind).sort(), ["check", "foreign key", "primary key"]);
  const text = trips[DISPLAY]()["text/plain"]!;
  assert.match(text, /^table public\.d_trips, \d+ kB, rides\n/);
  assert.match(text, /primary key d_trips_pkey btree \(id, zone\)/);
  const zones = await db.describe("d_zones");
  assert.deepEqual(zones.map(({ key }) => key), ["primary", "unique", null, null]);
  await db.query("DROP TABLE d_trips, d_zones");
});

test("describe() accepts names in their exact form and in the form that SQL folds", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query(`CREATE TABLE folded (a int)`);
  await db.query(`CREATE TABLE "Odd Näme" (b int)`);
  await db.query(`CREATE TABLE "a.b""c" (c int)`);
  await db.query(`CREATE TABLE "Both" (big int)`);
  await db.query(`CREATE TABLE both_ (small int)`);
  const first = async (...args: Parameters<typeof db.describe>) => (await db.describe(...args))[0]?.name;
  assert.equal(await first("folded"), "a");
  assert.equal(await first("FOLDED"), "a");
  assert.equal(await first("Public.Folded"), "a");
  assert.equal(await first("Odd Näme"), "b");
  assert.equal(await first('"Odd Näme"'), "b");
  assert.equal(await first('public."a.b""c"'), "c");
  assert.equal(await first("Both"), "big");
  assert.equal(await first(db.sql.id("public", "Odd Näme")), "b");
  assert.equal(await first(db.sql`folded`), "a");
  await assert.rejects(db.describe('"FOLDED"'), { sqlstate: "42P01" });
  await assert.rejects(db.describe(db.sql.id("FOLDED")), { sqlstate: "42P01" });
  await db.query(`DROP TABLE folded, "Odd Näme", "a.b""c", "Both", both_`);
});

test("describe() of an unknown table suggests a similar name", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE TABLE stations (id serial PRIMARY KEY)");
  const missing = {
    code: "QUERY_FAILED",
    sqlstate: "42P01",
    message: /^Cannot describe statoins.*\nDid you mean stations\?$/,
  };
  await assert.rejects(db.describe("statoins"), missing);
  await assert.rejects(db.describe("nowhere.stations"), { sqlstate: "42P01", message: /Did you mean stations\?/ });
  await assert.rejects(db.describe("stations_pkey"), { sqlstate: "42809", message: /index/ });
  await assert.rejects(db.describe("stations_id_seq"), { sqlstate: "42809", message: /sequence/ });
  for (const name of ["", "a..b", ".", 'a"b', "a\0b", '"open']) {
    await assert.rejects(db.describe(name), { code: "BAD_PARAMETER" }, JSON.stringify(name));
  }
  await assert.rejects(db.describe(db.sql`SELECT 1`), { code: "BAD_PARAMETER", message: /query/ });
  await assert.rejects(db.describe(null as unknown as string), { code: "BAD_PARAMETER" });
  await db.query("DROP TABLE stations");
});

test("describe() works for views, partitions and tables without columns", async ({ settings }) => {
  await using db = await connect(settings());
  await db.query("CREATE VIEW d_view AS SELECT 1 AS one, 'x'::varchar(3) AS two");
  await db.query("CREATE TABLE d_part (id int PRIMARY KEY) PARTITION BY RANGE (id)");
  await db.query("CREATE TABLE d_part_1 PARTITION OF d_part FOR VALUES FROM (0) TO (10)");
  await db.query("CREATE TABLE d_ref (id int REFERENCES d_part)");
  await db.query("CREATE TABLE d_none ()");
  const view = await db.describe("d_view");
  assert.deepEqual([view.kind, view.size, view.rows], ["view", null, null]);
  assert.deepEqual(view.map(({ type }) => type), ["integer", "character varying(3)"]);
  assert.equal((await db.describe("d_part")).kind, "partitioned table");
  assert.equal((await db.describe("d_ref"))[0]?.key, "foreign -> d_part(id)");
  assert.equal((await db.describe("d_ref")).constraints.length, 1);
  const none = await db.describe("d_none");
  assert.equal(none.length, 0);
  assert.match(Deno.inspect(none), /0 columns/);
  await db.query("DROP VIEW d_view");
  await db.query("DROP TABLE d_ref, d_part, d_none");
});

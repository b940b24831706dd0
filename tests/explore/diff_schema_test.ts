import assert from "node:assert/strict";
import { DISPLAY } from "../../src/draw/notebook.ts";
import { twoDatabasesTests } from "../support/two_databases.ts";

const test = twoDatabasesTests();

const SCHEMA = [
  "DROP SCHEMA IF EXISTS app CASCADE",
  "CREATE SCHEMA app",
  "CREATE TYPE app.mood AS ENUM ('sad', 'fine')",
  "CREATE DOMAIN app.positive AS int CHECK (VALUE > 0)",
  "CREATE TYPE app.pair AS (a int, b text)",
  "CREATE SEQUENCE app.counter",
  "CREATE TABLE app.zones (id int PRIMARY KEY, name text)",
  "CREATE TABLE app.trips (id int GENERATED ALWAYS AS IDENTITY, zone int REFERENCES app.zones, fare numeric(10,2) DEFAULT 0 CHECK (fare >= 0))",
  "CREATE INDEX trips_fare ON app.trips (fare)",
  "CREATE VIEW app.cheap AS SELECT id, fare FROM app.trips WHERE fare < 10",
  "CREATE MATERIALIZED VIEW app.counted AS SELECT count(*) FROM app.trips",
  "CREATE FUNCTION app.tip(fare numeric) RETURNS numeric LANGUAGE sql AS 'SELECT fare * 0.2'",
  "CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
  "CREATE TRIGGER touched BEFORE UPDATE ON app.trips FOR EACH ROW EXECUTE FUNCTION app.touch()",
  "CREATE AGGREGATE app.total (numeric) (SFUNC = numeric_add, STYPE = numeric)",
  "CREATE TABLE app.days (day date) PARTITION BY RANGE (day)",
  "CREATE TABLE app.days_2026 PARTITION OF app.days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
  "ALTER TABLE app.zones ENABLE ROW LEVEL SECURITY",
  "CREATE POLICY mine ON app.zones FOR SELECT USING (name = current_user)",
];

/** A statement for the other database, and the changes that it makes: `change kind name`. */
const CHANGES: Record<string, string[]> = {
  "CREATE TABLE app.fresh (id int PRIMARY KEY, a text)": ["added table app.fresh"],
  "DROP TABLE app.days": ["removed table app.days", "removed table app.days_2026"],
  "ALTER TABLE app.trips ADD COLUMN note text NOT NULL DEFAULT ''": ["added column app.trips.note"],
  "ALTER TABLE app.trips DROP COLUMN zone": [
    "removed column app.trips.zone",
    "removed constraint app.trips.trips_zone_fkey",
  ],
  "ALTER TABLE app.zones ALTER COLUMN id TYPE bigint": ["changed column app.zones.id"],
  "ALTER TABLE app.trips ALTER COLUMN fare SET DEFAULT 1": ["changed column app.trips.fare"],
  "ALTER TABLE app.trips ALTER COLUMN fare SET NOT NULL": ["changed column app.trips.fare"],
  "ALTER TABLE app.trips DROP CONSTRAINT trips_fare_check": ["removed constraint app.trips.trips_fare_check"],
  "ALTER TABLE app.trips ADD PRIMARY KEY (id)": ["added constraint app.trips.trips_pkey"],
  "CREATE UNIQUE INDEX zones_name ON app.zones (lower(name))": ["added index app.zones.zones_name"],
  "DROP INDEX app.trips_fare": ["removed index app.trips.trips_fare"],
  "CREATE OR REPLACE VIEW app.cheap AS SELECT id, fare FROM app.trips WHERE fare < 5": ["changed view app.cheap"],
  "DROP MATERIALIZED VIEW app.counted": ["removed materialized view app.counted"],
  "CREATE OR REPLACE FUNCTION app.tip(fare numeric) RETURNS numeric LANGUAGE sql AS 'SELECT fare * 0.3'": [
    "changed function app.tip(fare numeric)",
  ],
  "DROP AGGREGATE app.total (numeric)": ["removed function app.total(numeric)"],
  "ALTER TYPE app.mood ADD VALUE 'great'": ["changed type app.mood"],
  "DROP DOMAIN app.positive": ["removed type app.positive"],
  "ALTER TYPE app.pair ADD ATTRIBUTE c int": ["changed type app.pair"],
  "ALTER SEQUENCE app.counter INCREMENT 2": ["changed sequence app.counter"],
  "DROP TRIGGER touched ON app.trips": ["removed trigger app.trips.touched"],
  "ALTER TABLE app.trips DISABLE TRIGGER touched": ["changed trigger app.trips.touched"],
  "DROP POLICY mine ON app.zones": ["removed policy app.zones.mine"],
  "ALTER TABLE app.zones DISABLE ROW LEVEL SECURITY": ["changed table app.zones"],
  "ALTER TABLE app.trips SET UNLOGGED": ["changed table app.trips"],
  'CREATE SCHEMA "Odd"': ['added schema "Odd"'],
};

test("diff() without a table finds each kind of change of a schema, and only that change", async ({ before, after, onBoth }) => {
  await onBoth(...SCHEMA);
  assert.deepEqual([...await before.diff(after)], []);
  const undone = new Error("undone");
  for (const [statement, changes] of Object.entries(CHANGES)) {
    const changing = after.transaction(async (tx) => {
      await tx.query(statement);
      const diff = await before.diff(after);
      const found = diff.map(({ change, kind, name }) => `${change} ${kind} ${name}`);
      assert.deepEqual(found.sort(), changes.toSorted(), statement);
      assert.equal(diff.added + diff.removed + diff.changed, changes.length);
      for (const { change, before, after } of diff) {
        assert.deepEqual([before === null, after === null], [change === "added", change === "removed"]);
      }
      throw undone;
    });
    await changing.catch((error) => {
      if (error !== undone) throw error;
    });
  }
});

test("diff() draws the schemas that differ, and says that it is not a migration", async ({ before, after, onBoth }) => {
  await onBoth(...SCHEMA);
  const lines = Array.from({ length: 30 }, (_, index) => `-- line ${index}`).join("\n");
  await onBoth(`CREATE FUNCTION app.long() RETURNS int LANGUAGE sql AS $$${lines}\nSELECT 1$$`);
  await after.query(`CREATE OR REPLACE FUNCTION app.long() RETURNS int LANGUAGE sql AS $$${lines}\nSELECT 2$$`);
  await after.query("ALTER TABLE app.trips DROP COLUMN zone");
  const diff = await before.diff(after);
  const { "text/plain": text, "text/html": html } = diff[DISPLAY]();
  assert.match(text!, /^schema: from .+ to .+\n/);
  assert.match(text!, /changed \| function +\| app\.long\(\) .+SELECT 1.+SELECT 2/);
  assert.match(text!, /removed \| column +\| app\.trips\.zone +\| integer +\|/);
  assert.match(text!, /\(0 added, 2 removed, 1 changed in \d+ and \d+ objects, .+; a comparison, not a migration: /);
  assert.match(html!, /app\.trips\.zone/);
  assert.match(diff[0]!.before!, /line 0[^]+SELECT 1/);
  assert.match(Deno.inspect(diff), /not a migration/);
});

test("diff() of schemas does not depend on the search_path of either side", async ({ before, after, onBoth }) => {
  await onBoth(...SCHEMA);
  await after.transaction(async (tx) => {
    await tx.sql`SET LOCAL search_path = app`;
    assert.deepEqual([...await before.diff(after)], []);
    assert.equal(await tx.sql`SELECT current_setting('search_path')`.value(), "app");
  });
});

import assert from "node:assert/strict";
import { SESSION } from "../../../src/api/lakebase.ts";
import { onConnection } from "../../../src/sql/run.ts";
import { describeSource, findSource, uncheckedTable } from "../../../src/transfer/copy/source.ts";
import { queryTest } from "../../support/queries.ts";

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
    const wanted = await findSource(find, name);
    assert.equal(wanted.columns !== undefined, known, name);
    const describe = (columns: typeof wanted.columns) =>
      onConnection(session, wanted.statement, undefined, (lease) => {
        return describeSource(session, lease, { ...wanted, columns }, undefined);
      });
    assert.deepEqual(await describe(wanted.columns), await describe(undefined), name);
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

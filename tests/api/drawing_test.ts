import assert from "node:assert/strict";
import type { Lakebase } from "../../mod.ts";
import { drawn, queryTest } from "../support/queries.ts";

const FOLDER = await Deno.makeTempDir();
Deno.test.afterAll(() => Deno.remove(FOLDER, { recursive: true }));

/** All objects of a connection that a cell can draw, by name. */
const DRAWN: Record<string, (db: Lakebase) => unknown> = {
  "a query": (db) => db.sql`TABLE origins`,
  "a result": async (db) => await db.sql`TABLE origins`,
  "a plan": (db) => db.sql`TABLE origins`.explain(),
  "columns": (db) => db.sql`TABLE origins`.columns(),
  "a plot": (db) => db.sql`TABLE origins`.plot({ x: "n" }),
  "a plot of a result": async (db) => (await db.sql`TABLE origins`).plot({ x: "n" }),
  "a browser": (db) => db.sql`TABLE origins`.browse(),
  "a list of tables": (db) => db.tables("origins"),
  "a list of schemas": (db) => db.schemas(),
  "a description": (db) => db.describe("origins"),
  "a profile": (db) => db.profile("origins"),
  "a pull": (db) => db.pull("origins", `${FOLDER}/origins.csv`),
  "a load": (db) => db.load("origins", [{ n: 1 }]),
};

queryTest("drawings name their connection while several are open", async ({ db, open }) => {
  await db.sql`CREATE TABLE origins AS SELECT 1 AS n`;
  for (const [name, make] of Object.entries(DRAWN)) {
    const alone = await drawn(await make(db));
    assert.doesNotMatch(alone, /on databricks_postgres at/, name);
  }
  await open({ readOnly: true });
  for (const [name, make] of Object.entries(DRAWN)) {
    assert.match(await drawn(await make(db)), /on databricks_postgres at localhost:\d+(?!, in)/, name);
  }
  await db.sql`DROP TABLE origins`;
});

queryTest("drawings in a transaction say so", async ({ db }) => {
  await db.sql`CREATE TABLE origins AS SELECT 1 AS n`;
  await db.transaction(async () => {
    for (const [name, make] of Object.entries(DRAWN)) {
      assert.match(await drawn(await make(db)), /\bin a transaction/, name);
    }
  });
  await db.sql`DROP TABLE origins`;
});

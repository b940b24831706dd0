import assert from "node:assert/strict";
import { eq, sql } from "npm:drizzle-orm@0.45.4";
import { drizzle } from "npm:drizzle-orm@0.45.4/node-postgres";
import { integer, numeric, pgTable, text } from "npm:drizzle-orm@0.45.4/pg-core";
import { type Generated, Kysely, PostgresDialect } from "npm:kysely@0.29.9";
import { connect } from "../../mod.ts";
import { optionsOf } from "../support/lakebase.ts";
import { conformanceTest } from "./backends.ts";

interface Database {
  trips: { id: Generated<number>; zone: string | null; fare: string };
}

conformanceTest("Kysely works on db.pool", async ({ local }) => {
  await using db = await connect(optionsOf(local));
  const kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool: db.pool }) });
  await kysely.schema.createTable("trips")
    .addColumn("id", "serial", (column) => column.primaryKey())
    .addColumn("zone", "text")
    .addColumn("fare", "numeric(8, 2)", (column) => column.notNull())
    .execute();
  await kysely.insertInto("trips").values([{ zone: "Harlem", fare: "12.50" }, { zone: null, fare: "8" }]).execute();
  const rows = await kysely.selectFrom("trips").select(["zone", "fare"]).where("fare", ">", "10").execute();
  assert.deepEqual(rows, [{ zone: "Harlem", fare: "12.50" }]);
  const failing = kysely.transaction().execute(async (tx) => {
    await tx.deleteFrom("trips").execute();
    throw new Error("never mind");
  });
  await assert.rejects(failing, /never mind/);
  const { count } = await kysely.selectFrom("trips").select(({ fn }) => fn.countAll<string>().as("count"))
    .executeTakeFirstOrThrow();
  assert.equal(Number(count), 2);
  assert.deepEqual((await kysely.introspection.getTables()).map(({ name }) => name), ["trips"]);
});

const zones = pgTable("zones", { id: integer().primaryKey(), name: text().notNull(), share: numeric() });

conformanceTest("Drizzle works on db.pool", async ({ local }) => {
  await using db = await connect(optionsOf(local));
  const orm = drizzle({ client: db.pool });
  await orm.execute(sql`CREATE TABLE zones (id int PRIMARY KEY, name text NOT NULL, share numeric)`);
  await orm.insert(zones).values([{ id: 1, name: "Harlem", share: "0.25" }, { id: 2, name: "SoHo", share: null }]);
  await orm.transaction(async (tx) => {
    await tx.update(zones).set({ share: "0.5" }).where(eq(zones.id, 2));
  });
  assert.deepEqual(await orm.select().from(zones).orderBy(zones.id), [
    { id: 1, name: "Harlem", share: "0.25" },
    { id: 2, name: "SoHo", share: "0.5" },
  ]);
});

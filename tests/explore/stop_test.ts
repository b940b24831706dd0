import assert from "node:assert/strict";
import { connect, type Lakebase, type LakebaseError } from "../../mod.ts";
import { eventually } from "../support/eventually.ts";
import { localTests } from "../support/lakebase.ts";
import { postgresMissing, type PostgresServer, startPostgres } from "../support/postgres.ts";
import { untilRuns } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";

let server: PostgresServer | undefined;
Deno.test.afterAll(() => server?.stop());
const test = localTests(async () => {
  server = await startPostgres();
  return { database: server.url };
});

test(requires("profile() ends on the server when it is stopped", postgresMissing), async ({ settings }) => {
  await using db = await connect(settings());
  const slow = db.sql`SELECT i FROM generate_series(1, 1000000000) AS i`;
  await assert.rejects(db.profile(slow, { timeout: 0.3, sample: Infinity }), { code: "CANCELED" });
  await untilIdle(db);
  const reason = new Error("enough");
  const controller = new AbortController();
  const profiling = db.profile(slow, { signal: controller.signal, sample: Infinity });
  const stopped = assert.rejects(profiling, (error) => error === reason);
  await untilRuns(db, "%generate_series(1, 1000000000)%");
  controller.abort(reason);
  await stopped;
  await untilIdle(db);
});

/**
 * Waits for the end on the server, because a busy server may handle the request to cancel after the client has stopped
 * waiting.
 */
async function untilIdle(db: Lakebase): Promise<void> {
  const others = `SELECT FROM pg_stat_activity
    WHERE state <> 'idle' AND pid <> pg_backend_pid() AND backend_type = 'client backend'`;
  await eventually("no statement runs on the server", async () => (await db.query(others)).length === 0);
}

test(requires("(slow) profile() reads every table and view of the system", postgresMissing), async ({ settings }) => {
  await using db = await connect(settings());
  for (const { name } of await db.tables("pg_catalog.*")) {
    await db.profile(db.sql.id("pg_catalog", name)).catch((error: unknown) => {
      if ((error as LakebaseError).sqlstate !== "42501") throw new Error(name, { cause: error });
    });
  }
});

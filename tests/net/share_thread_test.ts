import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
// @ts-types="@types/pg"
import pg from "pg";
import { connect } from "../../mod.ts";
import { CLUSTER } from "../support/queries.ts";
import { postgresMissing } from "../support/postgres.ts";
import { requires } from "../support/requirements.ts";
import { loadingFile, sharedCluster } from "../support/shared_servers.ts";

const FILE = loadingFile();

Deno.test({
  ...requires("while many rows arrive, other work gets its turn after each 256 kB of them", postgresMissing),
  sanitizeOps: false, // the server of all files outlasts the test, and so does the last turn
  sanitizeResources: false,
  fn: async () => {
    const { port } = await sharedCluster(CLUSTER, FILE);
    await using db = await connect({
      host: "127.0.0.1",
      port,
      user: "postgres",
      database: "postgres",
      password: CLUSTER.password,
      sslMode: "disable",
    });
    let rows = 0;
    let most = 0;
    let over = false;
    const turn = () => {
      most = Math.max(most, rows);
      rows = 0;
      if (!over) setImmediate(turn);
    };
    const client = await db.pool.connect();
    turn();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const query = client.query(new pg.Query("SELECT repeat('x', 1000) AS text FROM generate_series(1, 40000)"));
    query.on("row", () => rows++);
    query.on("end", () => resolve());
    query.on("error", reject);
    await promise;
    over = true;
    client.release();
    const bytes = most * 1000;
    // Deno may read up to three times 256 kB before this test gets its turn. Without the limit, 2 MB came in one turn.
    assert.ok(bytes > 0 && bytes <= 1_000_000, `${bytes} bytes in one turn`);
  },
});

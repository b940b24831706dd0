import assert from "node:assert/strict";
import { SESSION } from "../../../src/api/lakebase.ts";
import { importSnapshotText, isSnapshotGone } from "../../../src/transfer/pull/snapshot.ts";
import { eventually, inTime } from "../../support/eventually.ts";
import { errorOf } from "../../support/queries.ts";
import {
  assertIdle,
  bigTable,
  numbers,
  oneStream,
  optionsOf,
  postgresTest,
  serverTest,
  streams,
  sum,
} from "./parallel_support.ts";

/**
 * The server ends without having read the COPY that was sent ahead, and the connection's reset can overtake the
 * server's last message.
 */
const LOST = /terminat|ECONNRESET|the server ended the connection/;

serverTest("a lost connection ends the whole parallel pull, with the reason", async (db) => {
  await using big = await bigTable(db, "lost_half_way", 1500);
  const lose = async () => {
    let rows = 0;
    for await (const chunk of oneStream(db[SESSION], optionsOf(big.table, 3))) {
      if (rows === 0) {
        const lost = await db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE query LIKE 'COPY%lost_half_way%' AND state <> 'idle' AND pid <> pg_backend_pid() LIMIT 1`);
        assert.equal(lost.length, 1);
      }
      rows += chunk.rows;
    }
  };
  const error = await inTime("the end of the pull", errorOf(lose()));
  assert.equal(error.code, "CONNECTION_LOST", error.message);
  assert.match(error.message, LOST);
  await assertIdle(db);
});

serverTest("the loss of the first connection before the others have connected is reported", async (db) => {
  await using big = await bigTable(db, "lost_at_once", 1500);
  const session = db[SESSION];
  const lost = Promise.withResolvers<void>();
  let joins = 0;
  const late = {
    ...session,
    acquire: async () => {
      if (joins++ === 1) {
        await db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE query LIKE '%lost_at_once%' AND state <> 'idle' AND pid <> pg_backend_pid()`);
        lost.resolve();
      }
      return await session.acquire();
    },
  };
  const error = await errorOf(async () => {
    for await (const _ of oneStream(late, optionsOf(big.table, 2))) await lost.promise;
  });
  assert.equal(error.code, "CONNECTION_LOST", error.message);
  assert.match(error.message, LOST);
  await assertIdle(db);
});

serverTest("a snapshot whose transaction has ended is recognized by the server's error", async (db) => {
  const client = await db.pool.connect(); // the driver's own error says which of the server's routines it is from
  for (const snapshot of ["00000003-00000001-1", "none"]) {
    const error = await client.query(importSnapshotText("pg_class", snapshot)).catch((error: unknown) => error);
    assert.ok(isSnapshotGone(error), String(error));
    await client.query("ROLLBACK");
  }
  const other = await client.query("SELECT 1 / 0").catch((error: unknown) => error);
  assert.ok(other instanceof Error && !isSnapshotGone(other));
  client.release();
});

postgresTest(
  "a signal, or leaving the loop, ends all copies, and the connections stay usable",
  async ({ db }) => {
    await using big = await bigTable(db, "stopped_half_way", 1000);
    const session = db[SESSION];
    const reason = new Error("enough");
    for (const when of ["before", "while waiting", "while reading"]) {
      const controller = new AbortController();
      if (when === "before") controller.abort(reason);
      const reading = (async () => {
        for await (const _ of oneStream(session, { ...optionsOf(big.table, 3), signal: controller.signal })) {
          if (when === "while reading") controller.abort(reason);
        }
      })();
      if (when === "while waiting") controller.abort(reason);
      await inTime(`the end of what is stopped ${when}`, assert.rejects(reading, reason));
      await assertIdle(db);
    }
    for await (const _ of oneStream(session, optionsOf(big.table, 3))) break;
    await assertIdle(db);
    {
      await using shares = await streams(session, big.table, 3);
      for await (const _ of shares.streams[1]!) break;
    }
    await assertIdle(db);
  },
);

postgresTest("a busy pool slows a parallel pull, but never stops it", async ({ open }) => {
  const db = await open({ max: 3 });
  await using big = await bigTable(db, "busy_pool");
  const session = db[SESSION];
  const whole = 60_000 * 60_001 / 2;
  // Each pull waits for connections that the other one holds.
  const sums = await Promise.all(
    Array.from({ length: 3 }, () => numbers(oneStream(session, optionsOf(big.table, 3)))),
  );
  assert.deepEqual(sums.map(sum), [whole, whole, whole]);
  const shares = await Promise.all(Array.from({ length: 3 }, async () => {
    await using shares = await streams(session, big.table, 3);
    return sum((await Promise.all(shares.streams.map(numbers))).flat());
  }));
  assert.deepEqual(shares, [whole, whole, whole]);
  await assertIdle(db);
});

postgresTest("a table whose change waits for a lock is refused immediately", async ({ db }) => {
  await using big = await bigTable(db, "altered", 1000);
  const session = db[SESSION];
  const waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'altered'::regclass";
  let altering: Promise<unknown> | undefined;
  const refused = Promise.withResolvers<void>();
  let joins = 0;
  // Between the locks of the first and the second connection, another session waits for a stronger lock.
  const lockingSession = {
    ...session,
    acquire: async () => {
      if (joins++ === 1) {
        altering = db.query("ALTER TABLE altered ADD COLUMN late int");
        altering.catch(() => {});
        await eventually(
          "the change waits for its lock",
          async () => (await db.query(waiting)).length > 0,
        );
        const lease = await session.acquire();
        const release = lease.release.bind(lease);
        return Object.assign(lease, { release: () => (refused.resolve(), release()) });
      }
      return await session.acquire();
    },
  };
  const error = await errorOf(async () => {
    for await (const _ of oneStream(lockingSession, optionsOf(big.table, 2))) await refused.promise; // one connection alone would read all ranges
  });
  assert.equal(error.sqlstate, "55P03");
  assert.match(error.message, /another session holds a lock on the table/);
  await altering;
  await assertIdle(db);
});

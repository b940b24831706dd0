import assert from "node:assert/strict";
import { connect, type Lakebase } from "../../../mod.ts";
import { eventually, inTime } from "../../support/eventually.ts";
import { errorOf, sharedPostgres } from "../../support/queries.ts";
import { failedPull, namesIn, PREVIOUS_CONTENT, pullTest, recordingStream } from "../../support/transfers.ts";

/** More rows than fit between the server and the file. */
const MANY = "SELECT generate_series(1, 3000000) AS n, repeat('x', 100) AS x";

/** A connection to the server itself, which can end any other connection. */
async function superuser(): Promise<Lakebase> {
  const { port } = await sharedPostgres();
  const login = { user: "postgres", password: "native-secret", database: "postgres" };
  return await connect({ host: "127.0.0.1", port, ...login, sslMode: "disable" });
}

/** Waits until a pull has written something. */
async function underWay(folder: string): Promise<void> {
  await eventually("something is written", async () => {
    const part = namesIn(folder).find((name) => name.endsWith(".part"));
    return part !== undefined && (await Deno.stat(`${folder}/${part}`)).size > 500_000;
  });
}

pullTest(
  "a query that fails after many rows leaves no file, and its error says what had arrived",
  async ({ db, folder }) => {
    const query = db.sql`SELECT 1 / (100000 - n) FROM generate_series(1, 200000) n`;
    const error = await failedPull(db, folder, (path) => query.pull(path)) as Error;
    assert.match(error.message, /^division by zero \(SQLSTATE 22012\)/);
    assert.match(
      error.message,
      /\n[\d,]+ rows had arrived, \d+ \w+ were written; they were removed, and .*\/t\.csv is as it was$/,
    );
    assert.doesNotMatch(error.message, /LINE/);
  },
);

pullTest("a signal ends a pull, with its reason", async ({ open, folder }) => {
  const db = await open({ max: 1 });
  const reason = new Error("enough");
  const error = await failedPull(db, folder, async (path) => {
    const controller = new AbortController();
    const pulling = db.sql`${db.sql.unsafe(MANY)}`.pull(path, { signal: controller.signal });
    pulling.catch(() => {});
    await underWay(folder);
    controller.abort(reason);
    await inTime("the end of the pull", pulling);
  });
  assert.equal(error, reason);
  await assert.rejects(db.sql`SELECT 1`.pull(`${folder}/t.csv`, { signal: AbortSignal.abort(reason) }), reason);
  assert.equal(await Deno.readTextFile(`${folder}/t.csv`), PREVIOUS_CONTENT);
});

pullTest("the timeout of a pull, or of its query, ends the pull", async ({ db, folder }) => {
  for (
    const pull of [
      (path: string) => db.sql`${db.sql.unsafe(MANY)}, pg_sleep(0.0001)`.pull(path, { timeout: 0.3 }),
      (path: string) => db.sql`${db.sql.unsafe(MANY)}, pg_sleep(0.0001)`.with({ timeout: 0.3 }).pull(path),
    ]
  ) {
    const error = await failedPull(db, folder, pull) as Error;
    assert.match(error.message, /^Canceled: the pull took longer than its timeout of 0\.3 s/);
  }
}, { notOnPglite: "it can't be interrupted inside of a function" });

pullTest(
  "an error that onProgress or the stream throws ends the pull, and is thrown unchanged",
  async ({ open, folder }) => {
    const db = await open({ max: 1 });
    const mine = new TypeError("mine");
    const onProgress = () => {
      throw mine;
    };
    assert.equal(
      await failedPull(db, folder, (path) => db.sql`${db.sql.unsafe(MANY)}`.pull(path, { onProgress })),
      mine,
    );
    for (const options of [{ format: "csv" }, { format: "csv", gzip: true }, { format: "parquet" }] as const) {
      const broken = new WritableStream<Uint8Array>({
        write: () => {
          throw mine;
        },
      });
      await assert.rejects(db.sql`${db.sql.unsafe(MANY)}`.pull(broken, options), mine);
      assert.equal(await db.sql`SELECT 1`.value(), 1);
    }
  },
);

pullTest("a stream is aborted with the error", async ({ db }) => {
  const { stream, state } = recordingStream();
  const error = await errorOf(
    db.sql`SELECT 1 / (10000 - n) FROM generate_series(1, 20000) n`.pull(stream, { format: "csv" }),
  );
  assert.equal(error.sqlstate, "22012");
  assert.match(state(), /^aborted: division by zero/);
});

pullTest("a server process that ends half-way is a lost connection, and nothing is left", async ({ db, folder }) => {
  await using server = await superuser();
  const error = await failedPull(db, folder, async (path) => {
    const pulling = db.sql`${db.sql.unsafe(MANY)}`.pull(path);
    pulling.catch(() => {});
    await underWay(folder);
    await server.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %'`;
    await pulling;
  }) as { code: string; message: string };
  assert.equal(error.code, "CONNECTION_LOST");
  assert.match(error.message, /they were removed, and .*\/t\.csv is as it was$/);
}, { notOnPglite: "it has one process" });

pullTest("a network that breaks half-way is a lost connection, and nothing is left", async ({ db, local, folder }) => {
  const error = await failedPull(db, folder, async (path) => {
    const pulling = db.sql`${db.sql.unsafe(MANY)}`.pull(path);
    pulling.catch(() => {});
    await underWay(folder);
    local.faults.dropConnections();
    await pulling;
  }) as { code: string; message: string };
  assert.equal(error.code, "CONNECTION_LOST");
  assert.match(error.message, /rows had arrived/);
});

pullTest(
  "a compute that suspends half-way is a lost connection, and nothing is left",
  async ({ db, local, folder }) => {
    const error = await failedPull(db, folder, async (path) => {
      const pulling = db.sql`${db.sql.unsafe(MANY)}`.pull(path);
      pulling.catch(() => {});
      await underWay(folder);
      local.faults.suspend({ wakeAfter: 100 });
      await pulling;
    }) as { code: string; message: string };
    assert.equal(error.code, "CONNECTION_LOST");
    assert.match(error.message, /they were removed/);
  },
);

pullTest("a failed pull in a transaction fails the transaction", async ({ db, folder }) => {
  const error = await errorOf(db.transaction(async (tx) => {
    await errorOf(tx.sql`SELECT 1 / 0`.pull(`${folder}/t.csv`));
    await tx.query("SELECT 1");
  }));
  assert.equal(error.sqlstate, "25P02");
  assert.match(error.message, /An earlier statement of this transaction failed: division by zero/);
  assert.deepEqual(namesIn(folder), []);
});

pullTest("several pulls at once do not get in each other's way", async ({ db, folder }) => {
  const pulls = Array.from({ length: 8 }, (_, index) => {
    return db.sql`SELECT ${index}::int AS i, n FROM generate_series(1, 20000) n`.pull(`${folder}/${index}.csv`);
  });
  for (const [index, { rows }] of (await Promise.all(pulls)).entries()) {
    assert.equal(rows, 20_000);
    assert.match(await Deno.readTextFile(`${folder}/${index}.csv`), new RegExp(`^i,n\\n${index},1\\n`));
  }
});

pullTest("a pull outlives its token, which the server checks only at login", async ({ db, local }) => {
  let bytes = 0;
  const stream = new WritableStream<Uint8Array>({
    write: (chunk) => {
      if (bytes === 0) local.faults.expireTokens();
      bytes += chunk.length;
    },
  });
  const { rows } = await db.sql`SELECT repeat('x', 100) FROM generate_series(1, 100000)`.pull(stream, {
    format: "csv",
  });
  assert.equal(rows, 100_000);
  assert.equal(bytes, 101 * 100_000 + "repeat\n".length);
});

pullTest("a pull works in a read-only connection, and can't write to the database", async ({ open, folder }) => {
  const db = await open({ readOnly: true });
  assert.equal((await db.pull("pg_am", `${folder}/t.csv`)).rows > 0, true);
  const error = await errorOf(db.sql`CREATE TABLE nowhere AS SELECT 1`.pull(`${folder}/u.csv`));
  assert.equal(error.code, "QUERY_FAILED");
});

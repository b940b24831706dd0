import assert from "node:assert/strict";
import { connect, type Lakebase, type LakebaseError } from "../../mod.ts";
import { postgresMissing } from "../support/postgres.ts";
import { eventually, inTime, withLimitPassed } from "../support/eventually.ts";
import { drawn, errorOf, queryTest, sharedPostgres, untilEnded, untilRuns } from "../support/queries.ts";
import { sized } from "../support/random.ts";
import { requires } from "../support/requirements.ts";

const SLOW = "SELECT count(*) FROM generate_series(1, 20000000000) AS n WHERE random() < 0";

queryTest("a signal cancels a query on the server, and the connection stays usable", async ({ open }) => {
  const db = await open({ max: 2 });
  const reason = new Error("enough");
  const controller = new AbortController();
  const running = assert.rejects(db.sql`${db.sql.unsafe(SLOW)}`.with({ signal: controller.signal }).then(), reason);
  await untilRuns(db, SLOW);
  controller.abort(reason);
  await inTime("the end of the query", running);
  await untilEnded(db, SLOW);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
}, { notOnPglite: "it can't be interrupted inside of a function" });

queryTest("a timeout cancels a query, a display and an iteration", async ({ db }) => {
  const slow = () => db.sql`SELECT pg_sleep(600)`.with({ timeout: 0.2 });
  const draw = (query: unknown) => (query as Record<symbol, () => Promise<unknown>>)[Symbol.for("Jupyter.display")]!();
  for (
    const work of [
      async () => await slow(),
      async () => await draw(slow()),
      async () => await slow().first(),
      async () => {
        for await (const _ of slow()) assert.fail();
      },
      async () => await slow().explain({ analyze: true }),
    ]
  ) {
    const error = await inTime("the timeout", errorOf(work));
    assert.equal(error.code, "CANCELED");
    assert.match(error.message, /timeout of 0.2 s/);
  }
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("a query that is aborted before it starts is not sent", async ({ db }) => {
  await db.sql`CREATE TABLE never_sent (id int)`;
  const reason = new Error("before");
  const query = db.sql`INSERT INTO never_sent VALUES (1)`.with({ signal: AbortSignal.abort(reason) });
  await assert.rejects(async () => await query, reason);
  assert.equal(await db.sql`SELECT count(*) FROM never_sent`.value(), 0);
  await db.sql`DROP TABLE never_sent`;
});

queryTest("a query that is aborted in the turn in which it is sent is canceled", async ({ db }) => {
  for (let n = 0; n < 5; n++) {
    const controller = new AbortController();
    const running = db.sql`SELECT pg_sleep(600)`.with({ signal: controller.signal }).then();
    for (let turn = 0; turn < n * 3; turn++) await Promise.resolve();
    controller.abort(new Error("at once"));
    await inTime("the end of the query", assert.rejects(running, { message: "at once" }));
  }
});

queryTest("waiting for a connection can be stopped", async ({ open }) => {
  const db = await open({ max: 1 });
  const held = await db.pool.connect();
  const error = await withLimitPassed(31, () => errorOf(db.sql`SELECT 1`.with({ timeout: 31 })));
  assert.equal(error.code, "CANCELED");
  const transaction = await withLimitPassed(31, () => errorOf(db.transaction(() => 1, { timeout: 31 })));
  assert.equal(transaction.code, "CANCELED");
  held.release();
  assert.equal(await db.sql`SELECT 1`.value(), 1);
  assert.equal(db.pool.waitingCount, 0);
});

queryTest("an iteration can be stopped between two rows", async ({ open }) => {
  const db = await open({ max: 1 });
  const controller = new AbortController();
  let rows = 0;
  await assert.rejects(async () => {
    for await (const _ of db.sql`SELECT * FROM generate_series(1, 90)`.with({ signal: controller.signal })) {
      if (++rows === 5) controller.abort(new Error("stop"));
    }
  }, { message: "stop" });
  assert.equal(rows, 5);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

const bytesOf = (type: string, ...body: number[]) => [type.charCodeAt(0), 0, 0, 0, body.length + 4, ...body];
const text = (value: string) => [...new TextEncoder().encode(value), 0];
const READY = bytesOf("Z", 73);
const LOGGED_IN = [...bytesOf("R", 0, 0, 0, 0), ...bytesOf("K", 0, 0, 0, 1, 0, 0, 0, 2), ...READY];
const DONE = [...bytesOf("C", ...text("SELECT 0")), ...READY];
const BEGUN = [...bytesOf("C", ...text("BEGIN")), ...bytesOf("Z", 84)];
/** A column `n` of type `int4`, and a row of it. */
const COLUMN = bytesOf("T", 0, 1, ...text("n"), 0, 0, 0, 0, 0, 0, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0);
const ROW = bytesOf("D", 0, 1, 0, 0, 0, 1, 49);
const BOUND = [...bytesOf("1"), ...bytesOf("2"), ...COLUMN];

/** A server that takes any login, and answers a simple query and each `Execute` as it is told. It never ends a portal. */
function oddServer({ executed = [], query = () => DONE }: Odd): Disposable & { port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const answer = (type: string, body: string) => {
    if (type === "Q") return query(body);
    return type === "E" ? executed : [];
  };
  const serve = async (client: Deno.TcpConn) => {
    let bytes = new Uint8Array();
    let loggedIn = false;
    for await (const chunk of client.readable) {
      bytes = new Uint8Array([...bytes, ...chunk]);
      for (;;) {
        const header = loggedIn ? 5 : 4;
        if (bytes.length < header) break;
        const length = header - 4 + new DataView(bytes.buffer).getUint32(header - 4);
        if (bytes.length < length) break;
        const body = new TextDecoder().decode(bytes.subarray(header, length));
        const sent = loggedIn ? answer(String.fromCharCode(bytes[0]!), body) : LOGGED_IN;
        bytes = bytes.slice(length);
        loggedIn = true;
        await client.write(new Uint8Array(sent));
      }
    }
  };
  (async () => {
    for await (const client of listener) serve(client).catch(() => {}); // the client has closed it
  })();
  return { port: (listener.addr as Deno.NetAddr).port, [Symbol.dispose]: () => listener.close() };
}

interface Odd {
  executed?: readonly number[];
  query?: (text: string) => readonly number[];
}

/** A test with a connection to such a server. */
function oddTest(name: string, odd: Odd, run: (db: Lakebase) => Promise<void>): void {
  const fn = async () => {
    using server = oddServer(odd);
    const login = { host: "127.0.0.1", port: server.port, user: "u", password: "p", sslMode: "disable" } as const;
    await using db = await connect({ ...login, envFile: false });
    await run(db);
  };
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}

const ODD = {
  "never ends a query": [...BOUND, ...ROW, ...ROW, ...bytesOf("s")],
  "is ready without having been asked": [...BOUND, ...ROW, ...ROW, ...READY],
  "is ready twice": [...BOUND, ...ROW, ...ROW, ...READY, ...READY],
  "sends a message of no known type": [...BOUND, ...ROW, ...ROW, ...bytesOf("s"), ...bytesOf("~", 1, 2, 3)],
  "sends a length of nothing": [...BOUND, ...ROW, ...ROW, ...bytesOf("s"), 68, 0, 0, 0, 0, 0, 0, 0],
};

for (const [what, executed] of Object.entries(ODD)) {
  oddTest(`a stop ends an iteration whose server ${what}`, { executed }, async (db) => {
    for (const rows of [1, 2]) { // between two rows, and while more are read
      const controller = new AbortController();
      let seen = 0;
      const work = async () => {
        for await (const _ of db.sql`SELECT n FROM numbers`.with({ signal: controller.signal })) {
          if (++seen === rows) controller.abort();
        }
      };
      await inTime("the end of the iteration", assert.rejects(work));
    }
  });
}

oddTest("a stop ends a loop that was left", { executed: ODD["never ends a query"] }, async (db) => {
  const controller = new AbortController();
  let left = false;
  const leaving = (async () => {
    for await (const _ of db.sql`SELECT n FROM numbers`.with({ signal: controller.signal })) {
      left = true;
      break;
    }
  })();
  await eventually("the loop is left", () => left);
  controller.abort();
  await inTime("the end of the loop", leaving);
});

const inTransaction = (text: string) => text.startsWith("BEGIN") ? BEGUN : text.startsWith("ROLLBACK") ? [] : DONE;

oddTest("a session closes although its server does not roll back", { query: inTransaction }, async (db) => {
  const session = await db.session();
  await session.sql`BEGIN`;
  await inTime("the end of the session", assert.rejects(session.close(), /its changes were rolled back/));
});

oddTest("a statement that left a transaction open ends although its server does not roll back", {
  query: inTransaction,
}, async (db) => {
  const { message } = await inTime("the end of the statement", errorOf(db.sql`BEGIN`));
  assert.match(message, /Cannot leave a transaction open/);
});

oddTest("if a server is ready before the rows have ended, the query fails and its connection is closed", {
  executed: ODD["is ready without having been asked"],
}, async (db) => {
  const query = () => db.sql`SELECT n FROM numbers`;
  const all = async () => {
    for await (const _ of query());
  };
  for (const work of [all, () => drawn(query())]) {
    const error = await inTime("the error", errorOf(work));
    assert.equal(error.code, "CONNECTION_LOST");
    assert.match(error.message, /before all its rows were read/);
  }
});

queryTest("leaving a loop over written rows fails if the server can't commit them", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.sql`CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)`;
  const write = async (signal?: AbortSignal) => {
    const query = db.sql`INSERT INTO late SELECT 1 FROM generate_series(1, 1000) RETURNING n`;
    for await (const _ of signal === undefined ? query : query.with({ signal })) break;
  };
  assert.equal((await errorOf(() => write())).sqlstate, "23505");
  assert.equal((await errorOf(() => write(new AbortController().signal))).sqlstate, "23505");
  await assert.rejects(async () => {
    for await (const _ of db.sql`INSERT INTO late SELECT 1 FROM generate_series(1, 1000) RETURNING n`) {
      throw new Error("the loop's own error");
    }
  }, { message: "the loop's own error" });
  assert.equal(await db.sql`SELECT count(*) FROM late`.value(), 0);
  await db.sql`DROP TABLE late`;
});

queryTest("a signal that never fires keeps no listener", async ({ db }) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, args);
  };
  for (let n = 0; n < 10; n++) await db.sql`SELECT 1`.with({ signal });
  for await (const _ of db.sql`SELECT 1`.with({ signal })) break;
  await db.transaction((tx) => tx.sql`SELECT 1`.with({ signal }), { signal });
  await errorOf(db.sql`SELECT nothing`.with({ signal }));
  assert.equal(listeners, 0);
});

queryTest("query options are checked", ({ db }) => {
  const query = db.sql`SELECT 1`;
  for (
    const options of [
      { timeout: 0 },
      { timeout: Infinity },
      { timeout: 1e9 },
      { timeout: "5" },
      { limit: 0 },
      { limit: 1.5 },
      {
        signal: 1,
      },
      { timout: 5 },
      null,
    ]
  ) assert.throws(() => query.with(options as never), { code: "BAD_PARAMETER" }, JSON.stringify(options));
  assert.throws(() => query.with({ timout: 5 } as never), { message: /did you mean "timeout"/ });
  return Promise.resolve();
});

/** Cancels at the most awkward moments, then runs statements that must not be canceled. */
async function strays(db: Lakebase, rounds: number): Promise<number> {
  let stray = 0;
  for (let n = 0; n < rounds; n++) {
    const controller = new AbortController();
    const running = db.sql`SELECT pg_sleep(${n % 3 === 0 ? 5 : 0.004})`.with({ signal: controller.signal }).then(
      () => {},
      () => {},
    );
    // The statement ends at about this time even without the cancel request. Both outcomes are right.
    await new Promise((resolve) => setTimeout(resolve, n % 3 === 0 ? 5 : 2 + (n % 7)));
    controller.abort(new Error("canceled"));
    await running;
    for (let quick = 0; quick < 5; quick++) {
      await db.sql`SELECT pg_sleep(0.001)`.catch((error) => {
        if ((error as LakebaseError).sqlstate !== "57014") throw error;
        stray++;
      });
    }
  }
  return stray;
}

queryTest("a late cancel never hits the next statement, through the gateway", async ({ open }) => {
  assert.equal(await strays(await open({ max: 1 }), sized(20, 100)), 0);
});

Deno.test({
  ...requires(
    "a late cancel never hits the next statement, directly on Postgres with a native password",
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const { port } = await sharedPostgres();
    await using db = await connect({
      host: "127.0.0.1",
      port,
      user: "postgres",
      database: "postgres",
      password: "native-secret",
      sslMode: "disable",
      max: 1,
    });
    assert.equal(await strays(db, sized(40, 200)), 0);
  },
});

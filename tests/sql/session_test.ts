import { AsyncLocalStorage } from "node:async_hooks";
import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import type { Lakebase, LakebaseError } from "../../mod.ts";
import { makeSql, type Sql } from "../../src/api/sql.ts";
import type { LakebasePool } from "../../src/net/pool.ts";
import { NotebookSession } from "../../src/sql/notebook_session.ts";
import { poolSession } from "../../src/sql/session.ts";
import { leavesNoState } from "../../src/sql/session_state.ts";
import { transact } from "../../src/sql/transaction.ts";
import { parserSource } from "../../src/sql/types.ts";
import { eventually, heldLimit, withLimitPassed } from "../support/eventually.ts";
import { drawn, errorOf, queryTest, sharedPostgres, untilSent } from "../support/queries.ts";

/** The session that a notebook's statements share. */
function notebookOn(db: Lakebase): { session: NotebookSession; sql: Sql } & AsyncDisposable {
  const pool = db.pool as LakebasePool;
  const session = new NotebookSession(poolSession(pool, parserSource()), pool);
  return {
    session,
    sql: makeSql(() => session),
    [Symbol.asyncDispose]: async () => void await session.close(),
  };
}

const pid = (sql: Sql) => sql`SELECT pg_backend_pid()`.value();

/** Ends a server session, and waits until its client has noticed it. */
async function terminate(db: Lakebase, process: unknown): Promise<void> {
  const clients =
    (db.pool as unknown as { _clients: { processID: number; once(name: string, listener: () => void): void }[] })
      ._clients;
  const ended = new Promise<void>((resolve) =>
    clients.find(({ processID }) => processID === process)?.once("end", resolve)
  );
  const administrator = new pg.Client({ connectionString: (await sharedPostgres()).url });
  await administrator.connect();
  await administrator.query("SELECT pg_terminate_backend($1)", [process]);
  await administrator.end();
  await ended;
}

/** Waits until the pool has closed all idle connections (there is one), but not the one in use. */
async function untilOneIsLeft(db: Lakebase): Promise<void> {
  await db.pool.query("SELECT 1");
  assert.equal(db.pool.totalCount, 2);
  await eventually("the idle connection is closed", () => db.pool.totalCount === 1);
}

queryTest("db.session() keeps one server session with all of its state", async ({ open }) => {
  const db = await open({ max: 3, idleTimeout: 1 });
  await using session = await db.session();
  const { sql } = session;
  await sql`CREATE TEMP TABLE chosen AS SELECT 1 AS id`;
  await sql`SET search_path = pg_temp, public`;
  await sql`PREPARE one AS SELECT id FROM chosen`;
  const first = await pid(sql);
  await untilOneIsLeft(db);
  assert.deepEqual([...await sql`EXECUTE one`], [{ id: 1 }]);
  assert.equal(await sql`SHOW search_path`.value(), "pg_temp, public");
  assert.equal(await pid(sql), first);
  await sql`BEGIN`;
  await sql`INSERT INTO chosen VALUES (2)`;
  await session.transaction(async () => {
    await sql`INSERT INTO chosen VALUES (3)`;
    throw new Error("mine");
  }).catch(() => {});
  assert.match(await drawn(await sql`TABLE chosen`), /2 rows.*, in a transaction/);
  assert.equal((await errorOf(sql`SELECT 1 / 0`)).sqlstate, "22012");
  assert.equal((await errorOf(sql`SELECT 1`)).sqlstate, "25P02");
  await sql`ROLLBACK`;
  assert.equal((await sql`ROLLBACK`).notices.length, 1);
  assert.equal((await sql`COMMIT`).notices.length, 1);
  assert.equal(await sql`SELECT count(*) FROM chosen`.value(), 1);
  const rows: unknown[] = [];
  for await (const row of sql`TABLE chosen`) rows.push(row);
  assert.deepEqual(rows, [{ id: 1 }]);
  await sql`DISCARD ALL`;
  assert.notEqual(await sql`SHOW search_path`.value(), "pg_temp, public");
});

queryTest("a closed session is refused, and a transaction that was left open is reported", async ({ open }) => {
  const db = await open({ max: 2 });
  await db.sql`CREATE TABLE left_rows (id int)`;
  const session = await db.session();
  await session.sql`BEGIN`;
  await session.sql`INSERT INTO left_rows VALUES (1)`;
  const error = await errorOf(session.close());
  assert.deepEqual([error.code, error.sqlstate], ["QUERY_FAILED", "25000"]);
  assert.equal((await errorOf(session.sql`SELECT 1`)).code, "CLOSED");
  assert.equal((await errorOf(session.transaction(() => 1))).code, "CLOSED");
  await session.close();
  assert.equal(await db.sql`SELECT count(*) FROM left_rows`.value(), 0);
  await db.sql`DROP TABLE left_rows`;
});

queryTest("the fourth of ten sessions with max 3 says what holds the connections", async ({ open }) => {
  const db = await open({ max: 3, connectTimeout: 31 });
  const held = await Promise.all([1, 2, 3].map(() => db.session()));
  const more = () => Promise.allSettled(Array.from({ length: 7 }, () => db.session()));
  const opened = await withLimitPassed(31, more);
  const refused = opened.filter((outcome) => outcome.status === "rejected");
  assert.equal(refused.length, 7);
  assert.match(refused[0]!.reason.message, /none of 3 was free.*a session, idle/s);
  for (const session of held) await session.close();
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("a session that the server has ended is reported once, and the statement does not run", async ({ open }) => {
  const db = await open({ max: 3 });
  await db.sql`CREATE TABLE told (id int)`;
  await using session = await db.session();
  const { sql } = session;
  for (const begun of [false, true]) {
    await sql`CREATE TEMP TABLE gone (id int)`;
    if (begun) await sql`BEGIN`;
    await terminate(db, await pid(sql));
    const error = await errorOf(sql`INSERT INTO told VALUES (1)`);
    assert.equal(error.code, "CONNECTION_LOST");
    assert.match(error.message, /its session has ended.*Lost with the session: all temporary tables.*did not run/s);
    assert.equal(/its transaction was rolled back/.test(error.message), begun);
    await sql`INSERT INTO told VALUES (2)`;
  }
  assert.deepEqual((await db.sql`SELECT DISTINCT id FROM told`).map(({ id }) => id), [2]);
  const process = await pid(sql);
  const running = errorOf(sql`SELECT pg_sleep(60)`);
  const waiting = [3, 4].map((id) => errorOf(sql`INSERT INTO told VALUES (${id})`));
  await untilSent(db, "pg_sleep");
  await terminate(db, process);
  assert.match((await running).message, /the next statement says what was lost with the session/);
  for (const { message } of await Promise.all(waiting)) assert.match(message, /its session has ended.*did not run/s);
  await sql`INSERT INTO told VALUES (5)`;
  assert.deepEqual((await db.sql`SELECT DISTINCT id FROM told ORDER BY 1`).map(({ id }) => id), [2, 5]);
  await db.sql`DROP TABLE told`;
}, { notOnPglite: "its sessions share one process" });

queryTest("statements of a notebook run in one session, and stay there", async ({ open }) => {
  const db = await open({ max: 4, idleTimeout: 1 });
  await using notebook = notebookOn(db);
  const { sql } = notebook;
  const first = await pid(sql);
  await sql`SET search_path = public, pg_catalog`;
  await sql`CREATE TEMP TABLE mine AS SELECT 1 AS id`;
  await untilOneIsLeft(db);
  assert.equal(await pid(sql), first);
  const several = await Promise.all([1, 2, 3, 4].map(() => sql`SHOW search_path`.value()));
  assert.deepEqual(several, Array(4).fill("public, pg_catalog"));
  assert.equal(await sql`SELECT count(*) FROM mine`.value(), 1);
  await sql`BEGIN`;
  assert.match(await drawn(sql`INSERT INTO mine VALUES (2)`), /^INSERT 0 1, in a transaction/);
  assert.equal((await errorOf(sql`SELECT 1 / 0`)).sqlstate, "22012");
  await sql`ROLLBACK`;
  await sql`BEGIN`;
  await sql`INSERT INTO mine VALUES (3)`;
  const file = await Deno.makeTempFile({ suffix: ".csv" });
  assert.equal((await sql`TABLE mine`.pull(file)).rows, 2);
  await sql`COMMIT`;
  await transact(notebook.session, async (find) => void await makeSql(find)`INSERT INTO mine VALUES (4)`);
  assert.deepEqual((await sql`TABLE mine`).map(({ id }) => id), [1, 3, 4]);
  assert.deepEqual(await sql`SELECT n FROM generate_series(1, 40) n`.first(), { n: 1 });
  await Deno.remove(file);
});

queryTest("statements that begin together run in parallel while the session has no state", async ({ open }) => {
  const db = await open({ max: 4 });
  await using notebook = notebookOn(db);
  const { sql } = notebook;
  const first = await pid(sql);
  const together = (seconds = 0.2) =>
    Promise.all([1, 2, 3].map(() => sql`SELECT pg_backend_pid() AS pid, pg_sleep(${seconds})`));
  const pids = (results: Record<string, unknown>[][]) => new Set(results.map(([row]) => row!["pid"]));
  assert.equal(pids(await together()).size, 3);
  const makers: [string, () => PromiseLike<unknown>, () => PromiseLike<unknown>][] = [
    ["SET", () => sql`SET statement_timeout = '1h'`, () => sql`RESET statement_timeout`],
    ["a temporary table", () => sql`CREATE TEMP TABLE t1 (id int)`, () => sql`DROP TABLE t1`],
    ["SELECT INTO", () => sql`SELECT 1 AS id INTO TEMP t1`, () => sql`DROP TABLE t1`],
    ["PREPARE", () => sql`PREPARE p1 AS SELECT 1`, () => sql`DEALLOCATE ALL`],
    ["LISTEN", () => sql`LISTEN c1`, () => sql`UNLISTEN *`],
    ["a lock", () => sql`SELECT pg_advisory_lock(7)`, () => sql`SELECT pg_advisory_unlock_all()`],
    ["set_config", () => sql`SELECT set_config('work_mem', '5MB', false)`, () => sql`RESET work_mem`],
    ["BEGIN", () => sql`BEGIN`, () => sql`COMMIT`],
    ["a cursor", () => sql`BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT`, () => sql`CLOSE ALL`],
    ["a custom setting", () => sql`SET app.tenant = 'a'`, () => sql`RESET app.tenant`],
    ["its other name", () => sql`SET SESSION "app".tenant TO 'a'`, () => sql`SET app.tenant = ''`],
    ["set_config", () => sql`SELECT set_config('app.tenant', 'a', false)`, () => sql`RESET ALL`],
    ["set_config", () => sql`SELECT set_config(${"app.tenant"}, 'a', false)`, () => sql`RESET app.tenant`],
    [
      "a custom setting of a transaction",
      () => transact(notebook.session, async (find) => void await makeSql(find)`SET app.tenant = 'a'`),
      () => sql`RESET app.tenant`,
    ],
    ["a temporary function", () => sql`CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`, () => {
      return sql`DROP FUNCTION pg_temp.f()`;
    }],
    ["a temporary type", () => sql`CREATE TYPE pg_temp.mood AS ENUM ('fine')`, () => sql`DROP TYPE pg_temp.mood`],
    ["DO", () => sql`DO $$ BEGIN SET work_mem = '6MB'; END $$`, () => sql`RESET work_mem`],
  ];
  for (const [name, make, undo] of makers) {
    await make();
    assert.deepEqual([...pids(await together(0.01))], [first], name);
    await undo();
    assert.equal(pids(await together()).size, 3, `after ${name}`);
  }
}, { notOnPglite: "its sessions share one process" });

queryTest("state that a function leaves in a session is noticed, wherever it ran", async ({ open }) => {
  const db = await open({ max: 4 });
  await db.sql`CREATE FUNCTION leaves(waits bool) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    IF waits THEN PERFORM pg_advisory_xact_lock(4711); END IF;
    SET work_mem = '7MB'; CREATE TEMP TABLE left_by_it (id int); RETURN 1; END $$`;
  const holder = await db.pool.connect();
  const hold = () => holder.query("SELECT pg_advisory_lock(4711)");
  const releaseLock = () => holder.query("SELECT pg_advisory_unlock(4711)");
  for (const beside of [false, true]) {
    await using notebook = notebookOn(db);
    const { sql } = notebook;
    await hold();
    const other = beside ? sql`SELECT 1`.value() : undefined; // it has the notebook's session
    const left = sql`SELECT leaves(true)`.value();
    await (other ?? sql`SELECT 1`.value());
    await releaseLock();
    assert.equal(await left, 1);
    assert.equal(await sql`SHOW work_mem`.value(), "7MB", `${beside}`);
    assert.equal(await sql`SELECT count(*) FROM left_by_it`.value(), 0);
    assert.deepEqual(await Promise.all([1, 2, 3].map(() => sql`SHOW work_mem`.value())), ["7MB", "7MB", "7MB"]);
  }
  await using notebook = notebookOn(db);
  const { sql } = notebook;
  await hold();
  const busy = sql`SELECT pg_advisory_xact_lock(4711)`.value();
  assert.equal(await sql`SELECT leaves(false)`.value(), 1);
  await eventually("the session with what it left is closed", () => db.pool.totalCount === 2);
  await releaseLock();
  await busy;
  assert.match((await errorOf(sql`SHOW work_mem`)).message, /ran beside others, left settings, temporary tables in a/);
  holder.release();
  await db.sql`DROP FUNCTION leaves(bool)`;
}, { notOnPglite: "its sessions share one process" });

queryTest(
  "a session whose state can't be read is closed, and a line reports the loss",
  async ({ open }) => {
    const db = await open({ max: 2 });
    await db.sql`CREATE FUNCTION hurries() RETURNS int LANGUAGE plpgsql
      AS $$ BEGIN SET statement_timeout = 1; RETURN 1; END $$`;
    // The module looks for functions that may make settings; these take the server longer than a millisecond to read.
    await db.sql`CREATE SCHEMA long_functions; DO $$ BEGIN FOR i IN 1..200 LOOP
      EXECUTE format('CREATE FUNCTION long_functions.f%s() RETURNS text LANGUAGE sql AS %L', i,
        format('SELECT %L', repeat('reset x ', 9000)));
      END LOOP; END $$`;
    await using notebook = notebookOn(db);
    const { sql } = notebook;
    await Promise.all([sql`SELECT pg_sleep(0.1)`.value(), sql`SELECT hurries()`.value()]); // the second one runs beside
    const error = await errorOf(sql`SELECT 1`);
    assert.equal(error.code, "CONNECTION_LOST");
    assert.match(
      error.message,
      /left temporary tables, .*LISTEN \(the server did not report which of these\) in a session of its own, and that session has ended/,
    );
    const limits = await Promise.all([1, 2].map(() => db.pool.query("SHOW statement_timeout")));
    assert.deepEqual(limits.map(({ rows: [row] }) => row.statement_timeout), ["0", "0"]);
    await db.sql`DROP FUNCTION hurries(); DROP SCHEMA long_functions CASCADE`;
  },
  { notOnPglite: "its sessions share one process" },
);

queryTest("a notebook's session that is closed while a statement runs says that it rolled back", async ({ open }) => {
  for (const begin of [true, false]) {
    const db = await open({ max: 2 });
    const { session, sql } = notebookOn(db);
    await sql`SELECT ${begin}::bool`;
    if (begin) await sql`BEGIN`;
    const running = sql`SELECT pg_sleep(0.3)`.then(() => "done");
    await untilSent(db, "pg_sleep");
    await session.close();
    await db.close();
    assert.equal(await running, "done");
    assert.equal(session.rolledBack, begin);
    assert.equal(db.pool.totalCount, 0);
  }
});

queryTest("session.close() ends a loop or a transaction of the session, also from inside of it", async ({ open }) => {
  const db = await open({ max: 2 });
  for (const [rows, size] of [[10, 1], [1000, 1], [10_000, 10_000]]) {
    const session = await db.session();
    const inLoop = await errorOf(async () => {
      for await (const _ of session.sql`SELECT n, repeat('x', ${size}) FROM generate_series(1, ${rows}) n`) {
        await session.close();
      }
    });
    assert.equal(inLoop.code, "CLOSED", `${rows}`);
  }
  const session = await db.session();
  const inTransaction = await errorOf(session.transaction(async ({ sql }) => {
    await sql`SELECT 1`;
    await session.close();
  }));
  assert.equal(inTransaction.code, "CLOSED");
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest(
  "a statement in a deadlock with the holder of its session fails, and the error names the holder",
  async ({ open }) => {
    const db = await open({ max: 2, connectTimeout: 31 });
    await using session = await db.session();
    await db.sql`SELECT 1`; // opens the second connection
    const outside = AsyncLocalStorage.snapshot(); // such as that of a library's queue, which was made before
    const wait = (work: () => PromiseLike<unknown>) => outside(() => errorOf(work));
    const cases: [string, RegExp, () => Promise<LakebaseError>][] = [
      [
        "a session's transaction",
        /waited for its session\. .* a transaction\n/,
        () => session.transaction(() => wait(() => session.sql`SELECT 1`)),
      ],
      [
        "a nested transaction",
        /waited for its transaction, .* a transaction\n/,
        () => db.transaction((tx) => db.transaction(() => wait(() => tx.sql`SELECT 1`))),
      ],
    ];
    for (const [name, says, work] of cases) {
      const error = await withLimitPassed(31, work);
      assert.equal(error.code, "CONNECT_TIMEOUT", name);
      assert.match(error.message, says, name);
      assert.equal(await session.sql`SELECT 1`.value(), 1);
    }
    const forever = Promise.withResolvers<void>();
    const forgets = () => errorOf(db.transaction(() => void db.transaction(() => forever.promise).catch(() => {})));
    assert.match((await withLimitPassed(31, forgets)).message, /had not ended when the function.*Put await/s);
    forever.resolve();
  },
);

queryTest("closing a session whose transaction was lost says so, if no statement did", async ({ open }) => {
  const db = await open({ max: 3 });
  const session = await db.session();
  await session.sql`BEGIN`;
  await terminate(db, await pid(session.sql));
  assert.equal((await errorOf(session.close())).sqlstate, "25000");
  const told = await db.session();
  await told.sql`BEGIN`;
  await terminate(db, await pid(told.sql));
  assert.match((await errorOf(told.sql`SELECT 1`)).message, /was rolled back/);
  await told.close();
}, { notOnPglite: "its sessions share one process" });

/** Waits until a notebook's session was asked for its state, which happens when nothing has run for a while. */
async function untilAsked(db: Lakebase, process: unknown, last: string): Promise<void> {
  const asked = "SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'idle' AND query <> $2";
  await eventually(
    "the session was asked for its state",
    async () => (await db.pool.query(asked, [process, last])).rowCount === 1,
  );
}

queryTest("a notebook's session that the server has ended is reported if state was lost", async ({ open }) => {
  const db = await open({ max: 3 });
  await using notebook = notebookOn(db);
  const { sql } = notebook;
  const quiet = await Promise.all([pid(sql), sql`SELECT 1`.value()]); // afterwards the session is known to have no state
  await sql`SELECT 1`;
  await untilAsked(db, quiet[0], "SELECT 1");
  await terminate(db, quiet[0]);
  assert.equal(await sql`SELECT 2`.value(), 2);
  const home = await pid(sql);
  await sql`CREATE TEMP TABLE lost (id int)`;
  await untilAsked(db, home, "CREATE TEMP TABLE lost (id int)");
  await terminate(db, home);
  const error = await errorOf(sql`SELECT 3`);
  assert.match(error.message, /has ended.*Lost with the session: temporary tables\. The statement did not run/s);
  assert.equal(await sql`SELECT 3`.value(), 3);
  await sql`BEGIN`;
  const process = await pid(sql);
  const waits = errorOf(sql`SELECT pg_sleep(60)`);
  const behind = errorOf(sql`SELECT 4`);
  const last = errorOf(sql`SELECT 5`);
  await untilSent(db, "pg_sleep");
  await terminate(db, process);
  assert.equal((await waits).code, "CONNECTION_LOST");
  assert.equal((await last).message, (await behind).message); // neither runs, because the state that they need is lost
  assert.match(
    (await behind).message,
    /was rolled back\. Lost with the session: all temporary tables.*did not know yet which of these it had/,
  );
  assert.equal(await sql`SELECT 5`.value(), 5);
}, { notOnPglite: "its sessions share one process" });

queryTest("the loss of a session is reported to a statement that somebody waits for", async ({ open }) => {
  const db = await open({ max: 3 });
  await using notebook = notebookOn(db);
  await using session = await db.session();
  for (const { sql } of [notebook, session]) {
    await sql`SET work_mem = '5MB'`;
    const process = await pid(sql);
    const running = errorOf(sql`SELECT pg_sleep(60)`);
    const controller = new AbortController();
    const stopped = assert.rejects(async () => await sql`SELECT 1`.with({ signal: controller.signal }), /enough/);
    await untilSent(db, "pg_sleep");
    controller.abort(new Error("enough"));
    await stopped;
    await terminate(db, process);
    assert.equal((await running).code, "CONNECTION_LOST");
    assert.match((await errorOf(sql`SHOW work_mem`)).message, /its session has ended.*did not run/s);
    assert.notEqual(await sql`SHOW work_mem`.value(), "5MB");
  }
}, { notOnPglite: "its sessions share one process" });

/** The time that the server has to cancel a statement; afterwards its connection, with its state, is closed. */
const CANCEL_LIMIT = 0.9;

queryTest("Stop while waiting for the session, and while it works, leaves the session as it is", async ({ open }) => {
  using _ = heldLimit(CANCEL_LIMIT);
  const db = await open({ max: 2 });
  await using notebook = notebookOn(db);
  const { sql } = notebook;
  await sql`CREATE TEMP TABLE stays (id int)`;
  const works = sql`SELECT pg_sleep(0.5)`.then(() => "done");
  const waits = sql`SELECT 1`.with({ timeout: 31 });
  assert.equal((await withLimitPassed(31, () => errorOf(waits))).code, "CANCELED");
  assert.equal(await works, "done");
  assert.equal((await errorOf(sql`SELECT pg_sleep(60)`.with({ timeout: 0.2 }))).code, "CANCELED");
  assert.equal(await sql`SELECT count(*) FROM stays`.value(), 0);
});

queryTest("after a stopped statement the others of its transaction say what to do", async ({ open }) => {
  using _ = heldLimit(CANCEL_LIMIT);
  const db = await open({ max: 3 });
  await using notebook = notebookOn(db);
  await using session = await db.session();
  const loop = async (sql: Sql) => {
    for await (const _ of sql`SELECT pg_sleep(60)`.with({ timeout: 0.2 }));
  };
  for (const { sql } of [notebook, session]) {
    for (const stopped of [() => sql`SELECT pg_sleep(60)`.with({ timeout: 0.2 }), () => loop(sql)]) {
      await sql`BEGIN`;
      assert.equal((await errorOf(stopped)).code, "CANCELED");
      const { message } = await errorOf(sql`SELECT 1`);
      assert.match(
        message,
        /25P02.*An earlier statement .* failed: canceled: SELECT pg_sleep\(60\)\nHINT: .* Run ROLLBACK/s,
      );
      await sql`ROLLBACK`;
      await sql`BEGIN`;
      assert.equal(await sql`SELECT 1`.value(), 1);
      assert.equal((await errorOf(sql`SELECT 1 / 0`)).sqlstate, "22012");
      assert.match((await errorOf(sql`SELECT 1`)).message, /failed: division by zero/);
      await sql`ROLLBACK`;
    }
  }
  const swallowed = await errorOf(db.transaction(async ({ sql }) => {
    await errorOf(sql`SELECT pg_sleep(60)`.with({ timeout: 0.2 }));
  }));
  assert.match(swallowed.message, /Cannot commit: .*The statement: canceled: SELECT pg_sleep/s);
});

queryTest(
  "a notebook's session gives its connection to db.pool, and the error names the other holders of connections",
  async ({ open }) => {
    const db = await open({ max: 1, connectTimeout: 31 });
    await using notebook = notebookOn(db);
    const { sql } = notebook;
    await sql`SELECT 1`;
    assert.equal((await db.pool.query("SELECT 2 AS two")).rows[0].two, 2);
    await sql`SET work_mem = '5MB'`;
    const refused = await withLimitPassed(31, () => errorOf(db.pool.query("SELECT 2")));
    assert.match(refused.message, /the notebook's session/);
    assert.equal(await sql`SHOW work_mem`.value(), "5MB");
  },
);

/** A loop over a query with a statement inside, in a notebook whose session has state and in a separate session. */
queryTest("a statement runs inside a loop over a query on the same server session", async ({ open }) => {
  const db = await open({ max: 3 });
  await using notebook = notebookOn(db);
  await using session = await db.session();
  for (const sql of [notebook.sql, session.sql]) {
    await sql`SET work_mem = '5MB'`;
    await sql`CREATE TEMP TABLE kept (n int)`;
    const home = await pid(sql);
    let count = 0;
    for await (const { n } of sql`SELECT n, pg_backend_pid() AS pid FROM generate_series(1, 1000) n`) {
      if (count++ % 100 === 0) await sql`INSERT INTO kept VALUES (${n})`;
      if (count === 500) { for await (const row of sql`SELECT n FROM kept`) await sql`SELECT ${row["n"]}::int`; }
    }
    assert.equal(count, 1000);
    assert.equal(await sql`SELECT count(*) FROM kept`.value(), 10);
    for await (const _ of sql`SELECT n FROM generate_series(1, 1000) n`) {
      await sql`SELECT 1`;
      break;
    }
    const failing = errorOf(async () => {
      for await (const { n } of sql`SELECT n, 1 / (600 - n) FROM generate_series(1, 1000) n`) {
        count = n as number;
        if (n === 1) await sql`SELECT 1`;
      }
    });
    assert.equal((await failing).sqlstate, "22012");
    assert.ok(count >= 100, `${count}`);
    const huge = errorOf(async () => {
      for await (const { n } of sql`SELECT n, repeat('x', 10000) FROM generate_series(1, 10000) n`) {
        if (n === 1) assert.equal((await errorOf(sql`SELECT 2`)).sqlstate, "55006");
        if (n === 9000) await sql`SELECT 1 / 0`; // few rows are left, so this one runs
      }
    });
    assert.equal((await huge).sqlstate, "22012");
    await sql`BEGIN`;
    for await (const { n } of sql`SELECT n, repeat('x', 10000) FROM generate_series(1, 10000) n`) {
      if (n === 1 || n === 5000) await sql`INSERT INTO kept VALUES (${n})`;
    }
    await sql`COMMIT`;
    assert.equal(await sql`SELECT count(*) FROM kept`.value(), 12);
    assert.equal(await sql`SHOW work_mem`.value(), "5MB");
    assert.equal(await pid(sql), home);
    await sql`DROP TABLE kept`;
  }
});

Deno.test("leavesNoState() decides by the text whether a statement may leave state in a session", () => {
  const nothing = [
    "SELECT 1",
    "(SELECT 1)",
    "UPDATE t SET a = 1; DELETE FROM t",
    "-- SET\nINSERT INTO t VALUES ('SET x')",
    "WITH a AS (SELECT 1) TABLE a;",
    'SELECT "temp" FROM "set"',
  ];
  const something = [
    "SET x = 1",
    "BEGIN",
    "SELECT 1; SET x = 1",
    "/* */ PREPARE a AS SELECT 1",
    "CREATE TEMP TABLE t ()",
    "SELECT set_config('a.b', 'c', false)",
    "SELECT pg_catalog.pg_advisory_lock(1)",
    "DO $$ $$",
    "CALL p()",
    "LISTEN a",
    "DISCARD ALL",
    "LOAD 'x'",
    "SELECT 1 INTO TEMPORARY t",
  ];
  for (const text of nothing) assert.equal(leavesNoState(text), true, text);
  for (const text of something) assert.equal(leavesNoState(text), false, text);
});

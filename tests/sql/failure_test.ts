import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import { connect } from "../../mod.ts";
import { startLocal } from "../../src/local/mod.ts";
import { optionsOf } from "../support/lakebase.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { eventually, inTime } from "../support/eventually.ts";
import { errorOf, queryTest, sharedPostgres, untilDropped, untilEnded, untilSent } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";

queryTest("an error shows the message, the SQLSTATE, the line with a caret, and the nearest name", async ({ db }) => {
  await db.sql`CREATE TABLE trips (zone text, "Fare" int)`;
  const table = await errorOf(db.sql`SELECT *
    FROM tripz`);
  assert.equal(table.code, "QUERY_FAILED");
  assert.equal(table.sqlstate, "42P01");
  assert.equal(
    table.message,
    'relation "tripz" does not exist (SQLSTATE 42P01)\nLINE 2:     FROM tripz\n                 ^\nDid you mean trips?',
  );
  // The server itself suggests some names, and our suggestion would repeat them.
  assert.match((await errorOf(db.sql`SELECT zon FROM trips`)).message, /\^\nHINT: [^\n]*"trips\.zone"\.$/);
  assert.match((await errorOf(db.sql`SELECT fares FROM trips`)).message, /Did you mean "Fare"\?/);
  await db.sql`DROP TABLE trips`;
});

queryTest(
  "the error for a value instead of a name, or a list instead of a value, says what to write",
  async ({ db }) => {
    await db.sql`CREATE TABLE trips (id int)`;
    const list = [1, 2];
    const name = /HINT: .*sql\.id\(name\)/;
    const any = /HINT: .*= ANY\(\$\{list\}\)/;
    assert.match((await errorOf(db.sql`SELECT '😀' FROM ${"trips"}`)).message, name);
    assert.match((await errorOf(db.sql`DROP TABLE ${"trips"}`)).message, name);
    assert.match((await errorOf(db.sql`SELECT '😀' FROM trips WHERE id NOT IN ${list}`)).message, any);
    assert.match((await errorOf(db.sql`SELECT * FROM trips WHERE id IN (${list})`)).message, any);
    assert.match((await errorOf(db.sql`SELECT * FROM trips WHERE id = ${list}`)).message, any);
    assert.doesNotMatch((await errorOf(db.sql`SELECT * FROM trips WHERE id IN (${"{x}"}::int)`)).message, /sql\.id/);
    assert.doesNotMatch((await errorOf(db.sql`SELECT FROM FROM trips WHERE id = ${1}`)).message, /HINT/);
    assert.doesNotMatch((await errorOf(db.sql`SELECT ${"one"}::int`)).message, /HINT/);
    await db.sql`DROP TABLE trips`;
  },
);

queryTest("an error for a value within quotes or a comment says where it belongs", async ({ db: { sql } }) => {
  const [text, days, object] = ["a", 3, { a: 1 }];
  const cases: [PromiseLike<unknown>, string][] = [
    [sql`SELECT '${text}'`, "within quotes, where values are not bound: '${value}'. Write ${value} without the quotes"],
    [sql`SELECT now() - INTERVAL '${days} days'`, "Write ${value} * INTERVAL '1 day'"],
    [sql`SELECT now() - interval '${days} Months'`, "Write ${value} * INTERVAL '1 Month'"],
    [sql`SELECT 1 WHERE 'b' LIKE '%${text}%'`, "Write '%' || ${value} || '%'"],
    [sql`SELECT 1 WHERE 'b' LIKE '${text}%' AND 3 = ${days}`, "Write ${value} || '%'"],
    [sql`SELECT DATE '${text}'`, "Write ${value} without the quotes, and a type as ${value}::type"],
    [sql`SELECT '${days}'::int`, "Write ${value} without the quotes"],
    [sql`SELECT '${object}'::jsonb`, "Write ${value} without the quotes"],
    [sql`SELECT E'\\n${text}'`, "Write ${value} outside of them"],
    [sql`SELECT * FROM "${text}"`, "${sql.id(name)}"],
    [sql`SELECT "${text}" FROM pg_class`, "${sql.id(name)}"],
    [sql`SELECT 1 -- ${text}`, "in a comment, where values are not bound: -- ${value}"],
    [sql`DO $$ BEGIN PERFORM ${text}; END $$`, "Write sql.unsafe()"],
    [sql`SELECT '${text}'`.columns(), "Write ${value} without the quotes"],
    [sql`SELECT now() - INTERVAL '${days} days' AS a`.plot({ x: "a" }), "Write ${value} * INTERVAL '1 day'"],
  ];
  for (const [query, hint] of cases) {
    const { message } = await errorOf(query);
    assert.match(message, /(HINT|rows): a \$\{value\} is (within|in a comment)/);
    assert.ok(message.includes(hint), `${message} has no ${hint}`);
  }
  assert.match((await errorOf(sql`SELECT '${text}%' AS a`.pull("/never.csv"))).message, /Write \$\{value\} \|\| '%'/);
  assert.equal(await sql`SELECT ${days} * INTERVAL '1 day' = INTERVAL '3 days'`.value(), true);
  assert.doesNotMatch((await errorOf(sql`SELECT '$1 bill' WHERE 1 = ${"z"}::int`)).message, /HINT/);
});

queryTest("only an error for another tool's placeholder says what to write instead", async ({ db }) => {
  const cases: [string, string | undefined][] = [
    [":zone", "zone"],
    ["{{zone}}", "zone"],
    ["{{ t.zone }}", "t.zone"],
    ["{zone}", "zone"],
    ["%s", "value"],
    ["%(zone)s", "zone"],
    ["$zone", "zone"],
    ["@zone", "zone"],
    ["?", "value"],
    ["? AND true", "value"],
    ["(?, 1)", "value"],
    ["zone", undefined],
    ["FROM", undefined],
    ["1 % zones", undefined],
    ["zone::nothing", undefined],
  ];
  for (const [written, name] of cases) {
    const { message } = await errorOf(db.query(`SELECT * FROM pg_class WHERE relname = ${written}`));
    const hint = /HINT: write a value as \$\{(.*?)\}, which is bound/.exec(message)?.[1];
    assert.equal(hint, name, `${written}: ${message}`);
  }
});

queryTest(
  "errors explain a list for jsonb, an object for a composite or a text, and one value for a list",
  async ({ db }) => {
    await db.sql`CREATE TYPE address AS (street text, no int)`;
    await db.sql`CREATE TABLE places (plain json, doc jsonb, home address, ids int[])`;
    const home = { street: "x", no: 1 };
    const cases: [PromiseLike<unknown>, RegExp][] = [
      [db.sql`INSERT INTO places (doc) VALUES (${[1, 2]})`, /HINT: .*JSON\.stringify\(list\)/],
      [db.sql`INSERT INTO places (plain) VALUES (${["a"]})`, /HINT: .*JSON\.stringify\(list\)/],
      [db.sql`INSERT INTO places (home) VALUES (${home})`, /HINT: .*jsonb_populate_record/],
      [db.sql`SELECT * FROM places WHERE home = ${home}`, /HINT: .*jsonb_populate_record/],
      [db.sql`INSERT INTO places (ids) VALUES (${5})`, /HINT: .*\$\{\[value\]\}/],
      [db.sql`SELECT pg_typeof(${5})`, /HINT: .*\$\{value\}::type/],
    ];
    for (const [query, hint] of cases) assert.match((await errorOf(query)).message, hint);
    await db.sql`INSERT INTO places (home) VALUES (jsonb_populate_record(NULL::address, ${home}))`;
    await db.sql`INSERT INTO places (doc) VALUES (${JSON.stringify([1, 2])})`;
    await db.sql`DROP TABLE places`;
    await db.sql`DROP TYPE address`;
  },
);

queryTest("carets count characters, not UTF-16 units, and wide ones as wide", async ({ db }) => {
  const { message } = await errorOf(db.sql`SELECT '😀東京', nothere`);
  assert.match(message, /LINE 1: SELECT '😀東京', nothere\n {25}\^/);
});

queryTest("an error shows DETAIL and HINT with control characters made visible", async ({ db }) => {
  const { message } = await errorOf(
    db.sql`DO $$ BEGIN RAISE EXCEPTION 'told' USING DETAIL = E'more\x1b[31m', HINT = 'do this', ERRCODE = 'P0009'; END $$`,
  );
  assert.match(message, /^told \(SQLSTATE P0009\)/);
  assert.match(message, /DETAIL: more<U\+001B>/);
  assert.match(message, /HINT: do this/);
});

queryTest("a trace has no driver frames and no secret, also where it is printed", async ({ db }) => {
  const error = await errorOf(db.sql`SELECT 1 / 0`);
  for (const text of [error.stack!, Deno.inspect(error)]) {
    assert.doesNotMatch(text, /node_modules|pg-protocol|\/npm\/|parser\.js|ext:deno_node/);
  }
  const password = await errorOf(db.sql`ALTER ROLE nobody WITH PASSWORD 'hunter2' SUPERUSR`);
  assert.doesNotMatch(Deno.inspect(password), /hunter2/);
  assert.match(password.message, /PASSWORD '\*{7}'/);
});

queryTest("a trace leads to the caller's line", async ({ db }) => {
  async function theCaller(query: PromiseLike<unknown>) {
    await query;
  }
  for (const query of [db.sql`SELECT 1 / ${0}`, db.sql`SELECT ${undefined}`]) {
    assert.match((await errorOf(theCaller(query))).stack!, /at async theCaller/);
  }
});

queryTest("a failed statement leaves no transaction open", async ({ open }) => {
  const db = await open({ max: 1 });
  for (let n = 0; n < 20; n++) {
    await errorOf(db.sql`SELECT 1 / 0`);
    await errorOf(db.sql`SELECT ${"x"}::int`);
    await errorOf(db.sql`BEGIN; SELECT nothing`);
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  }
});

queryTest("a look-up for a suggestion needs no second connection", async ({ open }) => {
  const db = await open({ max: 1 });
  let acquired = 0;
  const connect = db.pool.connect.bind(db.pool) as (...args: unknown[]) => unknown;
  db.pool.connect = ((...args: unknown[]) => (acquired++, connect(...args))) as typeof db.pool.connect;
  await db.transaction(async (tx) => {
    await errorOf(tx.sql`SELECT * FROM not_there`);
    assert.equal(acquired, 1, "the transaction's own connection");
  }).catch((error) => assert.equal(error.sqlstate, "25P02"));
  await Promise.all([1, 2, 3].map(() => errorOf(db.sql`SELECT * FROM not_there`)));
  assert.equal(db.pool.waitingCount, 0);
});

queryTest("the error names a parser that throws, and the connection stays usable", async ({ open }) => {
  const db = await open({
    types: {
      numeric: () => {
        throw new Error("no numbers");
      },
    },
  });
  const error = await errorOf(db.sql`SELECT 1.5`);
  assert.equal(error.code, "QUERY_FAILED");
  assert.match(error.message, /no numbers/);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

queryTest("a connection that drops half-way ends the query, and the next one gets another", async ({ open, local }) => {
  const db = await open({ max: 2 });
  await db.sql`CREATE TABLE once (id int)`;
  const running = errorOf(db.sql`INSERT INTO once SELECT 1 FROM pg_sleep(3)`);
  await untilSent(db, "pg_sleep");
  local.faults.dropConnections();
  assert.equal((await running).code, "CONNECTION_LOST");
  const rows = errorOf(async () => {
    let n = 0;
    for await (const _ of db.sql`SELECT * FROM generate_series(1, 100000)`) {
      if (++n === 50) local.faults.dropConnections();
    }
  });
  assert.equal((await rows).code, "CONNECTION_LOST");
  assert.equal(await db.sql`SELECT 1`.value(), 1);
  await untilEnded(db, "INSERT INTO once%");
  assert.ok(await db.sql`SELECT count(*) FROM once`.value() as number <= 1);
  await db.sql`DROP TABLE once`;
});

queryTest("a database that was suspended between two cells wakes without an error", async ({ db, local }) => {
  await db.sql`SELECT 1`;
  local.faults.suspend({ wakeAfter: 300 });
  await untilDropped(db);
  assert.equal(await db.sql`SELECT 2`.value(), 2);
});

queryTest("a session that the server ends with FATAL is not used again", async ({ open }) => {
  const db = await open({ max: 1 });
  const admin = new pg.Client((await sharedPostgres()).url);
  await admin.connect();
  for (let n = 0; n < 5; n++) {
    const pid = await db.sql`SELECT pg_backend_pid()`.value();
    const running = errorOf(db.sql`SELECT pg_sleep(30)`);
    // The message of a session that ends before it has read the statement may get lost.
    const isRunning = "SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query ~ 'pg_sleep'";
    await eventually("the server runs it", async () => (await admin.query(isRunning, [pid])).rowCount === 1);
    await admin.query("SELECT pg_terminate_backend($1)", [pid]);
    const error = await running;
    assert.equal(error.code, "CONNECTION_LOST");
    assert.equal(error.sqlstate, "57P01");
    assert.notEqual(await db.sql`SELECT pg_backend_pid()`.value(), pid);
  }
  await admin.end();
}, { notOnPglite: "its one backend can't be ended" });

queryTest("after close() a query fails with that reason, even one that is waiting", async ({ open }) => {
  const db = await open({ max: 1 });
  const held = await db.pool.connect();
  const waiting = errorOf(db.sql`SELECT 1`);
  const closing = db.close();
  assert.equal((await errorOf(db.sql`SELECT 1`)).code, "CLOSED");
  held.release();
  await closing;
  assert.equal((await waiting).code, "CLOSED");
  assert.equal((await errorOf(db.transaction(() => 1))).code, "CLOSED");
});

queryTest("a query that begins in the turn of close() ends, and says that it is closed", async ({ open }) => {
  const db = await open({ max: 2 });
  await db.sql`SELECT 1`; // an idle connection
  const begun = [errorOf(db.sql`SELECT 2`), errorOf(db.transaction((tx) => tx.sql`SELECT 3`))];
  const closing = db.close();
  for (const { code } of await inTime("the end of the queries", Promise.all(begun))) assert.equal(code, "CLOSED");
  await closing;
});

Deno.test({
  ...requires(
    "the error for a missing privilege names your role, the object's owner, and the GRANT that the owner can run",
    postgresMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using server = await startPostgres({ password: "owner-secret" });
    await using local = await startLocal({ database: server.url, passwords: { app: "native-secret" } });
    await using owner = await connect(optionsOf(local));
    await owner.query(`CREATE TABLE "Trips" (id int UNIQUE); CREATE VIEW seen AS SELECT * FROM "Trips";
      CREATE SCHEMA hidden; CREATE TABLE hidden.t (n int); CREATE SEQUENCE ids;
      CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION f(int) FROM PUBLIC;
      CREATE TYPE mood AS ENUM ('ok'); REVOKE ALL ON TYPE mood FROM PUBLIC; GRANT CREATE ON SCHEMA public TO app;
      CREATE TABLE seen_too (n int); GRANT TRUNCATE ON seen_too TO app;
      CREATE TABLE guarded (n int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; GRANT ALL ON guarded TO app;
      CREATE TABLE serial_one (id serial, n int); GRANT INSERT ON serial_one TO app;
      CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
      CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM "Trips"'`);
    const { workspace: _, endpoint: __, ...place } = optionsOf(local);
    await using db = await connect({ ...place, user: "app", password: "native-secret" });
    const trips = (rights: string) => `GRANT ${rights} ON TABLE public."Trips" TO "app"`;
    const cases: [string, string][] = [
      [`SELECT * FROM "Trips" t`, trips("SELECT")],
      [`INSERT INTO "Trips" VALUES (1)`, trips("INSERT")],
      [`UPDATE public."Trips" SET id = 1 WHERE id = 2`, trips("UPDATE, SELECT")],
      [`DELETE FROM ONLY "Trips"`, trips("DELETE")],
      [`TRUNCATE TABLE "Trips"`, trips("TRUNCATE")],
      [`SELECT * FROM "Trips" FOR UPDATE`, trips("SELECT, UPDATE")],
      [`INSERT INTO seen SELECT id FROM "Trips"`, 'GRANT INSERT ON TABLE public.seen TO "app"'],
      ["TABLE seen", 'GRANT SELECT ON TABLE public.seen TO "app"'],
      ["SELECT reads()", trips("SELECT")],
      ["SELECT * FROM hidden.t", 'GRANT USAGE ON SCHEMA hidden TO "app"'],
      ["SELECT nextval('ids')", 'GRANT USAGE ON SEQUENCE public.ids TO "app"'],
      [`TRUNCATE seen_too, "Trips"`, trips("TRUNCATE")],
      [`SELECT 1; LOCK TABLE "Trips"`, trips("UPDATE")],
      [`SELECT 1; LOCK TABLE "Trips" IN ACCESS SHARE MODE`, trips("SELECT")],
      [`SELECT * FROM "Trips" FOR NO KEY UPDATE`, trips("SELECT, UPDATE")],
      [`SELECT * FROM "Trips" FOR SHARE`, trips("SELECT, UPDATE")],
      [`COPY "Trips" FROM STDIN`, trips("INSERT")],
      [`CREATE TRIGGER t BEFORE INSERT ON "Trips" FOR EACH ROW EXECUTE FUNCTION t()`, trips("TRIGGER")],
      [`CREATE TABLE refers (id int REFERENCES "Trips" (id))`, trips("REFERENCES")],
      [
        `MERGE INTO "Trips" t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)`,
        trips("SELECT, INSERT, DELETE"),
      ],
      ["SELECT setval('ids', 5)", 'GRANT UPDATE ON SEQUENCE public.ids TO "app"'],
      ["SELECT * FROM ids", 'GRANT SELECT ON SEQUENCE public.ids TO "app"'],
      ["INSERT INTO serial_one (n) VALUES (1)", 'GRANT USAGE ON SEQUENCE public.serial_one_id_seq TO "app"'],
      ["CREATE TABLE moods (m mood)", 'GRANT USAGE ON TYPE mood TO "app"'],
      ["SELECT f(1)", 'GRANT EXECUTE ON FUNCTION f(integer) TO "app"'],
    ];
    for (const [text, grant] of cases) {
      const { sqlstate, message } = await errorOf(db.query(text));
      assert.equal(sqlstate, "42501", text);
      assert.match(
        message,
        /HINT: you are "app"\. \S+ belongs to "you@example\.com", who can run /,
        `${text}: ${message}`,
      );
      assert.ok(message.endsWith(grant), `${text}: ${message}`);
      await owner.query(grant);
      const then = await db.query(text).then(() => "", ({ message }) => message);
      assert.ok(!then.includes(grant), `${text}: ${then}`);
      await owner.query(`REVOKE ALL ON "Trips" FROM app`);
    }
    assert.match(
      (await errorOf(db.query(`DROP TABLE "Trips"`))).message,
      /public\."Trips" belongs to "you@example\.com"/,
    );
    const superuser = new pg.Client(server.url);
    await superuser.connect();
    await superuser.query('CREATE ROLE "The Team"');
    const member = /HINT: you are "app"\. Superusers, .*, can run GRANT "The Team" TO "app"$/;
    await assert.rejects(db.query('SET ROLE "The Team"'), member);
    await assert.rejects(db.query('CREATE TABLE teams (n int); ALTER TABLE teams OWNER TO "The Team"'), member);
    await superuser.query("ALTER ROLE app NOBYPASSRLS");
    await superuser.end();
    const policies = (hint: string) => ({
      code: "QUERY_FAILED",
      message: new RegExp(`HINT: you are "app"\\. public\\.guarded belongs to "you@example\\.com", .*; ${hint}$`),
    });
    await assert.rejects(db.query("INSERT INTO guarded VALUES (-1)"), policies("it has no policy.*"));
    await owner.query("CREATE POLICY positive ON guarded USING (n > 0)");
    await assert.rejects(db.query("INSERT INTO guarded VALUES (-1)"), policies("its policies are positive"));
    assert.match(
      (await errorOf(db.query("SET log_statement TO 'all'"))).message,
      /GRANT SET ON PARAMETER log_statement TO "app"$/,
    );
    const loading = await errorOf(db.load("Trips", [{ id: 1 }]));
    assert.ok(loading.message.includes(trips("INSERT")), loading.message);
  },
});

queryTest("a refusal with a known remedy names the remedy", async ({ db, open }) => {
  const cases: [string, string, RegExp][] = [
    ["SET LOCAL statement_timeout = 50; SELECT pg_sleep(10)", "57014", /HINT: .*statementTimeout/],
    ["SET TRANSACTION READ ONLY; CREATE TABLE never (n int)", "25006", /HINT: .*without readOnly/],
    ["DO $$ BEGIN RAISE 'x' USING ERRCODE = '40001'; END $$", "40001", /HINT: .*whole transaction again/],
    [
      "DO $$ BEGIN RAISE 'canceling statement due to conflict with recovery' USING ERRCODE = '40001'; END $$",
      "40001",
      /HINT: the read replica/,
    ],
    ["DO $$ BEGIN RAISE 'x' USING ERRCODE = '40P01'; END $$", "40P01", /HINT: two transactions/],
    ["DO $$ BEGIN RAISE 'x' USING ERRCODE = '53100'; END $$", "53100", /HINT: the storage is full/],
    ["DO $$ BEGIN RAISE 'x' USING ERRCODE = '53200'; END $$", "53200", /HINT: .*work_mem/],
    ["DO $$ BEGIN RAISE 'x' USING ERRCODE = '55P03'; END $$", "55P03", /HINT: .*pg_blocking_pids/],
  ];
  for (const [text, sqlstate, hint] of cases) {
    const error = await errorOf(db.query(text));
    assert.deepEqual([error.code, error.sqlstate], ["QUERY_FAILED", sqlstate], error.message);
    assert.match(error.message, hint);
  }
  const reader = await open({ readOnly: true });
  assert.match((await errorOf(reader.sql`CREATE TABLE never (n int)`)).message, /HINT: .*without readOnly/);
});

queryTest(
  "a transaction that the server ended while it was idle says why, and that it was rolled back",
  async ({ db }) => {
    // Uses the pool, which is outside of the transaction.
    const sessions = async (pid: number) => {
      const { rows } = await db.pool.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = $1", [pid]);
      return rows[0]!.n as number;
    };
    for (const last of [[], ["SELECT 1"]]) {
      const error = await errorOf(db.transaction(async (tx) => {
        const [row] = await tx.query<{ pid: number }>(
          `SET LOCAL idle_in_transaction_session_timeout = 50; CREATE TABLE gone (n int);
          SELECT pg_backend_pid() AS pid`,
        );
        await eventually("the server has ended the session", async () => await sessions(row!.pid) === 0);
        for (const text of last) await tx.query(text);
      }));
      assert.deepEqual([error.code, error.sqlstate], ["CONNECTION_LOST", "25P03"], error.message);
      assert.match(
        error.message,
        /idle-in-transaction timeout.*rolled back.*\nHINT: .*idle_in_transaction_session_timeout/s,
      );
      assert.doesNotMatch(error.message, /not known/);
    }
    const session = await db.session();
    await session.sql`SET idle_in_transaction_session_timeout = 50`;
    const pid = await session.sql`SELECT pg_backend_pid()`.value() as number;
    await session.sql`BEGIN`;
    await eventually("the server has ended the session", async () => await sessions(pid) === 0);
    const error = await errorOf(session.sql`SELECT 1`);
    assert.deepEqual([error.code, error.sqlstate], ["CONNECTION_LOST", "25P03"], error.message);
    assert.match(error.message, /transaction was rolled back.*\nHINT: .*idle_in_transaction_session_timeout/s);
    await session.close();
    assert.equal(await db.sql`SELECT to_regclass('gone') IS NULL`.value(), true);
  },
  { notOnPglite: "it has no such limit" },
);

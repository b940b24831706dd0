import assert from "node:assert/strict";
import { drawn, errorOf, queryTest } from "../support/queries.ts";

queryTest("an empty query gives no rows", async ({ db }) => {
  const empty = await db.sql``;
  assert.deepEqual([empty.length, empty.command, empty.rowCount], [0, "", null]);
  assert.match(await drawn(db.sql`-- only a comment`), /empty query/);
  assert.equal(await db.sql``.value(), undefined);
});

queryTest("several statements in one text give the last one's result, and each runs once", async ({ db }) => {
  await db.sql`CREATE TABLE counted (id serial)`;
  const several = () => db.sql`INSERT INTO counted DEFAULT VALUES; SELECT count(*) AS n FROM counted`;
  assert.equal((await several())[0]?.["n"], 1);
  assert.match(await drawn(several()), /2/);
  assert.match(await drawn(db.sql`SELECT 1 AS a; INSERT INTO counted DEFAULT VALUES`), /INSERT 0 1/);
  const reads = db.sql`SELECT 1; INSERT INTO counted DEFAULT VALUES; SELECT 5 AS five`;
  assert.match(await drawn(reads), /five/);
  assert.equal(await db.sql`SELECT count(*) FROM counted`.value(), 4);
  const bound = await errorOf(db.sql`SELECT ${1}; SELECT 2`);
  assert.equal(bound.sqlstate, "42601");
  await db.sql`DROP TABLE counted`;
});

queryTest("an error that looks like a refusal of several statements does not run the text twice", async ({ db }) => {
  await db.sql`CREATE SEQUENCE ran`;
  const text = `SELECT nextval('ran'), (SELECT 1 / (CASE WHEN nextval('ran') > 0 THEN 0 END))`;
  await errorOf(() => drawn(db.sql`${db.sql.unsafe(text)}`));
  assert.equal(await db.sql`SELECT nextval('ran') <= 3`.value(), true);
  await db.sql`DROP SEQUENCE ran`;
});

queryTest("(slow) large texts and values are sent and read", async ({ db }) => {
  const text = `SELECT '${"x".repeat(5_000_000)}' AS long`;
  assert.equal((await db.query<{ long: string }>(text))[0]?.long.length, 5_000_000);
  const typo = await errorOf(db.query(`${text}, nothere`));
  assert.ok(typo.message.length < 1000);
  const bundle = await drawn(db.sql`SELECT repeat('<', 50000000) AS cell`, "text/html");
  assert.ok(bundle.length < 1_000_000);
});

queryTest("zero characters are refused, and HTML stays text", async ({ db }) => {
  assert.match((await errorOf(db.sql`SELECT ${"a\0b"}`)).message, /parameter 1 has a zero character/);
  assert.equal((await errorOf(db.query("SELECT 1\0"))).code, "BAD_PARAMETER");
  const html = await drawn(db.sql`SELECT '<img src=x onerror=alert(1)>' AS a`, "text/html");
  assert.ok(!html.includes("<img"));
});

queryTest("COPY as a query is refused at once, and the error names the method to use", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.sql`CREATE TABLE copied (id int)`;
  await db.sql`INSERT INTO copied SELECT * FROM generate_series(1, 1000)`;
  for (const copy of ["COPY copied FROM STDIN", "COPY copied TO STDOUT"]) {
    const query = () => db.sql`${db.sql.unsafe(copy)}`;
    const ways = [
      async () => await query(),
      () => drawn(query()),
      () => query().first(),
      async () => {
        for await (const _ of query()) assert.fail();
      },
      () => db.transaction(async (tx) => await tx.query(copy)),
      () =>
        db.transaction(async (tx) => {
          for await (const _ of tx.sql`${db.sql.unsafe(copy)}`) assert.fail();
        }),
    ];
    for (const way of ways) {
      const error = await errorOf(way);
      assert.equal(error.sqlstate, "0A000");
      assert.match(error.message, /Cannot run COPY/);
      assert.equal(await db.sql`SELECT count(*) FROM copied`.value(), 1000);
    }
  }
  await db.sql`DROP TABLE copied`;
});

queryTest("LISTEN and NOTIFY run like other commands", async ({ db }) => {
  assert.equal((await db.sql`LISTEN news`).command, "LISTEN");
  assert.equal((await db.sql`NOTIFY news, 'x'`).command, "NOTIFY");
  assert.equal((await db.sql`UNLISTEN *`).command, "UNLISTEN");
});

queryTest("200 queries at once share 15 connections", async ({ open }) => {
  const db = await open({ max: 15 });
  const values = await Promise.all(Array.from({ length: 200 }, (_, n) => db.sql`SELECT ${n}::int`.value()));
  assert.deepEqual(values, Array.from({ length: 200 }, (_, n) => n));
  assert.ok(db.pool.totalCount <= 15);
});

queryTest("(slow) 10,000 queries leak no memory and no listeners", async ({ open }) => {
  const db = await open({ max: 4 });
  const { signal } = new AbortController();
  const one = (n: number) =>
    n % 10 === 0 ? errorOf(db.sql`SELECT 1 / 0`) : db.sql`SELECT ${n}::int`.with({ signal }).then();
  const many = async () => {
    for (let n = 0; n < 5000; n += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => one(n + i)));
  };
  await many();
  const before = Deno.memoryUsage().heapUsed;
  await many();
  assert.ok(Deno.memoryUsage().heapUsed - before < 60_000_000);
  const client = await db.pool.connect();
  const { connection } = client as unknown as {
    connection: { eventNames(): string[]; listenerCount(name: string): number };
  };
  for (const name of connection.eventNames()) assert.ok(connection.listenerCount(name) <= 2, String(name));
  client.release();
  assert.equal(db.pool.waitingCount, 0);
}, { notOnPglite: "the leak would be the client's, and PGlite takes a minute" });

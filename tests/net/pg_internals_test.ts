import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
// @ts-types="@types/pg"
import pg from "pg";
import type { LocalLakebase } from "../../src/local/mod.ts";
import {
  backendOf,
  closeIdleClient,
  connectionOf,
  emptyQueue,
  endAfterQuery,
  filterMessages,
  forgetPassword,
  holdReading,
  ignoreEnvironment,
  leaveQueue,
  resumeReading,
  runningQuery,
  takeData,
} from "../../src/net/pg_internals.ts";
import { localTests } from "../support/lakebase.ts";

/** The unchanged driver. Each test fails if a new version changes a part that this module uses. */
const PASSWORD = "native-secret";
const test = localTests({ passwords: { app: PASSWORD } });

function login({ env, ca }: LocalLakebase): pg.ClientConfig {
  const { PGPORT: port, PGDATABASE: database } = env as { PGPORT: string; PGDATABASE: string };
  return { host: "localhost", port: Number(port), database, user: "app", password: PASSWORD, ssl: { ca } };
}

async function connected(local: LocalLakebase): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(login(local));
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

test("pg: connectionOf() gives the connection with its socket and the server's reports", async ({ local }) => {
  const client = new pg.Client(login(local));
  const reported: string[] = [];
  connectionOf(client).on("parameterStatus", ({ parameterName }) => reported.push(parameterName));
  await client.connect();
  const { stream } = connectionOf(client);
  assert.ok(stream instanceof net.Socket);
  assert.ok(stream.bytesRead > 0 && stream.bytesWritten > 0, "the socket counts its bytes");
  assert.ok(reported.includes("server_version"), reported.join());
  const completed = once(connectionOf(client), "commandComplete");
  await client.query("RESET search_path");
  assert.equal((await completed)[0].text, "RESET");
  await client.end();
});

test("pg: backendOf() gives the process and the key that cancel a statement", async ({ local }) => {
  await using client = await connected(local);
  const { processId, secretKey } = backendOf(client);
  assert.ok(Number.isInteger(processId) && processId > 0, String(processId));
  assert.ok(Number.isInteger(secretKey), String(secretKey));
});

test("pg: runningQuery() gives the statement while it runs, and nothing before and after", async ({ local }) => {
  await using client = await connected(local);
  assert.equal(runningQuery(client), undefined);
  const running = client.query("SELECT 1 AS n");
  assert.equal(runningQuery(client)?.text, "SELECT 1 AS n");
  await running;
  await client.query("");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(runningQuery(client), undefined);
});

test("pg: forgetPassword() leaves the password nowhere in a connected client", async ({ local }) => {
  await using client = await connected(local);
  assert.ok(holds(client, PASSWORD), "pg no longer keeps a password: remove forgetPassword()");
  forgetPassword(client);
  assert.ok(!holds(client, PASSWORD), "pg keeps the password in another place");
  assert.equal((await client.query("SELECT 1 AS n")).rows[0].n, 1);
});

/** Whether an object, or an object that it refers to, contains a text. */
function holds(object: object, text: string, seen = new Set<unknown>()): boolean {
  seen.add(object);
  return Reflect.ownKeys(object).some((key) => {
    let value: unknown;
    try {
      value = (object as Record<PropertyKey, unknown>)[key];
    } catch {
      return false; // a getter of the runtime that refuses
    }
    if (typeof value === "string") return value.includes(text);
    return typeof value === "object" && value !== null && !seen.has(value) && holds(value, text, seen);
  });
}

test("pg: ignoreEnvironment() undoes PGREPLICATION, PGBINARY and PGOPTIONS", async ({ local }) => {
  const names = ["PGREPLICATION", "PGBINARY", "PGOPTIONS"];
  let [raw, client]: (pg.Client | undefined)[] = [];
  try {
    for (const name of names) Deno.env.set(name, "true");
    [raw, client] = [new pg.Client(login(local)), new pg.Client(login(local))];
  } finally {
    for (const name of names) Deno.env.delete(name);
  }
  assert.match(startup(raw), /replication/, "pg no longer reads PGREPLICATION: remove ignoreEnvironment()");
  assert.match(startup(raw), /options/, "pg no longer reads PGOPTIONS: ignoreEnvironment() need not undo it");
  ignoreEnvironment(client, undefined);
  assert.doesNotMatch(startup(client), /replication|options/);
  ignoreEnvironment(client, "-c search_path=app");
  assert.match(startup(client), /"options":"-c search_path=app"/);
  await client.connect();
  assert.equal((await client.query("SELECT 1 AS n")).rows[0].n, 1);
  await client.end();
});

/** The client's startup message. */
function startup(client: pg.Client): string {
  return JSON.stringify((client as unknown as { getStartupConf(): object }).getStartupConf());
}

test("pg: filterMessages() sees each byte that the parser gets, and may leave out some", async ({ local }) => {
  const client = new pg.Client(login(local));
  const seen: string[] = [];
  filterMessages(client, (pass) => (bytes) => {
    seen.push(bytes.toString("latin1"));
    pass(bytes);
  });
  await client.connect();
  assert.equal((await client.query("SELECT 'through the filter' AS text")).rows[0].text, "through the filter");
  assert.match(seen.join(""), /through the filter/);
  await client.end();
});

test("pg: endAfterQuery() says goodbye while a query runs", async ({ local }) => {
  const client = new pg.Client(login(local));
  await client.connect();
  client.on("error", () => {}); // `pg` did not end the connection itself
  const { stream } = connectionOf(client);
  const running = client.query("SELECT 1").catch(() => {});
  const written = stream.bytesWritten;
  await endAfterQuery(client);
  await running;
  assert.ok(stream.bytesWritten >= written + 5, "the goodbye has five bytes");
  assert.equal(stream.destroyed, true);
});

test("pg: the event dataRow fails the query that reads the row", async ({ local }) => {
  await using client = await connected(local);
  const connection = connectionOf(client);
  const unreadable = {
    get fields(): never {
      throw new Error("unreadable");
    },
  };
  connection.once("rowDescription", () => connection.emit("dataRow", unreadable));
  const running = client.query("SELECT 1 AS n");
  await assert.rejects(running, { message: "unreadable" });
});

test("pg: takeData() gives the socket's bytes to us, and back to the parser", async ({ local }) => {
  await using client = await connected(local);
  const bytes: string[] = [];
  const taken = takeData(connectionOf(client).stream, (chunk) => {
    bytes.push(chunk.toString("latin1"));
    taken.pass(chunk);
  });
  assert.equal((await client.query("SELECT 'taken' AS text")).rows[0].text, "taken");
  assert.match(bytes.join(""), /taken/);
  taken.giveBack();
  assert.equal((await client.query("SELECT 'given back' AS text")).rows[0].text, "given back");
  assert.doesNotMatch(bytes.join(""), /given back/);
});

test("pg-pool: closeIdleClient() closes a client, and leaveQueue() ends the wait for one", async ({ local }) => {
  const pool = new pg.Pool({ ...login(local), max: 1 });
  const client = await pool.connect();
  const callback = () => assert.fail("this caller has left the queue");
  pool.connect(callback);
  assert.equal(pool.waitingCount, 1);
  leaveQueue(pool, callback);
  assert.equal(pool.waitingCount, 0);
  client.release();
  assert.equal(pool.totalCount, 1);
  const removed = once(pool, "remove");
  closeIdleClient(pool, client);
  assert.equal((await removed)[0], client);
  assert.equal(pool.totalCount, 0);
  await pool.end();
});

test("pg-pool: emptyQueue() gives the callbacks of all who wait for a client", async ({ local }) => {
  const pool = new pg.Pool({ ...login(local), max: 1 });
  const client = await pool.connect();
  const callbacks = [() => {}, () => {}];
  for (const callback of callbacks) pool.connect(callback);
  assert.deepEqual(emptyQueue(pool), callbacks);
  assert.equal(pool.waitingCount, 0);
  client.release();
  await pool.end();
});

test("Deno: holdReading() stops the connection below TLS, and resumeReading() goes on", async ({ local }) => {
  await using client = await connected(local);
  const { stream } = connectionOf(client);
  const parent = (stream as unknown as { _handle: { _parent: Record<"readStop" | "readStart", () => unknown> } })
    ._handle?._parent;
  const called: string[] = [];
  for (const name of ["readStop", "readStart"] as const) {
    assert.equal(typeof parent?.[name], "function", `a TLS socket's parent has no ${name}()`);
    const own = parent[name];
    parent[name] = () => {
      called.push(name);
      return own.call(parent);
    };
  }
  holdReading(stream);
  assert.ok(stream.isPaused());
  const answer = client.query("SELECT 1 AS n");
  resumeReading(stream);
  assert.equal((await answer).rows[0].n, 1);
  assert.deepEqual(called, ["readStop", "readStart"]);
});

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type EventEmitter, once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type pg from "pg";
import { int32 } from "../../src/local/messages.ts";
import { connect, firstRow, mint, refusal } from "./client.ts";
import { eventually, nextTurn } from "../support/eventually.ts";
import { ownLakebase } from "../support/lakebase.ts";
import { queryTest } from "../support/queries.ts";

const SP = "11111111-2222-3333-4444-555555555555";
const local = await ownLakebase({
  groups: ["Data analysts"],
  passwords: { native: "pässword" },
  servicePrincipals: [{ clientId: SP, clientSecret: "secret" }],
  handshakeTimeout: 300_000,
  projects: [{
    id: "local",
    branches: [{
      id: "production",
      endpoints: [
        { id: "primary", readOnlyHost: "readers.localhost" },
        { id: "replica", type: "READ_ONLY" },
        { id: "off", host: "off.localhost", disabled: true },
        { id: "making", host: "making.localhost", state: "INIT" },
        { id: "asleep", host: "asleep.localhost", state: "IDLE" },
      ],
    }],
  }],
});
Deno.test.afterAll(() => local.close());

const PORT = Number(local.env["PGPORT"]);
const endpoint = (id: string): string => `projects/local/branches/production/endpoints/${id}`;

/** The configuration for another host name. It connects to 127.0.0.1, because some resolvers do not know `*.localhost`. */
function atHost(host: string): pg.ClientConfig {
  const stream = (): Socket => {
    const socket = connectSocket(PORT, "127.0.0.1");
    socket.connect = () => socket;
    return socket;
  };
  return { host, stream };
}

/** Sends some bytes to the Postgres port, and returns everything that it answers until it closes the connection. */
async function answer(bytes: Uint8Array, port = PORT): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connectSocket(port, "127.0.0.1", () => socket.write(bytes));
  let text = "";
  socket.on("data", (data) => text += data.toString("latin1"));
  socket.on("error", () => {});
  socket.on("close", () => resolve(text));
  return await promise;
}

/** Sends some bytes over TLS, and returns the first answer. TLS begins with an SSLRequest or directly. */
async function answerInTls(bytes: Uint8Array, sslRequest = true): Promise<string> {
  const socket = connectSocket(PORT, "127.0.0.1");
  if (sslRequest) {
    socket.write(new Uint8Array([...int32(8), ...int32(80877103)]));
    await once(socket, "data");
  }
  const tls = connectTls({ socket, ca: local.ca, servername: "localhost", ALPNProtocols: ["postgresql"] });
  tls.on("error", () => {});
  await once(tls, "secureConnect");
  assert.equal(tls.alpnProtocol, "postgresql");
  tls.write(bytes);
  let received = "";
  for await (const data of tls) {
    received += data.toString("latin1");
    if (/[ER]/.test(received)) break; // an error, or a request for a password; leaving the loop destroys the socket
  }
  return received;
}

function startup(parameters: string): Uint8Array {
  const body = new TextEncoder().encode(`${parameters}\0\0`);
  return new Uint8Array([...int32(body.length + 8), ...int32(196608), ...body]);
}

Deno.test("a credential logs its role in, over TLS with SNI", async () => {
  const client = await connect(local);
  assert.deepEqual(await firstRow(client, "SELECT current_user, session_user"), [
    "you@example.com",
    "you@example.com",
  ]);
  await client.end();
  assert.deepEqual(local.logins.at(-1), { user: "you@example.com", database: "databricks_postgres", outcome: "ok" });
});

Deno.test("a group's credential logs in as the group", async () => {
  const password = await mint(local, { group_name: "Data analysts" });
  const client = await connect(local, { user: "Data analysts", password });
  assert.deepEqual(await firstRow(client, "SELECT session_user"), ["Data analysts"]);
  await client.end();
});

Deno.test("a native role logs in by SCRAM-SHA-256", async () => {
  const client = await connect(local, { user: "native", password: "pässword" });
  assert.deepEqual(await firstRow(client, "SELECT session_user"), ["native"]);
  await client.end();
});

const refusals: [string, pg.ClientConfig, string, RegExp][] = [
  [
    "a personal access token",
    { password: "dapi123" },
    "28P01",
    /^Provided authentication token is not a valid JWT encod/,
  ],
  [
    "a token with another signature",
    { password: "a.b.c" },
    "28P01",
    /^password authentication failed for user "you@exam/,
  ],
  ["another known role", { user: SP }, "28P01", /^password authentication failed for user "1111/],
  ["an unknown role", { user: "who@example.com" }, "28000", /^role "who@example.com" does not exist$/],
  ["an unknown database", { database: "none" }, "3D000", /^database "none" does not exist$/],
  [
    "a wrong native password",
    { user: "native", password: "wrong" },
    "28P01",
    /^password authentication failed for user "n/,
  ],
  [
    "no TLS",
    { ssl: false },
    "08006",
    /^Insecure connection\. Ensure that connection is using SSL\. Try using `sslmode=req/,
  ],
];

for (const [login, config, sqlstate, message] of refusals) {
  Deno.test(`${login} is refused with ${sqlstate}`, async () => {
    const error = await refusal(local, config);
    assert.equal(error.code, sqlstate);
    assert.equal(error.severity, "FATAL");
    assert.match(error.message, message);
    assert.equal(local.logins.at(-1)?.outcome === sqlstate, config.ssl !== false);
  });
}

Deno.test("a client without SNI is refused with 08006", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connectSocket(
    PORT,
    "127.0.0.1",
    () => socket.write(new Uint8Array([...int32(8), ...int32(80877103)])),
  );
  socket.once("data", () => {
    const tls = connectTls({ socket, ca: local.ca, checkServerIdentity: () => undefined });
    tls.on("secureConnect", () => tls.write(startup("user\0you@example.com")));
    tls.once("data", (data) => resolve(data.toString()));
    tls.on("error", () => {});
    tls.on("end", () => tls.destroy());
  });
  const text = await promise;
  assert.match(text, /C08006/);
  assert.match(text, /MConnection does not have SNI\./);
  assert.match(text, /DPlease upgrade your client to support SNI\./);
});

Deno.test("the pooler refuses a credential and accepts a native password", async () => {
  const host = atHost("localhost-pooler.localhost");
  const error = await refusal(local, host);
  assert.deepEqual([error.code, error.message], ["08P01", "SASL authentication failed"]);
  const client = await connect(local, { ...host, user: "native", password: "pässword" });
  await client.end();
});

Deno.test("an endpoint that is disabled or being created is refused with 28000", async () => {
  for (const id of ["off", "making"]) {
    const password = await mint(local, { endpoint: endpoint(id) });
    const error = await refusal(local, { ...atHost(`${id}.localhost`), password });
    assert.deepEqual([error.code, error.message], ["28000", "External authorization failed."]);
    assert.match(error.detail ?? "", /paused instances/);
  }
});

Deno.test("a credential is valid only for its endpoint", async () => {
  const error = await refusal(local, atHost("asleep.localhost"));
  assert.equal(error.code, "28P01");
  const password = await mint(local, { endpoint: endpoint("asleep") });
  const client = await connect(local, { ...atHost("asleep.localhost"), password });
  await client.end();
});

Deno.test("a session is read only at a replica, under a read-only host, or by its claims", async () => {
  const claims = [{ permission_set: "READ_ONLY", resources: [] }];
  const configs: pg.ClientConfig[] = [
    { password: await mint(local, { endpoint: endpoint("replica") }) },
    atHost("readers.localhost"),
    { password: await mint(local, { claims }) },
  ];
  for (const config of configs) {
    const client = await connect(local, config);
    await assert.rejects(client.query("CREATE TABLE no (id int)"), { code: "25006" });
    await client.end();
  }
});

Deno.test("a client that does not speak Postgres is disconnected without an answer", async () => {
  assert.equal(await answer(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")), "");
  assert.equal(await answer(new Uint8Array([...int32(2_000_000_000), 0, 3, 0, 0])), "");
  assert.equal(await answer(new Uint8Array(crypto.getRandomValues(new Uint8Array(4096)).fill(0xff, 0, 4))), "");
});

Deno.test("a packet that Postgres cannot serve is refused with Postgres's message", async () => {
  assert.match(
    await answer(new Uint8Array([...int32(8), ...int32(0x40000)])),
    /^E.*SFATAL.*C0A000.*frontend protocol 4\.0/s,
  );
  const unterminated = new TextEncoder().encode("user\0you");
  const packet = new Uint8Array([...int32(unterminated.length + 8), ...int32(196608), ...unterminated]);
  assert.match(await answer(packet), /^E.*C08P01.*expected terminator/s);
  assert.match(await answerInTls(startup("database\0d")), /^E.*C28000.*no PostgreSQL user name/s);
});

for (const sslRequest of [true, false]) {
  Deno.test(`a newer protocol is negotiated down, ${sslRequest ? "after SSLRequest" : "with direct TLS"}`, async () => {
    for (const [version, option] of [[196610, []], [196608, ["_pq_.new"]], [196610, ["_pq_.new"]]] as const) {
      const body = new TextEncoder().encode(
        ["user", "native", ...option.flatMap((name) => [name, "1"]), "", ""].join("\0"),
      );
      const received = await answerInTls(
        new Uint8Array([...int32(body.length + 8), ...int32(version), ...body]),
        sslRequest,
      );
      const names = option.map((name) => `${name}\0`).join("");
      const header = [...int32(12 + names.length), ...int32(196608), ...int32(option.length)];
      assert.equal(received.slice(0, 13 + names.length), `v${String.fromCharCode(...header)}${names}`);
      assert.match(received.slice(13 + names.length), /^R.*SCRAM-SHA-256/s);
    }
  });
}

Deno.test("GSS encryption is declined, and the client may continue with TLS", async () => {
  const gss = new Uint8Array([...int32(8), ...int32(80877104)]);
  assert.match(await answer(new Uint8Array([...gss, ...startup("user\0u")])), /^NE.*C08006/s);
});

Deno.test("a client that sends nothing gets the error of the handshake limit", { sanitizeOps: false }, async () => {
  await using limited = await ownLakebase({ handshakeTimeout: 50 });
  assert.match(await answer(new Uint8Array(), Number(limited.env["PGPORT"])), /MClient handshake timeout\./);
});

Deno.test(
  "a client in the middle of the TLS handshake gets no plain text at the limit",
  { sanitizeOps: false },
  async () => {
    await using limited = await ownLakebase({ handshakeTimeout: 5000 });
    const port = Number(limited.env["PGPORT"]);
    const hello = [0x16, 3, 1, 2, 0, 1]; // the beginning of a ClientHello
    const asking = answer(new Uint8Array([...int32(8), ...int32(80877103), ...hello]), port);
    assert.deepEqual(await Promise.all([asking, answer(new Uint8Array(hello), port)]), ["S", ""]);
  },
);

Deno.test("a client may close the connection at any point", async () => {
  for (const bytes of [[0], [...int32(8)], [...int32(8), ...int32(80877103)], [...startup("user\0u")]]) {
    const socket = connectSocket(PORT, "127.0.0.1", () => {
      socket.write(new Uint8Array(bytes));
      socket.destroySoon();
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    await promise;
  }
  await (await connect(local)).end();
});

/** The parts of `pg`'s connection that the next test uses. */
interface PgConnection extends EventEmitter {
  stream: Socket;
  query(text: string): void;
}

/** A CopyData message of 64 kB. */
function copyData(): Buffer {
  const message = Buffer.alloc(65_541, "x");
  message[0] = "d".charCodeAt(0);
  message.writeInt32BE(65_540, 1);
  message[message.length - 1] = "\n".charCodeAt(0);
  return message;
}

queryTest("a client that dies while it is sending leaves no transaction behind", async ({ db, local }) => {
  await db.sql`CREATE TABLE sent (line text)`;
  for (let n = 0; n < 6; n++) {
    const client = await db.pool.connect();
    await client.query("BEGIN");
    const connection = (client as unknown as { connection: PgConnection }).connection;
    const begun = once(connection, "copyInResponse");
    connection.query("COPY sent FROM STDIN");
    await begun;
    for (let messages = 0; messages < 20 + n * 15; messages++) {
      connection.stream.write(copyData());
      if (n % 2 === 0) await nextTurn();
    }
    connection.stream.destroy(); // usually within a TLS record
    client.release(true);
    assert.equal(await db.sql`SELECT count(*) FROM sent`.value(), 0);
  }
  await db.sql`DROP TABLE sent`;
  await eventually("the sessions of the dead clients are over", () => local.connections <= 2);
});

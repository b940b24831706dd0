import assert from "node:assert/strict";
import { connect } from "../../mod.ts";
import { LakebaseError } from "../../src/core/errors.ts";
import { classifyFailure, connectError, type ConnectTarget } from "../../src/net/failure.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { loadingFile, sharedCluster } from "../support/shared_servers.ts";

const FILE = loadingFile();

const TO: ConnectTarget = { host: "h.example.com", port: 5432, database: "d", user: "u", native: false };

function server(code: string, message: string, detail?: string): Error {
  return Object.assign(new Error(message), { code, severity: "FATAL", detail });
}

function socket(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

Deno.test("classifyFailure() finds which failures to retry", () => {
  const cases: [Error, string, string][] = [
    [
      server("28000", "External authorization failed.", "This could be due to paused instances"),
      "waking",
      "LOGIN_REFUSED",
    ],
    [server("28P01", 'password authentication failed for user "u"'), "login", "LOGIN_REFUSED"],
    [server("28000", 'role "u" does not exist'), "login", "LOGIN_REFUSED"],
    [server("28P01", "Provided authentication token is not a valid JWT encoding"), "login", "LOGIN_REFUSED"],
    [server("08P01", "SASL authentication failed"), "login", "LOGIN_REFUSED"],
    [
      server("28000", "Source IP address: 203.0.113.7 is blocked by Databricks IP ACL for workspace: 1"),
      "final",
      "LOGIN_REFUSED",
    ],
    [server("3D000", 'database "d" does not exist'), "final", "DATABASE_NOT_FOUND"],
    [server("42501", 'permission denied for database "d"'), "final", "LOGIN_REFUSED"],
    [server("53300", "sorry, too many clients already"), "waking", "TOO_MANY_CONNECTIONS"],
    [server("57P03", "the database system is starting up"), "waking", "UNREACHABLE"],
    [server("57P01", "terminating connection due to administrator command"), "waking", "UNREACHABLE"],
    [server("08006", "Insecure connection. Ensure that connection is using SSL."), "final", "TLS"],
    [server("08006", "Connection does not have SNI."), "final", "TLS"],
    [server("08006", "the connection to the compute failed"), "waking", "UNREACHABLE"],
    ...["08000", "08003", "08007", "08999"].map((code): [Error, string, string] => [
      server(code, "connection exception"),
      "waking",
      "UNREACHABLE",
    ]),
    [server("08001", "could not connect to compute"), "waking", "UNREACHABLE"],
    [server("08004", "the server rejected the connection"), "waking", "UNREACHABLE"],
    [server("08P01", "server login has been failing, try again later"), "waking", "UNREACHABLE"],
    [server("08P01", "unsupported startup parameter: statement_timeout"), "final", "POOLED_HOST"],
    [server("08P01", "unsupported startup parameter in options: search_path"), "final", "POOLED_HOST"],
    [server("08P01", "no such database: d"), "final", "DATABASE_NOT_FOUND"],
    [server("08P01", "no such user: u"), "login", "LOGIN_REFUSED"],
    [server("08P01", "query_wait_timeout"), "waking", "TOO_MANY_CONNECTIONS"],
    [server("08P01", "no more connections allowed (max_client_conn)"), "waking", "TOO_MANY_CONNECTIONS"],
    [server("0A000", "Invalid protocol version: 196608"), "final", "TLS"],
    [server("28000", 'no pg_hba.conf entry for host "::1", user "u", database "d", no encryption'), "final", "TLS"],
    [
      server("28000", 'no pg_hba.conf entry for host "::1", user "u", database "d", SSL encryption'),
      "login",
      "LOGIN_REFUSED",
    ],
    [server("3D000", 'database "SNI using SSL" does not exist'), "final", "DATABASE_NOT_FOUND"],
    [server("55000", 'database "template0" is not currently accepting connections'), "final", "DATABASE_NOT_FOUND"],
    [server("53100", "could not write init file: No space left on device"), "waking", "UNREACHABLE"],
    [server("53400", "too many connections for this plan"), "waking", "TOO_MANY_CONNECTIONS"],
    [server("XX000", "Invalid upstream handshake state."), "waking", "UNREACHABLE"],
    [server("42601", "invalid command-line argument for server process: nonsense"), "final", "BAD_SETTING"],
    [server("42602", 'invalid configuration parameter name "a b"'), "final", "BAD_SETTING"],
    [server("42704", 'unrecognized configuration parameter "nonsense"'), "final", "BAD_SETTING"],
    [server("22023", 'invalid value for parameter "TimeZone": "nowhere"'), "final", "BAD_SETTING"],
    [server("42501", 'permission denied to set parameter "log_statement"'), "final", "BAD_SETTING"],
    [Object.assign(socket("EAI_AGAIN"), { syscall: "getaddrinfo" }), "final", "DNS"],
    [Object.assign(socket("ENOTFOUND"), { syscall: "getaddrinfo" }), "final", "DNS"],
    [Object.assign(socket("EPERM"), { syscall: "getaddrinfo" }), "final", "UNREACHABLE"],
    [new AggregateError([socket("EADDRNOTAVAIL"), socket("ECONNREFUSED")]), "refused", "UNREACHABLE"],
    [new AggregateError([socket("ECONNREFUSED"), socket("ETIMEDOUT")]), "waking", "UNREACHABLE"],
    [socket("ECONNREFUSED"), "refused", "UNREACHABLE"],
    [socket("ECONNRESET"), "waking", "UNREACHABLE"],
    [socket("EHOSTUNREACH"), "waking", "UNREACHABLE"],
    [new Error("Connection terminated unexpectedly"), "waking", "UNREACHABLE"],
    [new Error("The server does not support SSL connections"), "final", "TLS"],
    [new Error("There was an error establishing an SSL connection"), "final", "TLS"],
    [new Error("invalid peer certificate: UnknownIssuer"), "final", "TLS"],
    [socket("CERT_HAS_EXPIRED"), "final", "TLS"],
    [socket("ERR_TLS_CERT_ALTNAME_INVALID"), "final", "TLS"],
    [new Error("timeout expired"), "final", "CONNECT_TIMEOUT"],
    [new LakebaseError("DNS", "Cannot find the address"), "final", "DNS"],
  ];
  for (const [error, kind, code] of cases) {
    const failure = classifyFailure(error, TO);
    assert.deepEqual([failure.kind, failure.code], [kind, code], `${error.message}`);
  }
});

Deno.test("connectError() names the target, the time spent and what to do, and keeps the cause", () => {
  const cause = server("28P01", 'password authentication failed for user "u"');
  const error = connectError(cause, classifyFailure(cause, TO), TO, 4200);
  assert.equal(error.code, "LOGIN_REFUSED");
  assert.equal(error.sqlstate, "28P01");
  assert.match(error.message, /^Cannot connect to "d" at h\.example\.com:5432 as "u" after 4 s: /);
  assert.match(error.message, /role in this branch/);
  assert.equal((error.cause as Error).message, cause.message);
});

Deno.test("classifyFailure() retries no refused connection on loopback, where no compute wakes", () => {
  for (const host of ["localhost", "127.0.0.1", "::1", "db.localhost"]) {
    assert.equal(classifyFailure(socket("ECONNREFUSED"), { ...TO, host }).kind, "final", host);
  }
});

Deno.test("classifyFailure() says that nothing listens at localhost, also on a machine without IPv6", () => {
  const errors = [socket("EADDRNOTAVAIL", "connect EADDRNOTAVAIL ::1:5432"), socket("ECONNREFUSED")];
  for (const all of [errors, errors.toReversed()]) {
    const { kind, state } = classifyFailure(new AggregateError(all), { ...TO, host: "localhost" });
    assert.deepEqual([kind, state], ["final", "nothing listens there. Check the host and the port"]);
  }
});

Deno.test("classifyFailure() names the flag that lets Deno connect", () => {
  const { state } = classifyFailure(Object.assign(new Error("Requires net access"), { name: "NotCapable" }), TO);
  assert.match(state, /--allow-net=h\.example\.com:5432$/);
});

Deno.test("connectError() restores the trace of a LakebaseError, which pg-pool overwrites", () => {
  const thrown = new LakebaseError("DNS", "Cannot find the address of h", { cause: new Error("ENOTFOUND") });
  thrown.stack = "LakebaseError: Cannot find\n    at file:///npm/pg-pool/index.js:45:11";
  const error = connectError(thrown, classifyFailure(thrown, TO), TO, 0);
  assert.match(error.stack ?? "", /^LakebaseError \[DNS\]: Cannot find the address of h/);
  assert.doesNotMatch(error.stack ?? "", /pg-pool/);
  assert.equal((error.cause as Error).message, "ENOTFOUND");
});

/** What a server sends to a client that it lets in. */
const LOGGED_IN = [...message("R", 0, 0, 0, 0), ...message("K", 0, 0, 0, 1, 0, 0, 0, 2), ...message("Z", 73)];

function message(type: string, ...body: number[]): number[] {
  return [type.charCodeAt(0), 0, 0, 0, body.length + 4, ...body];
}

/** Lets a client in, and waits for its first statement. */
async function letIn(client: Deno.Conn): Promise<void> {
  const bytes = new Uint8Array(4096);
  await client.read(bytes);
  await client.write(new Uint8Array(LOGGED_IN));
  await client.read(bytes);
}

const LOGIN = { host: "127.0.0.1", user: "u", password: "p", sslMode: "disable", envFile: false } as const;

Deno.test("the first statement ends in time if a server accepts the login and then does not answer", async () => {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const serving = (async () => {
    using client = await listener.accept();
    await letIn(client);
    while (await client.read(new Uint8Array(4096)) !== null); // until the client gives up
  })();
  const { port } = listener.addr as Deno.NetAddr;
  await using db = await connect({ ...LOGIN, port, connectTimeout: 5 });
  await assert.rejects(db.query("SELECT 1"), { code: "CONNECT_TIMEOUT", message: /: no answer\. Check the host/ });
  await serving;
});

Deno.test({
  ...requires("the first statement waits for a server that is down behind a pooler's login", postgresMissing),
  sanitizeOps: false, // of the shared server
  sanitizeResources: false,
  fn: async () => {
    const { port: serverPort } = await sharedCluster(CLUSTER, FILE);
    using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const said = "SFATAL\0C08P01\0Mserver login has been failing, try again later (server_login_retry)\0\0";
    const failing = [...message("E", ...new TextEncoder().encode(said))];
    const serving = (async () => {
      {
        using client = await listener.accept();
        await letIn(client);
        await client.write(new Uint8Array(failing));
      }
      const client = await listener.accept();
      const server = await Deno.connect({ hostname: "127.0.0.1", port: serverPort });
      await Promise.all([client.readable.pipeTo(server.writable), server.readable.pipeTo(client.writable)]);
    })().catch(() => {}); // a closed socket ends it
    const { port } = listener.addr as Deno.NetAddr;
    const login = { ...LOGIN, port, user: "postgres", password: CLUSTER.password, database: "postgres" };
    await using db = await connect({ ...login, connectTimeout: 60 });
    assert.equal(await db.sql`SELECT 7`.value(), 7);
    await db.close();
    await serving;
  },
});

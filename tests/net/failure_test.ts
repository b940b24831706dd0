import assert from "node:assert/strict";
import { LakebaseError } from "../../src/errors.ts";
import { classifyFailure, connectError, type Destination } from "../../src/net/failure.ts";

const TO: Destination = { host: "h.example.com", port: 5432, database: "d", user: "u", native: false };

function server(code: string, message: string, detail?: string): Error {
  return Object.assign(new Error(message), { code, severity: "FATAL", detail });
}

function socket(code: string, message = code): Error {
  return Object.assign(new Error(message), { code });
}

Deno.test("classifyFailure() knows what to try again", () => {
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

Deno.test("connectError() names where, as whom, how long and what to do, and keeps the cause", () => {
  const cause = server("28P01", 'password authentication failed for user "u"');
  const error = connectError(cause, classifyFailure(cause, TO), TO, 4200);
  assert.equal(error.code, "LOGIN_REFUSED");
  assert.equal(error.sqlstate, "28P01");
  assert.match(error.message, /^Cannot connect to "d" at h\.example\.com:5432 as "u" after 4 s: /);
  assert.match(error.message, /role in this branch/);
  assert.equal((error.cause as Error).message, cause.message);
});

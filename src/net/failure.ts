import { LakebaseError, type LakebaseErrorCode, quotedOption } from "../core/errors.ts";
import { isLoopback } from "../settings/server.ts";

/** The meaning of a failed connection. */
export interface ConnectFailure {
  /**
   * `waking`: the compute may be starting, so retry; `refused`: the same, but probably nothing listens there; `login`: the
   * credential may be stale; `final`: a retry changes nothing.
   */
  kind: "waking" | "refused" | "login" | "final";
  /** The code of the error, if there is no retry. */
  code: LakebaseErrorCode;
  /** What happened and what to do: the end of the error's message. */
  state: string;
  /** The server's SQLSTATE. */
  sqlstate?: string;
}

interface DriverError {
  code?: unknown;
  name?: unknown;
  message: string;
  syscall?: unknown;
  severity?: unknown;
  detail?: unknown;
}

/** The target of a connection, as errors name it. */
export interface ConnectTarget {
  /** The host's name. */
  host: string;
  /** The port. */
  port: number;
  /** The database. */
  database: string;
  /** The role. */
  user: string;
  /** Whether the login is by a native password. */
  native: boolean;
}

/**
 * Classifies a failed connection by SQLSTATE and error code. The text of the error decides only where Lakebase's proxy uses
 * one SQLSTATE for several failures.
 *
 * @param error The error of the driver.
 * @param target The target of the connection.
 */
export function classifyFailure(error: unknown, target: ConnectTarget): ConnectFailure {
  if (error instanceof LakebaseError) return { kind: "final", code: error.code, state: error.message };
  if (error instanceof AggregateError && error.errors.length > 0) return socketFailures(error.errors, target);
  const failure: DriverError = error instanceof Error ? error : { message: String(error) };
  const { code } = failure;
  if (typeof failure.severity === "string" && typeof code === "string") return serverFailure(failure, code, target);
  return socketFailure(failure, typeof code === "string" ? code : "", target);
}

/**
 * Chooses one of the failures of several addresses: the one that a retry is most likely to cure, or else the one of an
 * address that answered. On a machine without IPv6, the IPv6 address always fails.
 */
function socketFailures(errors: readonly unknown[], target: ConnectTarget): ConnectFailure {
  const failures = errors.map((error) => classifyFailure(error, target));
  const retryKind = ["waking", "refused"].find((kind) => failures.some((failure) => failure.kind === kind));
  const answered = errors.findIndex((error) => (error as DriverError | null)?.code === "ECONNREFUSED");
  return failures.find(({ kind }) => kind === retryKind) ?? failures[Math.max(0, answered)]!;
}

function serverFailure(failure: DriverError, sqlstate: string, target: ConnectTarget): ConnectFailure {
  const detail = typeof failure.detail === "string" ? ` (${failure.detail})` : "";
  const answer = `the server said "${failure.message}"${detail}, SQLSTATE ${sqlstate}`;
  const [kind, code, advice] = loginRefusal(failure.message, sqlstate, target);
  return { kind, code, state: `${answer}. ${advice}`, sqlstate };
}

type LoginRefusal = readonly [kind: ConnectFailure["kind"], code: LakebaseErrorCode, advice: string];

/** The most characters of a server's message that are read: some of the patterns take quadratic time. */
const MAX_READ = 1000;

/** Classifies an error of the server. PgBouncer uses 08P01 for all errors that it raises itself. */
function loginRefusal(message: string, sqlstate: string, target: ConnectTarget): LoginRefusal {
  const unquoted = message.slice(0, MAX_READ).replace(/"[^"]*"/g, '""'); // a name in quotes may contain any text
  const matches = (pattern: RegExp) => pattern.test(unquoted);
  if (matches(/IP ACL/i)) return ["final", "LOGIN_REFUSED", "Ask an administrator to allow this network"];
  if (matches(/External authorization failed/i)) {
    return ["waking", "LOGIN_REFUSED", "Is the compute disabled, or is this network not allowed?"];
  }
  if (matches(/unsupported startup parameter/i)) return ["final", "POOLED_HOST", STARTUP_ADVICE];
  if (matches(/using SSL|sslmode|SSL off|no encryption|\bSNI\b|(SSL|TLS) .*required|protocol version: 196608/i)) {
    return ["final", "TLS", "Connect to the host by its name, with sslMode verify-full"];
  }
  if (sqlstate.startsWith("28") || matches(/SASL authentication failed|no such user|\bauth(entication)? failed/i)) {
    return ["login", "LOGIN_REFUSED", loginAdvice(target)];
  }
  if (sqlstate === "3D000" || sqlstate === "08P01" && matches(/no such database/i)) {
    return ["final", "DATABASE_NOT_FOUND", `Set ${quotedOption("database")} (PGDATABASE) to one that the endpoint has`];
  }
  if (sqlstate === "55000" || sqlstate === "57P04") {
    return [
      "final",
      "DATABASE_NOT_FOUND",
      `Set ${quotedOption("database")} (PGDATABASE) to one that takes connections`,
    ];
  }
  if (/^53[34]00$/.test(sqlstate) || matches(/no more connections allowed|query_wait_timeout/i)) {
    return ["waking", "TOO_MANY_CONNECTIONS", 'Lower "max", or close other connections'];
  }
  if (/^(08|53|57|58|XX)/.test(sqlstate)) return ["waking", "UNREACHABLE", "Try again in a minute"];
  if (/^(22023|42601|42602|42704)$/.test(sqlstate) || matches(/to set parameter|startup option/i)) {
    return ["final", "BAD_SETTING", "Check PGOPTIONS, which is sent with the login"];
  }
  if (sqlstate === "42501") {
    const { database, user } = target;
    return ["final", "LOGIN_REFUSED", `Its owner can run GRANT CONNECT ON DATABASE "${database}" TO "${user}"`];
  }
  return ["final", "LOGIN_REFUSED", loginAdvice(target)];
}

const STARTUP_ADVICE =
  "A connection pooler hands the server's sessions from client to client, so a client can't have settings " +
  'of its own. Use the host without "-pooler", or leave out "readOnly", "statementTimeout", "onConnect" and PGOPTIONS';

function loginAdvice({ user, native }: ConnectTarget): string {
  return native
    ? `Check "user" and "password" (PGUSER, PGPASSWORD), and that native login is enabled for the project`
    : `Does "${user}" have a role in this branch, and does the workspace login belong to it (PGUSER)?`;
}

const CERTIFICATE = /certificate|CERT_|ALTNAME|UnknownIssuer|NotValidForName|SELF_SIGNED|UNABLE_TO_VERIFY|issuer/i;

/** Names both reasons, because Deno reports the same code for them. */
const UNVERIFIED = "it has expired, or its authority is not trusted";

/** The errors while a compute is starting, or after an interruption of the network. */
const INTERRUPTED =
  /ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|E(HOST|NET)(UNREACH|DOWN)|terminated unexpectedly|socket hang up/;

function socketFailure(failure: DriverError, errorCode: string, target: ConnectTarget): ConnectFailure {
  const { message } = failure;
  const text = `${errorCode} ${message}`;
  const state = errorCode === "UNABLE_TO_VERIFY_LEAF_SIGNATURE" ? UNVERIFIED : message === "" ? errorCode : message;
  if (errorCode === "EPERM" || errorCode === "EACCES" || failure.name === "NotCapable") {
    const flag = `--allow-net=${target.host}:${target.port}`;
    return final("UNREACHABLE", `this program has no permission to reach it (${state}). Run Deno with ${flag}`);
  }
  if (failure.syscall === "getaddrinfo") {
    return final("DNS", `the host has no address (${state}). Check its name, the network and the VPN`);
  }
  const tlsState = CERTIFICATE.test(text) ? certificateState(state, target) : otherTlsState(message);
  if (tlsState !== undefined) return final("TLS", tlsState);
  if (/timeout expired|connection timeout/i.test(message)) {
    return final("CONNECT_TIMEOUT", "no answer. Check the host, the port and the network");
  }
  if (errorCode === "ECONNREFUSED") {
    const kind = isLoopback(target.host) ? "final" : "refused"; // a compute on this machine does not sleep
    return { kind, code: "UNREACHABLE", state: "nothing listens there. Check the host and the port" };
  }
  const kind = INTERRUPTED.test(text) ? "waking" : "final";
  return { kind, code: "UNREACHABLE", state: `the connection broke (${state}). Check the network` };
}

function final(code: LakebaseErrorCode, state: string): ConnectFailure {
  return { kind: "final", code, state };
}

function certificateState(state: string, { host }: ConnectTarget): string {
  return `the server's certificate is not valid (${state}). Is "${host}" the right host? For a private authority, set ` +
    `${quotedOption("ca")} (PGSSLROOTCERT)`;
}

function otherTlsState(message: string): string | undefined {
  if (/does not support SSL/i.test(message)) return "the server offers no TLS, and a login is never sent without it";
  const isNotPostgres =
    /establishing an SSL connection|invalid response|unknown message code|InvalidContentType|corrupt/i.test(message);
  return isNotPostgres ? "what answers there does not speak Postgres. Check the host and the port" : undefined;
}

/**
 * Makes the error for the caller who waited for a connection.
 *
 * @param error The error of the driver.
 * @param failure The result of {@linkcode classifyFailure}.
 * @param target The target of the connection.
 * @param waited Milliseconds since the first attempt.
 */
export function connectError(
  error: unknown,
  failure: ConnectFailure,
  target: ConnectTarget,
  waited: number,
): LakebaseError {
  if (error instanceof LakebaseError) { // a new one, because `pg-pool` has replaced its trace
    const { code, message, cause, sqlstate } = error;
    return new LakebaseError(code, message, { cause, sqlstate });
  }
  const { sqlstate } = failure;
  const time = waited < 1000 ? "" : ` after ${Math.round(waited / 1000)} s`;
  const where = `"${target.database}" at ${target.host}:${target.port} as "${target.user}"`;
  return new LakebaseError(failure.code, `Cannot connect to ${where}${time}: ${failure.state}`, {
    cause: error,
    sqlstate,
  });
}

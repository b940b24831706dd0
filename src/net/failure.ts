import { LakebaseError, type LakebaseErrorCode } from "../errors.ts";

/** What to make of a connection that did not come about. */
export interface ConnectFailure {
  /**
   * `waking`: the compute may not be up yet, try again; `refused`: the same, but more likely nothing is there; `login`:
   * the credential may be stale; `final`: trying again changes nothing.
   */
  kind: "waking" | "refused" | "login" | "final";
  /** The code for the caller, should this be the end of it. */
  code: LakebaseErrorCode;
  /** What happened and what to do, as the end of a sentence. */
  state: string;
  /** The server's SQLSTATE. */
  sqlstate?: string;
}

interface DriverError {
  code?: unknown;
  message: string;
  severity?: unknown;
  detail?: unknown;
}

/** Whom and what a connection was for, to name it in an error. */
export interface Destination {
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
 * Sorts a failed connection by SQLSTATE and error code. Texts decide only where the proxy in front of the compute gives
 * several meanings to one SQLSTATE.
 *
 * @param error What the driver threw.
 * @param to Where the connection was to go.
 */
export function classifyFailure(error: unknown, to: Destination): ConnectFailure {
  if (error instanceof LakebaseError) return { kind: "final", code: error.code, state: error.message };
  const failure: DriverError = error instanceof Error ? error : { message: String(error) };
  const { code } = failure;
  if (typeof failure.severity === "string" && typeof code === "string") return serverFailure(failure, code, to);
  return socketFailure(failure, typeof code === "string" ? code : "", to);
}

function serverFailure(failure: DriverError, sqlstate: string, to: Destination): ConnectFailure {
  const detail = typeof failure.detail === "string" ? ` (${failure.detail})` : "";
  const said = `the server said "${failure.message}"${detail}, SQLSTATE ${sqlstate}`;
  const make = (kind: ConnectFailure["kind"], code: LakebaseErrorCode, todo: string): ConnectFailure => ({
    kind,
    code,
    state: `${said}. ${todo}`,
    sqlstate,
  });
  if (/IP ACL/i.test(failure.message)) return make("final", "LOGIN_REFUSED", "Ask for this network to be allowed");
  if (/External authorization failed/i.test(failure.message)) {
    return make("waking", "LOGIN_REFUSED", "Is the compute disabled, or this network not allowed?");
  }
  if (sqlstate.startsWith("28") || /SASL authentication failed/i.test(failure.message)) {
    return make("login", "LOGIN_REFUSED", loginAdvice(to));
  }
  if (sqlstate === "3D000") {
    return make("final", "DATABASE_NOT_FOUND", 'Set "database" (PGDATABASE) to one that the endpoint has');
  }
  if (sqlstate === "53300") return make("waking", "TOO_MANY_CONNECTIONS", 'Lower "max", or close other connections');
  if (sqlstate.startsWith("57P") || sqlstate === "08006" && !/SSL|SNI/i.test(failure.message)) {
    return make("waking", "UNREACHABLE", "Try again in a minute");
  }
  if (sqlstate.startsWith("08")) return make("final", "TLS", "Connect by the host's name with sslMode verify-full");
  return make("final", "LOGIN_REFUSED", loginAdvice(to));
}

function loginAdvice({ user, native }: Destination): string {
  return native
    ? `Check "user" and "password" (PGUSER, PGPASSWORD), and that native login is enabled for the project`
    : `Has "${user}" a role in this branch, and is it who the workspace login belongs to (PGUSER)?`;
}

const CERTIFICATE = /certificate|CERT_|ALTNAME|UnknownIssuer|NotValidForName|SELF_SIGNED|UNABLE_TO_VERIFY|issuer/i;

/** Deno reports one code for both. */
const UNVERIFIED = "it has expired, or its authority is not trusted";

/** What a compute that is not up yet, or a network that was away for a moment, looks like. */
const BROKEN =
  /ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|E(HOST|NET)(UNREACH|DOWN)|terminated unexpectedly|socket hang up/;

function socketFailure({ message }: DriverError, code: string, to: Destination): ConnectFailure {
  const state = code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE" ? UNVERIFIED : message === "" ? code : message;
  if (CERTIFICATE.test(`${code} ${message}`)) {
    return {
      kind: "final",
      code: "TLS",
      state:
        `the server's certificate does not hold (${state}). Is "${to.host}" the right host? A private authority goes ` +
        'into "ca" (PGSSLROOTCERT)',
    };
  }
  if (/does not support SSL/i.test(message)) {
    return { kind: "final", code: "TLS", state: "the server offers no TLS, and a login is never sent without" };
  }
  if (
    /establishing an SSL connection|invalid response|unknown message code|InvalidContentType|corrupt/i.test(message)
  ) {
    return {
      kind: "final",
      code: "TLS",
      state: "what answers there does not speak Postgres. Check the host and the port",
    };
  }
  if (/timeout expired|connection timeout/i.test(message)) {
    return { kind: "final", code: "CONNECT_TIMEOUT", state: "no answer. Check the host, the port and the network" };
  }
  if (code === "ECONNREFUSED") {
    return { kind: "refused", code: "UNREACHABLE", state: "nothing listens there. Check the host and the port" };
  }
  const broke = BROKEN.test(`${code} ${message}`);
  return {
    kind: broke ? "waking" : "final",
    code: "UNREACHABLE",
    state: `the connection broke (${state}). Check the network`,
  };
}

/**
 * The error for the person who waited for a connection.
 *
 * @param error What the driver threw.
 * @param failure What {@linkcode classifyFailure} made of it.
 * @param to Where the connection was to go.
 * @param waited Milliseconds spent trying, where it was tried more than once.
 */
export function connectError(
  error: unknown,
  failure: ConnectFailure,
  to: Destination,
  waited: number,
): LakebaseError {
  if (error instanceof LakebaseError) return error;
  const { sqlstate } = failure;
  const time = waited < 1000 ? "" : ` after ${Math.round(waited / 1000)} s`;
  const where = `"${to.database}" at ${to.host}:${to.port} as "${to.user}"`;
  return new LakebaseError(failure.code, `Cannot connect to ${where}${time}: ${failure.state}`, {
    cause: error,
    sqlstate,
  });
}

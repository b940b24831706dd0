import pgPackage from "npm:pg@^8.23.0/package.json" with { type: "json" };
import config from "../../deno.json" with { type: "json" };
import { type Credential, CredentialCache, mintCredential } from "../auth/credential.ts";
import { confirmHost, type Endpoint, findEndpoint } from "../auth/endpoint.ts";
import { Workspace } from "../auth/workspace.ts";
import { backoff, pause } from "../core/backoff.ts";
import { LakebaseError } from "../core/errors.ts";
import { resolveHost, resolvesNames } from "../net/dns.ts";
import { classifyFailure, connectError, type Destination } from "../net/failure.ts";
import { LakebasePool } from "../net/pool.ts";
import { type SslConfig, tlsOptions } from "../net/tls.ts";
import { type Setting, told } from "../settings/origin.ts";
import type { Settings } from "../settings/settings.ts";
import { inspectCertificate, knock } from "./server_certificate.ts";

/** What a step found: that it works, or more than that. */
export type Finding = string | { outcome?: "ok" | "warning" | "failed" | "skipped"; detail: string };

/** One step; what it throws is a failure. */
export type Step = (examination: Examination, signal: AbortSignal) => Promise<Finding>;

/** The oldest Deno whose kernel shows what cells return. */
const OLDEST_DENO = [2, 9, 1];
/** A clock that is off by more makes people wonder about expiry times in logs; the logins themselves don't mind. */
const CLOCK_LIMIT_MS = 30_000;

/** What is examined, and what the steps so far have found. */
export class Examination implements AsyncDisposable {
  /** The settings, as `connect()` has them. */
  readonly settings: Settings;
  /** Where they came from. */
  readonly found: readonly Setting[];
  /** The workspace. */
  readonly workspace: Workspace;
  /** The role. */
  user = "";
  /** The endpoint; `undefined` where none is needed. */
  endpoint: Endpoint | undefined;
  /** The server's name. */
  host = "";
  /** How it is verified. */
  ssl: SslConfig = false;
  /** The login's credential. */
  credential: Credential | undefined;
  /** How far the workspace's clock is ahead of this machine's, in milliseconds. */
  clockOffset: number | undefined;
  /** What logs in. */
  pool: LakebasePool | undefined;

  /** Made of settings; nothing is asked of anyone yet. */
  constructor(settings: Settings, found: readonly Setting[]) {
    const { workspace: client, login, connectTimeout } = settings;
    this.settings = settings;
    this.found = found;
    this.workspace = new Workspace({ client, login, limit: connectTimeout * 1000 });
  }

  /** Whether the login is by a native password. */
  get native(): boolean {
    return this.settings.password !== undefined;
  }

  /** Whether nothing has to be asked of the workspace. */
  get alone(): boolean {
    const { host, user } = this.settings;
    return this.native && host !== undefined && user !== undefined;
  }

  /** Where it leads. */
  get destination(): Destination {
    const { host, user, native, settings: { port, database } } = this;
    return { host, port, database, user, native };
  }

  /** Closes the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool?.end();
  }
}

/** The steps, in the order in which `connect()` depends on them. */
export const STEPS: readonly (readonly [name: string, take: Step])[] = [
  ["deno", checkRuntime],
  ["settings", listSettings],
  ["workspace", askWorkspace],
  ["endpoint", askEndpoint],
  ["dns", resolve],
  ["tcp", reach],
  ["tls", verify],
  ["credential", mint],
  ["login", logIn],
  ["query", ask],
  ["clock", compareClocks],
];

function checkRuntime(): Promise<Finding> {
  const { deno, v8, typescript } = Deno.version;
  const [major = 0, minor = 0, patch = 0] = deno.split(/[.+-]/).map(Number);
  const old = major !== OLDEST_DENO[0]!
    ? major < OLDEST_DENO[0]!
    : minor !== OLDEST_DENO[1]!
    ? minor < OLDEST_DENO[1]!
    : patch < OLDEST_DENO[2]!;
  const detail = `Deno ${deno} (v8 ${v8}, TypeScript ${typescript}) on ${Deno.build.os} ${Deno.build.arch}, ` +
    `lakebase ${config.version}, pg ${pgPackage.version}`;
  return Promise.resolve(
    old
      ? { outcome: "failed", detail: `${detail}; Deno must be ${OLDEST_DENO.join(".")} or newer: deno upgrade` }
      : detail,
  );
}

function listSettings({ found }: Examination): Promise<Finding> {
  if (found.length === 0) {
    return Promise.resolve("none given: everything comes from ~/.databrickscfg and the workspace");
  }
  return Promise.resolve(
    found.map(({ setting, value, origin }) =>
      origin.source === "option" || told(origin) === setting
        ? `${setting} = ${value}`
        : `${setting} = ${value} (${told(origin)})`
    ).join(", "),
  );
}

async function askWorkspace(patient: Examination, signal: AbortSignal): Promise<Finding> {
  if (patient.alone) {
    patient.user = patient.settings.user!;
    return { outcome: "skipped", detail: "not needed: a native password, with host and user" };
  }
  const asked = Date.now();
  const { user, serverTime } = await patient.workspace.whoAmI(signal);
  if (serverTime !== undefined) patient.clockOffset = serverTime - (asked + Date.now()) / 2;
  patient.user = patient.settings.user ?? user;
  return patient.user === user ? `logged in as ${user}` : `logged in as ${user}; the role is ${patient.user}`;
}

async function askEndpoint(patient: Examination, signal: AbortSignal): Promise<Finding> {
  const { settings } = patient;
  patient.host = settings.host ?? "";
  if (patient.alone) return { outcome: "skipped", detail: `not needed: the host is ${patient.host}` };
  const endpoint = await findEndpoint(patient.workspace, { ...settings, host: undefined }, { signal });
  confirmHost(settings, endpoint.host);
  patient.endpoint = endpoint;
  patient.host ||= endpoint.host!;
  const state = endpoint.state === "IDLE" ? "IDLE: connecting wakes it" : endpoint.state ?? "state not said";
  return `${endpoint.name}, ${state}, at ${patient.host}`;
}

async function resolve({ host }: Examination): Promise<Finding> {
  if (!resolvesNames()) {
    return { outcome: "skipped", detail: "left to Deno, since this program may reach named hosts only" };
  }
  const { addresses, by } = await resolveHost(host);
  const found = `${addresses.map(({ address }) => address).join(", ")}, by ${by}`;
  return by === "the system" || by === "itself" ? found : {
    outcome: "warning",
    detail: `${found}, since the system's resolver failed`,
  };
}

async function reach(patient: Examination, signal: AbortSignal): Promise<Finding> {
  const { host, settings: { port } } = patient;
  const address = await whileWaking(patient.destination, signal, () => knock({ host, port }, signal));
  return `${address}:${port} answers`;
}

async function verify(patient: Examination, signal: AbortSignal): Promise<Finding> {
  const { host, settings: { port, sslMode, ca } } = patient;
  const ssl = patient.ssl = await tlsOptions(host, sslMode, ca);
  if (ssl === false) return { outcome: "warning", detail: "none (sslMode is disable), on loopback" };
  const look = () => inspectCertificate({ host, port }, ssl, signal);
  const said = await whileWaking(patient.destination, signal, look);
  return sslMode === "no-verify" ? { outcome: "warning", detail: said } : said;
}

async function mint(patient: Examination, signal: AbortSignal): Promise<Finding> {
  if (patient.native) return { outcome: "skipped", detail: "a native password is set" };
  const { group, tokenTtl: ttl } = patient.settings;
  const credential = await mintCredential(patient.workspace, { target: patient.endpoint!.target, group, ttl }, signal);
  patient.credential = credential;
  const minutes = Math.round(credential.lifetime / 60_000);
  if (credential.lifetimeKnown) return `a token for ${minutes} minutes`;
  return { outcome: "warning", detail: "a token whose expiry makes no sense; it is trusted for a minute" };
}

async function logIn(patient: Examination): Promise<Finding> {
  const { settings, credential, ssl } = patient;
  const credentials = credential && new CredentialCache(() => Promise.resolve(credential));
  patient.pool = new LakebasePool({
    ...patient.destination,
    ...{
      credentials,
      ssl,
      password: settings.password,
      max: 1,
      idleTimeout: settings.idleTimeout,
      maxLifetime: settings.maxLifetime,
    },
    ...{ connectTimeout: settings.connectTimeout, statementTimeout: settings.statementTimeout },
    ...{ readOnly: settings.readOnly, serverOptions: settings.serverOptions },
  });
  try {
    (await patient.pool.connect()).release();
  } finally {
    credentials?.close();
  }
  return `"${settings.database}" as "${patient.user}"`;
}

async function ask({ pool }: Examination): Promise<Finding> {
  const { rows: [row] } = await pool!.query(
    "SELECT 1 AS one, pg_catalog.split_part(pg_catalog.version(), ' on ', 1) AS version",
  );
  if (row?.one !== 1) throw new LakebaseError("QUERY_FAILED", `SELECT 1 gave ${JSON.stringify(row)}`);
  return `SELECT 1 is 1, by ${row.version}`;
}

function compareClocks({ clockOffset }: Examination): Promise<Finding> {
  if (clockOffset === undefined) return Promise.resolve({ outcome: "skipped", detail: "the workspace was not asked" });
  const seconds = Math.round(Math.abs(clockOffset) / 1000);
  const side = clockOffset > 0 ? "behind" : "ahead of";
  if (Math.abs(clockOffset) < CLOCK_LIMIT_MS) return Promise.resolve("as the workspace's");
  return Promise.resolve({
    outcome: "warning",
    detail:
      `this machine's clock is ${seconds} s ${side} the workspace's; logins work all the same, times in logs don't`,
  });
}

/**
 * Takes a step towards a compute that may be waking up: tries again after the failures that connecting tries again after, and
 * says the others in connecting's own words.
 *
 * @param to Where the step leads.
 * @param signal Ends the trying.
 * @param take The step.
 * @throws {LakebaseError} The last failure.
 */
export async function whileWaking<T>(to: Destination, signal: AbortSignal, take: () => Promise<T>): Promise<T> {
  const started = Date.now();
  let last: LakebaseError | undefined;
  for (let attempt = 0;; attempt++) {
    try {
      return await take();
    } catch (error) {
      if (signal.aborted) throw last ?? error;
      const failure = classifyFailure(error, to);
      last = connectError(error, failure, to, Date.now() - started);
      if (failure.kind !== "waking") throw last;
    }
    await pause(backoff(attempt, { first: 100, most: 2000 }), signal).catch(() => {
      throw last;
    });
  }
}

import { loadModule } from "../core/lazy_import.ts";
import pgPackage from "npm:pg@8.23.1/package.json" with { type: "json" };
import config from "../../deno.json" with { type: "json" };
import { BranchApi, branchId, branchOf } from "../auth/branch.ts";
import { type Credential, CredentialCache, mintCredential } from "../auth/credential.ts";
import { confirmHost, type Endpoint, findEndpoint } from "../auth/endpoint.ts";
import { Workspace } from "../auth/workspace.ts";
import { backoff, pause } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import { countText } from "../core/text.ts";
import { resolveHost, resolvesNames } from "../net/dns.ts";
import { classifyFailure, connectError, type ConnectTarget } from "../net/failure.ts";
import { LakebasePool } from "../net/pool.ts";
import { inspectCertificate, reachServer, type SslConfig, tlsOptions } from "../net/tls.ts";
import { describeOrigin, type Setting } from "../settings/origin.ts";
import type { Settings } from "../settings/settings.ts";
import { sessionPreparer } from "../sql/server_session.ts";

/** The outcome of a step. A string means `ok`. */
export type Finding = string | { outcome?: "ok" | "warning" | "failed" | "skipped"; detail: string };

/** One step of connecting. If it throws, the step has failed. */
type Step = (state: CheckState, signal: AbortSignal) => Promise<Finding>;

/** The oldest Deno whose kernel shows the results of cells. */
const OLDEST_DENO = [2, 9, 1];
/** The largest difference between clocks that does not make logs confusing. Logins work with any difference. */
const CLOCK_LIMIT_MS = 30_000;

/** The settings that are checked, and the results of the steps so far. */
export class CheckState implements AsyncDisposable {
  /** The settings of `connect()`. */
  readonly settings: Settings;
  /** The settings that do not have their defaults, with their origins. */
  readonly explicit: readonly Setting[];
  /** The workspace. */
  readonly workspace: Workspace;
  /** The id or the name of the SQL warehouse that the settings name. */
  readonly warehouse: string | undefined;
  /** The role. */
  user = "";
  /** The endpoint; `undefined` if none is needed. */
  endpoint: Endpoint | undefined;
  /** The server's host. */
  host = "";
  /** The options that verify the server. */
  ssl: SslConfig = false;
  /** The credential of the login. */
  credential: Credential | undefined;
  /** The milliseconds by which the workspace's clock is ahead of this machine's. */
  clockOffset: number | undefined;
  /** The pool that has logged in. */
  pool: LakebasePool | undefined;

  /** The paths of the Volumes that are checked. */
  readonly volumes: readonly string[];

  /** Sends no request. */
  constructor(
    settings: Settings,
    explicit: readonly Setting[],
    { warehouse, volumes = [] }: { warehouse?: string | undefined; volumes?: readonly string[] } = {},
  ) {
    this.volumes = volumes;
    const { workspace: client, login, connectTimeout } = settings;
    this.warehouse = warehouse;
    this.settings = settings;
    this.explicit = explicit;
    this.workspace = new Workspace({ client, login, limit: connectTimeout * 1000 });
  }

  /** Whether the login uses a native password. */
  get native(): boolean {
    return this.settings.password !== undefined;
  }

  /** Whether connecting makes no request to the workspace. */
  get needsNoWorkspace(): boolean {
    const { host, user } = this.settings;
    return this.native && host !== undefined && user !== undefined;
  }

  /** The server, the database and the role. */
  get destination(): ConnectTarget {
    const { host, user, native, settings: { port, database } } = this;
    return { host, port, database, user, native };
  }

  /** Closes the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool?.end();
  }
}

/** The steps, in the order in which `connect()` depends on them. */
export const STEPS: readonly (readonly [name: string, run: Step])[] = [
  ["deno", checkRuntime],
  ["settings", listSettings],
  ["workspace", checkWorkspace],
  ["endpoint", checkEndpoint],
  ["dns", checkDns],
  ["tcp", checkTcp],
  ["tls", checkTls],
  ["credential", checkCredential],
  ["login", checkLogin],
  ["query", checkQuery],
  ["clock", checkClocks],
];

/** The steps besides the database: the SQL warehouse and each Volume. No step depends on another. */
export function extraSteps({ warehouse, volumes }: CheckState): readonly (readonly [name: string, run: Step])[] {
  return [
    ...(warehouse === undefined ? [] : [["warehouse", checkWarehouse] as const]),
    ...volumes.map((path) =>
      ["volume", (state: CheckState, signal: AbortSignal) => checkVolume(path, state, signal)] as const
    ),
  ];
}

async function checkVolume(path: string, { workspace }: CheckState, signal: AbortSignal): Promise<Finding> {
  const { Volumes } = await loadModule(() => import("../lake/volumes.ts")); // loaded late, because most programs do not need it
  const volumes = new Volumes(workspace, { signal });
  const entry = await volumes.stat(path);
  if (entry === undefined) return { outcome: "failed", detail: `there is no file or folder ${path} in the Volume` };
  if (!entry.isFolder) return `${path} is a file that can be read`;
  return `${path} can be read; it has ${countText((await volumes.list(path)).length, "item")}`;
}

function checkRuntime(): Promise<Finding> {
  const { deno, v8, typescript } = Deno.version;
  const version = deno.split(/[.+-]/).map(Number);
  const differing = OLDEST_DENO.findIndex((number, index) => version[index] !== number);
  const isTooOld = differing !== -1 && version[differing]! < OLDEST_DENO[differing]!;
  const detail = `Deno ${deno} (v8 ${v8}, TypeScript ${typescript}) on ${Deno.build.os} ${Deno.build.arch}, ` +
    `lakebase ${config.version}, pg ${pgPackage.version}`;
  return Promise.resolve(
    isTooOld
      ? { outcome: "failed", detail: `${detail}; Deno must be ${OLDEST_DENO.join(".")} or newer: deno upgrade` }
      : detail,
  );
}

function listSettings({ explicit }: CheckState): Promise<Finding> {
  if (explicit.length === 0) {
    return Promise.resolve(
      "none are set: ~/.databrickscfg, if it exists, and the workspace decide",
    );
  }
  return Promise.resolve(
    explicit.map(({ setting, value, origin }) =>
      origin.source === "option" || describeOrigin(origin) === setting
        ? `${setting} = ${value}`
        : `${setting} = ${value} (${describeOrigin(origin)})`
    ).join(", "),
  );
}

async function checkWorkspace(state: CheckState, signal: AbortSignal): Promise<Finding> {
  if (state.needsNoWorkspace) {
    state.user = state.settings.user!;
    return { outcome: "skipped", detail: "not needed: a native password, with host and user" };
  }
  const requestedAt = Date.now();
  const { user, serverTime } = await state.workspace.whoAmI(signal);
  if (serverTime !== undefined) state.clockOffset = serverTime - (requestedAt + Date.now()) / 2;
  state.user = state.settings.user ?? user;
  return state.user === user ? `logged in as ${user}` : `logged in as ${user}; the role is ${state.user}`;
}

async function checkEndpoint(state: CheckState, signal: AbortSignal): Promise<Finding> {
  const { settings } = state;
  state.host = settings.host ?? "";
  if (state.needsNoWorkspace) return { outcome: "skipped", detail: `not needed: the host is ${state.host}` };
  const endpoint = await findEndpoint(state.workspace, { ...settings, host: undefined }, { signal });
  confirmHost(settings, endpoint.host);
  state.endpoint = endpoint;
  state.host ||= endpoint.host!;
  const compute = endpoint.state === "IDLE" ? "IDLE: connecting wakes it" : endpoint.state ?? "state unknown";
  return `${endpoint.name}, ${compute}, at ${state.host}${await branchText(state, signal)}`;
}

/** The source and the expiry of the branch. Connecting does not depend on them, so a refusal is not a failure. */
async function branchText({ workspace, endpoint }: CheckState, signal: AbortSignal): Promise<string> {
  const name = branchOf(endpoint?.name);
  if (name === undefined) return "";
  const branch = await new BranchApi(workspace).get(name, signal).catch(() => undefined);
  if (branch === undefined) return "";
  const { parent, isDefault, expires, state } = branch;
  const facts = [
    ...(state === "ARCHIVED" ? ["archived: connecting restores it, which may take longer"] : []),
    ...(isDefault ? ["the default branch"] : []),
    ...(parent === undefined ? [] : [`made from ${branchId(parent)}`]),
    ...(expires === undefined ? [] : [`expires at ${expires.toISOString()}`]),
  ];
  return `; branch ${branchId(name)}${facts.length === 0 ? "" : `, ${facts.join(", ")}`}`;
}

async function checkDns({ host }: CheckState): Promise<Finding> {
  if (!resolvesNames()) {
    return {
      outcome: "skipped",
      detail: "Deno looks it up, because this program may reach only the hosts that its permissions name",
    };
  }
  const { addresses, resolver } = await resolveHost(host);
  const detail = `${addresses.map(({ address }) => address).join(", ")}, by ${resolver}`;
  return resolver === "the system" || resolver === "itself" ? detail : {
    outcome: "warning",
    detail: `${detail}, because the system's resolver failed`,
  };
}

async function checkTcp(state: CheckState, signal: AbortSignal): Promise<Finding> {
  const { host, settings: { port } } = state;
  const address = await whileWaking(state.destination, signal, () => reachServer({ host, port }, signal));
  return `${address}:${port} answers`;
}

async function checkTls(state: CheckState, signal: AbortSignal): Promise<Finding> {
  const { host, settings: { port, sslMode, ca } } = state;
  const ssl = state.ssl = await tlsOptions(host, sslMode, ca);
  if (ssl === false) return { outcome: "warning", detail: "none (sslMode is disable), on loopback" };
  const inspect = () => inspectCertificate({ host, port }, ssl, signal);
  const certificate = await whileWaking(state.destination, signal, inspect);
  return sslMode === "no-verify" ? { outcome: "warning", detail: certificate } : certificate;
}

async function checkCredential(state: CheckState, signal: AbortSignal): Promise<Finding> {
  if (state.native) return { outcome: "skipped", detail: "a native password is set" };
  const { group, tokenTtl: ttl } = state.settings;
  const credential = await mintCredential(state.workspace, { target: state.endpoint!.target, group, ttl }, signal);
  state.credential = credential;
  const minutes = Math.round(credential.lifetime / 60_000);
  if (credential.lifetimeKnown) return `a token for ${minutes} minutes`;
  return { outcome: "warning", detail: "a token with an impossible expiry time; it is used for one minute" };
}

async function checkLogin(state: CheckState): Promise<Finding> {
  const { settings, credential, ssl } = state;
  const credentials = credential && new CredentialCache(() => Promise.resolve(credential));
  state.pool = new LakebasePool({
    ...state.destination,
    credentials,
    ssl,
    password: settings.password,
    max: 1,
    idleTimeout: settings.idleTimeout,
    maxLifetime: settings.maxLifetime,
    connectTimeout: settings.connectTimeout,
    statementTimeout: settings.statementTimeout,
    readOnly: settings.readOnly,
    serverOptions: settings.serverOptions,
    onConnect: settings.onConnect === undefined ? undefined : sessionPreparer(settings.onConnect),
  });
  try {
    (await state.pool.connect()).release();
  } finally {
    credentials?.close();
  }
  return `"${settings.database}" as "${state.user}"`;
}

async function checkQuery({ pool }: CheckState): Promise<Finding> {
  const { rows: [row] } = await pool!.query(
    "SELECT 1 AS one, pg_catalog.split_part(pg_catalog.version(), ' on ', 1) AS version",
  );
  if (row?.one !== 1) throw new LakebaseError("QUERY_FAILED", `SELECT 1 gave ${JSON.stringify(row)}`);
  return `SELECT 1 is 1, by ${row.version}`;
}

function checkClocks({ clockOffset }: CheckState): Promise<Finding> {
  if (clockOffset === undefined) return Promise.resolve({ outcome: "skipped", detail: "the workspace was not asked" });
  const seconds = Math.round(Math.abs(clockOffset) / 1000);
  const side = clockOffset > 0 ? "behind" : "ahead of";
  if (Math.abs(clockOffset) < CLOCK_LIMIT_MS) return Promise.resolve("the same as the workspace's");
  return Promise.resolve({
    outcome: "warning",
    detail: `this machine's clock is ${seconds} s ${side} the workspace's; logins work, but times in logs do not match`,
  });
}

/** Runs `SELECT 1` on the SQL warehouse, unless that would start it: a running warehouse costs money. */
async function checkWarehouse(state: CheckState, signal: AbortSignal): Promise<Finding> {
  const { workspace } = state;
  if (state.needsNoWorkspace) return { outcome: "skipped", detail: "the workspace was not asked" };
  const [{ findWarehouse }, { Warehouse }] = await Promise.all([
    loadModule(() => import("../lake/find_warehouse.ts")),
    loadModule(() => import("../lake/warehouse.ts")),
  ]);
  const info = await findWarehouse(workspace, state.warehouse, signal);
  const description = `"${info.name}" (${info.id}), ${info.state}`;
  if (info.state !== "RUNNING") return `${description}: a statement waits until it is running`;
  const warehouse = new Warehouse({ workspace, info, catalog: undefined, schema: undefined });
  const { inline: [row] } = await warehouse.execute({ text: "SELECT 1", parameters: [] }, { inline: true, signal });
  if (row?.[0] !== "1") throw new LakebaseError("QUERY_FAILED", `SELECT 1 gave ${JSON.stringify(row)}`);
  return `${description}, SELECT 1 is 1`;
}

/**
 * Runs a step that needs the compute, which may be waking up. It retries the failures that `connect()` retries. For all
 * others it throws the error of `connect()`.
 *
 * @param server The server.
 * @param signal Ends the retries.
 * @param run The step.
 * @throws {LakebaseError} The last failure.
 */
async function whileWaking<T>(server: ConnectTarget, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  const started = Date.now();
  let last: LakebaseError | undefined;
  for (let attempt = 0;; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (signal.aborted) throw last ?? error;
      const failure = classifyFailure(error, server);
      last = connectError(error, failure, server, Date.now() - started);
      if (failure.kind !== "waking") throw last;
    }
    await pause(backoff(attempt, { first: 100, most: 2000 }), signal).catch(() => {
      throw last;
    });
  }
}

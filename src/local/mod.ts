/**
 * A Lakebase on this machine, for development, tests and CI. {@linkcode startLocal} serves the Databricks workspace API
 * and a Postgres port that requires TLS and a valid token. The database is an embedded Postgres or your own server. The
 * local Lakebase can fail on request: with a suspended compute, expired tokens, dropped connections, or invalid
 * certificates.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import { startLocal } from "lakebase/local";
 * import assert from "node:assert/strict";
 *
 * await using local = await startLocal({ passwords: { app: "secret" } });
 * // The compute is suspended. It refuses connections for 100 milliseconds from the first one.
 * local.faults.suspend({ wakeAfter: 100, refuse: "28000" });
 *
 * const { PGHOST: host, PGPORT: port } = local.env as Record<string, string>;
 * await using db = await connect({ host: host!, port: Number(port), user: "app", password: "secret", ca: local.ca });
 * assert.equal(await db.sql`SELECT current_user`.value(), "app");
 * ```
 *
 * @module
 */

import { unknownOption } from "../core/closest.ts";
import { LOCAL_OPTION_NAMES, type LocalOptions } from "../core/local_options.ts";
import { Branches } from "./branches.ts";
import { CertificateAuthority } from "./certificate.ts";
import { type Database, DEFAULT_DATABASE } from "./database.ts";
import { EmbeddedDatabase } from "./embedded.ts";
import { Faults } from "./faults.ts";
import { FilesApi } from "./files_api.ts";
import { Gateway, type PostgresLogin } from "./gateway.ts";
import { SHUTDOWN } from "./messages.ts";
import { CredentialIssuer, Identities } from "./tokens.ts";
import { UpstreamDatabase } from "./upstream.ts";
import { WarehouseApi } from "./warehouse/api.ts";
import { Workspace } from "./workspace.ts";
import { WorkspaceApi, type WorkspaceRequest } from "./workspace_api.ts";

export type {
  LocalBranch,
  LocalEndpoint,
  LocalInstance,
  LocalOptions,
  LocalProject,
  LocalWarehouse,
  ServicePrincipal,
} from "../core/local_options.ts";
export type { CertificateFault } from "./certificate.ts";
export type { Arrival, BranchFault, Faults, SuspendOptions, WorkspaceFault } from "./faults.ts";
export type { Failure } from "./messages.ts";
export type { LinkFault, StatementFault, WarehouseFaults } from "./warehouse/faults.ts";
export type { PostgresLogin, WorkspaceRequest };

/** A running local Lakebase. */
export interface LocalLakebase extends AsyncDisposable {
  /**
   * Environment variables that point a client at this Lakebase.
   *
   * `PGSSLMODE` is `require`, because `@databricks/lakebase` does not accept `verify-full`. With a `PGSSLROOTCERT`, libpq
   * verifies the server under `require`, too. `PGSSLROOTCERT` is a temporary file, which is created when `env` is first
   * read and removed by `close()`.
   */
  readonly env: Record<string, string>;
  /**
   * The same variables, but with the PEM text itself as `PGSSLROOTCERT`, so that no file is created. Only this module's
   * client accepts it.
   *
   * @internal
   */
  readonly inlineEnv: Record<string, string>;
  /** The certificate authority to trust, as PEM text, which is also in the file `PGSSLROOTCERT`. */
  readonly ca: string;
  /** Makes the Lakebase fail on request. */
  readonly faults: Faults;
  /** The last 10,000 calls of the workspace API. */
  readonly requests: readonly WorkspaceRequest[];
  /** Every Postgres login so far. */
  readonly logins: readonly PostgresLogin[];
  /** Number of open Postgres sessions. */
  readonly connections: number;
  /** Lets the process end without `close()`, as `connect({ local: true })` does. Call it before the first connection. */
  unref(): void;
  /** Closes every connection, both ports and the database. Further calls only wait for that. */
  close(): Promise<void>;
}

/**
 * Starts a Lakebase on this machine's loopback address. The process does not end until the Lakebase is closed, unless
 * `unref()` was called. The example at the top of `lakebase/local` connects a client to it.
 *
 * @param options What the workspace contains, its ports and its database.
 * @returns The running Lakebase; `await using` closes it.
 * @throws {Error} If a port is taken, or the database cannot be started or reached.
 * @throws {TypeError} If an option is unknown, or has a value of another type.
 *
 * @example Variables for a client that reads the environment
 * ```ts
 * import { startLocal } from "lakebase/local";
 * import assert from "node:assert/strict";
 *
 * await using local = await startLocal();
 * const { PGHOST } = local.env; // also PGPORT, DATABRICKS_HOST, DATABRICKS_TOKEN, ...: what `lakebase local` prints
 * assert.equal(PGHOST, "localhost");
 * ```
 */
export async function startLocal(options: LocalOptions = {}): Promise<LocalLakebase> {
  checkOptions(options);
  const { signal, user = "you@example.com" } = options;
  signal?.throwIfAborted();
  const stack = new AsyncDisposableStack();
  try {
    const lakebase = await startServers(options, user, stack);
    signal?.addEventListener("abort", () => lakebase.close(), { once: true });
    return lakebase;
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** Checks the value of an option; `expected` describes the values that it accepts. */
type ValueCheck = readonly [accepts: (value: unknown) => boolean, expected: string];

const isText = (value: unknown) => typeof value === "string" && value.trim() !== "" && !value.includes("\0");
const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);
const isListOf = (accepts: (value: unknown) => boolean) => (value: unknown) =>
  Array.isArray(value) && value.every(accepts);
const isPort = (value: unknown) => Number.isInteger(value) && value as number >= 0 && value as number <= 65_535;

const TEXT: ValueCheck = [isText, "a text that is not empty"];
const TEXTS: ValueCheck = [isListOf(isText), "a list of texts"];
const OBJECTS: ValueCheck = [isListOf(isObject), "a list of objects"];
const PORT: ValueCheck = [isPort, "a whole number from 0 to 65535"];
const SIZE: ValueCheck = [(value) => typeof value === "number" && value >= 0, "a number of 0 or more"];

const CHECKS: Readonly<Record<keyof LocalOptions, ValueCheck>> = {
  database: TEXT,
  dataDir: [isText, "the path of a folder"],
  user: TEXT,
  workspacePort: PORT,
  postgresPort: PORT,
  projects: OBJECTS,
  instances: OBJECTS,
  warehouses: OBJECTS,
  catalogs: TEXTS,
  passwords: [(value) => isObject(value) && Object.values(value as object).every(isText), "an object of passwords"],
  servicePrincipals: OBJECTS,
  groups: TEXTS,
  volumes: TEXTS,
  volumesDir: [isText, "the path of a folder"],
  fileLimit: SIZE,
  workspaceId: TEXT,
  handshakeTimeout: SIZE,
  lockTimeout: SIZE,
  signal: [(value) => value instanceof AbortSignal, "an AbortSignal"],
};

function checkOptions(options: LocalOptions): void {
  if (!isObject(options)) {
    throw new TypeError('Cannot start a Lakebase: the options must be an object such as { dataDir: "data" }');
  }
  for (const [name, value] of Object.entries(options)) {
    if (!LOCAL_OPTION_NAMES.includes(name)) {
      throw new TypeError(`Cannot start a Lakebase: ${unknownOption(name, LOCAL_OPTION_NAMES)}`);
    }
    const [accepts, expected] = CHECKS[name as keyof LocalOptions];
    if (value === undefined || accepts(value)) continue;
    throw new TypeError(`Cannot start a Lakebase: "${name}" is ${describeValue(value)}; it must be ${expected}`);
  }
}

/** Describes a value, but does not show a text, because it may be a secret. */
function describeValue(value: unknown): string {
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string") return value.trim() === "" ? "empty" : "another text";
  return Array.isArray(value) ? "another list" : `of the type ${typeof value}`;
}

async function startServers(options: LocalOptions, user: string, stack: AsyncDisposableStack): Promise<LocalLakebase> {
  const { projects = [{ id: "local" }], instances = [], servicePrincipals = [], groups = [], workspaceId } = options;
  const passwords = new Map(Object.entries(options.passwords ?? {}));
  const roles = [user, ...servicePrincipals.map(({ clientId }) => clientId), ...groups, ...passwords.keys()];
  const workspace = new Workspace(projects, instances, user, roles);
  const { authority, database } = await startAuthorityAndDatabase(options, workspace, roles);
  stack.defer(() => database.close());
  const identities = new Identities(user, servicePrincipals);
  const credentials = await CredentialIssuer.create("lakebase-local");
  const now = (): Date => new Date(Date.now() + faults.clockOffset);
  const faults: Faults = new Faults({
    now,
    dropConnections: (reason) => gateway.drop(reason),
    freeze: (frozen) => gateway.freeze(frozen),
    setSuspended: (suspended) => workspace.suspend(suspended),
    archive: (branch, restoreAfter) => branches.archive(branch, restoreAfter),
    setTokenRevoked: (revoked) => identities.revoked = revoked,
    stopWarehouses: () => warehouses.stopAll(),
  });
  const warehouses = createWarehouses(options, user, database, faults.warehouse, now);
  const branches = new Branches({
    workspace,
    database,
    faults,
    now,
    certify: (hosts) => authority.certify(hosts),
    endSessions: (branch) => gateway.drop(SHUTDOWN, branch),
  });
  const databaseOf = branches.databaseOf.bind(branches);
  const policy = { workspace, credentials, passwords, databaseOf, faults, now };
  const { postgresPort = 0, workspacePort: port = 0, handshakeTimeout = 15_000 } = options;
  const gateway = new Gateway({ port: postgresPort, branches, authority, policy, faults, handshakeTimeout });
  await gateway.listen();
  stack.defer(() => gateway.close());
  stack.defer(() => warehouses.remove());
  // The database closes before the gateway, because the gateway's sessions may be waiting for the database. The call above
  // is for a start that fails.
  stack.defer(() => database.close());
  stack.defer(() => branches.close());
  const files = createFilesApi(options);
  stack.defer(() => files.close());
  const services = { workspace, branches, identities, credentials, faults, warehouses, files, now };
  const api = new WorkspaceApi({ ...services, port, groups, workspaceId });
  stack.defer(() => api.close());
  stack.defer(() => warehouses.close());
  const { ca } = authority;
  const { token } = identities;
  const inlineEnv = clientEnvironment({ api, gateway, warehouses, workspace, token, user, workspaceId, ca });
  return createLocalLakebase({ database, branches, gateway, api, warehouses, faults, inlineEnv, ca }, stack);
}

/** The servers, and the values with which a client logs in to them. */
interface LoginTargets {
  api: WorkspaceApi;
  gateway: Gateway;
  warehouses: WarehouseApi;
  workspace: Workspace;
  token: string;
  user: string;
  workspaceId: string | undefined;
  ca: string;
}

/** The environment variables with which clients of Postgres and of Databricks find the servers. */
function clientEnvironment({ api, gateway, warehouses, workspace, token, user, workspaceId, ca }: LoginTargets) {
  const [endpoint] = workspace.endpoints;
  const [warehouse, ...others] = warehouses.warehouses;
  return {
    DATABRICKS_HOST: api.origin,
    DATABRICKS_TOKEN: token,
    ...(workspaceId === undefined ? {} : { DATABRICKS_WORKSPACE_ID: workspaceId }),
    ...(endpoint ? { LAKEBASE_ENDPOINT: endpoint.name } : {}),
    ...(warehouse && others.length === 0 ? { DATABRICKS_WAREHOUSE_ID: warehouse.id } : {}),
    PGHOST: "localhost",
    PGPORT: String(gateway.port),
    PGDATABASE: DEFAULT_DATABASE,
    PGUSER: user,
    PGSSLMODE: "require",
    PGSSLROOTCERT: ca,
  };
}

function createWarehouses(
  { warehouses = [{ name: "Serverless Starter Warehouse" }], catalogs = ["main"] }: LocalOptions,
  owner: string,
  database: Database,
  faults: Faults["warehouse"],
  now: () => Date,
): WarehouseApi {
  return new WarehouseApi({ warehouses, catalogs: [...catalogs, DEFAULT_DATABASE], owner, database, faults, now });
}

function createFilesApi({ volumesDir, volumes = ["main.raw.landing"], fileLimit = 5 * 1024 ** 3 }: LocalOptions) {
  return new FilesApi({ folder: volumesDir?.replace(/(?<=.)\/+$/, ""), volumes, fileLimit });
}

/** Generates the keys of the certificates while the database starts, because these two take the longest. */
async function startAuthorityAndDatabase(
  options: LocalOptions,
  workspace: Workspace,
  roles: string[],
): Promise<{ authority: CertificateAuthority; database: Database }> {
  const certifying = CertificateAuthority.create(workspace.endpoints.flatMap(({ hosts }) => hosts));
  const starting = startDatabase(options, roles);
  starting.catch(() => {}); // awaited after the keys, whose generation can't be canceled
  const authority = await certifying;
  return { authority, database: await starting };
}

/** Combines the running servers into the object that the caller gets. */
function createLocalLakebase(
  { database, branches, gateway, api, warehouses, ...publicParts }:
    & Pick<LocalLakebase, "faults" | "inlineEnv" | "ca">
    & {
      database: Database;
      branches: Branches;
      gateway: Gateway;
      api: WorkspaceApi;
      warehouses: WarehouseApi;
    },
  stack: AsyncDisposableStack,
): LocalLakebase {
  const caFile = caFileWriter(publicParts.ca, stack);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => closing ??= stack.disposeAsync();
  return {
    ...publicParts,
    get env() {
      const file = caFile();
      return { ...publicParts.inlineEnv, PGSSLROOTCERT: file, NODE_EXTRA_CA_CERTS: file };
    },
    requests: api.requests,
    logins: gateway.logins,
    get connections(): number {
      return gateway.sessions;
    },
    unref: () => [database, branches, gateway, api, warehouses].forEach((server) => server.unref()),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Returns a function that writes the authority to a file at its first call: a killed process would leave the file. */
function caFileWriter(ca: string, stack: AsyncDisposableStack): () => string {
  let path: string | undefined;
  const remove = (): void => path === undefined ? undefined : Deno.removeSync(path);
  globalThis.addEventListener("unload", remove); // for a script that ends without close()
  stack.defer(() => {
    globalThis.removeEventListener("unload", remove);
    remove();
  });
  return () => path ??= temporaryFile(ca);
}

function temporaryFile(text: string): string {
  const path = Deno.makeTempFileSync({ prefix: "lakebase-local-", suffix: ".pem" });
  Deno.writeTextFileSync(path, text);
  return path;
}

function startDatabase({ database, dataDir, lockTimeout = 30_000 }: LocalOptions, roles: string[]): Promise<Database> {
  if (database !== undefined) return UpstreamDatabase.start({ url: database, roles });
  return EmbeddedDatabase.start({ dataDir, roles, lockTimeout });
}

/**
 * A Lakebase on this machine, for development, tests and CI. {@linkcode startLocal} serves the Databricks workspace API and a
 * Postgres port that requires TLS and a valid token. The database is an embedded Postgres or your own server. It fails on
 * request: a suspended compute, expired tokens, dropped connections, invalid certificates.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import { startLocal } from "lakebase/local";
 * import assert from "node:assert/strict";
 *
 * await using local = await startLocal({ passwords: { app: "secret" } });
 * local.faults.suspend({ wakeAfter: 100, refuse: "28000" }); // the compute is suspended, and refuses connections until it is up
 *
 * const { PGHOST: host, PGPORT: port } = local.env as Record<string, string>;
 * await using db = await connect({ host: host!, port: Number(port), user: "app", password: "secret", ca: local.ca });
 * assert.equal(await db.sql`SELECT current_user`.value(), "app");
 * ```
 *
 * @module
 */

import { unknownOption } from "../core/closest.ts";
import { LOCAL_OPTIONS } from "../core/local_options.ts";
import { Branches } from "./branches.ts";
import { CertificateAuthority } from "./certificate.ts";
import { type Database, DEFAULT_DATABASE } from "./database.ts";
import { EmbeddedDatabase } from "./embedded.ts";
import { Faults } from "./faults.ts";
import { FilesApi } from "./files_api.ts";
import { Gateway, type PostgresLogin } from "./gateway.ts";
import { SHUTDOWN } from "./messages.ts";
import { CredentialIssuer, Identities, type ServicePrincipal } from "./tokens.ts";
import { UpstreamDatabase } from "./upstream.ts";
import { WarehouseApi } from "./warehouse/api.ts";
import type { LocalWarehouse } from "./warehouse/warehouses.ts";
import { type LocalInstance, type LocalProject, Workspace } from "./workspace.ts";
import { WorkspaceApi, type WorkspaceRequest } from "./workspace_api.ts";

export type { CertificateFault } from "./certificate.ts";
export type { LocalBranch, LocalEndpoint } from "./branch.ts";
export type { Arrival, BranchFault, Faults, SuspendOptions, WorkspaceFault } from "./faults.ts";
export type { Failure } from "./messages.ts";
export type { LinkFault, StatementFault, WarehouseFaults } from "./warehouse/faults.ts";
export type { LocalWarehouse } from "./warehouse/warehouses.ts";
export type { LocalInstance, LocalProject } from "./workspace.ts";
export type { PostgresLogin, ServicePrincipal, WorkspaceRequest };

/** Options of {@linkcode startLocal}. Durations are in milliseconds, unlike those of `connect()`, which are in seconds. */
export interface LocalOptions {
  /**
   * `postgres://` URL of a server to use as the database. Roles are not a security boundary there: sessions log in as the
   * URL's user, and with `RESET SESSION AUTHORIZATION` a session becomes that user again.
   *
   * @default {an embedded PGlite}
   */
  database?: string;
  /** Directory that keeps PGlite's data between runs. @default {none: the data are in memory until the process ends} */
  dataDir?: string;
  /** The workspace's user, who is also the Postgres role. @default {"you@example.com"} */
  user?: string;
  /** Port of the workspace API. @default {0: the system chooses one} */
  workspacePort?: number;
  /** Port of Postgres. @default {0: the system chooses one} */
  postgresPort?: number;
  /** The workspace's projects. @default {project "local" with branch "production" and endpoint "primary"} */
  projects?: LocalProject[];
  /** Lakebase Provisioned instances. @default {none} */
  instances?: LocalInstance[];
  /**
   * SQL warehouses, whose statements run on the database. Their dialect is that of Postgres, not of Spark.
   *
   * @default {one that is running}
   */
  warehouses?: LocalWarehouse[];
  /** Names of catalogs. In a statement of a warehouse, each of them means the database. @default {["main"]} */
  catalogs?: string[];
  /** Native logins: passwords by role. The roles are created. @default {none} */
  passwords?: Record<string, string>;
  /** Service principals that may log in with OAuth client credentials. @default {none} */
  servicePrincipals?: ServicePrincipal[];
  /** Groups of the user; each becomes a Postgres role. @default {none} */
  groups?: string[];
  /** Full names of the Volumes. @default {["main.raw.landing"]} */
  volumes?: string[];
  /** Directory that keeps the files of the Volumes. @default {a temporary one, removed by `close()`} */
  volumesDir?: string;
  /** Limit of the size of a file in a Volume, in bytes. @default {5 GiB, as in a real workspace} */
  fileLimit?: number;
  /**
   * Makes the host behave like a unified host, which serves several workspaces: each request must name this id in
   * `X-Databricks-Workspace-Id` or `X-Databricks-Org-Id`. @default {none: the host serves one workspace}
   */
  workspaceId?: string;
  /** Milliseconds within which a Postgres connection must log in. @default {15_000} */
  handshakeTimeout?: number;
  /** Milliseconds that a session waits for the transaction of another: PGlite runs one at a time. @default {30_000} */
  lockTimeout?: number;
  /** Closes the local Lakebase when it aborts. */
  signal?: AbortSignal;
}

/** A running local Lakebase. */
export interface LocalLakebase extends AsyncDisposable {
  /**
   * Environment variables that point a client at this Lakebase.
   *
   * `PGSSLMODE` is `require`, because `@databricks/lakebase` does not accept `verify-full`; with a `PGSSLROOTCERT`, libpq
   * verifies under `require`, too. `PGSSLROOTCERT` is a temporary file, created when `env` is first read and removed by
   * `close()`.
   */
  readonly env: Record<string, string>;
  /**
   * The same variables for this module's own client. It accepts the PEM text as `PGSSLROOTCERT`, so no file is created.
   * @internal
   */
  readonly inlineEnv: Record<string, string>;
  /** The certificate authority to trust, as PEM text; `PGSSLROOTCERT` is a file with it. */
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
  /** Closes every connection, both ports and the database. Later calls do nothing more. */
  close(): Promise<void>;
}

/**
 * Starts a Lakebase on this machine's loopback address. The process does not end until the Lakebase is closed, unless
 * `unref()` was called. The example at the top of `lakebase/local` connects a client to it.
 *
 * @param options What the workspace contains, its ports and its database.
 * @returns The running Lakebase; `await using` closes it.
 * @throws {Error} If a port is taken, or the database cannot be started or reached.
 * @throws {TypeError} If an option is unknown.
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

/** The names of {@linkcode LocalOptions}. Any other name is refused as a typo. */
const OPTION_NAMES: ReadonlySet<string> = new Set(
  Object.keys(LOCAL_OPTIONS satisfies Record<keyof LocalOptions, true>),
);

function checkOptions(options: LocalOptions): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError('Cannot start a Lakebase: the options must be an object such as { dataDir: "data" }');
  }
  const unknown = Object.keys(options).find((name) => !OPTION_NAMES.has(name));
  if (unknown === undefined) return;
  throw new TypeError(`Cannot start a Lakebase: ${unknownOption(unknown, [...OPTION_NAMES])}`);
}

async function startServers(options: LocalOptions, user: string, stack: AsyncDisposableStack): Promise<LocalLakebase> {
  const { projects = [{ id: "local" }], instances = [], servicePrincipals = [], groups = [] } = options;
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
    drop: (how) => gateway.drop(how),
    freeze: (frozen) => gateway.freeze(frozen),
    suspended: (suspended) => workspace.suspend(suspended),
    archive: (branch, restoreAfter) => branches.archive(branch, restoreAfter),
    revokeToken: (revoked) => identities.revoked = revoked,
    stopWarehouses: () => warehouses.stopAll(),
  });
  const warehouses = new WarehouseApi({
    warehouses: options.warehouses ?? [{ name: "Serverless Starter Warehouse" }],
    database,
    now,
    catalogs: [...options.catalogs ?? ["main"], DEFAULT_DATABASE],
    owner: user,
    faults: faults.warehouse,
  });
  const branches = new Branches({
    workspace,
    database,
    faults,
    now,
    certify: (hosts) => authority.certify(hosts),
    drop: (branch) => gateway.drop(SHUTDOWN, branch),
  });
  const databaseOf = branches.databaseOf.bind(branches);
  const policy = { workspace, credentials, passwords, databaseOf, faults, now };
  const { postgresPort = 0, workspacePort = 0, handshakeTimeout = 15_000, workspaceId } = options;
  const gateway = new Gateway({ port: postgresPort, branches, authority, policy, faults, handshakeTimeout });
  await gateway.listen();
  stack.defer(() => gateway.close());
  stack.defer(() => warehouses.remove());
  // The database closes before the gateway, whose sessions may be waiting for it. The first defer is for a failed start.
  stack.defer(() => database.close());
  stack.defer(() => branches.close());
  const files = new FilesApi({
    folder: options.volumesDir?.replace(/(?<=.)\/+$/, ""),
    volumes: options.volumes ?? ["main.raw.landing"],
    fileLimit: options.fileLimit ?? 5 * 1024 ** 3,
  });
  stack.defer(() => files.close());
  const api = new WorkspaceApi({
    port: workspacePort,
    workspace,
    branches,
    identities,
    credentials,
    faults,
    groups,
    warehouses,
    files,
    workspaceId,
  });
  stack.defer(() => api.close());
  stack.defer(() => warehouses.close());
  const inlineEnv = {
    DATABRICKS_HOST: api.origin,
    DATABRICKS_TOKEN: identities.token,
    ...(workspaceId === undefined ? {} : { DATABRICKS_WORKSPACE_ID: workspaceId }),
    ...(workspace.endpoints[0] ? { LAKEBASE_ENDPOINT: workspace.endpoints[0].name } : {}),
    ...(warehouses.warehouses.length === 1 ? { DATABRICKS_WAREHOUSE_ID: warehouses.warehouses[0]!.id } : {}),
    PGHOST: "localhost",
    PGPORT: String(gateway.port),
    PGDATABASE: DEFAULT_DATABASE,
    PGUSER: user,
    PGSSLMODE: "require",
    PGSSLROOTCERT: authority.ca,
  };
  return lakebaseOf({ database, branches, gateway, api, warehouses, faults, inlineEnv, ca: authority.ca }, stack);
}

/** Generates the certificates while the database starts: these two take most of the start. */
async function startAuthorityAndDatabase(
  options: LocalOptions,
  workspace: Workspace,
  roles: string[],
): Promise<{ authority: CertificateAuthority; database: Database }> {
  const certifying = CertificateAuthority.create(workspace.endpoints.flatMap(({ hosts }) => hosts));
  const starting = startDatabase(options, roles);
  starting.catch(() => {}); // awaited below, after the keys, whose generation can't be canceled
  const authority = await certifying;
  return { authority, database: await starting };
}

/** The running parts as the caller sees them. */
function lakebaseOf(
  { database, branches, gateway, api, warehouses, ...parts }: Pick<LocalLakebase, "faults" | "inlineEnv" | "ca"> & {
    database: Database;
    branches: Branches;
    gateway: Gateway;
    api: WorkspaceApi;
    warehouses: WarehouseApi;
  },
  stack: AsyncDisposableStack,
): LocalLakebase {
  const caFile = caFileWriter(parts.ca, stack);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => closing ??= stack.disposeAsync();
  return {
    ...parts,
    get env() {
      const file = caFile();
      return { ...parts.inlineEnv, PGSSLROOTCERT: file, NODE_EXTRA_CA_CERTS: file };
    },
    requests: api.requests,
    logins: gateway.logins,
    get connections(): number {
      return gateway.sessions;
    },
    unref: () => [database, branches, gateway, api, warehouses].forEach((part) => part.unref()),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Writes the authority to a file at the first call and not before, because a notebook's process may never remove it. */
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

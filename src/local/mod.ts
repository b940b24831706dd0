/**
 * A Lakebase on this machine: the Databricks workspace API and a Postgres port, for development and tests.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import { startLocal } from "lakebase/local";
 * import assert from "node:assert/strict";
 *
 * await using local = await startLocal({ passwords: { app: "secret" } });
 * local.faults.suspend({ wakeAfter: 100, refuse: "28000" }); // its compute sleeps, and refuses until it is up
 *
 * const { PGHOST: host, PGPORT: port } = local.env as Record<string, string>;
 * await using db = await connect({ host: host!, port: Number(port), user: "app", password: "secret", ca: local.ca });
 * assert.equal(await db.sql`SELECT current_user`.value(), "app");
 * ```
 *
 * @module
 */

import { unknownOption } from "../core/closest.ts";
import { CertificateAuthority } from "./certificate.ts";
import { CredentialIssuer } from "./credential.ts";
import { type Database, DEFAULT_DATABASE } from "./database.ts";
import { EmbeddedDatabase } from "./embedded.ts";
import { Faults } from "./faults.ts";
import { Gateway, type PostgresLogin } from "./gateway.ts";
import { Identities, type ServicePrincipal } from "./oidc.ts";
import { UpstreamDatabase } from "./upstream.ts";
import { type LocalInstance, type LocalProject, Workspace } from "./workspace.ts";
import { WorkspaceApi, type WorkspaceRequest } from "./workspace_api.ts";

export type { CertificateFault } from "./certificate.ts";
export type { Arrival, Faults, SuspendOptions, WorkspaceFault } from "./faults.ts";
export type { Failure } from "./messages.ts";
export type { LocalBranch, LocalEndpoint, LocalInstance, LocalProject } from "./workspace.ts";
export type { PostgresLogin, ServicePrincipal, WorkspaceRequest };

/** What {@linkcode startLocal} serves. Its durations are in milliseconds, where those of `connect()` are in seconds. */
export interface LocalOptions {
  /**
   * `postgres://` URL of a server to stand in front of. The local Lakebase is no wall: its sessions log in as the URL's user,
   * and `RESET SESSION AUTHORIZATION` makes them that user again.
   *
   * @default {an embedded PGlite}
   */
  database?: string;
  /** Directory that keeps PGlite's data between runs. @default {in memory, nothing left behind} */
  dataDir?: string;
  /** The workspace's user, who is also the Postgres role. @default {"you@example.com"} */
  user?: string;
  /** The workspace API's port. @default {0, a port that the system chooses} */
  workspacePort?: number;
  /** The Postgres port. @default {0, a port that the system chooses} */
  postgresPort?: number;
  /** What the workspace holds. @default {project "local" with branch "production" and endpoint "primary"} */
  projects?: LocalProject[];
  /** Lakebase Provisioned instances. @default {none} */
  instances?: LocalInstance[];
  /** Native logins, password by role; the roles are made. @default {none} */
  passwords?: Record<string, string>;
  /** Who may log in with OAuth client credentials. @default {none} */
  servicePrincipals?: ServicePrincipal[];
  /** Groups of the user, each a Postgres role. @default {none} */
  groups?: string[];
  /**
   * Makes the workspace's host one that serves several, as unified hosts do: each request has to name this id, in
   * `X-Databricks-Workspace-Id` or `X-Databricks-Org-Id`. @default {none: its host serves it alone}
   */
  workspaceId?: string;
  /** Milliseconds that a Postgres connection has to log in. @default {15_000} */
  handshakeTimeout?: number;
  /** Milliseconds that a session waits for another's transaction in PGlite, which runs one at a time. @default {30_000} */
  lockTimeout?: number;
  /** Stops it. */
  signal?: AbortSignal;
}

/** A local Lakebase that is being served. */
export interface LocalLakebase extends AsyncDisposable {
  /**
   * Environment that points a client at it.
   *
   * `PGSSLMODE` is `require`: `@databricks/lakebase` takes no `verify-full`, and libpq verifies under `require` too as
   * soon as there is a `PGSSLROOTCERT`: a temporary file, which is made when this is first read, and goes with `close()`.
   */
  readonly env: Record<string, string>;
  /**
   * The same for this module's own client, which takes the authority itself for `PGSSLROOTCERT`: no file is made.
   * @internal
   */
  readonly inlineEnv: Record<string, string>;
  /** The certificate authority to trust, PEM; `PGSSLROOTCERT` is a file of it. */
  readonly ca: string;
  /** Makes it misbehave. */
  readonly faults: Faults;
  /** Every call of the workspace API so far. */
  readonly requests: readonly WorkspaceRequest[];
  /** Every Postgres login so far. */
  readonly logins: readonly PostgresLogin[];
  /** How many Postgres sessions are open. */
  readonly connections: number;
  /** Lets the process end while it is served, as `connect({ local: true })` does; for before the first connection. */
  unref(): void;
  /** Ends every connection, both ports and the database. Calling it twice is harmless. */
  close(): Promise<void>;
}

/**
 * Serves a Lakebase on this machine's loopback, until it is closed: a script that forgets `close()`, and did not say
 * `unref()`, never ends. The example at the top of `lakebase/local` shows it with a client.
 *
 * @param options What the workspace holds, and where.
 * @returns What is served; `await using` closes it.
 * @throws {Error} Where a port is taken, or the database can't be started or reached.
 *
 * @example For a client that reads the environment
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
  checkNames(options);
  const { signal, user = "you@example.com" } = options;
  signal?.throwIfAborted();
  const stack = new AsyncDisposableStack();
  try {
    const lakebase = await serve(options, user, stack);
    signal?.addEventListener("abort", () => lakebase.close(), { once: true });
    return lakebase;
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** The names in {@linkcode LocalOptions}: one that is not here is a typo. */
const NAMES: ReadonlySet<string> = new Set<keyof LocalOptions>([
  ...["database", "dataDir", "user", "workspacePort", "postgresPort", "projects", "instances", "passwords"] as const,
  ...["servicePrincipals", "groups", "workspaceId", "handshakeTimeout", "lockTimeout", "signal"] as const,
]);

function checkNames(options: LocalOptions): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError('Cannot start a Lakebase: the options must be an object such as { dataDir: "data" }');
  }
  const unknown = Object.keys(options).find((name) => !NAMES.has(name));
  if (unknown === undefined) return;
  throw new TypeError(`Cannot start a Lakebase: ${unknownOption(unknown, [...NAMES])}`);
}

async function serve(options: LocalOptions, user: string, stack: AsyncDisposableStack): Promise<LocalLakebase> {
  const { projects = [{ id: "local" }], instances = [], servicePrincipals = [], groups = [] } = options;
  const passwords = new Map(Object.entries(options.passwords ?? {}));
  const people = [user, ...servicePrincipals.map(({ clientId }) => clientId)];
  const roles = [...people, ...groups, ...passwords.keys()];
  const workspace = new Workspace(projects, instances, user, roles);
  const { authority, database } = await startFoundation(options, workspace, roles);
  stack.defer(() => database.close());
  const identities = new Identities(user, servicePrincipals);
  const credentials = new CredentialIssuer("lakebase-local");
  const now = (): Date => new Date(Date.now() + faults.clockOffset);
  const faults: Faults = new Faults({
    now,
    drop: (how) => gateway.drop(how),
    freeze: (frozen) => gateway.freeze(frozen),
    suspended: (suspended) => workspace.suspend(suspended),
    revokeToken: (revoked) => identities.revoked = revoked,
  });
  const policy = { workspace, credentials, passwords, database, faults, now };
  const { postgresPort = 0, workspacePort = 0, handshakeTimeout = 15_000, workspaceId } = options;
  const gateway = new Gateway({ port: postgresPort, database, authority, policy, faults, handshakeTimeout });
  await gateway.listen();
  stack.defer(() => gateway.close());
  // Before the gateway, whose sessions may be waiting for it; above as well, for a start that gets no further.
  stack.defer(() => database.close());
  const api = new WorkspaceApi({
    port: workspacePort,
    workspace,
    identities,
    credentials,
    faults,
    groups,
    workspaceId,
  });
  stack.defer(() => api.close());
  const inlineEnv = {
    DATABRICKS_HOST: api.origin,
    DATABRICKS_TOKEN: identities.token,
    ...(workspaceId === undefined ? {} : { DATABRICKS_WORKSPACE_ID: workspaceId }),
    ...(workspace.endpoints[0] ? { LAKEBASE_ENDPOINT: workspace.endpoints[0].name } : {}),
    PGHOST: "localhost",
    PGPORT: String(gateway.port),
    PGDATABASE: DEFAULT_DATABASE,
    PGUSER: user,
    PGSSLMODE: "require",
    PGSSLROOTCERT: authority.ca,
  };
  return served({ database, gateway, api, faults, inlineEnv, ca: authority.ca }, stack);
}

/** The certificates and the database, side by side: both take most of the start. */
async function startFoundation(
  options: LocalOptions,
  workspace: Workspace,
  roles: string[],
): Promise<{ authority: CertificateAuthority; database: Database }> {
  const certifying = CertificateAuthority.create(workspace.endpoints.flatMap(({ hosts }) => hosts));
  const starting = startDatabase(options, roles);
  starting.catch(() => {}); // awaited below: keys that are being made can't be called off
  const authority = await certifying;
  return { authority, database: await starting };
}

/** What is served, as a program sees it. */
function served(
  { database, gateway, api, ...parts }: Pick<LocalLakebase, "faults" | "inlineEnv" | "ca"> & {
    database: Database;
    gateway: Gateway;
    api: WorkspaceApi;
  },
  stack: AsyncDisposableStack,
): LocalLakebase {
  const caFile = fileOf(parts.ca, stack);
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
    unref: () => [database, gateway, api].forEach((part) => part.unref()),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A file of the authority, written when it is first asked for: a notebook's process may end without any farewell. */
function fileOf(ca: string, stack: AsyncDisposableStack): () => string {
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

import assert from "node:assert/strict";
import { connect, type ConnectOptions, LakebaseError } from "../../mod.ts";
import { type LocalLakebase, type LocalOptions, startLocal } from "../../src/local/mod.ts";
import { alsoOnPGlite, postgresMissing } from "./postgres.ts";
import { requires } from "./requirements.ts";
import { loadingFile, newDatabase, sharedGateway, sharedPGlite } from "./shared_servers.ts";

/** The options for a local Lakebase. Tests share one environment, so they can't use its variables. */
export function optionsOf(local: LocalLakebase): ConnectOptions {
  const { env } = local;
  return {
    endpoint: env["LAKEBASE_ENDPOINT"]!,
    workspace: workspaceOf(local),
    host: env["PGHOST"]!,
    port: Number(env["PGPORT"]),
    user: env["PGUSER"]!,
    ca: local.ca,
  };
}

/**
 * A local Lakebase for one test, which must close it. It uses a new database of a shared PostgreSQL; or, if there is
 * none, a separate PGlite, which takes two seconds of processor time to start.
 */
export async function ownLakebase(options: LocalOptions = {}): Promise<LocalLakebase> {
  return await startLocal(postgresMissing() === undefined ? { ...options, database: await newDatabase() } : options);
}

/**
 * Starts the servers of {@linkcode ownLakebase} before all tests, for a file whose tests look for leaks, so that they
 * do not belong to a test.
 */
export function prepareOwnLakebase(): void {
  Deno.test.beforeAll(async () => {
    if (postgresMissing() === undefined) await newDatabase();
  });
}

type WorkspaceClient = NonNullable<ConnectOptions["workspace"]>;

const clients = new WeakMap<LocalLakebase, WorkspaceClient>();

/** A client of the local workspace, in the shape of the SDK's; the same one each time. */
export function workspaceOf(local: LocalLakebase): WorkspaceClient {
  const client = clients.get(local) ?? newClient(local);
  clients.set(local, client);
  return client;
}

function newClient({ env }: LocalLakebase): WorkspaceClient {
  return {
    config: {
      getHost: () => Promise.resolve(new URL(env["DATABRICKS_HOST"]!)),
      authenticate: (headers) => Promise.resolve(headers.set("authorization", `Bearer ${env["DATABRICKS_TOKEN"]}`)),
    },
  };
}

/** The error of connecting. Checks that it contains no secret. */
export async function connectError(options: ConnectOptions): Promise<LakebaseError> {
  try {
    await (await connect(options)).close();
  } catch (error) {
    if (!(error instanceof LakebaseError)) throw error;
    assert.doesNotMatch(
      Deno.inspect(error, { depth: 20, showHidden: true }) + error.stack,
      /eyJ|dapi[0-9a-f]{8}|Bearer \S{8}/,
    );
    return error;
  }
  throw new Error("it connected");
}

/** The parts of a test: a local Lakebase without faults, and the options to connect to it. */
export interface LocalTest {
  local: LocalLakebase;
  /** Makes the options, with `more` over the defaults. */
  settings: (more?: ConnectOptions) => ConnectOptions;
}

/** The body of a test. */
export type LocalRun = (test: LocalTest) => Promise<void>;

/** Makes a test of a file. */
type MakeTest = (name: string | { name: string; ignore: boolean }, run: LocalRun) => void;

/** A PostgreSQL server in which the databases of many Lakebases are. */
const SHARED = { database: "databricks_postgres", maxConnections: 100, password: "owner-secret" };

/**
 * Makes `test()` for a file whose tests share one local Lakebase, on PostgreSQL if it is installed, or else on PGlite:
 * starting a PGlite takes two seconds of processor time. Files that run in one process share the Lakebase, too. The
 * server's timers and sockets are in the same process and outlive a test, so the leak detectors are off. Separate tests
 * check what a client leaves behind: they watch whether its process ends.
 */
export function localTests(options: LocalOptions | (() => Promise<LocalOptions>) = {}): MakeTest {
  if (typeof options !== "function") {
    return postgresMissing() === undefined
      ? testsOn((file) => sharedGateway(options, SHARED, file))
      : pgliteTests(options);
  }
  let started: Promise<LocalLakebase> | undefined;
  Deno.test.afterAll(async () => await (await started)?.close());
  return testsOn(() => started ??= options().then(startLocal));
}

/** Like {@linkcode localTests}, on PGlite, for its special behavior. */
export function pgliteTests(options: LocalOptions = {}): MakeTest {
  return testsOn((file) => sharedPGlite(options, file));
}

function testsOn(find: (file: string) => Promise<LocalLakebase>): MakeTest {
  const file = loadingFile();
  return (name, run) =>
    Deno.test({
      ...(typeof name === "string" ? { name } : name),
      sanitizeOps: false,
      sanitizeResources: false,
      fn: async () => {
        const local = await find(file);
        local.faults.reset();
        await run({ local, settings: (more = {}) => ({ ...optionsOf(local), connectTimeout: 30, ...more }) });
      },
    });
}

/** The backends of a test. */
export interface BothOptions {
  /** The reason why PGlite can't run the test. */
  notOnPglite?: string;
  /** The reason why the backend does not matter, so that PGlite is enough. */
  neverReached?: string;
}

/** Tests on PGlite and on a PostgreSQL, because a real server with many processes may answer differently. */
export function bothTests(options: LocalOptions = {}): (
  name: string,
  run: LocalRun,
  options?: BothOptions,
) => void {
  const onPGlite = pgliteTests(options);
  const onPostgres = testsOn((file) => sharedGateway(options, SHARED, file));
  return (name, run, { notOnPglite, neverReached } = {}) => {
    const reason = notOnPglite === undefined ? "" : `: ${notOnPglite}`;
    const named = `${name} [PGlite${reason}]`;
    onPGlite({ name: neverReached ? named : alsoOnPGlite(named), ignore: notOnPglite !== undefined }, run);
    if (neverReached === undefined) onPostgres(requires(`${name} [PostgreSQL]`, postgresMissing), run);
  };
}

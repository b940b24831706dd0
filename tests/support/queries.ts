import { connect, type ConnectOptions, type Lakebase, LakebaseError } from "../../mod.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { eventually } from "./eventually.ts";
import { connectionOf, runningQuery } from "../../src/net/pg_internals.ts";
import { optionsOf } from "./lakebase.ts";
import { alsoOnPGlite, postgresMissing, type PostgresServer } from "./postgres.ts";
import { requires } from "./requirements.ts";
import { loadingFile, sharedCluster, sharedGateway, sharedPGlite } from "./shared_servers.ts";

/** The parts of a test of a query. */
export interface QueryTest {
  /** A connection for this test, which is closed after it. */
  db: Lakebase;
  local: LocalLakebase;
  /** Another connection, with more options; closed after the test. */
  open: (more?: ConnectOptions) => Promise<Lakebase>;
}

export interface QueryTestOptions {
  /** The reason why PGlite can't run the test. */
  notOnPglite?: string;
}

/** The cluster of most tests. */
export const CLUSTER = { maxConnections: 100, password: "native-secret" };

/** The file of the current or the last test. */
let currentFile = "";

/** A PostgreSQL server that the tests of a file share. */
export function sharedPostgres(): Promise<PostgresServer> {
  return sharedCluster(CLUSTER, currentFile);
}

/**
 * A test on PGlite and a test on PostgreSQL behind the gateway. The servers' timers and sockets are in this process and
 * outlive a test, so the leak detectors are off.
 */
export function queryTest(name: string, run: (test: QueryTest) => Promise<void>, options: QueryTestOptions = {}): void {
  const { notOnPglite } = options;
  register("PGlite", {
    name: alsoOnPGlite(`${name} [PGlite${notOnPglite === undefined ? "" : `: ${notOnPglite}`}]`),
    ignore: notOnPglite !== undefined,
  }, run);
  register("PostgreSQL", requires(`${name} [PostgreSQL]`, postgresMissing), run);
}

function register(backend: string, test: { name: string; ignore: boolean }, run: (test: QueryTest) => Promise<void>) {
  const file = loadingFile();
  Deno.test({
    ...test,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      currentFile = file;
      const local = await (backend === "PGlite" ? sharedPGlite({}, file) : sharedGateway({}, CLUSTER, file));
      local.faults.reset();
      await using stack = new AsyncDisposableStack();
      const open = async (more: ConnectOptions = {}) =>
        stack.use(await connect({ ...optionsOf(local), connectTimeout: 30, ...more }));
      await run({ db: await open(), local, open });
    },
  });
}

/** The error with which a promise rejects. */
export async function errorOf(work: PromiseLike<unknown> | (() => PromiseLike<unknown>)): Promise<LakebaseError> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    if (error instanceof LakebaseError) return error;
    throw new Error(`not a LakebaseError: ${error}`, { cause: error });
  }
  throw new Error("the work did not fail");
}

/** The drawing of a cell. */
export async function drawn(value: unknown, mime = "text/plain"): Promise<string> {
  const draw = (value as Record<symbol, () => Promise<Record<string, string>>>)[Symbol.for("Jupyter.display")]!;
  return (await draw.call(value))[mime] ?? "";
}

/** The number of other sessions that run a statement like this. On PGlite it is always 0, because sessions take turns. */
async function sessionsRunning(db: Lakebase, like: string): Promise<number> {
  const query = db.sql`SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE ${like}`;
  return await query.value() as number;
}

/** Waits until no other session runs a statement like this. On PGlite the question waits for its turn. */
export async function untilEnded(db: Lakebase, like: string): Promise<void> {
  await eventually(`the end of ${like}`, async () => await sessionsRunning(db, like) === 0);
}

/** Waits until another session runs a statement like this. On PGlite nothing shows this; see {@linkcode untilSent}. */
export async function untilRuns(db: Lakebase, like: string): Promise<void> {
  await eventually(`the server runs ${like}`, async () => await sessionsRunning(db, like) > 0);
}

/**
 * Waits until a connection of a pool has sent a statement and has no answer yet.
 *
 * @param text A part of the statement; any statement by default.
 */
export async function untilSent({ pool }: { pool: object }, text = ""): Promise<void> {
  const isSent = (client: object) => {
    const query = runningQuery(client);
    return query !== undefined && (text === "" || query.text?.includes(text) === true);
  };
  await eventually(`"${text}" is sent`, () => clientsOf(pool).some(isSent));
}

/** The open connections of a `pg.Pool`, which it does not publish. */
function clientsOf(pool: object): readonly object[] {
  return (pool as { _clients: readonly object[] })._clients;
}

/** Waits until the client knows that all its connections are gone. */
export async function untilDropped({ pool }: Lakebase): Promise<void> {
  const isGone = (client: object) => connectionOf(client).stream.destroyed;
  await eventually("the connections are gone", () => pool.idleCount === 0 && clientsOf(pool).every(isGone));
}

import { queryCatalog } from "../../catalog/relation.ts";
import { readOnly } from "../../catalog/source.ts";
import { LakebaseError } from "../../core/errors.ts";
import type { FindSession } from "../../sql/run.ts";
import type { StopOptions } from "../../sql/stop.ts";

/** A value of each of the two databases. */
export interface Pair<T> {
  /** The value of the database whose `diff()` was called. */
  readonly before: T;
  /** The value of the other database. */
  readonly after: T;
}

/** One of the two databases. */
export interface Side {
  /** Finds the session. */
  find: FindSession;
  /** The name of the database in the drawing. */
  name: string;
}

/** Does the same work on both sides at the same time. */
export async function both<T, R>({ before, after }: Pair<T>, work: (one: T) => Promise<R>): Promise<Pair<R>> {
  const [first, second] = await Promise.all([work(before), work(after)]);
  return { before: first, after: second };
}

/**
 * Runs statements on both databases, each in a read-only transaction that sees one state of its database. If a transaction is
 * open, the statements belong to it and see its state.
 *
 * @param settings Settings of the server, besides those with which equal values have equal texts.
 * @throws {LakebaseError} `BAD_PARAMETER` if the two can't be compared.
 */
export async function onBoth<T>(
  sides: Pair<Side>,
  { signal }: StopOptions,
  settings: Readonly<Record<string, string>>,
  work: (tx: Pair<FindSession>) => Promise<T>,
): Promise<T> {
  checkServers(await both(sides, async ({ find }) => (await queryCatalog<Server>(find, SERVER, [], { signal }))[0]!));
  const allSettings = { ...TEXT_SETTINGS, ...settings };
  const [before, after] = [await sides.before.find(), await sides.after.find()];
  return await readOnly(
    before,
    { signal },
    (one) => readOnly(after, { signal }, (other) => work({ before: one, after: other }), allSettings),
    allSettings,
  );
}

/** Settings that change the text of a value, and one that saves a large query the time of being compiled. */
const TEXT_SETTINGS = {
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  bytea_output: "hex",
  extra_float_digits: "1",
  lc_monetary: "C",
  jit: "off",
};

interface Server {
  /** The encoding of the database. */
  encoding: string;
  /** The hash of a fixed text. */
  hash: string;
  /** Identifies the server process. */
  started: string;
  /** Whether the server has one backend for all connections. */
  embedded: boolean;
}

const SERVER = `SELECT pg_catalog.current_setting('server_encoding') AS encoding,
  pg_catalog.hashtextextended('lakebase' COLLATE pg_catalog."C", 0)::pg_catalog.text AS hash,
  extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS started,
  pg_catalog.strpos(pg_catalog.version(), 'emscripten') OPERATOR(pg_catalog.>) 0 AS embedded`;

function checkServers({ before, after }: Pair<Server>): void {
  const cannot = (why: string) => new LakebaseError("BAD_PARAMETER", `Cannot compare the databases: ${why}`);
  if (before.embedded && after.embedded && before.started === after.started) {
    throw cannot(
      "both connections are to one PGlite, which runs one transaction at a time; diff() needs a branch of it",
    );
  }
  if (before.encoding !== after.encoding) {
    throw cannot(
      `one has the encoding ${before.encoding}, the other ${after.encoding}, so the bytes of equal texts differ`,
    );
  }
  if (before.hash !== after.hash) {
    throw cannot("the two servers hash texts in different ways (are the processors of different kinds?)");
  }
}

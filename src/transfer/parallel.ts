import { LakebaseError } from "../errors.ts";
import { onlyReading } from "../explore/name.ts";
import type { Fragment } from "../query/fragment.ts";
import type { FindSession } from "../query/run.ts";
import type { Lease, Session } from "../query/session.ts";
import type { StopOptions } from "../query/stop.ts";
import type { Chunk } from "./copy_messages.ts";
import { type CopyFormat, copyText } from "./copy_query.ts";
import { notInParallel } from "./shared_snapshot.ts";
import { type CopySource, type Known, sourceName, wantedSource } from "./source.ts";
import { Team } from "./team.ts";

/** How a table is read on several connections. */
export interface ParallelOptions {
  /** What a person calls it. */
  name: string;
  /** Its quoted name. */
  table: string;
  /** How many connections. */
  parallel: number;
  /** Whether each gives a stream of its own. */
  several: boolean;
  /** Says what is copied, once the table is known; it may ask on the connection whose snapshot all have. */
  plan(lease: Lease, known: Known): ParallelPlan | Promise<ParallelPlan>;
  /** Ends it all. */
  signal?: AbortSignal | undefined;
}

/** What of a table is copied, and how. */
export interface ParallelPlan {
  /** Its columns as SQL, in order. */
  columns: string;
  /** The COPY of a query; only the first one of a file has a line with the names. */
  copy(query: string, first: boolean): string;
  /** Whether that is in the binary format. */
  binary: boolean;
}

/** The streams that are a table together. Disposing of it ends them. */
export interface Copies extends AsyncDisposable {
  /** The rows in the order of the table's pages, as one COPY would give them; or a COPY for each connection, to be read side by side. */
  streams: AsyncIterable<Chunk>[];
}

/**
 * Reads a table on several connections, which all see it as it was at one moment.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason for what can't be read so, or as a query.
 */
export async function copyOutParallel(session: Session, options: ParallelOptions): Promise<Copies> {
  checkSession(options, session);
  const team = await Team.gather(session, options);
  return {
    streams: options.several ? team.shares() : [team.inOrder()],
    [Symbol.asyncDispose]: () => team[Symbol.asyncDispose](),
  };
}

/** Writes each. When one fails, the others have ended too before its error is thrown. */
export async function writeStreams(
  copies: Copies,
  write: (stream: AsyncIterable<Chunk>, index: number) => Promise<void>,
): Promise<void> {
  const writing = copies.streams.map(write);
  try {
    await Promise.all(writing);
  } finally {
    await copies[Symbol.asyncDispose]();
    await Promise.allSettled(writing);
  }
}

/** Refuses what could never be done, before anything is. */
function checkSession({ parallel, name }: ParallelOptions, { connections, transaction }: Session): void {
  if (transaction !== undefined) {
    throw notInParallel(name, "in a transaction, whose changes no other connection sees");
  }
  if (parallel <= connections) return;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull ${name}: parallel is ${parallel}, and there are ${connections} connections at most; connect with ` +
      `{ max: ${parallel} }`,
  );
}

/**
 * The table to read in parallel.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a query, `QUERY_FAILED` for a table that is not there.
 */
export async function parallelTable(
  find: FindSession,
  what: string | Fragment,
  options: StopOptions,
): Promise<Pick<ParallelOptions, "name" | "table">> {
  const name = sourceName(what);
  if (name === undefined) throw notInParallel("the query", "only a table by its name can be divided");
  return { name, table: onlyReading(name) ?? (await wantedSource(find, what, options)).relation! };
}

/**
 * What is copied of a table.
 *
 * @param source The table, with the columns that are wanted.
 * @param format How the server writes the rows.
 */
export function parallelPlan(source: CopySource, format: CopyFormat): ParallelPlan {
  // Of each range the wanted columns alone are selected, by name: partitions may have them in another order.
  const columns = source.columns.map((column, index) => ({ ...column, place: index + 1 }));
  const range = { ...source, columns, width: columns.length, table: undefined };
  return {
    columns: columns.map(({ name }) => `"${name.replaceAll('"', '""')}"`).join(", "),
    copy: (text, first) => copyText({ ...range, text }, { ...format, header: format.header && first }),
    binary: format.format === "binary",
  };
}

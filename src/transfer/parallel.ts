import { LakebaseError } from "../errors.ts";
import type { Session } from "../query/session.ts";
import type { Chunk } from "./copy_messages.ts";
import { type CopyFormat, copyText } from "./copy_query.ts";
import { notInParallel } from "./shared_snapshot.ts";
import type { CopySource } from "./source.ts";
import { Team } from "./team.ts";

/** How a table is read on several connections. */
export interface ParallelOptions {
  /** The table's quoted name, with its schema. */
  table: string;
  /** Its columns as SQL, in order. */
  columns: string;
  /** How many connections. */
  parallel: number;
  /** The COPY of a query; only the first one of a file has a line with the names. */
  copy(query: string, first: boolean): string;
  /** Whether that is in the binary format. */
  binary: boolean;
  /** Ends it all. */
  signal?: AbortSignal | undefined;
}

/** Several streams that are a table together. Disposing of it ends them. */
export interface Shares extends AsyncDisposable {
  /** One for each connection; a whole COPY each. They have to be read side by side. */
  streams: AsyncIterable<Chunk>[];
}

/**
 * Reads a table on several connections, which all see it as it was at one moment.
 *
 * @returns Its rows in the order of its pages, as one COPY would give them.
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason for what can't be read so, or as a query.
 */
export async function* copyOutParallel(session: Session, options: ParallelOptions): AsyncGenerator<Chunk, void, void> {
  checkSession(options, session);
  await using team = await Team.gather(session, options);
  yield* team.inOrder();
}

/** {@linkcode copyOutParallel}, with a stream for each connection. */
export async function copyOutShares(session: Session, options: ParallelOptions): Promise<Shares> {
  checkSession(options, session);
  const team = await Team.gather(session, options);
  return { streams: team.shares(), [Symbol.asyncDispose]: () => team[Symbol.asyncDispose]() };
}

/** Writes each. When one fails, the others have ended too before its error is thrown. */
export async function writeShares(
  shares: Shares,
  write: (stream: AsyncIterable<Chunk>, index: number) => Promise<void>,
): Promise<void> {
  const writing = shares.streams.map(write);
  try {
    await Promise.all(writing);
  } finally {
    await shares[Symbol.asyncDispose]();
    await Promise.allSettled(writing);
  }
}

/** Refuses what could never be done, before anything is. */
function checkSession({ parallel, table }: ParallelOptions, { connections, transaction }: Session): void {
  if (transaction !== undefined) {
    throw notInParallel(table, "in a transaction, whose changes no other connection sees");
  }
  if (parallel <= connections) return;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull ${table}: parallel is ${parallel}, and there are ${connections} connections at most; connect with ` +
      `{ max: ${parallel} }`,
  );
}

/**
 * What is read in parallel where a source is a table.
 *
 * @param source The table, with the columns that are wanted.
 * @param relation Its quoted name, with the schema; `undefined` for a query.
 * @param format How the server writes the rows.
 * @throws {LakebaseError} `BAD_PARAMETER` for a query.
 */
export function parallelOptions(
  source: CopySource,
  relation: string | undefined,
  format: CopyFormat,
): Omit<ParallelOptions, "parallel" | "signal"> {
  if (relation === undefined) throw notInParallel("the query", "only a table by its name can be divided");
  // Of each range the wanted columns alone are selected, by name: partitions may have them in another order.
  const columns = source.columns.map((column, index) => ({ ...column, place: index + 1 }));
  const range = { ...source, columns, width: columns.length, table: undefined };
  return {
    table: relation,
    columns: columns.map(({ name }) => `"${name.replaceAll('"', '""')}"`).join(", "),
    copy: (text, first) => copyText({ ...range, text }, { ...format, header: format.header && first }),
    binary: format.format === "binary",
  };
}

import { onlyReading } from "../../catalog/names.ts";
import { LakebaseError } from "../../core/errors.ts";
import type { Fragment } from "../../sql/fragment.ts";
import type { FindSession } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import type { StopOptions } from "../../sql/stop.ts";
import { type CopyFormat, copyText } from "../copy/copy_query.ts";
import type { Chunk } from "../copy/messages.ts";
import { type CopySource, findSource, sourceName, type SourceQuery } from "../copy/source.ts";
import { notInParallel } from "./snapshot.ts";
import { ParallelCopy } from "./parallel_copy.ts";

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
  plan(lease: Lease, known: SourceQuery): ParallelPlan | Promise<ParallelPlan>;
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
  const copy = await ParallelCopy.start(session, options);
  return {
    streams: options.several ? copy.streams() : [copy.stream()],
    [Symbol.asyncDispose]: () => copy[Symbol.asyncDispose](),
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
  return { name, table: onlyReading(name) ?? (await findSource(find, what, options)).relation! };
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

/** A table with pages of its own: a plain one, or a partition. */
export interface PagedTable {
  /** Its quoted name, with the schema. */
  name: string;
  /** Pages of its heap. */
  pages: number;
  /** Bytes of its heap and of what is kept beside it (TOAST). */
  bytes: number;
}

/** A part of a table that one COPY reads. */
export interface PageRange {
  /** The table's quoted name. */
  table: string;
  /** The first page. */
  from: number;
  /** The first page after it; `undefined` for all that follow, since a table may grow. */
  to: number | undefined;
}

/** Bytes of all ranges that are read at a time, about: what comes before its turn has to be kept. */
export const READ_AHEAD_BYTES: number = 32 * 1024 * 1024;
/** Ranges for a connection at least, where there are pages finished. */
const RANGES_EACH = 4;
/** Bytes of a range at least, about: starting a COPY costs the server as much as reading so many. */
const FEWEST_BYTES = 256 * 1024;

/**
 * Divides tables into ranges of about the same size, in order.
 *
 * @param tables The table, or its partitions.
 * @param parallel How many connections there are for them.
 * @returns Every page exactly once; at least one range of each table.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(pageRanges([{ name: '"t"', pages: 100, bytes: 819_200 }], 2), [
 *   { table: '"t"', from: 0, to: 32 },
 *   { table: '"t"', from: 32, to: 64 },
 *   { table: '"t"', from: 64, to: 96 },
 *   { table: '"t"', from: 96, to: undefined },
 * ]);
 * ```
 */
export function pageRanges(tables: readonly PagedTable[], parallel: number): PageRange[] {
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  const size = parallel === 1
    ? Infinity
    : Math.min(READ_AHEAD_BYTES / parallel, Math.max(FEWEST_BYTES, bytes / (parallel * RANGES_EACH)));
  return tables.flatMap((table) => {
    const fitting = table.bytes > size ? Math.floor(table.pages * size / table.bytes) : table.pages;
    const step = Math.max(1, fitting);
    const starts = Array.from({ length: Math.max(1, Math.ceil(table.pages / step)) }, (_, index) => index * step);
    return starts.map((from, index) => ({ table: table.name, from, to: starts[index + 1] }));
  });
}

/** The rows of a range. */
export function rangeQuery(columns: string, { table, from, to }: PageRange): string {
  const end = to === undefined ? "" : ` AND ctid OPERATOR(pg_catalog.<) '(${to},0)'`;
  return `SELECT ${columns} FROM ONLY ${table} WHERE ctid OPERATOR(pg_catalog.>=) '(${from},0)'${end}`;
}

/**
 * How many rows the server's planner expects, which scales what it knows of a table by its size of now.
 *
 * @param session Where to ask: on a connection of its own, where one is free. A transaction's own changes count little.
 * @param text A statement without parameters.
 * @returns `undefined` where it can't be known at once; never an error.
 */
export async function estimateRows(session: Session, text: string): Promise<number | undefined> {
  try {
    const [row] = await session.lookUp(`EXPLAIN (FORMAT JSON) ${text}`, []);
    return plannedRows(row?.["QUERY PLAN"]);
  } catch {
    return undefined; // what is wrong with the statement, the transfer itself says
  }
}

/** The number at the top of a plan, as text or parsed. */
function plannedRows(explained: unknown): number | undefined {
  const plans = (typeof explained === "string" ? JSON.parse(explained) : explained) as
    | { Plan?: { "Plan Rows"?: unknown } }[]
    | undefined;
  const rows = plans?.[0]?.Plan?.["Plan Rows"];
  return typeof rows === "number" && rows >= 0 ? rows : undefined;
}

import { onlyReading } from "../../catalog/names.ts";
import { LakebaseError } from "../../core/errors.ts";
import { quoteName } from "../../core/sql_text.ts";
import type { Fragment } from "../../sql/fragment.ts";
import type { FindSession } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import type { StopOptions } from "../../sql/stop.ts";
import { type CopyFormat, copyText } from "../copy/copy_query.ts";
import type { Chunk } from "../copy/messages.ts";
import { type CopySource, findSource, sourceName, type SourceQuery } from "../copy/source.ts";
import { notInParallel } from "./snapshot.ts";
import { ParallelCopy } from "./parallel_copy.ts";

/** Options for reading a table on several connections. */
export interface ParallelOptions {
  /** The name of the table in a message. */
  name: string;
  /** The quoted name of the table. */
  table: string;
  /** The number of connections. */
  parallel: number;
  /** Whether each connection gives its own stream. */
  several: boolean;
  /** Decides what is copied, once the table is known. It may use the connection whose snapshot the others take. */
  plan(lease: Lease, query: SourceQuery): ParallelPlan | Promise<ParallelPlan>;
  /** Ends the copies. */
  signal?: AbortSignal | undefined;
}

/** What is copied of a table, and in which format. */
export interface ParallelPlan {
  /** The columns as SQL, in their order. */
  columns: string;
  /** Makes the COPY of a query; only the first one of a file has the line with the names. */
  copy(query: string, first: boolean): string;
  /** Whether the format is binary. */
  binary: boolean;
}

/** The streams that make up a table. Disposing of them ends the copies. */
export interface Copies extends AsyncDisposable {
  /** One stream with the rows in the table's order, as one COPY gives them; or a stream for each connection, all read at once. */
  streams: AsyncIterable<Chunk>[];
}

/**
 * Reads a table on several connections, all of which see it as it was at one moment.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason where a table can't be read in parallel; else as a query.
 */
export async function copyOutParallel(session: Session, options: ParallelOptions): Promise<Copies> {
  checkSession(options, session);
  const copy = await ParallelCopy.start(session, options);
  return {
    streams: options.several ? copy.streams() : [copy.stream()],
    [Symbol.asyncDispose]: () => copy[Symbol.asyncDispose](),
  };
}

/** Writes all streams. When one fails, its error is thrown after the others have ended. */
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

/** Refuses what is impossible, before anything is done. */
function checkSession({ parallel, name }: ParallelOptions, { connections, transaction }: Session): void {
  if (transaction !== undefined) {
    throw notInParallel(name, "in a transaction, whose changes no other connection sees");
  }
  if (parallel <= connections) return;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull ${name}: parallel is ${parallel}, but the pool has at most ${connections} connections; connect with ` +
      `{ max: ${parallel} }`,
  );
}

/**
 * The table to read in parallel.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a query, `QUERY_FAILED` for a table that does not exist.
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
 * Plans the copies of a table.
 *
 * @param source The table with the chosen columns.
 * @param format How the server writes the rows.
 */
export function parallelPlan(source: CopySource, format: CopyFormat): ParallelPlan {
  // The columns are selected by name, because partitions may have them in another order.
  const columns = source.columns.map((column, index) => ({ ...column, place: index + 1 }));
  const range = { ...source, columns, width: columns.length, table: undefined };
  return {
    columns: columns.map(({ name }) => quoteName(name)).join(", "),
    copy: (text, first) => copyText({ ...range, text }, { ...format, header: format.header && first }),
    binary: format.format === "binary",
  };
}

/** A table that has pages: a plain table, or a partition. */
export interface PagedTable {
  /** The quoted name, with the schema. */
  name: string;
  /** The number of pages of the heap. */
  pages: number;
  /** The bytes of the heap and of its TOAST table. */
  bytes: number;
}

/** The pages of a table that one COPY reads. */
export interface PageRange {
  /** The quoted name of the table. */
  table: string;
  /** The first page. */
  from: number;
  /** The page after the last one; `undefined` for all pages that follow, because a table may grow. */
  to: number | undefined;
}

/** The approximate bytes of all ranges that are read at one time: rows that arrive before their turn are kept in memory. */
export const READ_AHEAD_BYTES: number = 32 * 1024 * 1024;
/** The least number of ranges for each connection, where there are enough pages. */
const RANGES_EACH = 4;
/** The least approximate bytes of a range: starting a COPY costs the server as much as reading this many. */
const MIN_RANGE_BYTES = 256 * 1024;

/**
 * Divides tables into ranges of similar size, in order.
 *
 * @param tables The table, or its partitions.
 * @param parallel The number of connections.
 * @returns Ranges with every page exactly once, and at least one range for each table.
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
    : Math.min(READ_AHEAD_BYTES / parallel, Math.max(MIN_RANGE_BYTES, bytes / (parallel * RANGES_EACH)));
  return tables.flatMap((table) => {
    const fitting = table.bytes > size ? Math.floor(table.pages * size / table.bytes) : table.pages;
    const step = Math.max(1, fitting);
    const starts = Array.from({ length: Math.max(1, Math.ceil(table.pages / step)) }, (_, index) => index * step);
    return starts.map((from, index) => ({ table: table.name, from, to: starts[index + 1] }));
  });
}

/** The query for the rows of a range. */
export function rangeQuery(columns: string, { table, from, to }: PageRange): string {
  const end = to === undefined ? "" : ` AND ctid OPERATOR(pg_catalog.<) '(${to},0)'`;
  return `SELECT ${columns} FROM ONLY ${table} WHERE ctid OPERATOR(pg_catalog.>=) '(${from},0)'${end}`;
}

/**
 * The number of rows that the server's planner expects.
 *
 * @param session The estimate is made on another connection of its pool, if one is free, so it does not include changes of an
 * open transaction.
 * @param text A statement without parameters.
 * @returns `undefined` where no estimate can be made at once. It never throws.
 */
export async function estimateRows(session: Session, text: string): Promise<number | undefined> {
  try {
    const [row] = await session.lookUp(`EXPLAIN (FORMAT JSON) ${text}`, []);
    return plannedRows(row?.["QUERY PLAN"]);
  } catch {
    return undefined; // the transfer itself reports what is wrong with the statement
  }
}

/** The number of rows of a plan, which is JSON as text, or parsed. */
function plannedRows(explained: unknown): number | undefined {
  const plans = (typeof explained === "string" ? JSON.parse(explained) : explained) as
    | { Plan?: { "Plan Rows"?: unknown } }[]
    | undefined;
  const rows = plans?.[0]?.Plan?.["Plan Rows"];
  return typeof rows === "number" && rows >= 0 ? rows : undefined;
}

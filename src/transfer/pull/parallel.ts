import { unambiguousName } from "../../catalog/names.ts";
import { expectTable } from "../../catalog/relation.ts";
import { LakebaseError, quotedOption } from "../../core/errors.ts";
import { quoteName } from "../../core/sql_text.ts";
import { explainFailure } from "../../sql/failure.ts";
import type { Fragment } from "../../sql/fragment.ts";
import { type FindSession, rollBackOpen } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { acquire, type StopOptions } from "../../sql/stop.ts";
import { copyOutSeries } from "../copy/copy_out.ts";
import { type CopyFormat, copyStatement } from "../copy/copy_query.ts";
import { BINARY_TRAILER, type Chunk, type CopyItem, END_OF_COPY, withoutFraming } from "../copy/messages.ts";
import { type CopySource, findSource, sourceName, type SourceQuery, wholeTable } from "../copy/source.ts";
import { type PageRange, pageRanges, rangeQuery, RangeQueue } from "./page_ranges.ts";
import { exportSnapshot, importSnapshotText, isSnapshotGone, notInParallel, pagedTables } from "./snapshot.ts";

/** Options for reading a table on several connections. */
export interface ParallelOptions {
  /** The name of the table in a message. */
  name: string;
  /** The quoted name of the table. */
  table: string;
  /** The number of connections. */
  parallel: number;
  /** Whether each connection gives its own stream; else one stream has all rows. */
  streamPerConnection: boolean;
  /** Plans the copies, once the table is known. May use the connection whose snapshot the others take. */
  plan(lease: Lease, query: SourceQuery): ParallelPlan | Promise<ParallelPlan>;
  /** Ends the copies. */
  signal?: AbortSignal | undefined;
}

/** The columns and the format in which a table is copied. */
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
  /**
   * One stream with the rows in the table's order, as one COPY gives them; or one stream for each connection, which
   * must be read at the same time.
   */
  streams: AsyncIterable<Chunk>[];
}

/**
 * Reads a table on several connections, all of which see it at the same moment.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason if the table can't be read in parallel; else as a query.
 */
export async function copyOutParallel(session: Session, options: ParallelOptions): Promise<Copies> {
  checkSession(options, session);
  const copy = await ParallelCopy.start(session, options);
  return {
    streams: options.streamPerConnection ? copy.streams() : [copy.stream()],
    [Symbol.asyncDispose]: () => copy[Symbol.asyncDispose](),
  };
}

/** Writes all streams. If one fails, its error is thrown after the others have ended. */
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

/** Refuses an impossible pull before it begins. */
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
 * Finds the table to read in parallel.
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
  return { name, table: unambiguousName(name) ?? (await findSource(find, what, options)).relation! };
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
    copy: (text, first) => copyStatement({ ...range, text }, { ...format, header: format.header && first }),
    binary: format.format === "binary",
  };
}

const LOCK_REFUSED = "55P03";
/** The codes for a table, or a schema, that does not exist. */
const MISSING: ReadonlySet<unknown> = new Set(["42P01", "3F000"]);

/** Copies ranges on a connection. `member` is the number of the connection among those of the pull. */
type CopyRanges = (lease: Lease, member: number) => Promise<void>;

/**
 * Reads one table on several connections. The other connections take the snapshot of the first one as soon as the pool
 * provides them.
 */
class ParallelCopy implements AsyncDisposable {
  readonly #session: Session;
  readonly #options: ParallelOptions;
  readonly #first: Lease;
  readonly #start: ParallelStart;
  /** The number of the next range. */
  #next = 0;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Ends the wait for connections, because no range is left. */
  readonly #finished = new AbortController();
  readonly #work: Promise<void>[] = [];
  #firstWork: Promise<void> = Promise.resolve();
  #complete = false;
  /** Between two ranges, no other code reports that a connection is lost. */
  readonly #onConnectionLost = (error: unknown) => this.#stop.abort(error);

  private constructor(session: Session, options: ParallelOptions, start: ParallelStart) {
    this.#session = session;
    this.#options = options;
    this.#start = start;
    this.#first = start.lease;
    this.#signal = options.signal === undefined
      ? this.#stop.signal
      : AbortSignal.any([options.signal, this.#stop.signal]);
    this.#first.client.on("error", this.#onConnectionLost);
  }

  /** Takes the snapshot, and divides the table as it is in the snapshot. */
  static async start(session: Session, options: ParallelOptions): Promise<ParallelCopy> {
    const { name, parallel, signal } = options;
    try {
      const lease = await acquire(session, signal, `a pull of ${name}`);
      try {
        const rows = await exportSnapshot(session, lease, options, signal);
        const ranges = pageRanges(pagedTables(name, rows), parallel);
        const { snapshot, relation, columns } = rows[0]!;
        const plan = await options.plan(lease, wholeTable(relation, columns));
        return new ParallelCopy(session, options, { lease, relation, ranges, snapshot, plan });
      } catch (error) {
        endAndRelease(lease);
        throw error;
      }
    } catch (error) {
      throw await explainParallelFailure(session, options, error);
    }
  }

  async *stream(): AsyncGenerator<Chunk, void, void> {
    const queue = this.#queue(this.#start.ranges.length);
    this.#startCopying(async (lease) => {
      const first = this.#claim();
      if (first === undefined) return;
      const claimed = [first];
      for await (const item of this.#copy(lease, claimed, first === 0)) {
        if (item === END_OF_COPY) queue.close(claimed.shift()!);
        else await queue.push(claimed[0]!, item);
      }
    });
    yield* this.#read(queue);
    if (this.#start.plan.binary) yield BINARY_TRAILER;
    this.#complete = true;
  }

  streams(): AsyncIterable<Chunk>[] {
    const queues = Array.from({ length: this.#options.parallel }, () => this.#queue(1));
    this.#startCopying(async (lease, member) => {
      const queue = queues[member]!;
      const first = this.#claim() ?? this.#start.ranges.length; // a file without rows also has a header
      for await (const item of this.#copy(lease, [first], true)) if (item !== END_OF_COPY) await queue.push(0, item);
      if (this.#start.plan.binary) await queue.push(0, BINARY_TRAILER);
      queue.close(0);
    });
    Promise.all(this.#work).then(() => this.#complete = true, () => {}); // the readers report the error
    return queues.map((queue) => this.#read(queue));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#finished.abort();
    if (!this.#complete) this.#stop.abort();
    await Promise.allSettled(this.#work);
    await this.#firstWork.catch(() => {}); // the caller that waited for it has the error
    this.#release(this.#first);
  }

  /** Makes a queue that fails when the copying is stopped. */
  #queue(ranges: number): RangeQueue {
    const queue = new RangeQueue(ranges);
    const onAbort = () => queue.fail(this.#signal.reason);
    this.#signal.addEventListener("abort", onAbort, { once: true });
    if (this.#signal.aborted) onAbort();
    return queue;
  }

  async *#read(queue: RangeQueue): AsyncGenerator<Chunk, void, void> {
    try {
      yield* queue;
    } catch (error) {
      throw await explainParallelFailure(this.#session, this.#options, error);
    }
  }

  #startCopying(copyRanges: CopyRanges): void {
    this.#firstWork = copyRanges(this.#first, 0);
    this.#work.push(this.#firstWork);
    for (let member = 1; member < this.#options.parallel; member++) {
      this.#work.push(this.#copyOnOwnConnection(member, copyRanges));
    }
    for (const work of this.#work) work.catch((error) => this.#stop.abort(error));
  }

  /**
   * Copies on another connection. If the pool has no connection until all ranges are taken, the first connection copies
   * the rest.
   */
  async #copyOnOwnConnection(member: number, copyRanges: CopyRanges): Promise<void> {
    const lease = await this.#acquire();
    if (lease === undefined) {
      return await (this.#firstWork = this.#firstWork.then(() => copyRanges(this.#first, member)));
    }
    lease.client.on("error", this.#onConnectionLost);
    try {
      await copyRanges(lease, member);
    } finally {
      this.#release(lease);
    }
  }

  async #acquire(): Promise<Lease | undefined> {
    const finished = this.#finished.signal;
    try {
      return await acquire(this.#session, AbortSignal.any([this.#signal, finished]), `a pull of ${this.#options.name}`);
    } catch (error) {
      if (finished.aborted && !this.#signal.aborted) return undefined;
      throw error;
    }
  }

  /** Takes the next range, and returns its number; `undefined` if none is left. */
  #claim(): number | undefined {
    if (this.#next < this.#start.ranges.length) return this.#next++;
    this.#finished.abort();
    return undefined;
  }

  #release(lease: Lease): void {
    lease.client.removeListener("error", this.#onConnectionLost);
    endAndRelease(lease);
  }

  /**
   * Copies ranges on a connection until none is left.
   *
   * @param claimed Has the number of the first range; the numbers of later ranges are added.
   * @param withHeader Whether the first range has a header.
   */
  #copy(lease: Lease, claimed: number[], withHeader: boolean): AsyncIterable<CopyItem> {
    const items = copyOutSeries(this.#session, lease, this.#copyTexts(lease, claimed, withHeader), this.#signal);
    return this.#start.plan.binary ? withoutFraming(items, withHeader) : items;
  }

  *#copyTexts(lease: Lease, claimed: number[], withHeader: boolean): Generator<string, void, void> {
    const { relation, snapshot, ranges, plan: { columns, copy } } = this.#start;
    const copyOfRange = (index: number, first: boolean) => {
      return copy(rangeQuery(columns, ranges[index] ?? { table: relation, from: 0, to: 0 }), first);
    };
    const begin = lease === this.#first ? "" : importSnapshotText(relation, snapshot);
    yield begin + copyOfRange(claimed[0]!, withHeader);
    for (let index = this.#claim(); index !== undefined; index = this.#claim()) {
      claimed.push(index);
      yield copyOfRange(index, false);
    }
  }
}

/** The results of the first connection of a {@linkcode ParallelCopy}. */
interface ParallelStart {
  lease: Lease;
  /** The quoted name of the table, with the schema. */
  relation: string;
  /** The name by which the other connections take the snapshot. */
  snapshot: string;
  plan: ParallelPlan;
  ranges: PageRange[];
}

/** Ends the transaction of a connection, then releases the connection. The caller does not wait for that round trip. */
function endAndRelease(lease: Lease): void {
  Promise.resolve(rollBackOpen({ transaction: undefined }, lease)).then(() => lease.release());
}

async function explainParallelFailure(
  session: Session,
  { name, signal }: ParallelOptions,
  error: unknown,
): Promise<unknown> {
  if (signal?.aborted) return signal.reason;
  const sqlstate = (error as { code?: unknown } | null)?.code;
  if (sqlstate === LOCK_REFUSED) return tableLocked(name, error);
  if (isSnapshotGone(error)) return snapshotLost(name, error);
  if (MISSING.has(sqlstate)) {
    return await expectTable(() => session, "pull", name, undefined).catch((missing) => missing);
  }
  return await explainFailure(session, error, { text: "", values: [] });
}

function tableLocked(name: string, cause: unknown): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot pull ${name} in parallel: another session holds a lock on the table. Try again, or leave ${
      quotedOption("parallel")
    } out`,
    { cause, sqlstate: LOCK_REFUSED },
  );
}

function snapshotLost(name: string, cause: unknown): LakebaseError {
  return new LakebaseError(
    "CONNECTION_LOST",
    `Cannot pull ${name} in parallel: the server ended the connection that holds the shared snapshot`,
    { cause },
  );
}

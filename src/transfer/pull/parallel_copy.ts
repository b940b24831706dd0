import { expectTable } from "../../catalog/relation.ts";
import { LakebaseError, quotedOption } from "../../core/errors.ts";
import { explainFailure } from "../../sql/failure.ts";
import { restore } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { acquire } from "../../sql/stop.ts";
import { copyOutSeries } from "../copy/copy_out.ts";
import { BINARY_TRAILER, type Chunk, type CopyItem, END_OF_COPY, withoutFraming } from "../copy/messages.ts";
import { wholeTable } from "../copy/source.ts";
import {
  type PageRange,
  pageRanges,
  type ParallelOptions,
  type ParallelPlan,
  rangeQuery,
  READ_AHEAD_BYTES,
} from "./parallel.ts";
import { exportSnapshot, importText, isSnapshotGone, pagedTables } from "./snapshot.ts";

const LOCK_REFUSED = "55P03";
/** The codes for a table, or a schema, that does not exist. */
const MISSING: ReadonlySet<unknown> = new Set(["42P01", "3F000"]);

/** Copies ranges on a connection, for the connection with the number `member`. */
type CopyRanges = (lease: Lease, member: number) => Promise<void>;

/** Reads one table on several connections. The others take the snapshot of the first one, as soon as the pool has them. */
export class ParallelCopy implements AsyncDisposable {
  readonly #session: Session;
  readonly #options: ParallelOptions;
  readonly #first: Lease;
  readonly #start: Snapshot;
  #next = 0;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Ends the wait for connections when no range is left. */
  readonly #finished = new AbortController();
  readonly #work: Promise<void>[] = [];
  #firstWork: Promise<void> = Promise.resolve();
  #complete = false;
  /** Between two ranges, nothing else reports that a connection is lost. */
  readonly #onConnectionLost = (error: unknown) => this.#stop.abort(error);

  private constructor(session: Session, options: ParallelOptions, start: Snapshot) {
    this.#session = session;
    this.#options = options;
    this.#start = start;
    this.#first = start.lease;
    this.#signal = options.signal === undefined
      ? this.#stop.signal
      : AbortSignal.any([options.signal, this.#stop.signal]);
    this.#first.client.on("error", this.#onConnectionLost);
  }

  /** Takes the snapshot, and divides the table as the snapshot shows it. */
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
        giveBack(lease);
        throw error;
      }
    } catch (error) {
      throw await explained(session, options, error);
    }
  }

  async *stream(): AsyncGenerator<Chunk, void, void> {
    const order = this.#queue(this.#start.ranges.length);
    this.#startCopying(async (lease) => {
      const first = this.#claim();
      if (first === undefined) return;
      const claimed = [first];
      for await (const item of this.#copy(lease, claimed, first === 0)) {
        if (item === END_OF_COPY) order.close(claimed.shift()!);
        else await order.push(claimed[0]!, item);
      }
    });
    yield* this.#read(order);
    if (this.#start.plan.binary) yield BINARY_TRAILER;
    this.#complete = true;
  }

  streams(): AsyncIterable<Chunk>[] {
    const queues = Array.from({ length: this.#options.parallel }, () => this.#queue(1));
    this.#startCopying(async (lease, member) => {
      const queue = queues[member]!;
      const first = this.#claim() ?? this.#start.ranges.length; // a file without rows has a header too
      for await (const item of this.#copy(lease, [first], true)) if (item !== END_OF_COPY) await queue.push(0, item);
      if (this.#start.plan.binary) await queue.push(0, BINARY_TRAILER);
      queue.close(0);
    });
    Promise.all(this.#work).then(() => this.#complete = true, () => {}); // the readers report it
    return queues.map((queue) => this.#read(queue));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#finished.abort();
    if (!this.#complete) this.#stop.abort();
    await Promise.allSettled(this.#work);
    await this.#firstWork.catch(() => {}); // whoever waited for it has the error
    this.#giveBack(this.#first);
  }

  /** Makes a queue that fails when the copy is stopped. */
  #queue(parts: number): InOrder {
    const queue = new InOrder(parts);
    const onAbort = () => queue.fail(this.#signal.reason);
    this.#signal.addEventListener("abort", onAbort, { once: true });
    if (this.#signal.aborted) onAbort();
    return queue;
  }

  async *#read(queue: InOrder): AsyncGenerator<Chunk, void, void> {
    try {
      yield* queue;
    } catch (error) {
      throw await explained(this.#session, this.#options, error);
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

  /** Copies on another connection. If the pool has none until all ranges are taken, the first connection does the rest. */
  async #copyOnOwnConnection(member: number, copyRanges: CopyRanges): Promise<void> {
    const lease = await this.#acquire();
    if (lease === undefined) {
      return await (this.#firstWork = this.#firstWork.then(() => copyRanges(this.#first, member)));
    }
    lease.client.on("error", this.#onConnectionLost);
    try {
      await copyRanges(lease, member);
    } finally {
      this.#giveBack(lease);
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

  #giveBack(lease: Lease): void {
    lease.client.removeListener("error", this.#onConnectionLost);
    giveBack(lease);
  }

  /**
   * Copies ranges on a connection until none is left.
   *
   * @param claimed The number of the first range; the numbers of later ranges are added.
   * @param headed Whether the first range has a header.
   */
  #copy(lease: Lease, claimed: number[], headed: boolean): AsyncIterable<CopyItem> {
    const items = copyOutSeries(this.#session, lease, this.#texts(lease, claimed, headed), this.#signal);
    return this.#start.plan.binary ? withoutFraming(items, headed) : items;
  }

  *#texts(lease: Lease, claimed: number[], headed: boolean): Generator<string, void, void> {
    const { relation, snapshot, ranges, plan: { columns, copy } } = this.#start;
    const text = (index: number, first: boolean) => {
      return copy(rangeQuery(columns, ranges[index] ?? { table: relation, from: 0, to: 0 }), first);
    };
    const joining = lease === this.#first ? "" : importText(relation, snapshot);
    yield joining + text(claimed[0]!, headed);
    for (let index = this.#claim(); index !== undefined; index = this.#claim()) {
      claimed.push(index);
      yield text(index, false);
    }
  }
}

/** The snapshot with which a {@linkcode ParallelCopy} begins. */
interface Snapshot {
  lease: Lease;
  /** The quoted name of the table, with the schema. */
  relation: string;
  snapshot: string;
  plan: ParallelPlan;
  ranges: PageRange[];
}

/** Releases a connection when its transaction has ended. The caller does not wait for that round trip. */
function giveBack(lease: Lease): void {
  Promise.resolve(restore({ transaction: undefined }, lease)).then(() => lease.release());
}

async function explained(session: Session, { name, signal }: ParallelOptions, error: unknown): Promise<unknown> {
  if (signal?.aborted) return signal.reason;
  const sqlstate = (error as { code?: unknown } | null)?.code;
  if (sqlstate === LOCK_REFUSED) return changing(name, error);
  if (isSnapshotGone(error)) return lost(name, error);
  if (MISSING.has(sqlstate)) {
    return await expectTable(() => session, "pull", name, undefined).catch((missing) => missing);
  }
  return await explainFailure(session, error, { text: "", values: [] });
}

function changing(name: string, cause: unknown): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot pull ${name} in parallel: another session holds a lock on the table. Try again, or leave ${
      quotedOption("parallel")
    } out`,
    { cause, sqlstate: LOCK_REFUSED },
  );
}

function lost(name: string, cause: unknown): LakebaseError {
  return new LakebaseError(
    "CONNECTION_LOST",
    `Cannot pull ${name} in parallel: the server ended the connection that holds the shared snapshot`,
    { cause },
  );
}

/** The most bytes that wait in the part that is being read. */
const MAX_AHEAD_BYTES = 4 * 1024 * 1024;

/** The chunks of one part that wait to be read. */
interface Part {
  chunks: Chunk[];
  bytes: number;
  ended: boolean;
}

/**
 * Puts parts that arrive at the same time into their order. Writers wait while too many bytes are waiting. The writer of the part
 * that is being read does not wait for the others, so reading always continues.
 */
export class InOrder implements AsyncIterable<Chunk> {
  readonly #parts: Part[];
  #reading = 0;
  #waiting = 0;
  #failure: { error: unknown } | undefined;
  #change = Promise.withResolvers<void>();

  /** Makes a queue for a number of parts. */
  constructor(parts: number) {
    this.#parts = Array.from({ length: parts }, () => ({ chunks: [], bytes: 0, ended: false }));
  }

  /** Adds to a part; resolves when there is room for more. */
  async push(index: number, chunk: Chunk): Promise<void> {
    const part = this.#parts[index]!;
    const kept = index === this.#reading ? chunk : compact(chunk);
    part.chunks.push(kept);
    this.#count(part, kept.bytes.length);
    this.#notify();
    while (this.#failure === undefined && this.#isFull(index, part)) await this.#change.promise;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends a part. */
  close(index: number): void {
    this.#parts[index]!.ended = true;
    this.#notify();
  }

  /** Ends all parts: the reader and the writers get the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    while (this.#reading < this.#parts.length) {
      const part = this.#parts[this.#reading]!;
      if (this.#failure !== undefined) throw this.#failure.error;
      const chunk = part.chunks.shift();
      if (chunk !== undefined) {
        this.#count(part, -chunk.bytes.length);
        this.#notify();
        yield chunk;
      } else if (part.ended) {
        this.#reading++;
        this.#notify();
      } else await this.#change.promise;
    }
  }

  #isFull(index: number, part: Part): boolean {
    return index === this.#reading ? part.bytes >= MAX_AHEAD_BYTES : this.#waiting >= READ_AHEAD_BYTES;
  }

  #count(part: Part, bytes: number): void {
    part.bytes += bytes;
    this.#waiting += bytes;
  }

  #notify(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

/** Copies a small chunk out of a large buffer, so that the buffer is freed while the chunk waits. */
function compact({ bytes, rows }: Chunk): Chunk {
  return { bytes: bytes.length * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes, rows };
}

import { LakebaseError } from "../errors.ts";
import { acquire } from "../query/cancel.ts";
import { explainFailure } from "../query/explain_failure.ts";
import { restore } from "../query/run.ts";
import type { Lease, Session } from "../query/session.ts";
import { BINARY_TRAILER, withoutFrames } from "./binary_frame.ts";
import { type Chunk, type CopyItem, END_OF_COPY } from "./copy_messages.ts";
import { copyOutSeries } from "./copy_out.ts";
import { InOrder } from "./in_order.ts";
import { type PageRange, pageRanges, rangeQuery } from "./page_ranges.ts";
import type { ParallelOptions } from "./parallel.ts";
import { exportSnapshot, importSnapshot, pagedTables } from "./shared_snapshot.ts";

/** Reads ranges on a connection, for one of the connections. */
type Fill = (lease: Lease, member: number) => Promise<void>;

/** Connections that read one table: the first one's snapshot is that of all, and the others come as they are free. */
export class Team implements AsyncDisposable {
  readonly #session: Session;
  readonly #options: ParallelOptions;
  readonly #leader: Lease;
  readonly #snapshot: string;
  readonly #ranges: readonly PageRange[];
  #next = 0;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  /** Ends the wait for connections when there is nothing left for them to do. */
  readonly #enough = new AbortController();
  readonly #work: Promise<void>[] = [];
  #leading: Promise<void> = Promise.resolve();
  #whole = false;
  /** Between two ranges nothing else would tell that a connection is lost. */
  readonly #onLost = (error: unknown) => this.#stop.abort(error);

  private constructor(session: Session, options: ParallelOptions, start: Start) {
    this.#session = session;
    this.#options = options;
    this.#leader = start.lease;
    this.#snapshot = start.snapshot;
    this.#ranges = start.ranges;
    this.#signal = options.signal === undefined
      ? this.#stop.signal
      : AbortSignal.any([options.signal, this.#stop.signal]);
    this.#leader.client.on("error", this.#onLost);
  }

  /** Takes the snapshot, and divides the table as it is in it. */
  static async gather(session: Session, options: ParallelOptions): Promise<Team> {
    const { table, parallel, signal } = options;
    try {
      const lease = await acquire(session, signal);
      try {
        const rows = await exportSnapshot(session, lease, table, signal);
        const ranges = pageRanges(pagedTables(table, rows), parallel);
        return new Team(session, options, { lease, ranges, snapshot: rows[0]!.snapshot });
      } catch (error) {
        giveBack(session, lease);
        throw error;
      }
    } catch (error) {
      throw await explained(session, options, error);
    }
  }

  async *inOrder(): AsyncGenerator<Chunk, void, void> {
    const order = this.#queue(this.#ranges.length);
    this.#start(async (lease) => {
      const first = this.#claim();
      if (first === undefined) return;
      const mine = [first];
      for await (const item of this.#copy(lease, mine, first === 0)) {
        if (item === END_OF_COPY) order.close(mine.shift()!);
        else await order.push(mine[0]!, item);
      }
    });
    yield* this.#read(order);
    if (this.#options.binary) yield BINARY_TRAILER;
    this.#whole = true;
  }

  shares(): AsyncIterable<Chunk>[] {
    const queues = Array.from({ length: this.#options.parallel }, () => this.#queue(1));
    this.#start(async (lease, member) => {
      const queue = queues[member]!;
      const first = this.#claim() ?? this.#ranges.length; // with nothing left, its file has a header all the same
      for await (const item of this.#copy(lease, [first], true)) if (item !== END_OF_COPY) await queue.push(0, item);
      if (this.#options.binary) await queue.push(0, BINARY_TRAILER);
      queue.close(0);
    });
    Promise.all(this.#work).then(() => this.#whole = true, () => {});
    return queues.map((queue) => this.#read(queue));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#enough.abort();
    if (!this.#whole) this.#stop.abort();
    await Promise.allSettled(this.#work);
    await this.#leading.catch(() => {});
    this.#giveBack(this.#leader);
  }

  /** A queue that ends with everything else. */
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

  #start(fill: Fill): void {
    this.#leading = fill(this.#leader, 0);
    this.#work.push(this.#leading);
    for (let member = 1; member < this.#options.parallel; member++) this.#work.push(this.#join(member, fill));
    for (const work of this.#work) work.catch((error) => this.#stop.abort(error));
  }

  /** Work on a connection of its own, or where none has come, what is left for the first one. */
  async #join(member: number, fill: Fill): Promise<void> {
    const lease = await this.#hire();
    if (lease === undefined) return await (this.#leading = this.#leading.then(() => fill(this.#leader, member)));
    lease.client.on("error", this.#onLost);
    try {
      await fill(lease, member);
    } finally {
      this.#giveBack(lease);
    }
  }

  async #hire(): Promise<Lease | undefined> {
    const enough = this.#enough.signal;
    let lease: Lease;
    try {
      lease = await acquire(this.#session, AbortSignal.any([this.#signal, enough]));
    } catch (error) {
      if (enough.aborted && !this.#signal.aborted) return undefined;
      throw error;
    }
    try {
      const { table } = this.#options;
      await importSnapshot(this.#session, lease, { table, snapshot: this.#snapshot }, this.#signal);
      return lease;
    } catch (error) {
      giveBack(this.#session, lease);
      throw error;
    }
  }

  /** The number of the next range, where one is left. */
  #claim(): number | undefined {
    if (this.#next < this.#ranges.length) return this.#next++;
    this.#enough.abort();
    return undefined;
  }

  #giveBack(lease: Lease): void {
    lease.client.removeListener("error", this.#onLost);
    giveBack(this.#session, lease);
  }

  /**
   * Copies ranges on a connection as long as any are left.
   *
   * @param mine The first one's number; those that are claimed later are added.
   * @param headed Whether the first one has a header.
   */
  #copy(lease: Lease, mine: number[], headed: boolean): AsyncIterable<CopyItem> {
    const items = copyOutSeries(this.#session, lease, this.#texts(mine, headed), this.#signal);
    return this.#options.binary ? withoutFrames(items, headed) : items;
  }

  *#texts(mine: number[], headed: boolean): Generator<string, void, void> {
    const { table, copy, columns } = this.#options;
    const nothing = { table, from: 0, to: 0 };
    yield copy(rangeQuery(columns, this.#ranges[mine[0]!] ?? nothing), headed);
    for (let index = this.#claim(); index !== undefined; index = this.#claim()) {
      mine.push(index);
      yield copy(rangeQuery(columns, this.#ranges[index]!), false);
    }
  }
}

/** What a {@linkcode Team} begins with. */
interface Start {
  lease: Lease;
  snapshot: string;
  ranges: PageRange[];
}

/** Nobody waits for the end of the transaction: over a long line that would be a round trip more. */
function giveBack(session: Session, lease: Lease): void {
  Promise.resolve(restore(session, lease)).then(() => lease.release());
}

async function explained(session: Session, { table, signal }: ParallelOptions, error: unknown): Promise<unknown> {
  if (signal?.aborted) return signal.reason;
  return isLockRefused(error) ? changing(table, error) : await explainFailure(session, error, { text: "", values: [] });
}

function isLockRefused(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "55P03";
}

function changing(table: string, cause: unknown): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot pull ${table} in parallel: another session is changing the table. Try again, or leave "parallel" out`,
    { cause, sqlstate: "55P03" },
  );
}

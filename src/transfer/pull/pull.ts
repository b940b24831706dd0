import { LakebaseError } from "../../core/errors.ts";
import { countText, sizeText } from "../../core/text.ts";
import { type Fragment, isRunnable, PULL_STOPS } from "../../sql/fragment.ts";
import { type FindSession, onConnection } from "../../sql/run.ts";
import { type Lease, originOf, type Session } from "../../sql/session.ts";
import { eitherSignal, stoppable, until } from "../../sql/stop.ts";
import { copyOut } from "../copy/copy_out.ts";
import { chooseColumns, type CopyFormat, copyFormat, copyText, partitionColumns } from "../copy/copy_query.ts";
import type { Chunk } from "../copy/messages.ts";
import { type CopySource, describeSource, findSource, type SourceQuery, uncheckedTable } from "../copy/source.ts";
import { type Encode, ENCODERS } from "../formats/encode.ts";
import { type Meter, startMeter } from "../progress.ts";
import type { PullFolder } from "./folder.ts";
import { checkFormatOptions, checkPullOptions, type PullOptions } from "./options.ts";
import { estimateRows } from "./parallel.ts";
import { PullResult } from "./result.ts";
import { splitRows } from "./split_rows.ts";
import {
  gzip,
  isTerminal,
  openSinks,
  planTarget,
  type PullTarget,
  type Sink,
  type Sinks,
  type TargetPlan,
} from "./target.ts";

export type { PullOptions, PullResult, PullTarget };

/**
 * Writes the rows of a table or query to a file or stream, in constant memory. There is a whole file or none, and one that
 * was there is replaced by a whole one only.
 *
 * @param what A table's name, or a query.
 * @param target Where to.
 * @throws {LakebaseError} `BAD_PARAMETER`, `BAD_FILE`, or as `run`; what `onProgress` or the stream threw; the reason of the
 * caller's signal.
 */
export async function pull(
  find: FindSession,
  what: string | Fragment,
  target: PullTarget,
  options: PullOptions = {},
): Promise<PullResult> {
  const checked = { ...stopsOf(what), ...checkPullOptions(options) };
  const plan = planTarget(target, checked);
  checkFormatOptions(checked, plan.format);
  using stop = stoppable(checked);
  const sinks = await openSinks(plan, checked, stop.signal);
  const work = new Pull(plan, checked, sinks, stop.signal);
  try {
    return await work.run(find, what);
  } catch (error) {
    throw await work.fail(error);
  }
}

/** What stops the query by itself stops its pull, unless that is told otherwise. */
function stopsOf(what: string | Fragment): PullOptions {
  return isRunnable(what) ? what[PULL_STOPS]() as PullOptions : {};
}

/** Writes the rows to a sink, and counts them. */
type Write = (chunks: AsyncIterable<Chunk>, sink: Sink | undefined) => Promise<void>;

class Pull {
  readonly #plan: TargetPlan;
  /** How the server writes the rows. */
  #format: CopyFormat;
  readonly #options: PullOptions;
  readonly #sinks: Sinks;
  #signal: AbortSignal | undefined;
  readonly #started = performance.now();
  #source: CopySource | undefined;
  /** Rows that came. */
  #received = 0;
  #bytes = 0;
  /** What the program's own function or stream threw, which is no failure of the connection. */
  #thrown: { error: unknown } | undefined;

  constructor(plan: TargetPlan, options: PullOptions, sinks: Sinks, signal: AbortSignal | undefined) {
    this.#plan = plan;
    this.#format = copyFormat(plan.format, options);
    this.#options = options;
    this.#sinks = sinks;
    this.#signal = signal;
  }

  async run(find: FindSession, what: string | Fragment): Promise<PullResult> {
    const session = await until(find(), this.#signal);
    this.#signal = eitherSignal(this.#signal, session.signal); // a target that takes nothing holds up a transaction too
    const encode = await ENCODERS[this.#plan.format]();
    await using meter = this.#meter(session);
    const write: Write = (chunks, sink) => this.#write(encode, this.#counted(chunks, meter), sink);
    const alone = (this.#options.parallel ?? 1) === 1 && !this.#sinks.several;
    const rows =
      await (alone ? this.#copy(find, session, what, write) : this.#copyInParallel(find, session, what, write));
    await until(this.#sinks.flush(), this.#signal);
    await this.#callUser(() => until(meter.complete(), this.#signal)); // what it throws finds the old file in its place
    await this.#sinks.commit(this.#signal);
    const { name: to, paths } = this.#sinks;
    return new PullResult({
      rows,
      bytes: this.#bytes,
      paths,
      to,
      elapsed: performance.now() - this.#started,
      origin: originOf(session),
    });
  }

  /** Removes what was written, as far as it can be; the error to throw. */
  async fail(error: unknown): Promise<unknown> {
    const reason = this.#explain(error);
    await this.#sinks.abort(reason, this.#signal);
    return reason;
  }

  /** The error to throw; where rows were on their way, with what has become of them. */
  #explain(error: unknown): unknown {
    if (this.#thrown !== undefined) return this.#thrown.error;
    const { signal } = this.#options;
    if (signal?.aborted && error === signal.reason) return error;
    if (!(error instanceof LakebaseError) || this.#received <= 0) return error;
    const { code, sqlstate, cause } = error;
    const came = `${countText(this.#received, "row")} had arrived, ${sizeText(this.#bytes)} were written`;
    return new LakebaseError(code, `${error.message}\n${came}; ${this.#sinks.outcome}`, { cause, sqlstate });
  }

  /** On one connection, in the transaction where there is one. */
  async #copy(find: FindSession, session: Session, what: string | Fragment, write: Write): Promise<number> {
    const unchecked = this.#unchecked(session, what);
    const query = unchecked ?? await findSource(find, what, { signal: this.#signal });
    try {
      return await onConnection(session, query.statement, this.#signal, async (lease, signal) => {
        const source = await this.#describe(session, lease, query, signal);
        const copying = copyOut(session, lease, copyText(source, this.#format), signal);
        let rows = 0;
        await untilEnd(copying, () => write(withoutPosition(copying, (count) => rows = count), this.#sinks.all[0]));
        return rows;
      });
    } catch (error) {
      const noTable = error instanceof LakebaseError && /^42(P01|809|704)$/.test(error.sqlstate ?? "");
      if (unchecked && noTable && this.#received === 0) await findSource(find, what, { signal: this.#signal }); // says it better
      throw error;
    }
  }

  /** A look-up is a round trip. In a transaction it keeps a name that is wrong from being the end of that. */
  #unchecked(session: Session, what: string | Fragment): SourceQuery | undefined {
    const text = this.#format.format === "csv" || this.#format.format === "text";
    const held = session.transaction !== undefined;
    const { columns, partitionBy } = this.#options;
    return text && !held && columns === undefined && partitionBy === undefined ? uncheckedTable(what) : undefined;
  }

  /** On several connections, under one snapshot. */
  async #copyInParallel(find: FindSession, session: Session, what: string | Fragment, write: Write): Promise<number> {
    const { copyOutParallel, parallelPlan, parallelTable, writeStreams } = await import("./parallel.ts");
    const { all, several } = this.#sinks;
    const { parallel = 1 } = this.#options;
    const signal = this.#signal;
    const { name, table } = await parallelTable(find, what, { signal });
    const plan = async (lease: Lease, query: SourceQuery) =>
      parallelPlan(await this.#describe(session, lease, query, signal), this.#format);
    const copies = await copyOutParallel(session, { name, table, parallel, several, plan, signal });
    await writeStreams(copies, (stream, index) => write(stream, all[index]));
    return this.#received;
  }

  async #describe(
    session: Session,
    lease: Lease,
    query: SourceQuery,
    signal: AbortSignal | undefined,
  ): Promise<CopySource> {
    const described = await describeSource(session, lease, query, signal);
    const { columns, partitionBy } = this.#options;
    const { source, partitions } = partitionColumns(chooseColumns(described, columns), partitionBy);
    this.#format = { ...this.#format, partitions };
    return this.#source = source;
  }

  /** Messages of a COPY that are no row: the line with the names, or the end of binary. */
  get #framing(): number {
    const { format, header } = this.#format;
    return header || format === "binary" ? 1 : 0;
  }

  #meter(session: Session): Meter {
    const { onProgress, progress = true } = this.#options;
    const show = progress && !isTerminal(this.#plan.target);
    const totalRows = async () => this.#source && await estimateRows(session, this.#source.text);
    return startMeter({ action: "Pulling", name: this.#sinks.name, totalRows, onProgress, show });
  }

  async #write(encode: Encode, chunks: AsyncIterable<Chunk>, sink: Sink | undefined): Promise<void> {
    if (sink === undefined) return await this.#writeFolder(encode, chunks, this.#sinks.folder!);
    for await (const bytes of this.#encoded(encode, chunks)) {
      await this.#callUser(() => until(sink.write(bytes), this.#signal));
      this.#bytes += bytes.length;
    }
  }

  async #writeFolder(encode: Encode, chunks: AsyncIterable<Chunk>, folder: PullFolder): Promise<void> {
    const { rowsPerFile, partitionBy } = this.#options;
    const division = { format: this.#format, rowsPerFile, partitioned: partitionBy !== undefined };
    for await (const file of splitRows(chunks, division)) {
      await folder.write(file.partition, this.#countedBytes(this.#encoded(encode, file.chunks)));
    }
  }

  #encoded(encode: Encode, chunks: AsyncIterable<Chunk>): AsyncIterable<Uint8Array> {
    const { compression, rowGroupSize } = this.#options;
    const encoded = encode(chunks, { columns: this.#source!.columns, options: { compression, rowGroupSize } });
    return this.#plan.gzip ? gzip(encoded) : encoded;
  }

  async *#countedBytes(encoded: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const bytes of encoded) {
      this.#signal?.throwIfAborted();
      yield bytes;
      this.#bytes += bytes.length;
    }
  }

  async *#counted(chunks: AsyncIterable<Chunk>, meter: Meter): AsyncGenerator<Chunk, void, void> {
    let framing = this.#framing;
    for await (const chunk of chunks) {
      const rows = chunk.rows - framing;
      framing = 0;
      this.#received += rows;
      await this.#callUser(() => meter.add(rows, chunk.bytes.length));
      yield chunk;
    }
  }

  /** Calls what is the program's own, whose errors are thrown as they are. */
  async #callUser(call: () => Promise<void> | void): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (error instanceof LakebaseError) throw error;
      this.#thrown ??= { error };
      throw new LakebaseError("CANCELED", "Canceled by the program's own error", { cause: error });
    }
  }
}

/** Whoever reads may leave early without a wait, as a stream of Node does; the connection is free only when the COPY has ended. */
async function untilEnd(copying: AsyncGenerator<Chunk, unknown, void>, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } finally {
    await copying.return(undefined).catch(() => {}); // its own error is that of the work
  }
}

/** A place in the COPY is none in the statement that was written. */
async function* withoutPosition(
  copying: AsyncGenerator<Chunk, number, void>,
  onEnd: (rows: number) => void,
): AsyncGenerator<Chunk, void, void> {
  try {
    onEnd(yield* copying);
  } catch (error) {
    if (error instanceof Error) delete (error as { position?: unknown }).position;
    throw error;
  }
}

import { loadModule } from "../../core/lazy_import.ts";
import { nameOf } from "../../catalog/names.ts";
import { estimateRows } from "../../catalog/source.ts";
import { LakebaseError } from "../../core/errors.ts";
import { countText, sizeText } from "../../core/text.ts";
import { isTraced, type Operation, traced } from "../../core/trace.ts";
import { compile, Fragment, isRunnable, PULL_STOPS } from "../../sql/fragment.ts";
import { markUsed } from "../../sql/never_run.ts";
import { type FindSession, onConnection } from "../../sql/run.ts";
import { type Lease, originOf, type Session } from "../../sql/session.ts";
import { eitherSignal, stoppable, until } from "../../sql/stop.ts";
import { copyOut } from "../copy/copy_out.ts";
import { chooseColumns, type CopyFormat, copyStatement } from "../copy/copy_query.ts";
import type { Chunk } from "../copy/messages.ts";
import {
  type CopySource,
  describeSource,
  expectUsualStyle,
  findSource,
  type SourceQuery,
  uncheckedTable,
} from "../copy/source.ts";
import { type Encode, ENCODERS, type PullFormat } from "../formats/file_format.ts";
import { type Meter, startMeter } from "../progress.ts";
import { Stores, volumesOfSession } from "../stores.ts";
import { partitionColumns, type PullFolder } from "./folder.ts";
import { checkFormatOptions, checkPullOptions, type PullOptions, PullResult } from "./options.ts";
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
 * Writes the rows of a table or query to a file or stream, in constant memory. Only a complete file appears, and replaces an
 * existing one.
 *
 * @param what The name of a table, or a query.
 * @param target The file, the folder or the stream.
 * @throws {LakebaseError} `BAD_PARAMETER`, `BAD_FILE`, or as `run`; what `onProgress` or the stream threw; the reason of the
 * caller's signal.
 */
export async function pull(
  find: FindSession,
  what: string | Fragment,
  target: PullTarget,
  options: PullOptions = {},
): Promise<PullResult> {
  if (what instanceof Fragment) markUsed(what); // a pull that fails before it runs has reported its own error
  const checked = { ...stopsOf(what), ...checkPullOptions(options) };
  const plan = planTarget(target, checked);
  checkFormatOptions(checked, plan.format);
  using stop = stoppable(checked, "the pull");
  const sinks = await openSinks(plan, checked, stop.signal, new Stores(volumesOfSession(find), stop.signal));
  const work = new Pull(plan, checked, sinks, stop.signal);
  try {
    return await work.run(find, what);
  } catch (error) {
    throw await work.fail(error);
  }
}

/** The query's signal and timeout also apply to its pull, unless the pull has its own. */
function stopsOf(what: string | Fragment): PullOptions {
  return isRunnable(what) ? what[PULL_STOPS]() as PullOptions : {};
}

function operationOf(what: string | Fragment, { server }: Session): Operation {
  const table = what instanceof Fragment ? nameOf(what) : what;
  const text = table === undefined ? compile(what as Fragment).text : undefined;
  return { name: "pull", table, text, server };
}

/** The format in which the server writes rows for a file of a format. */
function copyFormat(
  format: PullFormat,
  { header = true, delimiter, nullText }: Pick<PullOptions, "header" | "delimiter" | "nullText">,
): CopyFormat {
  if (format === "csv") return { format, header, delimiter, nullText };
  if (format === "tsv") return { format: "text", header, delimiter, nullText };
  return { format: format === "ndjson" ? "json" : "binary" };
}

/** Writes the rows to a sink, and counts them. */
type WriteRows = (chunks: AsyncIterable<Chunk>, sink: Sink | undefined) => Promise<void>;

class Pull {
  readonly #plan: TargetPlan;
  /** How the server writes the rows. */
  #format: CopyFormat;
  readonly #options: PullOptions;
  readonly #sinks: Sinks;
  #signal: AbortSignal | undefined;
  readonly #started = performance.now();
  #source: CopySource | undefined;
  /** The number of rows that have arrived. */
  #received = 0;
  #bytes = 0;
  /** The error that the caller's function or stream threw. It is thrown as it is. */
  #userError: { error: unknown } | undefined;

  constructor(plan: TargetPlan, options: PullOptions, sinks: Sinks, signal: AbortSignal | undefined) {
    this.#plan = plan;
    this.#format = copyFormat(plan.format, options);
    this.#options = options;
    this.#sinks = sinks;
    this.#signal = signal;
  }

  async run(find: FindSession, what: string | Fragment): Promise<PullResult> {
    const session = await until(find(), this.#signal);
    const running = () => this.#run(find, session, what);
    return await (isTraced() ? traced(operationOf(what, session), running) : running());
  }

  async #run(find: FindSession, session: Session, what: string | Fragment): Promise<PullResult> {
    this.#signal = eitherSignal(this.#signal, session.signal); // a blocked target must not block the end of the transaction
    const encode = await ENCODERS[this.#plan.format]();
    await using meter = this.#meter(session);
    const write: WriteRows = (chunks, sink) => this.#write(encode, this.#counted(chunks, meter), sink);
    const inParallel = (this.#options.parallel ?? 1) > 1 || this.#sinks.severalFiles;
    const copying = inParallel
      ? this.#copyInParallel(find, session, what, write)
      : this.#copy(find, session, what, write);
    const rows = await copying;
    await until(this.#sinks.flush(), this.#signal);
    await this.#callUser(() => until(meter.complete(), this.#signal)); // `onProgress` may throw, so it comes before the commit
    await this.#sinks.commit(this.#signal);
    return new PullResult({
      rows,
      bytes: this.#bytes,
      paths: this.#sinks.paths,
      to: this.#sinks.name,
      elapsed: performance.now() - this.#started,
      origin: originOf(session),
    });
  }

  /** Removes the written bytes as far as possible, and returns the error to throw. */
  async fail(error: unknown): Promise<unknown> {
    const reason = this.#explain(error);
    await this.#sinks.abort(reason, this.#signal);
    return reason;
  }

  /** Returns the error to throw. If rows have arrived, the error says what happened to them. */
  #explain(error: unknown): unknown {
    if (this.#userError !== undefined) return this.#userError.error;
    const { signal } = this.#options;
    if (signal?.aborted && error === signal.reason) return error;
    if (!(error instanceof LakebaseError) || this.#received <= 0) return error;
    const { code, sqlstate, cause } = error;
    const arrived = `${countText(this.#received, "row")} had arrived, ${sizeText(this.#bytes)} were written`;
    return new LakebaseError(code, `${error.message}\n${arrived}; ${this.#sinks.outcome}`, { cause, sqlstate });
  }

  /** Copies on one connection, in the transaction if there is one. */
  async #copy(find: FindSession, session: Session, what: string | Fragment, write: WriteRows): Promise<number> {
    const unchecked = this.#uncheckedTable(session, what);
    const query = unchecked ?? await findSource(find, what, { signal: this.#signal });
    try {
      return await onConnection(session, query.statement, this.#signal, async (lease, signal) => {
        const source = await this.#describe(session, lease, query, signal);
        const copying = copyOut(session, lease, copyStatement(source, this.#format), signal);
        let rows = 0;
        await untilEnd(copying, () => write(withoutPosition(copying, (count) => rows = count), this.#sinks.all[0]));
        return rows;
      });
    } catch (error) {
      const isNoTable = error instanceof LakebaseError && /^42(P01|809|704)$/.test(error.sqlstate ?? "");
      // The look-up throws a better error.
      if (unchecked && isNoTable && this.#received === 0) await findSource(find, what, { signal: this.#signal });
      throw error;
    }
  }

  /**
   * Returns the table without a look-up, which would cost a round trip. A transaction needs the look-up, because a COPY
   * of a missing table would end the transaction.
   */
  #uncheckedTable(session: Session, what: string | Fragment): SourceQuery | undefined {
    const isText = this.#format.format === "csv" || this.#format.format === "text";
    const { columns, partitionBy } = this.#options;
    const isWhole = columns === undefined && partitionBy === undefined;
    return isText && isWhole && session.transaction === undefined ? uncheckedTable(what) : undefined;
  }

  /** Copies on several connections with one snapshot. */
  async #copyInParallel(
    find: FindSession,
    session: Session,
    what: string | Fragment,
    write: WriteRows,
  ): Promise<number> {
    const { copyOutParallel, parallelPlan, parallelTable, writeStreams } = await loadModule(() =>
      import("./parallel.ts")
    );
    const { all, severalFiles: streamPerConnection } = this.#sinks;
    const { parallel = 1 } = this.#options;
    const signal = this.#signal;
    const { name, table } = await parallelTable(find, what, { signal });
    const plan = async (lease: Lease, query: SourceQuery) =>
      parallelPlan(await this.#describe(session, lease, query, signal), this.#format);
    const copies = await copyOutParallel(session, { name, table, parallel, streamPerConnection, plan, signal });
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
    if (this.#format.format === "binary" || this.#format.format === "json") expectUsualStyle(source, lease);
    return this.#source = source;
  }

  /** The number of messages of a COPY that are not rows: the line with the names, or the end of the binary format. */
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

  /** Calls the caller's function or stream, whose errors are thrown unchanged. */
  async #callUser(call: () => Promise<void> | void): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (error instanceof LakebaseError) throw error;
      this.#userError ??= { error };
      throw new LakebaseError("CANCELED", "Canceled by the program's own error", { cause: error });
    }
  }
}

/** Waits for the end of the COPY, even if its reader stops early, because only then is the connection free. */
async function untilEnd(copying: AsyncGenerator<Chunk, unknown, void>, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } finally {
    await copying.return(undefined).catch(() => {}); // it fails with the same error as the work
  }
}

/** Removes the position from errors, because it counts in the text of the COPY, not in the user's statement. */
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

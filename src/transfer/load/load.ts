import { LakebaseError, optionName, traceFrom } from "../../core/errors.ts";
import { countText } from "../../core/text.ts";
import { visible } from "../../draw/escape.ts";
import { type Bundle, DRAW, SelfDrawn } from "../../draw/notebook.ts";
import { originText, renderCommand, type ResultOrigin } from "../../draw/table.ts";
import { quoteName } from "../../core/sql_text.ts";
import { isTraced, traced } from "../../core/trace.ts";
import { type Fragment, textStatement } from "../../sql/fragment.ts";
import { type FindSession, onConnection, run } from "../../sql/run.ts";
import { originOf, type Session } from "../../sql/session.ts";
import { cleanUpLimit, stoppable, until } from "../../sql/stop.ts";
import { transact } from "../../sql/transaction.ts";
import { copyIn } from "../copy/copy_in.ts";
import { type Meter, startMeter } from "../progress.ts";
import { Stores } from "../stores.ts";
import type { DialectGuess } from "./dialect.ts";
import {
  copyInto,
  type CopyRun,
  copyRuns,
  CountedBytes,
  type FailedCopy,
  type FileCopy,
  type Incoming,
  rowError,
} from "./incoming.ts";
import { checkLoadOptions, type LoadOptions } from "./options.ts";
import { openSource } from "./source.ts";
import { copyTarget, createTable, expectLoadable, findTable, type LoadTable, tableName } from "./table.ts";

/** The facts that a {@linkcode LoadResult} reports. */
type LoadFacts = Pick<LoadResult, "table" | "rows" | "bytes" | "elapsed" | "created" | "files" | "guess"> & {
  origin: ResultOrigin;
};

/**
 * The result of a load, which is displayed as one line.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const loaded = await db.load("zones", [{ id: 1, name: "Harlem" }], { create: true });
 * assert.deepEqual([loaded.table, loaded.rows, loaded.created], ["public.zones", 1, true]);
 * assert.match(String(loaded), /^1 row into the new table public.zones, /);
 * ```
 */
export class LoadResult extends SelfDrawn {
  /** The table's name with its schema, in SQL: `public.trips`. */
  readonly table: string;
  /** The number of rows that were loaded. */
  readonly rows: number;
  /** The number of bytes that were sent to the server. */
  readonly bytes: number;
  /** The duration of the load in milliseconds. */
  readonly elapsed: number;
  /** Whether the load created the table. */
  readonly created: boolean;

  /** The number of files that were read; 0 if the rows came from a program or a stream. */
  readonly files: number;
  /** The detected parts of a CSV or TSV file's dialect and encoding; `undefined` if nothing was detected. */
  readonly guess: DialectGuess | undefined;
  readonly #origin: ResultOrigin;

  /** Created by `load`. */
  constructor({ table, rows, bytes, elapsed, created, files, guess, origin }: LoadFacts) {
    super();
    this.table = table;
    this.rows = rows;
    this.bytes = bytes;
    this.elapsed = elapsed;
    this.created = created;
    this.files = files;
    this.guess = guess;
    this.#origin = origin;
  }

  /** The result as one line. */
  override toString(): string {
    return this[DRAW]()["text/plain"]!;
  }

  /** @internal */
  override [DRAW](): Bundle {
    const guesses = Object.entries(this.guess ?? {}).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
    const found = guesses.length === 0 ? "" : ` (found: ${guesses.join(", ")})`;
    const from = this.files > 1 ? ` of ${countText(this.files, "file")}` : "";
    const tag = `${countText(this.rows, "row")}${from} into ${
      this.created ? "the new table " : ""
    }${this.table}${found}${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}

/** What a caller asks to load. */
interface LoadRequest {
  /** The table's name, as the caller wrote it. */
  name: string;
  source: unknown;
  options: LoadOptions;
  signal: AbortSignal | undefined;
}

/** The state of one load. */
interface Load extends LoadRequest {
  incoming: Incoming;
  meter: Meter;
  /** The error that the source threw, or the error about one of its rows. It already says all that a person needs. */
  sourceError?: { error: unknown };
  /** Whether all rows were sent, so that the transaction may have been committed. */
  allSent?: true;
}

type Loaded = Pick<LoadResult, "table" | "rows" | "bytes" | "created">;

/** Loads rows into a table, all or none; see `Lakebase.load`. */
export async function loadTable(
  find: FindSession,
  table: string | Fragment,
  source: unknown,
  options: LoadOptions = {},
): Promise<LoadResult> {
  try {
    return await loadAll(find, table, source, options);
  } catch (error) {
    throw traceFrom(error, loadTable);
  }
}

async function loadAll(
  find: FindSession,
  table: string | Fragment,
  source: unknown,
  options: LoadOptions,
): Promise<LoadResult> {
  const checked = checkLoadOptions(options);
  const name = tableName(table);
  const started = performance.now();
  using stop = stoppable(checked, "the load");
  const session = await until(find(), stop.signal);
  const load = () => loadWith(session, { name, source, options: checked, signal: stop.signal }, started);
  return await (isTraced() ? traced({ name: "load", table: name, server: session.server }, load) : load());
}

async function loadWith(session: Session, request: LoadRequest, started: number): Promise<LoadResult> {
  const { name, source, options, signal } = request;
  await using incoming = await open(request, new Stores(() => session.volumes, signal));
  const { onProgress, progress: show } = options;
  const { size: totalBytes, totalRows } = incoming;
  await using meter = startMeter({ action: "Loading", name, totalBytes, totalRows, onProgress, show });
  const load: Load = { ...request, incoming, meter };
  const inTransaction = session.transaction === undefined ? loadInTransaction : loadInSavepoint;
  const loaded = await inTransaction(session, load).catch((error) => {
    throw load.sourceError?.error === error ? error : failedLoad(error, load);
  });
  const { guess = {}, fileCount = typeof source === "string" || source instanceof URL ? 1 : 0 } = incoming;
  return new LoadResult({
    ...loaded,
    files: fileCount,
    elapsed: performance.now() - started,
    guess: Object.keys(guess).length === 0 ? undefined : guess,
    origin: originOf(session),
  });
}

async function loadInTransaction(session: Session, load: Load): Promise<Loaded> {
  const work = async (find: FindSession) => {
    const loaded = await loadRows(find, load);
    load.allSent = true;
    return loaded;
  };
  return await ended(transact(session, work), load.signal);
}

/** The milliseconds that a stopped load has to end cleanly. */
const STOP_LIMIT_MS = 2000;

/**
 * The outcome of a transaction whose statements watch the signal themselves. The transaction itself gets no signal: it would
 * close the connection while bytes of a COPY are on their way, and the server would notice that late.
 */
async function ended<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await until(work, signal);
  } catch (error) {
    if (!signal?.aborted) throw error;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(signal.reason), STOP_LIMIT_MS);
    return await Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
  }
}

/** Opens the source. If the load is stopped meanwhile, the source is closed once it is open. */
async function open({ source, options, signal }: LoadRequest, stores: Stores): Promise<Incoming> {
  const opening = openSource(source, options, stores, signal);
  try {
    return await until(opening, signal);
  } catch (error) {
    if (signal?.aborted) opening.then((incoming) => incoming[Symbol.asyncDispose](), () => {}); // a failed source needs no closing
    throw error;
  }
}

async function loadRows(find: FindSession, load: Load): Promise<Loaded> {
  const { name, incoming, options, meter, signal } = load;
  const stops = { signal };
  const existing = await findTable(find, name, stops);
  const created = existing === undefined && options.create === true;
  if (created) await createTable(find, name, await columnsOf(load), incoming.refuse, stops);
  const table = await expectLoadable(find, name, created ? await findTable(find, name, stops) : existing);
  const typesFrom = incoming.sampled ? "sample" as const : "file" as const;
  const typeFrom = (column: string) => created && options.types?.[column] === undefined ? typesFrom : undefined;
  const sent = { rows: 0, bytes: 0 };
  let mustEmpty = options.mode === "replace" && !created;
  const empty = async () => {
    if (mustEmpty) await run(find, textStatement(`TRUNCATE ${table.quoted}`), stops);
    mustEmpty = false;
  };
  for await (const copy of copyRuns(incoming.fileCopies?.(table) ?? onlyCopy(incoming, table))) {
    await empty();
    const locate = (line: number) => copy.locate(line);
    const failure = { table, columns: copy.columns, typeFrom, isText: incoming.sampled, locate };
    const { rows, bytes } = await send(find, copy, failure, load);
    sent.rows += rows;
    sent.bytes += bytes;
  }
  await empty(); // if no file has rows
  await until(meter.complete(), signal);
  return { table: table.quoted, created, ...sent };
}

async function* onlyCopy(incoming: Incoming, table: LoadTable): AsyncGenerator<FileCopy, void, void> {
  const copy = copyInto(incoming, table);
  if (copy !== undefined) yield await Promise.resolve({ name: incoming.name, copy });
}

/** The columns of a new table: those of the source, with the types of the option `types`. */
async function columnsOf({ incoming, options: { types = {} } }: Load): Promise<Map<string, string>> {
  const columns = await incoming.newColumns();
  for (const [name, type] of Object.entries(types)) {
    if (columns.has(name)) columns.set(name, type);
    else {
      throw new LakebaseError(
        "BAD_PARAMETER",
        `Cannot load ${incoming.name}: the option ${
          optionName("types")
        } has "${name}", which is not one of its columns; it has: ${[...columns.keys()].join(", ")}`,
      );
    }
  }
  return columns;
}

async function send(
  find: FindSession,
  copy: CopyRun,
  failure: FailedCopy,
  load: Load,
): Promise<{ rows: number; bytes: number }> {
  const { meter, signal } = load;
  const session = await find();
  const target = await copyTarget(find, copy.columns, failure.table, { signal });
  const columns = copy.columns.length === 0 ? "" : ` (${copy.columns.map(({ name }) => quoteName(name)).join(", ")})`;
  const text = `COPY ${target.quoted}${columns} FROM STDIN (${copy.options})`;
  const counted = new CountedBytes(copy, meter);
  try {
    const sent = await onConnection(session, textStatement(text), signal, async (lease, stopped) => {
      const { rows } = await copyIn(session, lease, text, counted.bytes(), stopped).catch((error) => {
        const aboutRow = rowError(error, { ...failure, table: { ...failure.table, name: target.name } });
        if (aboutRow !== undefined) load.sourceError = { error: aboutRow };
        throw aboutRow ?? error;
      });
      return { rows, bytes: counted.sent };
    });
    await target.moveRows();
    return sent;
  } catch (error) {
    if (counted.failure === undefined) throw error;
    load.sourceError = counted.failure;
    throw counted.failure.error;
  }
}

const SAVEPOINT = "lakebase_load";

/** Loads in the caller's own transaction. A load that fails undoes only its own changes. */
async function loadInSavepoint(session: Session, load: Load): Promise<Loaded> {
  const { signal } = load;
  const find = () => Promise.resolve(session);
  await run(find, textStatement(`SAVEPOINT ${SAVEPOINT}`), { signal });
  try {
    const loaded = await loadRows(find, load);
    await run(find, textStatement(`RELEASE SAVEPOINT ${SAVEPOINT}`), { signal });
    return loaded;
  } catch (error) {
    const undo = `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`;
    const limited = { signal: cleanUpLimit() }; // a stopped load must not wait for a silent server
    await run(find, textStatement(undo), limited).catch(() => {}); // if the connection is lost, the transaction is lost too
    throw error;
  }
}

/** The server's error for a TRUNCATE of a table that others refer to. */
const FEATURE_NOT_SUPPORTED = "0A000";
/** The server's errors for constraints that are checked at the end, such as foreign keys. */
const INTEGRITY = /^23/;

/**
 * Turns an error that is not about a single row into an error that says whether anything was loaded.
 *
 * @returns The same error if it comes from the caller or from this module.
 */
function failedLoad(error: unknown, { name, incoming, allSent }: Load): unknown {
  if (!(error instanceof LakebaseError)) return error;
  const { code, sqlstate, cause } = error;
  const start = `Cannot load ${incoming.name} into ${name}`;
  if (code === "CONNECTION_LOST") {
    const reason = visible(cause instanceof Error ? cause.message : error.message);
    const state = allSent
      ? "It is not known whether the rows were saved, because all of them were sent: check before you load them again."
      : "Nothing was loaded.";
    return new LakebaseError(code, `${start}: the connection is lost: ${reason}\n${state}`, { cause, sqlstate });
  }
  // An error of this module, such as one for a missing table, has no cause, and already says that the load can't begin.
  if (code !== "QUERY_FAILED" || sqlstate === undefined || cause === undefined) return error;
  const hint = loadHint(sqlstate, error.message, incoming.name);
  const lines = error.message.split("\n").filter((line) => hint === undefined || !line.startsWith("HINT: "));
  const hints = hint === undefined ? [] : [`HINT: ${hint}`];
  const message = [`${start}: ${lines.join("\n")}`, ...hints, "Nothing was loaded."].join("\n");
  return new LakebaseError(code, message, { cause, sqlstate });
}

function loadHint(sqlstate: string, message: string, source: string): string | undefined {
  if (sqlstate === FEATURE_NOT_SUPPORTED && message.startsWith("cannot truncate")) {
    return "rows of another table refer to it; in a transaction, empty both yourself, then load without a mode: " +
      "db.transaction(async (tx) => { await tx.sql`TRUNCATE ...`; await tx.load(...) })";
  }
  if (!INTEGRITY.test(sqlstate)) return undefined;
  return `the server checks this after the last row, and does not say which row has the value: look for the value in ${source}`;
}

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
import { cleanUpLimit, type Stoppable, stoppable, until } from "../../sql/stop.ts";
import { transact } from "../../sql/transaction.ts";
import { copyIn } from "../copy/copy_in.ts";
import { type Meter, startMeter } from "../progress.ts";
import { Stores } from "../stores.ts";
import type { DialectGuess } from "./dialect.ts";
import {
  copyOf,
  type CopyPart,
  type CopyRun,
  copyRuns,
  CountedBytes,
  type FailedCopy,
  type Incoming,
  rowError,
} from "./incoming.ts";
import { checkLoadOptions, type LoadOptions } from "./options.ts";
import { openSource } from "./source.ts";
import { createTable, expectLoadable, findTable, type LoadTable, placeFor, tableName } from "./table.ts";

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
    const guessed = Object.entries(this.guess ?? {}).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
    const found = guessed.length === 0 ? "" : ` (found: ${guessed.join(", ")})`;
    const from = this.files > 1 ? ` of ${countText(this.files, "file")}` : "";
    const tag = `${countText(this.rows, "row")}${from} into ${
      this.created ? "the new table " : ""
    }${this.table}${found}${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}

/** The state of one load. */
interface Load {
  name: string;
  incoming: Incoming;
  options: LoadOptions;
  meter: Meter;
  signal: AbortSignal | undefined;
  /** The number of files, if the source does not say. */
  files: number;
  /** The error that the source threw, or an error about its data. */
  thrown?: { error: unknown };
  /** Whether all rows were sent, so that the transaction is committed. */
  done?: true;
}

type Loaded = Pick<LoadResult, "table" | "rows" | "bytes" | "created" | "files">;

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
  const loading = () => loadInto(session, { name, source, checked, started, stop });
  return await (isTraced() ? traced({ name: "load", table: name, server: session.server }, loading) : loading());
}

interface Loading {
  name: string;
  source: unknown;
  checked: LoadOptions;
  started: number;
  stop: Stoppable;
}

async function loadInto(session: Session, { name, source, checked, started, stop }: Loading): Promise<LoadResult> {
  const stores = new Stores(() => session.volumes, stop.signal);
  await using incoming = await open(source, checked, stores, stop.signal);
  const { onProgress, progress: show } = checked;
  const { size: totalBytes, totalRows } = incoming;
  await using meter = startMeter({ action: "Loading", name, totalBytes, totalRows, onProgress, show });
  const files = typeof source === "string" || source instanceof URL ? 1 : 0;
  const load: Load = { name, incoming, options: checked, meter, signal: stop.signal, files };
  const loaded =
    await (session.transaction === undefined ? loadInTransaction(session, load) : withSavepoint(session, load))
      .catch((error) => {
        throw load.thrown?.error === error ? error : failedLoad(error, load);
      });
  const { guess = {} } = incoming;
  const elapsed = performance.now() - started;
  return new LoadResult({
    ...loaded,
    elapsed,
    guess: Object.keys(guess).length === 0 ? undefined : guess,
    origin: originOf(session),
  });
}

async function loadInTransaction(session: Session, load: Load): Promise<Loaded> {
  const work = async (inside: FindSession) => {
    const loaded = await loadInside(inside, load);
    load.done = true;
    return loaded;
  };
  return await ended(transact(session, work), load.signal);
}

/** The time that a stopped load has to end cleanly. */
const STOP_LIMIT_MS = 2000;

/**
 * The outcome of a transaction whose statements watch the signal themselves. The transaction gets no signal: it would close
 * the connection during a COPY, with bytes still in flight, and the server would notice late.
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
async function open(
  source: unknown,
  options: LoadOptions,
  stores: Stores,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  const opening = openSource(source, options, stores, signal);
  try {
    return await until(opening, signal);
  } catch (error) {
    if (signal?.aborted) opening.then((late) => late[Symbol.asyncDispose](), () => {}); // the source was not opened
    throw error;
  }
}

async function loadInside(find: FindSession, load: Load): Promise<Loaded> {
  const { name, incoming, options, meter, signal } = load;
  const stops = { signal };
  const found = await findTable(find, name, stops);
  const created = found === undefined && options.create === true;
  if (created) await createTable(find, name, await columnsOf(load), incoming.refuse, stops);
  const table = await expectLoadable(find, name, created ? await findTable(find, name, stops) : found);
  const typesFrom = incoming.sampled ? "sample" as const : "file" as const;
  const typeFrom = (column: string) => created && options.types?.[column] === undefined ? typesFrom : undefined;
  const done = { rows: 0, bytes: 0 };
  let emptied = options.mode !== "replace" || created;
  const parts = incoming.parts?.(table) ?? onlyPart(incoming, table);
  for await (const copy of copyRuns(parts)) {
    if (!emptied) await run(find, textStatement(`TRUNCATE ${table.quoted}`), stops);
    emptied = true;
    const { columns } = copy;
    const failure = {
      table,
      columns,
      typeFrom,
      encoded: incoming.sampled,
      locate: (line: number) => copy.locate(line),
    };
    const { rows, bytes } = await send(find, copy, failure, load);
    done.rows += rows;
    done.bytes += bytes;
  }
  if (!emptied) await run(find, textStatement(`TRUNCATE ${table.quoted}`), stops); // all files are empty
  await until(meter.complete(), signal);
  return { table: table.quoted, created, ...done, files: incoming.paths?.length ?? load.files };
}

async function* onlyPart(incoming: Incoming, table: LoadTable): AsyncGenerator<CopyPart, void, void> {
  const copy = copyOf(incoming, table);
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
  const place = await placeFor(find, copy.columns, failure.table, { signal });
  const columns = copy.columns.length === 0 ? "" : ` (${copy.columns.map(({ name }) => quoteName(name)).join(", ")})`;
  const text = `COPY ${place.quoted}${columns} FROM STDIN (${copy.options})`;
  const counted = new CountedBytes(copy, meter);
  try {
    const sent = await onConnection(session, textStatement(text), signal, async (lease, stopped) => {
      const { rows } = await copyIn(session, lease, text, counted.bytes(), stopped).catch((error) => {
        throw rowError(error, { ...failure, table: { ...failure.table, name: place.name } }) ?? error;
      });
      return { rows, bytes: counted.sent };
    });
    await place.moveOn();
    return sent;
  } catch (error) {
    if (counted.failure === undefined) throw error;
    load.thrown = counted.failure;
    throw counted.failure.error;
  }
}

const SAVEPOINT = "lakebase_load";

/** Loads in the caller's own transaction. A load that fails undoes only its own changes. */
async function withSavepoint(session: Session, load: Load): Promise<Loaded> {
  const { signal } = load;
  const find = () => Promise.resolve(session);
  await run(find, textStatement(`SAVEPOINT ${SAVEPOINT}`), { signal });
  try {
    const result = await loadInside(find, load);
    await run(find, textStatement(`RELEASE SAVEPOINT ${SAVEPOINT}`), { signal });
    return result;
  } catch (error) {
    const undo = `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`;
    const limited = { signal: cleanUpLimit() }; // a stopped load must not wait for a silent server
    await run(find, textStatement(undo), limited).catch(() => {}); // the connection is lost, and with it the transaction
    throw error;
  }
}

/** The context of a load that failed. */
interface FailedLoad {
  /** The table's name, as the caller gave it. */
  name: string;
  /** The source. */
  incoming: Pick<Incoming, "name">;
  /** Whether all rows were sent, so that the transaction may have been committed. */
  done?: true;
}

/** The server's error for a TRUNCATE of a table that others refer to. */
const FEATURE_NOT_SUPPORTED = "0A000";
/** The server's errors for constraints that are checked at the end, such as foreign keys. */
const INTEGRITY = /^23/;

/**
 * Turns an error that is not about a single row into an error that says whether anything was loaded.
 *
 * @returns The same error, if it already says so or comes from the caller.
 */
function failedLoad(error: unknown, { name, incoming, done }: FailedLoad): unknown {
  if (!(error instanceof LakebaseError) || error.message.startsWith("Cannot load")) return error;
  const { code, sqlstate, cause } = error;
  const begin = `Cannot load ${incoming.name} into ${name}`;
  if (code === "CONNECTION_LOST") {
    const reason = visible(cause instanceof Error ? cause.message : error.message);
    const state = done
      ? "Whether its rows are there is not known, since all of them were sent: look before you load them again."
      : "Nothing was loaded.";
    return new LakebaseError(code, `${begin}: the connection is lost: ${reason}\n${state}`, { cause, sqlstate });
  }
  if (code !== "QUERY_FAILED" || sqlstate === undefined) return error;
  const tip = loadTip(sqlstate, error.message, incoming.name);
  const lines = error.message.split("\n").filter((line) => tip === undefined || !line.startsWith("HINT: "));
  const hints = tip === undefined ? [] : [`HINT: ${tip}`];
  const message = [`${begin}: ${lines.join("\n")}`, ...hints, "Nothing was loaded."].join("\n");
  return new LakebaseError(code, message, { cause, sqlstate });
}

function loadTip(sqlstate: string, message: string, source: string): string | undefined {
  if (sqlstate === FEATURE_NOT_SUPPORTED && message.startsWith("cannot truncate")) {
    return "rows of another table refer to it; in a transaction, empty both yourself, then load without a mode: " +
      "db.transaction(async (tx) => { await tx.sql`TRUNCATE ...`; await tx.load(...) })";
  }
  if (!INTEGRITY.test(sqlstate)) return undefined;
  return `the server looks at this after the last row and does not say which it was: look for the value in ${source}`;
}

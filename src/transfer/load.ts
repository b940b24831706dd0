import { setImmediate } from "node:timers";
import { LakebaseError } from "../errors.ts";
import { until } from "../query/cancel.ts";
import { type Fragment, textStatement } from "../query/fragment.ts";
import { type FindSession, onConnection, run } from "../query/run.ts";
import type { Session } from "../query/session.ts";
import { stoppable } from "../query/stop.ts";
import { transact } from "../query/transaction.ts";
import { copyIn } from "./copy_in.ts";
import type { Incoming, IncomingCopy } from "./incoming.ts";
import { loadError, type LoadFailure } from "./load_error.ts";
import { checkLoadOptions, type LoadOptions } from "./load_options.ts";
import { LoadResult } from "./load_result.ts";
import { openSource } from "./load_source.ts";
import { createTable, expectLoadable, findTable, quoteName, tableName } from "./load_table.ts";
import { type Meter, startMeter } from "./progress.ts";

/** One load, from its options to its end. */
interface Load {
  name: string;
  incoming: Incoming;
  options: LoadOptions;
  meter: Meter;
  signal: AbortSignal | undefined;
}

type Loaded = Pick<LoadResult, "table" | "rows" | "bytes" | "created">;

/** Loads rows into a table, all or none; see `Lakebase.load`. */
export async function loadTable(
  find: FindSession,
  table: string | Fragment,
  source: unknown,
  options: LoadOptions = {},
): Promise<LoadResult> {
  const checked = checkLoadOptions(options);
  const name = tableName(table);
  const started = performance.now();
  using stop = stoppable({ signal: checked.signal, timeout: checked.timeout });
  const session = await until(find(), stop.signal);
  await using incoming = await open(source, checked, stop.signal);
  const { onProgress, progress: show } = checked;
  await using meter = startMeter({ action: "Loading", name, totalBytes: incoming.size, onProgress, show });
  const load = { name, incoming, options: checked, meter, signal: stop.signal };
  const work = (inside: FindSession) => loadInside(inside, load);
  const loaded = session.transaction === undefined
    ? await ended(transact(session, work), stop.signal)
    : await withSavepoint(session, stop.signal, work);
  return new LoadResult({ ...loaded, elapsed: performance.now() - started });
}

/** How long a load that was stopped has to end in order. */
const STOP_LIMIT_MS = 2000;

/**
 * The outcome of a transaction whose statements heed the signal by themselves. It is not told to stop: it would close the
 * connection under a COPY, with bytes still on their way, and the server would hear of it late.
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

/** A source that is still being opened when it is stopped is closed as soon as it is there. */
async function open(source: unknown, options: LoadOptions, signal: AbortSignal | undefined): Promise<Incoming> {
  const opening = openSource(source, options, signal);
  try {
    return await until(opening, signal);
  } catch (error) {
    if (signal?.aborted) opening.then((late) => late[Symbol.asyncDispose](), () => {});
    throw error;
  }
}

async function loadInside(find: FindSession, load: Load): Promise<Loaded> {
  const { name, incoming, options, meter, signal } = load;
  const stops = { signal };
  const found = await findTable(find, name, stops);
  const created = found === undefined && options.create === true;
  if (created) await createTable(find, name, columnsOf(load), stops);
  const table = await expectLoadable(find, name, created ? await findTable(find, name, stops) : found);
  const copy = incoming.copy(table);
  if (options.mode === "replace" && !created) await run(find, textStatement(`TRUNCATE ${table.quoted}`), stops);
  const failure = { name: incoming.name, table, inferred: created };
  const done = copy === undefined ? { rows: 0, bytes: 0 } : await send(find, copy, { ...failure, copy }, load);
  meter.complete();
  return { table: table.quoted, created, ...done };
}

/** The columns of a new table: those of the source, with the types that a person gave. */
function columnsOf({ incoming, options: { types = {} } }: Load): Map<string, string> {
  const columns = incoming.newColumns();
  for (const [name, type] of Object.entries(types)) {
    if (columns.has(name)) columns.set(name, type);
    else {
      throw new LakebaseError(
        "BAD_PARAMETER",
        `Cannot load ${incoming.name}: the option types has "${name}", which is no column of it; it has: ${
          [...columns.keys()].join(", ")
        }`,
      );
    }
  }
  return columns;
}

async function send(
  find: FindSession,
  copy: IncomingCopy,
  failure: LoadFailure,
  { meter, signal }: Load,
): Promise<{ rows: number; bytes: number }> {
  const session = await find();
  const columns = copy.columns.length === 0 ? "" : ` (${copy.columns.map(({ name }) => quoteName(name)).join(", ")})`;
  const text = `COPY ${failure.table.quoted}${columns} FROM STDIN (${copy.options})`;
  const counted = new Counted(copy, meter);
  try {
    return await onConnection(session, textStatement(text), signal, async (lease, stopped) => {
      const { rows } = await copyIn(session, lease, text, counted.bytes(), stopped).catch((error) => {
        throw loadError(error, failure) ?? error;
      });
      return { rows, bytes: counted.sent };
    });
  } catch (error) {
    throw counted.failure === undefined ? error : counted.failure.error;
  }
}

/** How long a load may keep the event loop to itself. */
const BREATH_MS = 10;

/** Bytes on their way, counted; what their source throws is kept as it is. */
class Counted {
  sent = 0;
  failure: { error: unknown } | undefined;
  readonly #copy: IncomingCopy;
  readonly #meter: Meter;
  #rows = 0;
  #breathed = performance.now();

  constructor(copy: IncomingCopy, meter: Meter) {
    this.#copy = copy;
    this.#meter = meter;
  }

  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of this.#copy.bytes) {
        yield chunk;
        this.#count(chunk.length);
        await this.#breathe();
      }
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }

  /**
   * A socket that takes everything at once, and a source that waits for nothing, would never let a timer, a signal or the
   * server's answer have its turn.
   */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathed < BREATH_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#breathed = performance.now();
  }

  #count(bytes: number): void {
    const rows = this.#copy.rows?.() ?? 0;
    this.sent += bytes;
    this.#meter.add(rows - this.#rows, bytes);
    this.#rows = rows;
  }
}

const SAVEPOINT = "lakebase_load";

/** In a transaction of the caller's own a load that fails takes back what it did, and no more. */
async function withSavepoint<T>(
  session: Session,
  signal: AbortSignal | undefined,
  work: (find: FindSession) => Promise<T>,
): Promise<T> {
  const find = () => Promise.resolve(session);
  await run(find, textStatement(`SAVEPOINT ${SAVEPOINT}`), { signal });
  try {
    const result = await work(find);
    await run(find, textStatement(`RELEASE SAVEPOINT ${SAVEPOINT}`), { signal });
    return result;
  } catch (error) {
    const undo = `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`;
    await run(find, textStatement(undo)).catch(() => {}); // the connection is gone, and all that was done with it
    throw error;
  }
}

import { LakebaseError, optionName, traceFrom } from "../../core/errors.ts";
import { quoteName } from "../../core/sql_text.ts";
import { isTraced, traced } from "../../core/trace.ts";
import { type Fragment, textStatement } from "../../sql/fragment.ts";
import { type FindSession, onConnection, run } from "../../sql/run.ts";
import { originOf, type Session } from "../../sql/session.ts";
import { cleanUpLimit, type StopOptions, type Stoppable, stoppable, until } from "../../sql/stop.ts";
import { transact } from "../../sql/transaction.ts";
import { copyIn } from "../copy/copy_in.ts";
import { type Meter, startMeter } from "../progress.ts";
import { Stores } from "../stores.ts";
import { copyOf, type CopyPart, type CopyRun, copyRuns, CountedBytes, type Incoming } from "./incoming.ts";
import { badLoadOption, checkLoadOptions, type LoadOptions } from "./options.ts";
import { type FailedCopy, failedLoad, LoadResult, rowError } from "./result.ts";
import { openSource } from "./source.ts";
import { createTable, expectLoadable, findTable, type LoadTable, tableName } from "./table.ts";

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
  const place = await placeFor(find, copy, failure.table, { signal });
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

/**
 * The table that COPY writes to. COPY takes no values for generated columns, and a file's bytes are sent unchanged. So a file
 * with such columns goes into a temporary table first, and from there without those columns into the table.
 */
async function placeFor(
  find: FindSession,
  { columns }: CopyRun,
  table: LoadTable,
  stops: StopOptions,
): Promise<{ name: string; quoted: string; moveOn: () => Promise<void> }> {
  const own = columns.filter(({ generated }) => !generated).map(({ name }) => quoteName(name)).join(", ");
  if (columns.every(({ generated }) => !generated)) {
    return { name: table.name, quoted: table.quoted, moveOn: () => Promise.resolve() };
  }
  if (own === "") throw badLoadOption(`${table.quoted} computes every column that the file has`);
  const all = columns.map(({ name }) => quoteName(name)).join(", ");
  const name = `lakebase_load_${crypto.randomUUID().slice(0, 8)}`;
  const temporary = `pg_temp.${name}`;
  const execute = async (text: string) => void await run(find, textStatement(text), stops);
  await execute(`CREATE TABLE ${temporary} AS SELECT ${all} FROM ${table.quoted} WITH NO DATA`);
  return {
    name,
    quoted: temporary,
    moveOn: async () => {
      await execute(`INSERT INTO ${table.quoted} (${own}) OVERRIDING SYSTEM VALUE SELECT ${own} FROM ${temporary}`);
      await execute(`DROP TABLE ${temporary}`);
    },
  };
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

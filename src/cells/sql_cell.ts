import { loadModule } from "../core/lazy_import.ts";
import { countOpenConnections, currentConnection, whenOpened } from "../api/connect.ts";
import { show } from "../api/display.ts";
import { Lakebase, SESSION } from "../api/lakebase.ts";
import { ENGINE, Lakehouse } from "../api/lakehouse.ts";
import { type Query, SHOWN_ROWS_OF } from "../api/query.ts";
import { makeListing, Result } from "../api/result.ts";
import type { Sql } from "../api/sql.ts";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import { announceStatement } from "../draw/notices.ts";
import { commandRows } from "../core/psql_commands.ts";
import { type Bundle, DISPLAY, holdIdle, inNotebook } from "../draw/notebook.ts";
import { drawResult, originText, renderCommand, renderTable, type TableOptions } from "../draw/table.ts";
import type { PlotOptions } from "../plot/options.ts";
import { Fragment } from "../sql/fragment.ts";
import { originOf, type Session } from "../sql/session.ts";
import { stoppable, until } from "../sql/stop.ts";
import { CatalogSender, type LakehouseCatalog } from "./completion_catalog.ts";
import { explainNotTogether, runTogether, SavedStatements } from "./statements.ts";

/** The options of a `%%sql` cell or a `%sql` line, as the kernel read them. */
export interface SqlCellOptions {
  /** The magic that the person wrote: `%%sql` or `%sql`. */
  magic: string;
  /** The use of the result: Jupyter draws it as the cell's last expression, it is shown at once, or it is a value. */
  use: "draw" | "show" | "value";
  /** The number of rows to show. */
  limit?: number;
  /** Whether to show nothing. */
  "no-display"?: true;
  /** Whether to show the plan. */
  explain?: true;
  /** The mark and the columns of a chart to show. */
  plot?: string[];
  /** The CSV or Parquet file to write all rows to. */
  csv?: string;
  parquet?: string;
  /** The name to save the statement under. */
  save?: string;
  /** The names of saved statements that this one uses as tables. */
  with?: string[];
  /** A command instead of SQL, such as `dt`, its argument, and whether a `+` follows the command. */
  command?: string;
  argument?: string;
  detailed?: true;
  /** The name of the variable that holds the connection, and a function that gives its value. */
  connection?: string;
  find?: () => unknown;
  /** The variable for the result: its name, a function that throws if it can't be assigned to, and the assignment. */
  store?: string;
  check?: () => void;
  keep?: (result: unknown) => void;
}

/** A statement: the strings around its values, and the values. */
export type SqlCellStatement = readonly [strings: readonly string[], values: readonly unknown[]];

/** The connection or transaction on which a cell runs. */
export interface SqlCellTarget extends CommandTarget {
  readonly sql: Sql;
  transaction?: <T>(work: (tx: { sql: Sql }) => Promise<T>) => Promise<T>;
}

/** The connections of the notebook. */
interface SqlCellConnections {
  /** The connection that the last connect() returned, or a new one. */
  current: () => Promise<SqlCellTarget>;
  /** The number of open connections. */
  countOpen: () => Promise<number>;
  /** The session of a connection; `undefined` for a transaction and for a lakehouse. */
  session: (target: SqlCellTarget) => Session | undefined;
  /** The catalog of a lakehouse; `undefined` for everything else. */
  lakehouse?: (target: SqlCellTarget) => LakehouseCatalog | undefined;
}

/** The function that `%%sql` cells call. */
interface SqlCells {
  (options: SqlCellOptions, ...statements: SqlCellStatement[]): Promise<unknown>;
  /** Sends the kernel the catalog of the connected database, in the background. */
  refresh(): void;
}

/** The global under which `%%sql` cells find this module, whatever the notebook calls its import. */
const SQL_CELLS = Symbol.for("lakebase.cell");

/** The global that the kernel "Deno + SQL" sets. Any other kernel would show the catalog messages to the person. */
const KERNEL = Symbol.for("lakebase.kernel");

/** Answers the `%%sql` cells of this notebook from now on. It does nothing outside of a notebook. */
export function answerSqlCells(): void {
  if (!inNotebook()) return;
  const value = makeSqlCells({
    current: currentConnection,
    countOpen: countOpenConnections,
    session: (db) => db instanceof Lakebase ? db[SESSION] : undefined,
    lakehouse: (lake) => lake instanceof Lakehouse ? lake[ENGINE] : undefined,
  });
  Object.defineProperty(globalThis, SQL_CELLS, { value, configurable: true });
  whenOpened(() => {
    if (Reflect.has(globalThis, KERNEL)) value.refresh();
  });
}

/**
 * Makes the function that `%%sql` cells call. It runs the statements before it returns something to draw, because a cell with
 * an error that is thrown while drawing seems to have succeeded.
 */
export function makeSqlCells(connections: SqlCellConnections): SqlCells {
  const catalog = new CatalogSender();
  const saved = new SavedStatements();
  let expanded = false;
  const cell = async (options: SqlCellOptions, ...statements: SqlCellStatement[]): Promise<unknown> => {
    const { use, store, keep } = options;
    checkStore(options);
    using _pause = catalog.pause();
    // The first connection shows its target, and the notice of a statement would clear that output.
    const connectsSilently = options.connection !== undefined || await connections.countOpen() > 0;
    const target = await findTarget(options, connections);
    const session = connections.session(target);
    const separate = target instanceof Lakehouse ? await splitForWarehouse(statements) : statements;
    const composed = separate.map((statement) => saved.compose(options.with ?? [], statement, target.sql));
    const work = () => run(target, options, composed, session);
    let outcome: unknown;
    if (options.command === "x") {
      expanded = isExpanded(options.argument ?? "", expanded);
      outcome = commandAnswer(`Expanded display is ${expanded ? "on" : "off"}`);
    } else outcome = await (connectsSilently && hasOnlyItsResult(options) ? withNotice(composed, work) : work());
    if (options.save !== undefined) saved.save(options.save, composed[0]!);
    if (store !== undefined) assign(store, keep!, outcome);
    if (session !== undefined) catalog.use(session, options.connection);
    const lakehouse = connections.lakehouse?.(target);
    if (lakehouse !== undefined) catalog.useLakehouse(lakehouse, options.connection);
    if (use === "value") return outcome;
    if (options["no-display"]) return undefined;
    const drawing = draw(outcome, options, expanded);
    return use === "draw" ? drawing : await show(drawing);
  };
  const refresh = () =>
    void connections.countOpen().then(async (open) => {
      if (open === 0) return;
      const session = connections.session(await connections.current());
      if (session !== undefined) catalog.use(session);
    }).catch(() => {}); // completion keeps its last catalog
  return Object.assign(cell, { refresh });
}

/**
 * Splits the text of a cell into statements. The kernel keeps statements without values in one text, and a warehouse takes
 * one statement.
 */
async function splitForWarehouse(statements: readonly SqlCellStatement[]): Promise<readonly SqlCellStatement[]> {
  const { splitStatements } = await loadModule(() => import("../lake/statement.ts")); // loaded with the lakehouse
  return statements.flatMap((statement): readonly SqlCellStatement[] => {
    const [strings, values] = statement;
    const texts = values.length > 0 ? [] : splitStatements(strings[0] ?? "");
    return texts.length < 2 ? [statement] : texts.map((text) => [[text], []]);
  });
}

/** Whether a cell has no output besides its result: a line is part of a cell, and a pull shows its progress. */
function hasOnlyItsResult({ magic, csv, parquet }: SqlCellOptions): boolean {
  return magic === "%%sql" && csv === undefined && parquet === undefined && inNotebook();
}

/** Does the work of a cell. Until it is done, the cell shows its statements and the seconds that they have taken. */
async function withNotice<T>(statements: readonly SqlCellStatement[], work: () => Promise<T>): Promise<T> {
  const end = announceStatement(statementLine(statements.map(([strings]) => strings.join("${...}")).join("; ")));
  try {
    return await work();
  } finally {
    await end();
  }
}

async function findTarget(options: SqlCellOptions, { current }: SqlCellConnections): Promise<SqlCellTarget> {
  const { connection, find } = options;
  if (connection === undefined || find === undefined) {
    using stop = stoppable();
    return await until(current(), stop.signal);
  }
  let value: unknown;
  try {
    value = await find(); // also a promise, from `const db = connect()` without await
  } catch (error) {
    if (!(error instanceof ReferenceError) && !(error instanceof TypeError)) throw error;
    throw await unknownConnection(options, "there is no such variable");
  }
  if (typeof (value as SqlCellTarget | null | undefined)?.sql === "function") return value as SqlCellTarget;
  throw unknownConnection(options, "it is not a connection");
}

function unknownConnection({ magic, connection }: SqlCellOptions, state: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot run ${magic} on ${connection}: ${state}. Make one with const ${
      connection?.includes(".") ? "db" : connection
    } = await connect(...), ` +
      `or leave ${connection} out to use the current connection`,
  );
}

/** Checks the variable before a statement runs, since the statement can't run again for its result. */
function checkStore({ magic, store, check }: SqlCellOptions): void {
  try {
    check?.();
  } catch (error) {
    if (!(error instanceof TypeError)) return; // the variable is not declared yet
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run ${magic}: its result can't be stored as ${store}, which is a const; take another name`,
      { cause: error },
    );
  }
}

function assign(name: string, keep: (result: unknown) => void, result: unknown): void {
  try {
    keep(result);
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    Reflect.set(globalThis, name, result); // a `var` in a cell does the same
  }
}

async function run(
  target: SqlCellTarget,
  options: SqlCellOptions,
  statements: SqlCellStatement[],
  session: Session | undefined,
): Promise<unknown> {
  const { magic, use, store, limit, explain } = options;
  if (options.command !== undefined) return await answerCommand(target, options, session);
  if (options.plot !== undefined && explain) {
    throw new LakebaseError("BAD_PARAMETER", `Cannot run ${magic}: --plot and --explain can't be used together`);
  }
  const takesAllRows = use === "value" || store !== undefined || options["no-display"] === true;
  const runAll = async ({ sql }: { sql: Sql }) => {
    // One at a time: a query that waits behind one that fails would count as never run.
    const make = ([strings, values]: SqlCellStatement): Query => sql`${new Fragment(strings, values)}`;
    for (const statement of statements.slice(0, -1)) await make(statement);
    const query = make(statements.at(-1)!);
    if (explain) return await query.explain();
    for (const format of ["csv", "parquet"] as const) {
      const file = options[format];
      if (file !== undefined) return await query.pull(file, { format });
    }
    if (options.plot !== undefined) return await query.plot(chartOf(options.plot));
    return takesAllRows ? await query : await query[SHOWN_ROWS_OF](limit);
  };
  try {
    return await runTogether(target, statements, session, runAll);
  } catch (error) {
    throw session === undefined ? error : explainNotTogether(error);
  }
}

/** The options of a chart from the words of `--plot`. The columns determine the options that are left out. */
function chartOf([mark, x, y]: string[]): PlotOptions {
  return Object.fromEntries(Object.entries({ mark, x, y }).filter(([, value]) => value !== undefined));
}

/** An object that draws the outcome. */
function draw(outcome: unknown, { store, limit, plot }: SqlCellOptions, expanded: boolean): unknown {
  if (plot !== undefined) return outcome;
  const result = Object.getPrototypeOf(outcome) === Result.prototype ? outcome as Result : undefined;
  if (store !== undefined && limit === undefined) {
    return { [DISPLAY]: () => holdIdle(storedLine(store, result)) };
  }
  return result === undefined ? outcome : { [DISPLAY]: () => holdIdle(drawResult(result, limit, expanded)) };
}

function storedLine(store: string, result: Result | undefined): Bundle {
  if (result === undefined) return { ...renderCommand({ tag: `${store} is set` }) };
  const { fields, length, tag, elapsed, notices } = result;
  const rows = length === 1 ? "1 row" : `${length.toLocaleString("en-US")} rows`;
  return {
    ...renderCommand({ tag: `${store}: ${fields.length > 0 ? rows : tag}${originText(result)}`, elapsed, notices }),
  };
}

/** The methods that answer commands. A transaction has none of them. */
interface CommandTarget {
  tables?: (pattern?: string) => PromiseLike<unknown>;
  schemas?: () => PromiseLike<unknown>;
  describe?: (table: string) => PromiseLike<unknown>;
}

/** The outcome of a command whose answer is a text. */
function commandAnswer(text: string): unknown {
  return { [DISPLAY]: () => holdIdle({ ...renderCommand({ tag: text }) }) };
}

function commandTable(): TableOptions {
  return {
    columns: [{ name: "command", type: "text" }, { name: "answer", type: "text" }],
    rows: commandRows(),
    footer: "",
  };
}

/** Whether results are drawn expanded after `\x`, which toggles if it has no argument. */
function isExpanded(argument: string, before: boolean): boolean {
  if (argument === "") return !before;
  if (/^(?:on|off)$/i.test(argument)) return argument.toLowerCase() === "on";
  throw new LakebaseError("BAD_PARAMETER", `Cannot run \\x ${argument}: it takes on or off, or nothing to toggle`);
}

/**
 * Answers psql's commands except `\x`, whose state belongs to the function that answers the cells.
 *
 * @param target The connection.
 * @param session The session of the connection; `undefined` for a transaction and for a lakehouse.
 * @returns An object that draws itself.
 */
async function answerCommand(
  target: CommandTarget,
  { command = "", argument = "", detailed }: SqlCellOptions,
  session: Session | undefined,
): Promise<unknown> {
  if (command === "?") return { [DISPLAY]: () => holdIdle({ ...renderTable(commandTable()) }) };
  if (command === "timing") return commandAnswer("Timing is always on: each result shows its time");
  const { tables, schemas, describe } = target;
  if (tables === undefined || schemas === undefined || describe === undefined) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run \\${command}: it needs a connection, and this is a transaction`,
    );
  }
  if (command === "conninfo") return target;
  const { isListCommand, listObjects } = await loadModule(() => import("../explore/listings.ts")); // loaded with the first command
  if (isListCommand(command)) {
    if (session !== undefined) {
      return makeListing(await listObjects(() => session, command, argument, detailed === true), originOf(session));
    }
    throw new LakebaseError("BAD_PARAMETER", `Cannot run \\${command}: it needs a Postgres database, not a lakehouse`);
  }
  if (command === "dn") return await schemas.call(target);
  const isPattern = /[*?]/.test(argument.replace(/"[^"]*"/g, ""));
  if (command === "d" && argument !== "" && !isPattern) {
    if (!detailed || session === undefined) return await describe.call(target, argument);
    const { describeInDetail } = await loadModule(() => import("../explore/describe.ts"));
    return makeListing(await describeInDetail(() => session, argument), originOf(session));
  }
  return await tables.call(target, argument === "" ? undefined : argument);
}

import { countOpenConnections, currentConnection, whenOpened } from "../api/connect.ts";
import { Lakebase, SESSION } from "../api/lakebase.ts";
import { type Query, SHOWN_ROWS_OF } from "../api/query.ts";
import { show } from "../api/show.ts";
import type { Sql } from "../api/sql.ts";
import { LakebaseError } from "../core/errors.ts";
import { type Bundle, DISPLAY, holdIdle, inNotebook } from "../draw/notebook.ts";
import { drawResult, originText } from "../draw/result.ts";
import { renderCommand } from "../draw/table.ts";
import type { PlotOptions } from "../plot/options.ts";
import { Fragment } from "../sql/fragment.ts";
import { Result } from "../api/result.ts";
import type { Session } from "../sql/session.ts";
import { stoppable, until } from "../sql/stop.ts";
import { CatalogueSender } from "./completion_catalog.ts";
import { notTogether, together } from "./statements.ts";

/** What a `%%sql` cell or a `%sql` line says, as the kernel read it. */
export interface SqlCellOptions {
  /** As the person called it. */
  magic: string;
  /** Whether it is drawn by the cell's last expression, drawn where it stands, or a value. */
  use: "draw" | "show" | "value";
  /** Rows to show. */
  limit?: number;
  /** Shows nothing. */
  "no-display"?: true;
  /** Asks for the plan. */
  explain?: true;
  /** Asks for a chart: its mark, and what is along its axes. */
  plot?: string[];
  /** A command in place of SQL, such as `dt`, and what stands behind it. */
  command?: string;
  argument?: string;
  /** The variable that holds the connection, and its value. */
  connection?: string;
  find?: () => unknown;
  /** The variable for the result; whether it can be assigned to, and the assignment. */
  store?: string;
  check?: () => void;
  keep?: (result: unknown) => void;
}

/** A statement: its text around its values, and these. */
export type SqlCellStatement = readonly [strings: readonly string[], values: readonly unknown[]];

/** What a cell runs on: a connection or a transaction. */
export interface SqlCellTarget extends CommandTarget {
  readonly sql: Sql;
  transaction?: <T>(work: (tx: { sql: Sql }) => Promise<T>) => Promise<T>;
}

/** The connections of the notebook. */
export interface SqlCellConnections {
  /** The one that connect() was last called for, or a new one. */
  newest: () => Promise<SqlCellTarget>;
  /** How many are open. */
  open: () => Promise<number>;
  /** Where a connection's queries run; `undefined` for a transaction. */
  session: (target: SqlCellTarget) => Session | undefined;
}

/** What a `%%sql` cell calls. */
export interface SqlCells {
  (options: SqlCellOptions, ...statements: SqlCellStatement[]): Promise<unknown>;
  /** Tells the kernel what the database has, in the background, where one is connected. */
  refresh(): void;
}

/** Where the kernel's `%%sql` cells find the client that the notebook has imported, by whatever name. */
const HOOK = Symbol.for("lakebase.cell");

/** The kernel that has these cells leaves this in the global scope; Deno's own would show what is meant for it. */
const KERNEL = Symbol.for("lakebase.kernel");

/** Answers the `%%sql` cells of this notebook from now on; does nothing outside of a notebook. */
export function answerSqlCells(): void {
  if (!inNotebook()) return;
  const value = makeSqlCells({
    newest: currentConnection,
    open: countOpenConnections,
    session: (db) => db instanceof Lakebase ? db[SESSION] : undefined,
  });
  Object.defineProperty(globalThis, HOOK, { value, configurable: true });
  whenOpened(() => {
    if (Reflect.has(globalThis, KERNEL)) value.refresh();
  });
}

/**
 * Makes the function that a `%%sql` cell calls. It rejects with the cell's error, since one that a drawing throws leaves a
 * cell that seems to have succeeded.
 */
export function makeSqlCells(connections: SqlCellConnections): SqlCells {
  const catalogue = new CatalogueSender();
  const cell = async (options: SqlCellOptions, ...statements: SqlCellStatement[]): Promise<unknown> => {
    const { use, store, keep } = options;
    checkStore(options);
    using _pause = catalogue.pause();
    const target = await findTarget(options, connections);
    const session = connections.session(target);
    const outcome = await run(target, options, statements, session);
    if (store !== undefined) assign(store, keep!, outcome);
    if (session !== undefined) catalogue.heed(session, options.connection);
    if (use === "value") return outcome;
    if (options["no-display"]) return undefined;
    const drawing = draw(outcome, options);
    return use === "draw" ? drawing : await show(drawing);
  };
  const refresh = () =>
    void connections.open().then(async (open) => {
      if (open === 0) return;
      const session = connections.session(await connections.newest());
      if (session !== undefined) catalogue.heed(session);
    }).catch(() => {});
  return Object.assign(cell, { refresh });
}

async function findTarget(options: SqlCellOptions, { newest }: SqlCellConnections): Promise<SqlCellTarget> {
  const { connection, find } = options;
  if (connection === undefined || find === undefined) {
    using stop = stoppable();
    return await until(newest(), stop.signal);
  }
  let value: unknown;
  try {
    value = await find(); // `const db = connect()` without an await is as good
  } catch (error) {
    if (!(error instanceof ReferenceError) && !(error instanceof TypeError)) throw error;
    throw await unknownConnection(options, "there is no such variable");
  }
  if (typeof (value as SqlCellTarget | null | undefined)?.sql === "function") return value as SqlCellTarget;
  throw unknownConnection(options, "it is no connection");
}

function unknownConnection({ magic, connection }: SqlCellOptions, state: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot run ${magic} on ${connection}: ${state}. Make one with const ${
      connection?.includes(".") ? "db" : connection
    } = await connect(...), ` +
      `or leave ${connection} out to use the connection that was opened last`,
  );
}

/** Before anything runs: a statement that has run can't be run again for its result. */
function checkStore({ magic, store, check }: SqlCellOptions): void {
  try {
    check?.();
  } catch (error) {
    if (!(error instanceof TypeError)) return; // not declared yet
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
    Reflect.set(globalThis, name, result); // as `var` in a cell does
  }
}

async function run(
  target: SqlCellTarget,
  options: SqlCellOptions,
  statements: SqlCellStatement[],
  session: Session | undefined,
): Promise<unknown> {
  const { magic, use, store, limit, command, argument = "", explain } = options;
  if (command !== undefined) return await lookUpCommand(target, command, argument);
  if (options.plot !== undefined && explain) {
    throw new LakebaseError("BAD_PARAMETER", `Cannot run ${magic}: it is --plot or --explain`);
  }
  const whole = use === "value" || store !== undefined || options["no-display"] === true;
  const last = async ({ sql }: { sql: Sql }) => {
    const queries = statements.map(([strings, values]) => sql`${new Fragment(strings, values)}`);
    for (const query of queries.slice(0, -1)) await query;
    const query: Query = queries.at(-1)!;
    if (explain) return await query.explain();
    if (options.plot !== undefined) return await query.plot(chartOf(options.plot));
    return whole ? await query : await query[SHOWN_ROWS_OF](limit);
  };
  try {
    return await together(target, statements, session, last);
  } catch (error) {
    throw session === undefined ? error : notTogether(error);
  }
}

/** What is not said is chosen by the columns. */
function chartOf([mark, x, y]: string[]): PlotOptions {
  return Object.fromEntries(Object.entries({ mark, x, y }).filter(([, value]) => value !== undefined));
}

/** What is left to draw, of what is known already. */
function draw(outcome: unknown, { store, limit, plot }: SqlCellOptions): unknown {
  if (plot !== undefined) return outcome;
  const result = Object.getPrototypeOf(outcome) === Result.prototype ? outcome as Result : undefined;
  if (store !== undefined && limit === undefined) {
    return { [DISPLAY]: () => holdIdle(storedLine(store, result)) };
  }
  return result === undefined ? outcome : { [DISPLAY]: () => holdIdle(drawResult(result, limit)) };
}

function storedLine(store: string, result: Result | undefined): Bundle {
  if (result === undefined) return { ...renderCommand({ tag: `${store} is set` }) };
  const { fields, length, tag, elapsed, notices } = result;
  const rows = length === 1 ? "1 row" : `${length.toLocaleString("en-US")} rows`;
  return {
    ...renderCommand({ tag: `${store}: ${fields.length > 0 ? rows : tag}${originText(result)}`, elapsed, notices }),
  };
}

/** What commands are answered from; a transaction has none of it. */
export interface CommandTarget {
  tables?: (pattern?: string) => PromiseLike<unknown>;
  schemas?: () => PromiseLike<unknown>;
  describe?: (table: string) => PromiseLike<unknown>;
}

/**
 * Answers what psql's users have in their fingers.
 *
 * @param target Where.
 * @param command `d`, `dt`, `dn` or `conninfo`.
 * @param argument A table's name, or a pattern.
 * @returns What draws itself.
 */
export async function lookUpCommand(target: CommandTarget, command: string, argument: string): Promise<unknown> {
  const { tables, schemas, describe } = target;
  if (tables === undefined || schemas === undefined || describe === undefined) {
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run \\${command}: it needs a connection, and this is a transaction`,
    );
  }
  if (command === "conninfo") return target;
  if (command === "dn") return await schemas.call(target);
  const isPattern = /[*?]/.test(argument.replace(/"[^"]*"/g, ""));
  if (command === "d" && argument !== "" && !isPattern) return await describe.call(target, argument);
  return await tables.call(target, argument === "" ? undefined : argument);
}

import { LakebaseError } from "../core/errors.ts";
import { withoutEnd } from "../core/sql_text.ts";
import { compile, Fragment } from "../sql/fragment.ts";
import type { WireValue } from "../sql/parameter.ts";
import { type Field, OUTCOME } from "../sql/result.ts";
import { type FindSession, run } from "../sql/run.ts";
import type { Session } from "../sql/session.ts";
import type { StopOptions } from "../sql/stop.ts";
import { transact } from "../sql/transaction.ts";
import { nameOf, possibleNames } from "./names.ts";
import { expectTable, KIND, NAMED_RELATION, queryCatalog, type Relation } from "./relation.ts";

/** A table or a query to profile. */
export interface Source {
  /** The SQL: a table's quoted name, or a query. */
  text: string;
  /** Whether the SQL is a query. */
  isQuery: boolean;
  /** The values of the query's parameters. */
  values: WireValue[];
  /** The indexes of the values that are empty arrays. */
  emptyArrays?: number[];
  /** Whether `TABLESAMPLE` works on it. */
  samples: boolean;
}

interface NamedRelation extends Relation {
  name: string;
}

const NAME = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, ${KIND} AS kind
  FROM ${NAMED_RELATION} JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace`;

/**
 * Turns a table's name or a query into a source.
 *
 * @throws {LakebaseError} `QUERY_FAILED` if there is no such table; `BAD_PARAMETER` for any other value.
 */
export async function sourceOf(
  find: FindSession,
  tableOrQuery: string | Fragment,
  options: StopOptions,
): Promise<Source> {
  if (typeof tableOrQuery !== "string" && !(tableOrQuery instanceof Fragment)) throw notASource(typeof tableOrQuery);
  const name = typeof tableOrQuery === "string" ? tableOrQuery : nameOf(tableOrQuery);
  if (name === undefined) return querySource(tableOrQuery as Fragment);
  if (/^\s*(select|with|values|table)\s/i.test(name)) throw notASource("a text that is a query");
  const [row] = await queryCatalog<NamedRelation>(find, NAME, [possibleNames(name)], options);
  const relation = await expectTable(find, "profile", name, row);
  const samples = ["table", "partitioned table", "materialized view"].includes(relation.kind);
  return { text: relation.name, isQuery: false, values: [], samples };
}

/** The parentheses around a source after FROM. The closing one has its own line, because a query may end in a comment. */
export function parentheses({ isQuery }: Source): readonly [open: string, close: string] {
  return isQuery ? ["(", "\n)"] : ["", ""];
}

/** Asks the server for the columns of a source, without reading its rows. */
export async function columnsOf(find: FindSession, source: Source, { signal }: StopOptions): Promise<readonly Field[]> {
  const [open, close] = parentheses(source);
  const prefix = `SELECT * FROM ${open}`;
  const statement = { ...source, prefix, text: `${source.text}${close} AS s LIMIT 0` };
  return (await run(find, statement, { signal, single: true }))[OUTCOME].fields;
}

/** The number of rows as the planner estimates it. It knows a table's current size, so no analyze is needed. */
export async function plannedRows(find: FindSession, from: string): Promise<number> {
  type Explained = { "QUERY PLAN": { Plan: { "Plan Rows": number } }[] };
  const [plan] = await queryCatalog<Explained>(find, `EXPLAIN (FORMAT JSON) SELECT FROM ${from}`);
  return plan!["QUERY PLAN"][0]!.Plan["Plan Rows"];
}

/**
 * The number of rows that the server's planner expects.
 *
 * @param session If another connection of its pool is free, the estimate is made there, without the changes of an open
 * transaction.
 * @param text A statement without parameters.
 * @returns `undefined` if no estimate can be made at once. It never throws.
 */
export async function estimateRows(session: Session, text: string): Promise<number | undefined> {
  try {
    const [row] = await session.queryIfFree(`EXPLAIN (FORMAT JSON) ${text}`, []);
    return rowsOfPlan(row?.["QUERY PLAN"]);
  } catch {
    return undefined; // the transfer itself reports what is wrong with the statement
  }
}

/** The number of rows of a plan, which is JSON as text, or parsed. */
function rowsOfPlan(explained: unknown): number | undefined {
  const plans = (typeof explained === "string" ? JSON.parse(explained) : explained) as
    | { Plan?: { "Plan Rows"?: unknown } }[]
    | undefined;
  const rows = plans?.[0]?.Plan?.["Plan Rows"];
  return typeof rows === "number" && rows >= 0 ? rows : undefined;
}

/**
 * Runs statements in a read-only transaction, in which they see one state of the database. If a transaction is open, they run
 * in it.
 *
 * @param settings Settings of the server that apply to these statements only.
 */
export async function readOnly<T>(
  session: Session,
  { signal }: StopOptions,
  work: (tx: FindSession) => Promise<T>,
  settings: Readonly<Record<string, string>> = {},
): Promise<T> {
  const isolation = session.transaction === undefined ? { isolation: "repeatable read" as const } : {};
  return await transact(session, async (tx) => {
    if (Object.keys(settings).length > 0) await setLocally(tx, settings);
    return await work(tx);
  }, { ...isolation, readOnly: true, ...(signal === undefined ? {} : { signal }) });
}

/** Sets settings of the server until the end of a transaction. */
export async function setLocally(tx: FindSession, settings: Readonly<Record<string, string>>): Promise<void> {
  await queryCatalog(tx, SETTINGS, [JSON.stringify(settings)]);
}

const SETTINGS = `SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.json_each_text($1::pg_catalog.json)`;

/**
 * SQL for the text of any value, as its type's output function writes it; NULL for NULL. It avoids a cast, because the
 * owner of a type can define the cast; and `IS NULL`, because that is also true for a row of NULLs, which has a text.
 */
export function outputSql(value: string): string {
  return `CASE WHEN pg_catalog.num_nulls(${value}) OPERATOR(pg_catalog.=) 0 THEN pg_catalog.format('%s', ${value}) END`;
}

function querySource(query: Fragment): Source {
  const statement = compile(query);
  return { ...statement, text: withoutEnd(statement.text), isQuery: true, samples: false };
}

function notASource(found: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot profile ${found}; profile() takes a table's name or a query: db.profile("trips"), db.profile(sql\`SELECT ...\`)`,
  );
}

import { nameOf, onlyReading, readings } from "../../catalog/names.ts";
import { expectTable, KIND, kindIs, look, NAMED, type Relation } from "../../catalog/relation.ts";
import {
  describedColumns,
  type DescribedField,
  Description,
  TABLE_COLUMNS,
  type TableColumns,
} from "../../catalog/table_columns.ts";
import { LakebaseError } from "../../core/errors.ts";
import { firstWord } from "../../core/sql_text.ts";
import { compile, Fragment, type Statement } from "../../sql/fragment.ts";
import { exchange, type FindSession } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import type { StopOptions } from "../../sql/stop.ts";
import { type ColumnType, columnType } from "../columns/batch.ts";
import { inlineParameters } from "./inline_parameters.ts";

/** A column of what is copied. */
export interface CopyColumn {
  /** Its name, as the server has it. */
  name: string;
  /** Its type's oid. */
  oid: number;
  /** What is in the type's brackets; -1 for nothing. */
  modifier: number;
  /** How it is kept in binary formats. */
  type: ColumnType;
  /** Whether it has no binary counterpart, so that binary formats select it as text. */
  cast: boolean;
  /** Its number in the query, from 1. */
  place: number;
}

/** What is to be copied, before the server has described it. */
export interface SourceQuery {
  /** A query. */
  statement: Statement;
  /** The quoted name, where COPY takes it for the same rows as the query's. */
  table?: string | undefined;
  /** Its columns, where they are known already: asking for them again would be a round trip. */
  columns?: DescribedField[] | undefined;
}

/** What is to be copied, as it was looked up. */
export interface FoundSource extends SourceQuery {
  /** The quoted name of a table, view or the like; `undefined` for a query. */
  relation: string | undefined;
}

/** What is to be copied. */
export interface CopySource {
  /** A query, with its parameters written in. */
  text: string;
  /** The quoted name, where COPY takes it for the same rows as the query's. */
  table: string | undefined;
  /** The columns to copy, in their order; none where all are copied and nobody asked what they are. */
  columns: CopyColumn[];
  /** How many columns the query has; 0 where nobody asked. */
  width: number;
  /** Whether it is an INSERT or the like, which can't stand after FROM. */
  writes: boolean;
  /** Whether a column's name may have changed with the parameters. */
  renamed: boolean;
}

interface RelationRow extends Relation {
  name: string;
  plain: boolean;
  columns: TableColumns;
}

/** Of a table with generated columns COPY leaves those out, and of a parent the rows of its children. */
const NAME = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, ${KIND} AS kind,
  ${kindIs("r")} AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent OPERATOR(pg_catalog.=) c.oid)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
      WHERE attrelid OPERATOR(pg_catalog.=) c.oid AND attgenerated OPERATOR(pg_catalog.<>) '') AS plain,
  ${TABLE_COLUMNS} AS columns FROM ${NAMED} JOIN pg_catalog.pg_namespace AS n
    ON n.oid OPERATOR(pg_catalog.=) c.relnamespace`;

/**
 * The table's name, as it was written; `undefined` for a query.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for what is neither.
 */
export function sourceName(what: string | Fragment): string | undefined {
  if (typeof what !== "string" && !(what instanceof Fragment)) throw neither(what === null ? "null" : typeof what);
  const name = typeof what === "string" ? what : nameOf(what);
  if (name !== undefined && /^\s*(select|with|values|table)\s/i.test(name)) throw neither("a text that is a query");
  return name;
}

/**
 * What a table's name or a query is as a statement.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a table that is not there, `BAD_PARAMETER` for what is neither.
 */
export async function findSource(
  find: FindSession,
  what: string | Fragment,
  options: StopOptions = {},
): Promise<FoundSource> {
  const name = sourceName(what);
  if (name === undefined) {
    return { statement: compile(what as Fragment), relation: undefined };
  }
  const [found] = await look<RelationRow>(find, NAME, [readings(name)], options);
  // A sequence is its one row, as SELECT has it.
  const { name: relation, plain, columns } = found?.kind === "sequence"
    ? found
    : await expectTable(find, "pull", name, found);
  return { ...wholeTable(relation, columns), table: plain ? relation : undefined, relation };
}

/**
 * A table that need not be looked up, for formats that take what the server writes: whether it is there, the COPY tells.
 *
 * @returns `undefined` for a query, and where its name can mean several things.
 */
export function uncheckedTable(what: string | Fragment): SourceQuery | undefined {
  const name = sourceName(what);
  const relation = name === undefined ? undefined : onlyReading(name);
  return relation === undefined ? undefined : wholeTable(relation, []);
}

/** All rows of a table. */
export function wholeTable(relation: string, columns: TableColumns): SourceQuery {
  return { statement: { text: `SELECT * FROM ${relation}`, values: [] }, columns: describedColumns(columns) };
}

/**
 * Asks the server about a statement, in the form in which it was written, so that what is wrong with it is shown where it is.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a statement without rows; what the driver throws.
 */
export async function describeSource(
  session: Session,
  lease: Lease,
  { statement, table, columns }: SourceQuery,
  signal: AbortSignal | undefined,
): Promise<CopySource> {
  if (columns !== undefined) return { text: statement.text, table, ...placed(columns), writes: false, renamed: false };
  const word = firstWord(statement.text);
  const description = new Description(statement.text);
  await exchange(session, lease, signal, description).catch((error) => {
    throw /cannot insert multiple commands/.test(String(error?.message)) ? several() : error;
  });
  if (description.columns.length === 0 && word !== "select" && word !== "table") throw rowless(word);
  if (!READS.has(word) && !WRITES.has(word)) throw notCopied(word);
  return {
    text: await inlineParameters(session, lease, statement, description, signal),
    table,
    ...placed(description.columns),
    writes: WRITES.has(word),
    renamed: statement.values.some((value) => typeof value === "object" && value !== null) ||
      statement.values.length > 0 && description.columns.some(({ name }) => name === "?column?"),
  };
}

function placed(fields: readonly DescribedField[]): Pick<CopySource, "columns" | "width"> {
  const columns = fields.map(({ name, dataTypeID: oid, dataTypeModifier: modifier }, index) => ({
    ...{ name, oid, modifier, place: index + 1 },
    ...columnType(oid, modifier),
  }));
  return { columns, width: columns.length };
}

const READS = new Set(["select", "values", "table", "with"]);
const WRITES = new Set(["insert", "update", "delete", "merge"]);

function neither(found: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull ${found}; pull() takes a table's name or a query: db.pull("trips", target), sql\`SELECT ...\`.pull(target)`,
  );
}

function refused(state: string, sqlstate: string): LakebaseError {
  return new LakebaseError("QUERY_FAILED", `Cannot read the rows: ${state}`, { sqlstate });
}

function several(): LakebaseError {
  return refused("these are several statements; keep the one that has the rows", "42601");
}

function rowless(word: string): LakebaseError {
  const hint = WRITES.has(word) ? "; write RETURNING ... at its end" : "";
  return refused(word === "" ? "there is no statement" : `${word.toUpperCase()} gives no rows${hint}`, "0A000");
}

function notCopied(word: string): LakebaseError {
  return refused(
    `Postgres can copy the rows of SELECT, TABLE, VALUES, WITH, and of INSERT, UPDATE, DELETE and MERGE with RETURNING, but ` +
      `not of ${word.toUpperCase()}. Run it as a query: await sql\`${word.toUpperCase()} ...\``,
    "0A000",
  );
}

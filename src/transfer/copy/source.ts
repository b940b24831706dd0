import { Buffer } from "node:buffer";
// @ts-types="npm:@types/pg@8.23.1"
import pg from "npm:pg@8.23.1";
import { nameOf, possibleNames, unambiguousName } from "../../catalog/names.ts";
import {
  describedColumns,
  expectTable,
  KIND,
  kindIs,
  NAMED_RELATION,
  queryCatalog,
  type Relation,
  TABLE_COLUMNS,
  type TableColumns,
} from "../../catalog/relation.ts";
import { LakebaseError } from "../../core/errors.ts";
import { firstWord, type SqlToken, sqlTokens } from "../../core/sql_text.ts";
import { BUILT_IN, isBuiltIn, typeName } from "../../core/type_names.ts";
import { connectionOf } from "../../net/pg_internals.ts";
import { hintFor } from "../../sql/advice.ts";
import { type CatalogQuery, catalogQueryOn, settleEmptyArrays } from "../../sql/catalog_cache.ts";
import { type DescribedField, Description } from "../../sql/execution.ts";
import { compile, Fragment, type Statement } from "../../sql/fragment.ts";
import type { WireValue } from "../../sql/parameter.ts";
import { type FindSession, runExchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { cancelable, type StopOptions } from "../../sql/stop.ts";
import { unreadableStyle } from "../../sql/types.ts";
import { type ColumnType, columnType } from "../columns/batch.ts";

/** A column to copy. */
export interface CopyColumn {
  /** The name of the column on the server. */
  name: string;
  /** The oid of its type. */
  oid: number;
  /** The type modifier; -1 for none. */
  modifier: number;
  /** The type of the column in Arrow and Parquet. */
  type: ColumnType;
  /** Whether the column is selected as text, because Arrow and Parquet have no such type. */
  cast: boolean;
  /** The number of the column in the query, from 1. */
  place: number;
}

/** The query for the rows to copy, before the server has described it. */
export interface SourceQuery {
  /** The query. */
  statement: Statement;
  /** The quoted name of a table whose COPY gives the same rows as the query. */
  table?: string | undefined;
  /** The columns, if they are known without asking the server. */
  columns?: DescribedField[] | undefined;
}

/** A query for the rows to copy, with the relation that it reads. */
interface FoundSource extends SourceQuery {
  /** The quoted name of the table or view; `undefined` for a query. */
  relation: string | undefined;
}

/** The rows to copy, with their columns. */
export interface CopySource {
  /** The query, with literals instead of parameters. */
  text: string;
  /** The quoted name of a table whose COPY gives the same rows as the query. */
  table: string | undefined;
  /** The columns to copy, in their order; empty if all columns are copied without being known. */
  columns: CopyColumn[];
  /** The number of columns of the query; 0 if they are not known. */
  width: number;
  /** Whether the statement writes, as an INSERT does. Such a statement is not allowed in FROM. */
  writes: boolean;
  /** Whether the literals may have changed the name of a column. */
  renamed: boolean;
}

interface RelationRow extends Relation {
  name: string;
  /** Whether COPY of the relation gives the same rows as SELECT. */
  isCopied: boolean;
  columns: TableColumns;
}

/** Finds a relation. COPY of a table leaves out its generated columns, and the rows of tables that inherit from it. */
const FIND_RELATION = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, ${KIND} AS kind,
  ${kindIs("r")} AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent OPERATOR(pg_catalog.=) c.oid)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute
      WHERE attrelid OPERATOR(pg_catalog.=) c.oid AND attgenerated OPERATOR(pg_catalog.<>) '') AS "isCopied",
  ${TABLE_COLUMNS} AS columns FROM ${NAMED_RELATION} JOIN pg_catalog.pg_namespace AS n
    ON n.oid OPERATOR(pg_catalog.=) c.relnamespace`;

/**
 * The name of the table, as the caller wrote it; `undefined` for a query.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that is neither a name nor a query.
 */
export function sourceName(what: string | Fragment): string | undefined {
  if (typeof what !== "string" && !(what instanceof Fragment)) throw notASource(what === null ? "null" : typeof what);
  const name = typeof what === "string" ? what : nameOf(what);
  if (name !== undefined && /^\s*(select|with|values|table)\s/i.test(name)) throw notASource("a text that is a query");
  return name;
}

/**
 * Finds the rows of a table by its name, or takes those of a query.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a table that does not exist, `BAD_PARAMETER` for a value that is neither a
 * name nor a query.
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
  const [found] = await queryCatalog<RelationRow>(find, FIND_RELATION, [possibleNames(name)], options);
  // A sequence is a relation with one row.
  const { name: relation, isCopied, columns } = found?.kind === "sequence"
    ? found
    : await expectTable(find, "pull", name, found);
  return { ...wholeTable(relation, columns), table: isCopied ? relation : undefined, relation };
}

/**
 * The source for a table whose columns are not needed. No query looks the table up: the COPY itself fails if it does not exist.
 *
 * @returns `undefined` for a query, and for a name that can have several meanings.
 */
export function uncheckedTable(what: string | Fragment): SourceQuery | undefined {
  const name = sourceName(what);
  const relation = name === undefined ? undefined : unambiguousName(name);
  return relation === undefined ? undefined : wholeTable(relation, []);
}

/** The query for all rows of a table. */
export function wholeTable(relation: string, columns: TableColumns): SourceQuery {
  return { statement: { text: `SELECT * FROM ${relation}`, values: [] }, columns: describedColumns(columns) };
}

/**
 * Makes the server describe a statement as the user wrote it, so that an error has the right position in it.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a statement without rows; or the error of the driver.
 */
export async function describeSource(
  session: Session,
  lease: Lease,
  { statement, table, columns }: SourceQuery,
  signal: AbortSignal | undefined,
): Promise<CopySource> {
  if (columns !== undefined) {
    return { text: statement.text, table, ...numberedColumns(columns), writes: false, renamed: false };
  }
  const word = firstWord(statement.text);
  const description = new Description(statement.text);
  await runExchange(session, lease, signal, description).catch((error) => {
    throw /cannot insert multiple commands/.test(String(error?.message)) ? severalStatements() : error;
  });
  if (description.columns.length === 0 && word !== "select" && word !== "table") throw givesNoRows(word);
  if (!READS.has(word) && !WRITES.has(word)) throw notCopied(word);
  return {
    text: await inlineParameters(session, lease, statement, description, signal),
    table,
    ...numberedColumns(description.columns),
    writes: WRITES.has(word),
    renamed: statement.values.some((value) => typeof value === "object" && value !== null) ||
      statement.values.length > 0 && description.columns.some(({ name }) => name === "?column?"),
  };
}

/**
 * Refuses columns that become text in Arrow, Parquet and NDJSON, if a statement has set a style in which another
 * session would read that text as another value.
 *
 * @throws {LakebaseError} `QUERY_FAILED`
 */
export function expectUsualStyle({ columns }: CopySource, lease: Lease): void {
  const texts = columns.filter(({ cast }) => cast).map(({ name, oid }) => ({ name, dataTypeID: oid }));
  const error = unreadableStyle(texts, connectionOf(lease.client).reported, { styled: "all" });
  if (error !== undefined) throw error;
}

function numberedColumns(fields: readonly DescribedField[]): Pick<CopySource, "columns" | "width"> {
  const columns = fields.map(({ name, dataTypeID: oid, dataTypeModifier: modifier }, index) => ({
    name,
    oid,
    modifier,
    place: index + 1,
    ...columnType(oid, modifier),
  }));
  return { columns, width: columns.length };
}

const READS = new Set(["select", "values", "table", "with"]);
const WRITES = new Set(["insert", "update", "delete", "merge"]);

function notASource(what: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull ${what}; pull() takes a table's name or a query: db.pull("trips", target), sql\`SELECT ...\`.pull(target)`,
  );
}

function cannotRead(state: string, sqlstate: string): LakebaseError {
  return new LakebaseError("QUERY_FAILED", `Cannot read the rows: ${state}`, { sqlstate });
}

function severalStatements(): LakebaseError {
  return cannotRead("these are several statements; keep only the one that has the rows", "42601");
}

function givesNoRows(word: string): LakebaseError {
  const hint = WRITES.has(word) ? "; add RETURNING ... at its end" : "";
  return cannotRead(word === "" ? "there is no statement" : `${word.toUpperCase()} gives no rows${hint}`, "0A000");
}

function notCopied(word: string): LakebaseError {
  return cannotRead(
    `Postgres can copy the rows of SELECT, TABLE, VALUES, WITH, and of INSERT, UPDATE, DELETE and MERGE with RETURNING, but ` +
      `not of ${word.toUpperCase()}. Run it as a query: await sql\`${word.toUpperCase()} ...\``,
    "0A000",
  );
}

/**
 * Replaces the parameters of a statement by literals, and removes the semicolon at its end. COPY allows neither.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value where no parameter is possible, such as in a comment.
 */
async function inlineParameters(
  session: Session,
  lease: Lease,
  statement: Statement,
  { parameters }: Description,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { text } = statement;
  if (statement.values.length === 0 && !text.includes(";")) return text;
  const { catalog } = session;
  const catalogQuery = catalogQueryOn(lease.client);
  const tokens = await cancelable(session, lease, signal, readTokens(text, catalogQuery));
  const used = new Set(
    tokens.filter(({ kind }) => kind === "parameter").map(({ start, end }) => text.slice(start, end)),
  );
  const count = statement.values.length;
  if (used.size !== count || parameters.length !== count) throw misplacedValue(statement);
  const values = await cancelable(session, lease, signal, settleEmptyArrays(statement, parameters, catalogQuery));
  const fields = parameters.map((dataTypeID) => ({ name: "", dataTypeID }));
  await cancelable(session, lease, signal, catalog.fetchTypes(fields, catalogQuery));
  const literals = values.map((value, index) => {
    const oid = parameters[index]!;
    return literal(value, oid, quotedType(oid, catalog.types), index + 1);
  });
  return replaced(text, tokens, (token) => token === ";" ? " " : literals[Number(token.slice(1)) - 1] ?? token);
}

/** The parameters and semicolons. Asks the server whether a backslash in a string escapes, if that makes a difference. */
async function readTokens(text: string, catalogQuery: CatalogQuery): Promise<SqlToken[]> {
  const tokens = replacedTokens(text, false);
  const escaping = replacedTokens(text, true);
  if (JSON.stringify(tokens) === JSON.stringify(escaping)) return tokens;
  const [row] = await catalogQuery("SELECT pg_catalog.current_setting('standard_conforming_strings') AS value", []);
  return row?.["value"] === "on" ? tokens : escaping;
}

/** The parameters and semicolons of a statement. */
function replacedTokens(text: string, escapes: boolean): SqlToken[] {
  return [...sqlTokens(text, { escapes }).filter(({ kind, start }) => kind === "parameter" || text[start] === ";")];
}

function replaced(text: string, tokens: readonly SqlToken[], replace: (token: string) => string): string {
  let at = 0;
  const pieces = tokens.map(({ start, end }) => {
    const piece = text.slice(at, start) + replace(text.slice(start, end));
    at = end;
    return piece;
  });
  return pieces.join("") + text.slice(at);
}

function misplacedValue(statement: Statement): LakebaseError {
  const unbound = { code: "42P18", message: "" }; // the server's error for a parameter that the statement does not use
  const state = hintFor(unbound, statement) ?? "a ${value} is in quotes or in a comment, where it can't be a parameter";
  return new LakebaseError("BAD_PARAMETER", `Cannot read the rows: ${state}`);
}

const BYTEA = BUILT_IN["bytea"]![0];
const TEXT_TYPES = new Set(["text", "varchar", "bpchar", "name"].map((name) => BUILT_IN[name]![0]));

/**
 * The literal that means the same as a parameter with this value.
 *
 * @param value The value as it is bound.
 * @param oid The type of the parameter, as the server describes it.
 * @param type The type as SQL.
 * @param position The number of the parameter, from 1, for the error.
 * @throws {LakebaseError} `BAD_PARAMETER` for bytes that are neither `bytea` nor text.
 */
function literal(value: WireValue, oid: number, type: string, position: number): string {
  if (value === null) return `(NULL::${type})`;
  if (!Buffer.isBuffer(value)) return `(${pg.escapeLiteral(value).trim()}::${type})`;
  const bytes = `(E'\\\\x${value.toString("hex")}'::pg_catalog.bytea)`;
  if (oid === BYTEA) return bytes;
  if (TEXT_TYPES.has(oid)) return `(pg_catalog.convert_from(${bytes}, 'UTF8')::${type})`;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot read the rows: parameter ${position} is bytes, but the statement takes ${typeName(oid)} there`,
  );
}

/**
 * The SQL name of a type. It is quoted, because `bit` and `char` without quotes mean one bit and one character.
 *
 * @param oid The oid of the type.
 * @param catalog The names of the database's own types, as `format_type` writes them.
 */
function quotedType(oid: number, catalog: ReadonlyMap<number, string>): string {
  const name = catalog.get(oid);
  if (!isBuiltIn(oid)) return name ?? "pg_catalog.text";
  const [, element = "", array = ""] = /^(.*?)((?:\[\])?)$/.exec(typeName(oid))!;
  return `pg_catalog."${element}"${array}`;
}

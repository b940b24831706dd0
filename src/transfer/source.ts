import { LakebaseError } from "../errors.ts";
import { KIND, look } from "../explore/look.ts";
import { nameOf, readings } from "../explore/name.ts";
import { expectTable, NAMED, type Relation } from "../explore/relation.ts";
import { compile, Fragment, type Statement } from "../query/fragment.ts";
import { exchange, type FindSession } from "../query/run.ts";
import type { Lease, Session } from "../query/session.ts";
import type { StopOptions } from "../query/stop.ts";
import { firstWord } from "../sql_text.ts";
import { type ColumnType, columnType } from "./column_type.ts";
import { type DescribedField, Description } from "./description.ts";
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

/** What is to be copied, before the server was asked about it. */
export interface Wanted {
  /** A query. */
  statement: Statement;
  /** The quoted name, where COPY takes it for the same rows as the query's. */
  table: string | undefined;
  /** The quoted name of a table, view or the like; `undefined` for a query. */
  relation: string | undefined;
  /** What a person would call it. */
  name: string;
  /** Its columns, where they are known already: asking for them again would be a round trip. */
  columns: DescribedField[] | undefined;
}

/** What is to be copied. */
export interface CopySource {
  /** A query, with its parameters written in. */
  text: string;
  /** The quoted name, where COPY takes it for the same rows as the query's. */
  table: string | undefined;
  /** The columns to copy, in their order. */
  columns: CopyColumn[];
  /** How many columns the query has. */
  width: number;
  /** Whether it is an INSERT or the like, which can't stand after FROM. */
  writes: boolean;
  /** Whether a column's name may have changed with the parameters. */
  renamed: boolean;
}

interface Named extends Relation {
  name: string;
  plain: boolean;
  columns: [name: string, oid: number, modifier: number][] | null;
}

/** As a query's description would have them; that says a domain's type where the catalogue has the domain, so NULL there. */
const COLUMNS = `(SELECT CASE WHEN bool_or(t.typtype = 'd') THEN NULL ELSE
    json_agg(json_build_array(a.attname, a.atttypid::int8, a.atttypmod) ORDER BY a.attnum) END
  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)`;

/** Of a table with generated columns COPY leaves those out, and of a parent the rows of its children. */
const NAME = `SELECT format('%I.%I', n.nspname, c.relname) AS name, ${KIND} AS kind,
  c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
    AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attgenerated <> '') AS plain,
  ${COLUMNS} AS columns FROM ${NAMED} JOIN pg_namespace AS n ON n.oid = c.relnamespace`;

/**
 * What a table's name or a query is as a statement.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a table that is not there, `BAD_PARAMETER` for what is neither.
 */
export async function wantedSource(
  find: FindSession,
  what: string | Fragment,
  options: StopOptions = {},
): Promise<Wanted> {
  if (typeof what !== "string" && !(what instanceof Fragment)) throw neither(what === null ? "null" : typeof what);
  const name = typeof what === "string" ? what : nameOf(what);
  if (name === undefined) {
    const statement = compile(what as Fragment);
    return { statement, table: undefined, relation: undefined, name: "the query", columns: undefined };
  }
  if (/^\s*(select|with|values|table)\s/i.test(name)) throw neither("a text that is a query");
  const [found] = await look<Named>(find, NAME, [readings(name)], options);
  const { name: relation, plain, columns } = await expectTable(find, "pull", name, found);
  const statement = { text: `SELECT * FROM ${relation}`, values: [] };
  const fields = columns?.map(([name, dataTypeID, dataTypeModifier]) => ({ name, dataTypeID, dataTypeModifier }));
  return { statement, table: plain ? relation : undefined, relation, name, columns: fields };
}

/**
 * Asks the server about a statement, in the form in which it was written, so that what is wrong with it is shown where it is.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a statement without rows; what the driver throws.
 */
export async function describeSource(
  session: Session,
  lease: Lease,
  { statement, table, columns }: Pick<Wanted, "statement" | "table"> & Partial<Wanted>,
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

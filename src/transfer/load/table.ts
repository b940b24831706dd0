import { fold, nameOf, possibleNames } from "../../catalog/names.ts";
import { expectTable, KIND, NAMED_RELATION, queryCatalog, type Relation } from "../../catalog/relation.ts";
import { byteLength } from "../../core/bytes.ts";
import { closest } from "../../core/closest.ts";
import { LakebaseError, optionName, optionText } from "../../core/errors.ts";
import { quoteName } from "../../core/sql_text.ts";
import { Fragment, textStatement } from "../../sql/fragment.ts";
import { type FindSession, run } from "../../sql/run.ts";
import type { StopOptions } from "../../sql/stop.ts";
import { BUILT_IN } from "../../core/type_names.ts";
import { typeText } from "../../core/text.ts";
import { badLoadOption, type Refuse } from "./options.ts";

/** A column that can be loaded. */
export interface LoadColumn {
  /** Its name. */
  name: string;
  /** Its SQL type. */
  type: string;
  /** The oid of that type. */
  oid: number;
  /** How a value of a list or an object becomes its text. */
  form: "json" | "array" | "vector" | "hstore" | "scalar";
  /** Whether the table computes it. */
  generated: boolean;
}

/** A table that can be loaded. */
export interface LoadTable extends Relation {
  /** Its name with its schema, quoted where SQL needs it. */
  quoted: string;
  /** Its name without its schema. */
  name: string;
  /** Its columns. */
  columns: LoadColumn[];
  /** Whether it has an INSTEAD OF INSERT trigger, which a view may have. */
  takesRows: boolean;
}

/** The oid of the base type of a domain; for any other type, its own oid. */
const BASE = `(WITH RECURSIVE base(oid, below) AS (SELECT t.oid, t.typbasetype UNION ALL
  SELECT b.oid, b.typbasetype FROM base JOIN pg_catalog.pg_type AS b ON b.oid OPERATOR(pg_catalog.=) base.below)
  SELECT oid FROM base WHERE below OPERATOR(pg_catalog.=) 0)`;

/** In a trigger's `tgtype`, 64 is INSTEAD OF and 4 is INSERT. */
const FIND = `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS quoted, c.relname AS name, ${KIND} AS kind,
  coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
    'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
    'oid', a.atttypid::pg_catalog.int8,
    'form', CASE WHEN base.oid OPERATOR(pg_catalog.=) ANY ('{114,3802}') THEN 'json'
      WHEN base.oid OPERATOR(pg_catalog.=) ANY ('{22,30}') THEN 'vector'
      WHEN base.typname OPERATOR(pg_catalog.=) 'hstore' AND base.typcategory OPERATOR(pg_catalog.=) 'U' THEN 'hstore'
      WHEN base.typcategory OPERATOR(pg_catalog.=) 'A' THEN 'array' ELSE 'scalar' END,
    'generated', a.attgenerated OPERATOR(pg_catalog.<>) '') ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
    JOIN pg_catalog.pg_type AS base ON base.oid OPERATOR(pg_catalog.=) ${BASE}
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped), '[]')
    AS columns,
  EXISTS (SELECT FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid
    AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 68) OPERATOR(pg_catalog.=) 68) AS "takesRows"
  FROM ${NAMED_RELATION} JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace`;

/** The most bytes of a name. Postgres silently cuts off the rest. */
const MAX_NAME_BYTES = 63;

/** The name of a table, as the caller wrote it. @throws {LakebaseError} `BAD_PARAMETER` for anything that is not a name. */
export function tableName(table: string | Fragment): string {
  const name = table instanceof Fragment ? nameOf(table) : table;
  if (typeof name === "string") {
    possibleNames(name);
    return name;
  }
  const what = table instanceof Fragment ? "a query" : typeText(table);
  throw badLoadOption(`the table is ${what}; it must be a name: "trips", "public.trips" or sql.id("public", "trips")`);
}

/** Finds a table by its name; `undefined` if there is none. */
export async function findTable(find: FindSession, name: string, stops: StopOptions): Promise<LoadTable | undefined> {
  const [table] = await queryCatalog<LoadTable>(find, FIND, [possibleNames(name)], stops);
  return table;
}

/** Expects that a table exists and can take rows. @throws {LakebaseError} `QUERY_FAILED` */
export async function expectLoadable(
  find: FindSession,
  name: string,
  existing: LoadTable | undefined,
): Promise<LoadTable> {
  const table = await expectTable(find, "load", name, existing).catch((error: LakebaseError) => {
    if (existing !== undefined) throw error;
    const { code, message, sqlstate } = error;
    throw new LakebaseError(code, `${message}\nHINT: ${optionText({ create: true })} makes it`, { sqlstate });
  });
  if (table.takesRows || table.kind !== "view" && table.kind !== "materialized view") return table;
  throw new LakebaseError(
    "QUERY_FAILED",
    `Cannot load ${name}: it is a ${table.kind}, which keeps no rows of its own; load the table that it reads${
      table.kind === "view" ? ", or give it an INSTEAD OF INSERT trigger" : ""
    }`,
    { sqlstate: "42809" },
  );
}

/**
 * Adds the schema to a built-in type, because an earlier schema of the search path may have another type of that name. `char`
 * and `bit` get no schema, because these keywords mean other types than the names with a schema.
 */
function qualifiedType(type: string): string {
  const name = type.replace(/\[\]$/, "");
  return Object.hasOwn(BUILT_IN, name) && name !== "char" && name !== "bit" ? `pg_catalog.${type}` : type;
}

/** Creates a table. As in SQL, a name without quotes becomes lower case. */
export async function createTable(
  find: FindSession,
  name: string,
  columns: ReadonlyMap<string, string>,
  refuse: Refuse,
  stops: StopOptions,
): Promise<void> {
  const definitions = Array.from(
    columns,
    ([column, type]) => `${quoteName(checkName(column, refuse))} ${qualifiedType(type)}`,
  );
  const text = `CREATE TABLE ${possibleNames(name).at(-1)} (${definitions.join(", ")})`;
  await run(find, textStatement(text), stops);
}

/**
 * The table that COPY writes to. COPY takes no values for generated columns, and the bytes of a file are sent unchanged. So the
 * rows of a file with such columns go into a temporary table first, and from there without those columns into the table.
 */
export async function copyTarget(
  find: FindSession,
  columns: readonly LoadColumn[],
  table: LoadTable,
  stops: StopOptions,
): Promise<{ name: string; quoted: string; moveRows: () => Promise<void> }> {
  const stored = columns.filter(({ generated }) => !generated).map(({ name }) => quoteName(name)).join(", ");
  if (columns.every(({ generated }) => !generated)) {
    return { name: table.name, quoted: table.quoted, moveRows: () => Promise.resolve() };
  }
  if (stored === "") throw badLoadOption(`${table.quoted} computes every column that the file has`);
  const all = columns.map(({ name }) => quoteName(name)).join(", ");
  const name = `lakebase_load_${crypto.randomUUID().slice(0, 8)}`;
  const temporary = `pg_temp.${name}`;
  const execute = async (text: string) => void await run(find, textStatement(text), stops);
  await execute(`CREATE TABLE ${temporary} AS SELECT ${all} FROM ${table.quoted} WITH NO DATA`);
  return {
    name,
    quoted: temporary,
    moveRows: async () => {
      await execute(
        `INSERT INTO ${table.quoted} (${stored}) OVERRIDING SYSTEM VALUE SELECT ${stored} FROM ${temporary}`,
      );
      await execute(`DROP TABLE ${temporary}`);
    },
  };
}

/** Where column names come from, for errors. */
export interface NameSource {
  /** The origin of a name, as the subject of a sentence: `trips.csv`, `row 3`. */
  origin(name: string): string;
  /** Makes an error about the names. */
  refuse: Refuse;
}

/**
 * The names of a file or a query, in which two columns may have the same name.
 *
 * @param source The name of the file or the query.
 * @param sourceNames The names in it.
 * @param names The names under which the columns are loaded, in the same order.
 */
export function nameSourceOf(
  source: string,
  sourceNames: readonly string[],
  names: readonly string[],
  refuse: Refuse,
): NameSource {
  const origin = (name: string) => {
    const sourceName = sourceNames[names.indexOf(name)];
    const isRepeated = sourceName !== undefined && sourceName !== name && name.startsWith(`${sourceName}_`) &&
      sourceNames.indexOf(sourceName) < names.indexOf(name);
    if (!isRepeated) return source;
    return `${source}, whose second ${JSON.stringify(sourceName)} is read as ${JSON.stringify(name)},`;
  };
  return { origin, refuse };
}

/** The names that the option `columns` lists. */
export const COLUMNS_OPTION: NameSource = {
  origin: () => `the option ${optionName("columns")}`,
  refuse: badLoadOption,
};

/**
 * The table's columns for a source's values.
 *
 * @param names The names of the values, in order; `undefined` for all columns that are not generated.
 * @throws {LakebaseError} For a name that the table does not have, and for a repeated name.
 */
export function matchColumns(
  table: LoadTable,
  names: readonly string[] | undefined,
  nameSource: NameSource,
): LoadColumn[] {
  if (names === undefined) return table.columns.filter(({ generated }) => !generated);
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const seen = new Set<LoadColumn>();
  return names.map((name) => {
    const column = byName.get(name) ?? byName.get(fold(name));
    if (column === undefined) throw unknownColumn(table, name, nameSource);
    if (seen.has(column)) {
      const hint = nameSource === COLUMNS_OPTION
        ? ""
        : `; give them different names, in their order: ${optionText({ columns: differentNames(names) })}`;
      throw nameSource.refuse(`${nameSource.origin(name)} has the column ${JSON.stringify(column.name)} twice${hint}`);
    }
    seen.add(column);
    return column;
  });
}

/** The names, with a number after each repeated one; empty if the list is too long for a hint. */
function differentNames(names: readonly string[]): string[] {
  const different = new Set<string>();
  for (const name of names) {
    let free = name;
    for (let n = 2; different.has(free); n++) free = `${name}_${n}`;
    different.add(free);
  }
  return JSON.stringify([...different]).length > 500 ? [] : [...different];
}

/** Makes the error for a name that the table does not have. */
export function unknownColumn({ columns, quoted }: LoadTable, name: string, nameSource: NameSource): LakebaseError {
  const names = columns.map((column) => column.name);
  const similar = closest(name, names);
  const delimiter = names.length > 1 ? possibleDelimiter(name) : undefined;
  const hint = similar !== undefined
    ? `did you mean ${JSON.stringify(similar)}?`
    : delimiter !== undefined
    ? delimiterHint(delimiter)
    : `it has: ${listed(names)}`;
  return nameSource.refuse(
    `${nameSource.origin(name)} has the column ${
      JSON.stringify(shortened(name))
    }, but ${quoted} has no column with that name; ${hint}`,
  );
}

/** A character in a name that may be the delimiter between several names. */
export function possibleDelimiter(name: string): string | undefined {
  return /[;\t|,]/.exec(name)?.[0];
}

/** The hint for a wrong delimiter. */
export function delimiterHint(delimiter: string): string {
  const quoted = JSON.stringify(delimiter);
  return `if the columns are separated by ${quoted}, use ${optionText({ format: "csv", delimiter })}`;
}

function shortened(name: string): string {
  return name.length > 100 ? `${name.slice(0, 100)}…` : name;
}

function listed(names: readonly string[]): string {
  const most = 20;
  const more = names.length > most ? `, ... (${names.length} in all)` : "";
  return names.length === 0 ? "none" : names.slice(0, most).join(", ") + more;
}

/** The hint for a name that is UTF-16 read as UTF-8, which happens in a file without a byte order mark; else nothing. */
function utf16Hint(name: string): string {
  const encoding = /^(?:[^\0]\0)+$/.test(name) ? "utf-16le" : /^(?:\0[^\0])+\0?$/.test(name) ? "utf-16be" : undefined;
  return encoding === undefined ? "" : `; it looks like UTF-16: use ${optionText({ encoding })}`;
}

function checkName(name: string, refuse: Refuse): string {
  const bytes = byteLength(name);
  if (name === "") throw refuse(`a column has no name; name it: ${optionText({ columns: { "": "name" } })}`);
  if (name.includes("\0")) {
    throw refuse(`the column ${JSON.stringify(name)} has a zero character in its name${utf16Hint(name)}`);
  }
  if (bytes <= MAX_NAME_BYTES) return name;
  throw refuse(
    `the column ${JSON.stringify(name)} has ${bytes} bytes in its name; Postgres keeps ${MAX_NAME_BYTES}: ` +
      `rename it: ${optionText({ columns: { [name]: "a_shorter_name" } })}`,
  );
}

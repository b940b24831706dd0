import { fold, nameOf, readings } from "../../catalog/names.ts";
import { expectTable, KIND, NAMED, queryCatalog, type Relation } from "../../catalog/relation.ts";
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
  /** How a JavaScript value becomes its text. */
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

/** The base type of a domain; any other type itself. */
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
  FROM ${NAMED} JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace`;

/** The most bytes of a name in Postgres, which silently cuts off the rest. */
const MOST_NAME_BYTES = 63;

/** The name that the caller gave for a table. @throws {LakebaseError} `BAD_PARAMETER` for anything that is not a name. */
export function tableName(table: string | Fragment): string {
  const name = table instanceof Fragment ? nameOf(table) : table;
  if (typeof name === "string") {
    readings(name);
    return name;
  }
  const what = table instanceof Fragment ? "a query" : typeText(table);
  throw badLoadOption(`the table is ${what}; it must be a name: "trips", "public.trips" or sql.id("public", "trips")`);
}

/** Finds a table by its name; `undefined` if there is none. */
export async function findTable(find: FindSession, name: string, stops: StopOptions): Promise<LoadTable | undefined> {
  const [table] = await queryCatalog<LoadTable>(find, FIND, [readings(name)], stops);
  return table;
}

/** Returns the table. @throws {LakebaseError} If it does not exist or can't take rows. */
export async function expectLoadable(
  find: FindSession,
  name: string,
  found: LoadTable | undefined,
): Promise<LoadTable> {
  const table = await expectTable(find, "load", name, found).catch((error: LakebaseError) => {
    if (found !== undefined) throw error;
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
 * Adds the schema to a built-in type, because an earlier schema on the path may have another type of that name. `char` and
 * `bit` stay bare, because as SQL keywords they mean other types than with a schema.
 */
function plainType(type: string): string {
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
    ([column, type]) => `${quoteName(checkName(column, refuse))} ${plainType(type)}`,
  );
  const text = `CREATE TABLE ${readings(name).at(-1)} (${definitions.join(", ")})`;
  await run(find, textStatement(text), stops);
}

/**
 * The table that COPY writes to. COPY takes no values for generated columns, and a file's bytes are sent unchanged. So a file
 * with such columns goes into a temporary table first, and from there without those columns into the table.
 */
export async function placeFor(
  find: FindSession,
  columns: readonly LoadColumn[],
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

/** The source of column names, for errors. */
export interface Namer {
  /** Says where a name comes from. */
  where(name: string): string;
  /** Makes the error. */
  refuse: Refuse;
}

/** Names from a source, of which two columns may have one name. */
export function namesOf(source: string, given: readonly string[], names: readonly string[], refuse: Refuse): Namer {
  const where = (name: string) => {
    const old = given[names.indexOf(name)];
    const second = old !== undefined && old !== name && name.startsWith(`${old}_`) &&
      given.indexOf(old) < names.indexOf(name);
    return second ? `${source}, whose second ${JSON.stringify(old)} is read as ${JSON.stringify(name)},` : source;
  };
  return { where, refuse };
}

/** Names from the option `columns`. */
export const BY_OPTION: Namer = { where: () => `the option ${optionName("columns")}`, refuse: badLoadOption };

/**
 * The table's columns for a source's values.
 *
 * @param names The names of the values, in order; `undefined` for all columns that are not generated.
 * @throws {LakebaseError} For a name that the table does not have, and for a repeated name.
 */
export function matchColumns(
  table: LoadTable,
  names: readonly string[] | undefined,
  namer: Namer,
): LoadColumn[] {
  if (names === undefined) return table.columns.filter(({ generated }) => !generated);
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  const seen = new Set<LoadColumn>();
  return names.map((name) => {
    const column = byName.get(name) ?? byName.get(fold(name));
    if (column === undefined) throw unknownColumn(table, name, namer);
    if (seen.has(column)) {
      const apart = namer === BY_OPTION
        ? ""
        : `; name them apart, in their order: ${optionText({ columns: apartNames(names) })}`;
      throw namer.refuse(`${namer.where(name)} has the column ${JSON.stringify(column.name)} twice${apart}`);
    }
    seen.add(column);
    return column;
  });
}

/** The names, with a number after each repeated one; empty if the list is too long for a hint. */
function apartNames(names: readonly string[]): string[] {
  const apart = new Set<string>();
  for (const name of names) {
    let free = name;
    for (let n = 2; apart.has(free); n++) free = `${name}_${n}`;
    apart.add(free);
  }
  return JSON.stringify([...apart]).length > 500 ? [] : [...apart];
}

/** Makes the error for a name that the table does not have. */
export function unknownColumn({ columns, quoted }: LoadTable, name: string, namer: Namer): LakebaseError {
  const names = columns.map((column) => column.name);
  const near = closest(name, names);
  const delimiter = names.length > 1 ? otherDelimiter(name) : undefined;
  const hint = near !== undefined
    ? `did you mean ${JSON.stringify(near)}?`
    : delimiter !== undefined
    ? delimiterHint(delimiter)
    : `it has: ${listed(names)}`;
  return namer.refuse(
    `${namer.where(name)} has the column ${
      JSON.stringify(shortened(name))
    }, but ${quoted} has no column with that name; ${hint}`,
  );
}

/** A character in a name that may be the delimiter between several names. */
export function otherDelimiter(name: string): string | undefined {
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

/** A hint for a name whose bytes are UTF-16 without a mark at the beginning of the file, else nothing. */
function utf16Hint(name: string): string {
  const encoding = /^(?:[^\0]\0)+$/.test(name) ? "utf-16le" : /^(?:\0[^\0])+\0?$/.test(name) ? "utf-16be" : undefined;
  return encoding === undefined ? "" : `; it looks like UTF-16: use ${optionText({ encoding })}`;
}

function checkName(name: string, refuse: Refuse): string {
  const bytes = new TextEncoder().encode(name).length;
  if (name === "") throw refuse(`a column has no name; name it: ${optionText({ columns: { "": "name" } })}`);
  if (name.includes("\0")) {
    throw refuse(`the column ${JSON.stringify(name)} has a zero character in its name${utf16Hint(name)}`);
  }
  if (bytes <= MOST_NAME_BYTES) return name;
  throw refuse(
    `the column ${JSON.stringify(name)} has ${bytes} bytes in its name; Postgres keeps ${MOST_NAME_BYTES}: ` +
      `rename it: ${optionText({ columns: { [name]: "a_shorter_name" } })}`,
  );
}

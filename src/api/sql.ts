import { LakebaseError } from "../core/errors.ts";
import { typeText } from "../core/text.ts";
import { Fragment, Identifier, rawStrings } from "../sql/fragment.ts";
import { markMade } from "../sql/never_run.ts";
import type { FindSession } from "../sql/run.ts";
import { postgresEngine, type QueryEngine } from "./engine.ts";
import { Query } from "./query.ts";

/** The `sql` tag. It turns a template into a query, and the template's `${values}` into bound parameters. */
export interface Sql {
  /**
   * Makes a query, which does not run yet.
   *
   * @throws {LakebaseError} `BAD_PARAMETER` if it is called with a string instead of a template.
   */
  <Row = Record<string, unknown>>(template: TemplateStringsArray, ...values: unknown[]): Query<Row>;
  /** Makes a quoted identifier: `sql.id("schema", "table")`. In a query of a lakehouse, the quotes are backticks. */
  id(...names: [string, ...string[]]): Fragment;
  /**
   * Joins values or fragments with a separator. A comma, `AND`, `OR`, `UNION ALL` and similar separators may be strings;
   * any other separator is a fragment.
   *
   * @throws {LakebaseError} `BAD_PARAMETER` for a string that is not one of these separators.
   * @default {", "}
   */
  join(items: readonly unknown[], separator?: string | Fragment): Fragment;
  /** Makes `VALUES (...), (...)` from rows that are arrays. For `INSERT`, rows that are objects also give the list of columns. */
  values(rows: readonly (readonly unknown[] | Record<string, unknown>)[], ...none: []): Fragment;
  /** Turns a string into SQL. The string must never contain a value from outside of the program. */
  unsafe(text: string, ...none: []): Fragment;
}

/**
 * Makes a `sql` tag for Postgres.
 *
 * @param find Finds the session of a query when the query runs.
 */
export function makeSql(find: FindSession): Sql {
  return sqlFor(postgresEngine(find));
}

/** Makes a `sql` tag whose queries run in an engine. */
export function sqlFor(engine: QueryEngine): Sql {
  const tag = <Row>(template: TemplateStringsArray, ...values: unknown[]): Query<Row> => {
    if (!Array.isArray(template) || !Array.isArray(template.raw)) throw notATemplate(template);
    const query = new Query<Row>({ strings: rawStrings(template), values: Object.freeze(values) }, engine);
    markMade(query);
    return query;
  };
  return Object.assign(tag, { id: identifier, join, values: valuesList, unsafe });
}

function identifier(...names: [string, ...string[]]): Fragment {
  if (names.length === 0) throw badQuery("sql.id() has no name");
  names.forEach(checkName);
  return new Identifier(names);
}

function checkName(name: unknown): void {
  if (typeof name === "string" && name !== "" && !name.includes("\0")) return;
  throw badQuery(`sql.id() has ${typeof name === "string" ? JSON.stringify(name) : typeText(name)} for a name`);
}

function join(items: readonly unknown[], separator: string | Fragment = ", "): Fragment {
  if (!Array.isArray(items)) {
    throw badQuery(`sql.join() has ${typeText(items)}; it takes an array`);
  }
  if (items.length === 0) {
    throw badQuery("sql.join() has no items; for a list that may be empty bind an array: = ANY(${list})");
  }
  if (separator instanceof Fragment) {
    const spread = items.flatMap((item, index) => index === 0 ? [item] : [separator, item]);
    return new Fragment(Array(spread.length + 1).fill(""), spread);
  }
  if (typeof separator !== "string") throw badQuery(`sql.join() has ${typeText(separator)} for a separator`);
  if (!SEPARATOR.test(separator)) {
    const shown = JSON.stringify(separator.length > 50 ? `${separator.slice(0, 50)}…` : separator);
    throw badQuery(
      `sql.join() has ${shown} for a separator; a string may be a comma, AND, OR, UNION, INTERSECT, EXCEPT, ||, + or *, ` +
        "any other separator is a fragment: sql.join(items, sql` IS DISTINCT FROM `)",
    );
  }
  const between = /^\w|\w$/.test(separator) ? ` ${separator} ` : separator; // a word needs a space on each side
  return new Fragment(["", ...items.slice(1).map(() => between), ""], items);
}

/** The strings that are accepted as separators: only `sql.unsafe` turns other strings into SQL. */
const SEPARATOR = /^\s*(?:,|and|or|(?:union|intersect|except)(?:\s+(?:all|distinct))?|\|\||\+|\*)\s*$/i;

function valuesList(rows: readonly (readonly unknown[] | Record<string, unknown>)[], ...none: []): Fragment {
  if (none.length > 0) throw badQuery("sql.values() takes only the rows; its columns are the keys of the first row");
  if (!Array.isArray(rows)) {
    throw badQuery(`sql.values() has ${typeText(rows)}; it takes an array of rows`);
  }
  const [first] = rows;
  if (rows.some((row) => typeof row !== "object" || row === null)) {
    throw badQuery("sql.values() has a row that is neither an array nor an object");
  }
  if (first === undefined) throw badQuery("sql.values() has no rows");
  const tuple = (cells: readonly unknown[]) => new Fragment(["(", ")"], [join(cells)]);
  if (Array.isArray(first)) {
    checkWidth(rows, (row) => Array.isArray(row) && row.length === first.length, `${first.length} values`);
    return new Fragment(["VALUES ", ""], [join((rows as unknown[][]).map(tuple))]);
  }
  const names = Object.keys(first);
  checkWidth(rows, (row) => sameKeys(row, names), names.join(", "));
  const tuples = (rows as Record<string, unknown>[]).map((row) => tuple(names.map((name) => row[name])));
  return new Fragment(["(", ") VALUES ", ""], [join(names.map((name) => identifier(name))), join(tuples)]);
}

function sameKeys(row: object, names: readonly string[]): boolean {
  return !Array.isArray(row) && Object.keys(row).length === names.length &&
    names.every((name) => Object.hasOwn(row, name));
}

function checkWidth(rows: readonly object[], fits: (row: object) => boolean, shape: string): void {
  const index = rows.findIndex((row) => !fits(row));
  if (index !== -1) throw badQuery(`row ${index + 1} of sql.values() is not like the first row, which has ${shape}`);
}

function unsafe(text: string, ...none: []): Fragment {
  if (none.length > 0) {
    throw badQuery("sql.unsafe() takes only a text; write ${value} beside it, or use query(text, [value, ...])");
  }
  if (typeof text !== "string") throw badQuery(`sql.unsafe() has ${typeText(text)}; it takes a string`);
  return new Fragment([text], []);
}

function notATemplate(found: unknown): LakebaseError {
  const call = typeof found === "string" ? `sql(${JSON.stringify(found.slice(0, 40))})` : `sql(${typeof found})`;
  return badQuery(
    `${call} is a call; write a template, sql\`SELECT ...\`, or for SQL in a string sql\`\${sql.unsafe(text)}\``,
  );
}

function badQuery(state: string): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot make a query: ${state}`);
}

import { printable } from "../core/text.ts";
import { type Catalogue, type CatalogueTable, signatureOf } from "./catalog.ts";
import { magicRegion, unitsOf } from "./completion.ts";
import { findTable, type Piece, type Relation, type Scope, scopeAt, statementAt } from "./sql_scope.ts";

/** A cell of more characters is not looked into. */
const LONGEST = 200_000;
/** Lines that a box shows. */
const MOST_LINES = 200;

/**
 * What Shift-Tab shows of a name in SQL: of a table its columns, of a column its type and table, of a function how it is
 * called.
 *
 * @param code The cell.
 * @param cursor Where the cursor is, in code points.
 * @param catalogue What the database has, where that is known.
 * @returns A text by MIME type; `undefined` where there is nothing to say.
 */
export function inspectSql(
  code: string,
  cursor: number,
  catalogue: Catalogue | undefined,
): Record<string, string> | undefined {
  if (code.length > LONGEST || catalogue === undefined) return undefined;
  const at = unitsOf(code, cursor);
  const region = magicRegion(code, at);
  if (region === undefined) return undefined;
  const { pieces, top } = statementAt(code, region.start, region.end, at);
  const index = pieces.findIndex(({ kind, start, end }) =>
    start <= at && at <= end && (kind === "word" || kind === "name")
  );
  const piece = pieces[index];
  if (piece === undefined) return undefined;
  const scope = scopeAt(top, piece.group, catalogue);
  const text = describe(pieces, index, scope, catalogue);
  return text === undefined ? undefined : { "text/plain": printable(text) };
}

function describe(pieces: readonly Piece[], index: number, scope: Scope, catalogue: Catalogue): string | undefined {
  const name = pieces[index]!.text;
  const qualifier = pieces[index - 1]?.text === "." ? pieces[index - 2]?.text : undefined;
  const called = pieces[index + 1]?.text === "(";
  if (called) {
    const functions = catalogue.functions.filter((item) =>
      item.name === name && (qualifier === undefined ? item.visible : item.schema === qualifier)
    );
    if (functions.length > 0) {
      return lines(functions.map((item) => `${item.schema}.${name}${signatureOf(item)}`));
    }
  }
  const relations = [...scope.relations, ...scope.queries];
  const relation = qualifier === undefined ? relations.find(({ alias }) => alias === name) : undefined;
  if (relation !== undefined) return describeRelation(relation);
  const table = findTable(catalogue, qualifier, name);
  // Behind FROM a name is a table's, elsewhere a column's first.
  if (table !== undefined && pieces[index + 1]?.text !== "." && isSource(pieces, index)) return describeTable(table);
  const owners = relations.filter(({ alias }) => qualifier === undefined || alias === qualifier);
  const column = owners.flatMap(({ alias, columns, table }) =>
    columns.filter((column) => column.name === name).map(({ type, notNull }) =>
      `${table === undefined ? alias : `${table.schema}.${table.name}`}.${name} ${type}${notNull ? " not null" : ""}`
    )
  );
  if (column.length > 0) return lines([...new Set(column)]);
  return table === undefined ? undefined : describeTable(table);
}

function isSource(pieces: readonly Piece[], index: number): boolean {
  const before = pieces[index - 1]?.text === "." ? index - 3 : index - 1;
  return /^(?:from|join|update|into|table|,)$/.test(pieces[before]?.text ?? "");
}

const KINDS: Readonly<Record<string, string>> = {
  ...{ r: "table", p: "partitioned table", v: "view", m: "materialized view", f: "foreign table" },
};

function describeRelation({ alias, columns, table }: Relation): string {
  return table === undefined ? lines([alias, ...columnLines(columns)]) : describeTable(table);
}

function describeTable({ schema, name, kind, columns }: CatalogueTable): string {
  return lines([`${KINDS[kind] ?? "table"} ${schema}.${name}`, ...columnLines(columns)]);
}

function columnLines(columns: Relation["columns"]): string[] {
  const width = Math.max(0, ...columns.map(({ name }) => name.length));
  return columns.map(({ name, type, notNull }) =>
    `  ${name.padEnd(width)}  ${type}${notNull ? " not null" : ""}`.trimEnd()
  );
}

function lines(all: readonly string[]): string {
  const shown = all.slice(0, MOST_LINES);
  if (all.length > shown.length) shown.push(`  ... and ${all.length - shown.length} more`);
  return shown.join("\n");
}

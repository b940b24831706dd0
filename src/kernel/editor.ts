import { printable } from "../core/text.ts";
import { type Catalog, type CatalogTable, signatureOf } from "./catalog.ts";
import { completeSql } from "./completion.ts";
import { cellMagicEnd, magicRegion } from "./magic.ts";
import { unitsOf } from "./message.ts";
import { findTable, type Piece, type Relation, type Scope, scopeAt, statementAt } from "./sql_scope.ts";

/** A reply that needs no child. */
export interface EditorReply {
  type: string;
  content: Record<string, unknown>;
}

/**
 * Answers what an editor asks in SQL.
 *
 * @param type The request's type.
 * @param content The request's content.
 * @param catalog What the database holds, as far as it is known.
 * @param connections Variables of the notebook that may hold connections.
 * @returns `undefined` where the child is to be asked.
 */
export function editorReply(
  type: string | undefined,
  content: Record<string, unknown>,
  catalog: Catalog | undefined,
  connections: readonly string[] = [],
): EditorReply | undefined {
  const { code, cursor_pos: cursor } = content;
  if (typeof code !== "string") return undefined;
  if (type === "is_complete_request") return isComplete(code);
  if (typeof cursor !== "number") return undefined;
  if (type === "complete_request") {
    const completion = completeSql(code, cursor, catalog, connections);
    return completion && { type: "complete_reply", content: { status: "ok", ...completion } };
  }
  if (type === "inspect_request") {
    const data = inspectSql(code, cursor, catalog);
    return data && { type: "inspect_reply", content: { status: "ok", found: true, data, metadata: {} } };
  }
  return undefined;
}

/** In a console, a cell of SQL is complete behind a semicolon or a blank line. */
function isComplete(code: string): EditorReply | undefined {
  if (!isSqlCell(code)) return undefined;
  const status = /;\s*$|\n[ \t]*\n?$|\?\s*$/.test(code) ? "complete" : "incomplete";
  return { type: "is_complete_reply", content: { status, indent: "" } };
}

function isSqlCell(code: string): boolean {
  try {
    return cellMagicEnd(code) !== undefined;
  } catch {
    return true; // it is refused when it runs
  }
}

/** A cell of more characters is not looked into. */
const MAX_CELL_LENGTH = 200_000;
/** Lines that a box shows. */
const MAX_LINES = 200;

/**
 * What Shift-Tab shows of a name in SQL: of a table its columns, of a column its type and table, of a function how it is
 * called.
 *
 * @param code The cell.
 * @param cursor Where the cursor is, in code points.
 * @param catalog What the database has, where that is known.
 * @returns A text by MIME type; `undefined` where there is nothing to say.
 */
export function inspectSql(
  code: string,
  cursor: number,
  catalog: Catalog | undefined,
): Record<string, string> | undefined {
  if (code.length > MAX_CELL_LENGTH || catalog === undefined) return undefined;
  const at = unitsOf(code, cursor);
  const region = magicRegion(code, at);
  if (region === undefined) return undefined;
  const { pieces, top } = statementAt(code, region.start, region.end, at);
  const index = pieces.findIndex(({ kind, start, end }) =>
    start <= at && at <= end && (kind === "word" || kind === "name")
  );
  const piece = pieces[index];
  if (piece === undefined) return undefined;
  const scope = scopeAt(top, piece.group, catalog);
  const text = describe(pieces, index, scope, catalog);
  return text === undefined ? undefined : { "text/plain": printable(text) };
}

function describe(pieces: readonly Piece[], index: number, scope: Scope, catalog: Catalog): string | undefined {
  const name = pieces[index]!.text;
  const qualifier = pieces[index - 1]?.text === "." ? pieces[index - 2]?.text : undefined;
  const called = pieces[index + 1]?.text === "(";
  if (called) {
    const functions = catalog.functions.filter((item) =>
      item.name === name && (qualifier === undefined ? item.visible : item.schema === qualifier)
    );
    if (functions.length > 0) {
      return joinLines(functions.map((item) => `${item.schema}.${name}${signatureOf(item)}`));
    }
  }
  const relations = [...scope.relations, ...scope.queries];
  const relation = qualifier === undefined ? relations.find(({ alias }) => alias === name) : undefined;
  if (relation !== undefined) return describeRelation(relation);
  const table = findTable(catalog, qualifier, name);
  // Behind FROM a name is a table's, elsewhere a column's first.
  if (table !== undefined && pieces[index + 1]?.text !== "." && isSource(pieces, index)) return describeTable(table);
  const owners = relations.filter(({ alias }) => qualifier === undefined || alias === qualifier);
  const column = owners.flatMap(({ alias, columns, table }) =>
    columns.filter((column) => column.name === name).map(({ type, notNull }) =>
      `${table === undefined ? alias : `${table.schema}.${table.name}`}.${name} ${type}${notNull ? " not null" : ""}`
    )
  );
  if (column.length > 0) return joinLines([...new Set(column)]);
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
  return table === undefined ? joinLines([alias, ...columnLines(columns)]) : describeTable(table);
}

function describeTable({ schema, name, kind, columns }: CatalogTable): string {
  return joinLines([`${KINDS[kind] ?? "table"} ${schema}.${name}`, ...columnLines(columns)]);
}

function columnLines(columns: Relation["columns"]): string[] {
  const width = Math.max(0, ...columns.map(({ name }) => name.length));
  return columns.map(({ name, type, notNull }) =>
    `  ${name.padEnd(width)}  ${type}${notNull ? " not null" : ""}`.trimEnd()
  );
}

function joinLines(all: readonly string[]): string {
  const shown = all.slice(0, MAX_LINES);
  if (all.length > shown.length) shown.push(`  ... and ${all.length - shown.length} more`);
  return shown.join("\n");
}

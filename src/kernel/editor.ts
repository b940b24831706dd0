import { printable } from "../core/text.ts";
import { type Catalog, type CatalogTable, signatureOf } from "./catalog.ts";
import { completeSql } from "./completion.ts";
import { cellMagicEnd, magicRegion } from "./magic.ts";
import { unitsOf } from "./message.ts";
import { findTable, type Piece, type Relation, type Scope, scopeAt, statementAt } from "./sql_scope.ts";

/** A reply that this kernel gives without the child. */
export interface EditorReply {
  type: string;
  content: Record<string, unknown>;
}

/**
 * Answers an editor's request about SQL: completion, inspection or completeness.
 *
 * @param type The request's type.
 * @param content The request's content.
 * @param catalog The database's catalog, when known.
 * @param connections The notebook's variables that may hold connections.
 * @returns `undefined` when the child should answer.
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

/** In a console, a SQL cell is complete after a semicolon or a blank line. */
function isComplete(code: string): EditorReply | undefined {
  if (!isSqlCell(code)) return undefined;
  const status = /;\s*$|\n[ \t]*\n?$|\?\s*$/.test(code) ? "complete" : "incomplete";
  return { type: "is_complete_reply", content: { status, indent: "" } };
}

function isSqlCell(code: string): boolean {
  try {
    return cellMagicEnd(code) !== undefined;
  } catch {
    return true; // an unknown cell magic, which fails when it runs
  }
}

/** The maximum length of a cell to inspect. */
const MAX_CELL_LENGTH = 200_000;
/** The maximum lines of an inspection. */
const MAX_LINES = 200;

/**
 * The text that Shift-Tab shows for a name in SQL: a table's columns, a column's type and table, or a function's
 * signature.
 *
 * @param code The cell.
 * @param cursor The position of the cursor, in code points.
 * @param catalog The database's catalog, when known.
 * @returns The text by MIME type; `undefined` when nothing is known.
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
  // After FROM a name is a table; elsewhere a column takes precedence.
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

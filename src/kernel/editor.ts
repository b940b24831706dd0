import { printable } from "../core/text.ts";
import { type Catalog, type CatalogTable, signatureOf } from "./catalog.ts";
import { parseFailure } from "./failure.ts";
import { cellMagicEnd, magicRegion } from "./magic.ts";
import { FLAGS, readHeader, STATEMENTS } from "./magic_header.ts";
import { type Candidate, type Candidates, sqlCandidates } from "./sql_completion.ts";
import { findTable, type Relation, type Scope, scopeAt, statementAt, type StatementToken } from "./sql_scope.ts";

/** A reply that this kernel gives without the child. */
interface EditorReply {
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
  if (type === "is_complete_request") return sqlCompleteness(code);
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
function sqlCompleteness(code: string): EditorReply | undefined {
  if (!isSqlCell(code)) return undefined;
  const status = /;\s*$|\n[ \t]*\n?$|\?\s*$/.test(code) ? "complete" : "incomplete";
  return { type: "is_complete_reply", content: { status, indent: "" } };
}

function isSqlCell(code: string): boolean {
  try {
    return cellMagicEnd(code) !== undefined;
  } catch {
    return true; // an unknown cell magic
  }
}

/** Magics, which TypeScript's parser does not know. */
const MAGIC = /%sql|%lsmagic/i;
/** The maximum characters of code to parse while a person waits for the next line. */
const MAX_PARSED_LENGTH = 100_000;

/** Whether code is complete. The child calls code complete that does not parse, because it checks only brackets and quotes. */
export async function codeCompleteness(code: string): Promise<"complete" | "incomplete" | "invalid"> {
  if (MAGIC.test(code) || code.length > MAX_PARSED_LENGTH) return "complete";
  const parses = async (text: string) => {
    const failure = await parseFailure(text).catch(() => undefined); // the parser can't run, so the child's answer stays
    return failure === undefined;
  };
  if (await parses(code)) return "complete";
  return await parses(`${code}\nx`) ? "incomplete" : "invalid"; // such as `const a =`
}

/** The maximum length of a cell to complete or inspect. Longer cells take more time than typing does. */
const MAX_CELL_LENGTH = 200_000;

/** The content of a `complete_reply`, without its status. Positions count code points of the cell. */
interface Completion {
  matches: string[];
  cursor_start: number;
  cursor_end: number;
  metadata: Record<string, unknown>;
}

/** The maximum number of completions in a reply. */
const MAX_MATCHES = 500;

/**
 * Completes SQL and magics.
 *
 * @param code The cell.
 * @param cursor The position of the cursor, in code points.
 * @param catalog The database's catalog, when known.
 * @param connections The notebook's variables that may hold connections.
 * @returns The matches, most likely first; `undefined` when the cursor is not in SQL, so that the child completes TypeScript.
 */
export function completeSql(
  code: string,
  cursor: number,
  catalog: Catalog | undefined,
  connections: readonly string[] = [],
): Completion | undefined {
  if (code.length > MAX_CELL_LENGTH) return undefined;
  const at = utf16Position(code, cursor);
  const completions = magicCandidates(code, at) ?? candidatesInMagic(code, at, catalog, connections);
  if (completions === undefined) return undefined;
  const start = codePointPosition(code, completions.start);
  const end = codePointPosition(code, completions.end ?? at);
  const matches = new Map<string, Candidate>();
  for (const candidate of completions.candidates) {
    if (matches.size < MAX_MATCHES && !matches.has(candidate.text)) matches.set(candidate.text, candidate);
  }
  return {
    matches: [...matches.keys()],
    cursor_start: start,
    cursor_end: end,
    metadata: {
      _jupyter_types_experimental: [...matches.values()].map(({ text, type, signature }) => ({
        start,
        end,
        text,
        type,
        ...(signature === undefined ? {} : { signature }),
      })),
    },
  };
}

/** Converts a position in code points, which Jupyter counts, to UTF-16 units. */
function utf16Position(text: string, codePoints: number): number {
  let units = 0;
  for (let count = 0; count < codePoints && units < text.length; count++) {
    units += text.codePointAt(units)! > 0xffff ? 2 : 1;
  }
  return units;
}

/** Converts a position in UTF-16 units to code points, which Jupyter counts. */
function codePointPosition(text: string, units: number): number {
  let points = 0;
  for (let at = 0; at < units; points++) at += text.codePointAt(at)! > 0xffff ? 2 : 1;
  return points;
}

function candidatesInMagic(
  code: string,
  at: number,
  catalog: Catalog | undefined,
  connections: readonly string[],
): Candidates | undefined {
  const region = magicRegion(code, at);
  if (region === undefined) return undefined;
  return headerCandidates(code, region.start, at, [...connections, ...catalog?.connections ?? []]) ??
    sqlCandidates(code, region, at, catalog);
}

/** The magics that complete a partial magic at the start of a cell. */
function magicCandidates(code: string, at: number): Candidates | undefined {
  const written = /^\s*(%%?\w*)$/.exec(code.slice(0, at))?.[1];
  if (written === undefined) return undefined;
  const matching = ["%%sql", "%sql", "%lsmagic"].filter((name) => name.startsWith(written.toLowerCase()));
  return { start: at - written.length, candidates: matching.map((text) => ({ text, type: "magic" })) };
}

/**
 * The candidates between a magic and its SQL: flags, connections, and words that begin a statement.
 *
 * @param code The cell.
 * @param start The position after the magic's name.
 * @param at The position to complete.
 * @param connections The notebook's variables that hold connections.
 * @returns `undefined` when the SQL has begun.
 */
function headerCandidates(
  code: string,
  start: number,
  at: number,
  connections: readonly string[],
): Candidates | undefined {
  const line = code.slice(start, at);
  if (line.includes("\n") || !/^\s/.test(line)) return undefined;
  const word = line.slice(Math.max(...[" ", "\t", "\r"].map((space) => line.lastIndexOf(space))) + 1);
  const before = code.slice(0, at - word.length);
  try {
    if (readHeader(before, start).end !== before.length) return undefined;
  } catch {
    // The header is invalid because a flag's value is still missing.
    return /--\w+\s+$/.test(before) ? { start: at, candidates: [] } : undefined;
  }
  const isLower = word === word.toLowerCase() && word !== "";
  const candidates = [
    ...connections.map((text) => ({ text, type: "instance" })),
    ...[...STATEMENTS].map((text) => ({ text: isLower ? text : text.toUpperCase(), type: "keyword" })),
    ...Object.entries(FLAGS).map(([name, { summary }]) => ({ text: `--${name}`, type: "flag", signature: summary })),
  ];
  return { start: at - word.length, candidates: candidates.filter(({ text }) => text.startsWith(word)) };
}

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
  const at = utf16Position(code, cursor);
  const region = magicRegion(code, at);
  if (region === undefined) return undefined;
  const { tokens, top } = statementAt(code, region.start, region.end, at);
  const index = tokens.findIndex(({ kind, start, end }) =>
    start <= at && at <= end && (kind === "word" || kind === "name")
  );
  const token = tokens[index];
  if (token === undefined) return undefined;
  const scope = scopeAt(top, token.group, catalog);
  const text = describeName(tokens, index, scope, catalog);
  return text === undefined ? undefined : { "text/plain": printable(text) };
}

function describeName(
  tokens: readonly StatementToken[],
  index: number,
  scope: Scope,
  catalog: Catalog,
): string | undefined {
  const name = tokens[index]!.text;
  const qualifier = tokens[index - 1]?.text === "." ? tokens[index - 2]?.text : undefined;
  const isCalled = tokens[index + 1]?.text === "(";
  if (isCalled) {
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
  // A name after FROM and the like is a table. Elsewhere a column takes precedence.
  if (table !== undefined && tokens[index + 1]?.text !== "." && followsTableKeyword(tokens, index)) {
    return describeTable(table);
  }
  const owners = relations.filter(({ alias }) => qualifier === undefined || alias === qualifier);
  const descriptions = owners.flatMap(({ alias, columns, table }) =>
    columns.filter((column) => column.name === name).map(({ type, notNull }) =>
      `${table === undefined ? alias : `${table.schema}.${table.name}`}.${name} ${type}${notNull ? " not null" : ""}`
    )
  );
  if (descriptions.length > 0) return joinLines([...new Set(descriptions)]);
  return table === undefined ? undefined : describeTable(table);
}

function followsTableKeyword(tokens: readonly StatementToken[], index: number): boolean {
  const before = tokens[index - 1]?.text === "." ? index - 3 : index - 1;
  return /^(?:from|join|update|into|table|,)$/.test(tokens[before]?.text ?? "");
}

/** The kinds of relations by PostgreSQL's `relkind`. */
const RELATION_KINDS: Readonly<Record<string, string>> = {
  r: "table",
  p: "partitioned table",
  v: "view",
  m: "materialized view",
  f: "foreign table",
};

function describeRelation({ alias, columns, table }: Relation): string {
  return table === undefined ? joinLines([alias, ...columnLines(columns)]) : describeTable(table);
}

function describeTable({ schema, name, kind, columns }: CatalogTable): string {
  return joinLines([`${RELATION_KINDS[kind] ?? "table"} ${schema}.${name}`, ...columnLines(columns)]);
}

function columnLines(columns: Relation["columns"]): string[] {
  const width = Math.max(0, ...columns.map(({ name }) => name.length));
  return columns.map(({ name, type, notNull }) =>
    `  ${name.padEnd(width)}  ${type}${notNull ? " not null" : ""}`.trimEnd()
  );
}

function joinLines(lines: readonly string[]): string {
  const shown = lines.slice(0, MAX_LINES);
  if (lines.length > shown.length) shown.push(`  ... and ${lines.length - shown.length} more`);
  return shown.join("\n");
}

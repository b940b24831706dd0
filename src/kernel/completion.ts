import type { Catalogue } from "./catalog.ts";
import { inspectSql } from "./inspection.ts";
import { lineMagicSpans } from "./line_magic.ts";
import { cellMagicEnd } from "./magic.ts";
import { FLAGS, readHeader } from "./magic_header.ts";
import { type Candidate, sqlCandidates, STATEMENTS } from "./sql_completion.ts";

/** The content of a `complete_reply`, without its status; places are in code points of the cell. */
export interface Completion {
  matches: string[];
  cursor_start: number;
  cursor_end: number;
  metadata: Record<string, unknown>;
}

/** Nobody reads a longer list. */
const MOST_MATCHES = 500;
/** In longer texts completing would take longer than typing. */
const LONGEST = 200_000;

/**
 * Completes SQL and magics.
 *
 * @param code The cell.
 * @param cursor Where the cursor is, in code points.
 * @param catalogue What the database has, where that is known.
 * @param connections Variables of the notebook that may hold connections.
 * @returns What fits, the likeliest first; `undefined` where the cursor is not in SQL, so that TypeScript is completed.
 */
export function completeSql(
  code: string,
  cursor: number,
  catalogue: Catalogue | undefined,
  connections: readonly string[] = [],
): Completion | undefined {
  if (code.length > LONGEST) return undefined;
  const at = unitsOf(code, cursor);
  const found = magicCandidates(code, at) ?? inMagic(code, at, catalogue, connections);
  if (found === undefined) return undefined;
  const [start, end] = [pointsOf(code, found.start), pointsOf(code, found.end ?? at)];
  const matches = new Map<string, Candidate>();
  for (const candidate of found.candidates) {
    if (matches.size < MOST_MATCHES && !matches.has(candidate.text)) matches.set(candidate.text, candidate);
  }
  return {
    matches: [...matches.keys()],
    cursor_start: start,
    cursor_end: end,
    metadata: {
      _jupyter_types_experimental: [...matches.values()].map(({ text, type, signature }) => ({
        ...{ start, end, text, type },
        ...(signature === undefined ? {} : { signature }),
      })),
    },
  };
}

/** What fits at a place, and where what it would replace begins and, if not at the place, ends. */
export interface Found {
  start: number;
  end?: number;
  candidates: Iterable<Candidate>;
}

function inMagic(
  code: string,
  at: number,
  catalogue: Catalogue | undefined,
  connections: readonly string[],
): Found | undefined {
  const region = magicRegion(code, at);
  if (region === undefined) return undefined;
  return headerCandidates(code, region.start, at, [...connections, ...catalogue?.connections ?? []]) ??
    sqlCandidates(code, region, at, catalogue);
}

/** The magics themselves, where a cell begins with one that is being written. */
export function magicCandidates(code: string, at: number): Found | undefined {
  const written = /^\s*(%%?\w*)$/.exec(code.slice(0, at))?.[1];
  if (written === undefined) return undefined;
  const fitting = ["%%sql", "%sql", "%lsmagic"].filter((name) => name.startsWith(written.toLowerCase()));
  return { start: at - written.length, candidates: fitting.map((text) => ({ text, type: "magic" })) };
}

/**
 * What fits between a magic and its SQL: flags, connections, and words that begin a statement.
 *
 * @param code The cell.
 * @param start Behind the magic's name.
 * @param at The place.
 * @param connections Variables of the notebook that hold connections.
 * @returns `undefined` where the SQL has begun.
 */
export function headerCandidates(
  code: string,
  start: number,
  at: number,
  connections: readonly string[],
): Found | undefined {
  const line = code.slice(start, at);
  if (line.includes("\n") || !/^\s/.test(line)) return undefined;
  const word = line.slice(Math.max(...[" ", "\t", "\r"].map((space) => line.lastIndexOf(space))) + 1);
  const before = code.slice(0, at - word.length);
  try {
    if (readHeader(before, start).end !== before.length) return undefined;
  } catch {
    // A flag whose value is being written.
    return /--\w+\s+$/.test(before) ? { start: at, candidates: [] } : undefined;
  }
  const lower = word === word.toLowerCase() && word !== "";
  const candidates = [
    ...connections.map((text) => ({ text, type: "instance" })),
    ...[...STATEMENTS].map((text) => ({ text: lower ? text : text.toUpperCase(), type: "keyword" })),
    ...Object.entries(FLAGS).map(([name, { about }]) => ({ text: `--${name}`, type: "flag", signature: about })),
  ];
  return { start: at - word.length, candidates: candidates.filter(({ text }) => text.startsWith(word)) };
}

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
 * @param catalogue What the database holds, as far as it is known.
 * @param connections Variables of the notebook that may hold connections.
 * @returns `undefined` where the child is to be asked.
 */
export function editorReply(
  type: string | undefined,
  content: Record<string, unknown>,
  catalogue: Catalogue | undefined,
  connections: readonly string[] = [],
): EditorReply | undefined {
  const { code, cursor_pos: cursor } = content;
  if (typeof code !== "string") return undefined;
  if (type === "is_complete_request") return isComplete(code);
  if (typeof cursor !== "number") return undefined;
  if (type === "complete_request") {
    const completion = completeSql(code, cursor, catalogue, connections);
    return completion && { type: "complete_reply", content: { status: "ok", ...completion } };
  }
  if (type === "inspect_request") {
    const data = inspectSql(code, cursor, catalogue);
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

/** The part of a cell that a magic rules. */
export interface CellRegion {
  /** Behind the magic's name. */
  start: number;
  /** Where its SQL ends at the latest. */
  end: number;
}

/**
 * The magic in which a place of a cell lies. Unlike a run it takes a cell that is being written.
 *
 * @param source The cell.
 * @param at The place, in UTF-16 units.
 */
export function magicRegion(source: string, at: number): CellRegion | undefined {
  if (!/%sql/i.test(source)) return undefined;
  try {
    const start = cellMagicEnd(source);
    if (start !== undefined) return start <= at ? { start, end: source.length } : undefined;
  } catch {
    return undefined; // another magic, which is refused when it runs
  }
  return lineMagicSpans(source).find(({ start, end }) => start <= at && at <= end);
}

/** A place in UTF-16 units, of one in code points. */
export function unitsOf(text: string, points: number): number {
  let units = 0;
  for (let count = 0; count < points && units < text.length; count++) {
    units += text.codePointAt(units)! > 0xffff ? 2 : 1;
  }
  return units;
}

/** A place in code points, of one in UTF-16 units. */
export function pointsOf(text: string, units: number): number {
  let points = 0;
  for (let at = 0; at < units; points++) at += text.codePointAt(at)! > 0xffff ? 2 : 1;
  return points;
}

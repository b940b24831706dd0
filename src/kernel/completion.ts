import type { Catalog } from "./catalog.ts";
import { magicRegion } from "./magic.ts";
import { FLAGS, readHeader } from "./magic_header.ts";
import { pointsOf, unitsOf } from "./message.ts";
import { type Candidate, sqlCandidates } from "./sql_completion.ts";
import { STATEMENTS } from "./sql_words.ts";

/** The content of a `complete_reply`, without its status. Positions count code points of the cell. */
export interface Completion {
  matches: string[];
  cursor_start: number;
  cursor_end: number;
  metadata: Record<string, unknown>;
}

/** The maximum number of matches. */
const MAX_MATCHES = 500;
/** The maximum length of a cell: in longer cells, completion is slower than typing. */
const MAX_CELL_LENGTH = 200_000;

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
  const at = unitsOf(code, cursor);
  const found = magicCandidates(code, at) ?? candidatesInMagic(code, at, catalog, connections);
  if (found === undefined) return undefined;
  const [start, end] = [pointsOf(code, found.start), pointsOf(code, found.end ?? at)];
  const matches = new Map<string, Candidate>();
  for (const candidate of found.candidates) {
    if (matches.size < MAX_MATCHES && !matches.has(candidate.text)) matches.set(candidate.text, candidate);
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

/** The candidates at a position, and the range that they replace; without `end` the range ends at the position. */
export interface Candidates {
  start: number;
  end?: number;
  candidates: Iterable<Candidate>;
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
export function magicCandidates(code: string, at: number): Candidates | undefined {
  const written = /^\s*(%%?\w*)$/.exec(code.slice(0, at))?.[1];
  if (written === undefined) return undefined;
  const fitting = ["%%sql", "%sql", "%lsmagic"].filter((name) => name.startsWith(written.toLowerCase()));
  return { start: at - written.length, candidates: fitting.map((text) => ({ text, type: "magic" })) };
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
export function headerCandidates(
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
  const lower = word === word.toLowerCase() && word !== "";
  const candidates = [
    ...connections.map((text) => ({ text, type: "instance" })),
    ...[...STATEMENTS].map((text) => ({ text: lower ? text : text.toUpperCase(), type: "keyword" })),
    ...Object.entries(FLAGS).map(([name, { about }]) => ({ text: `--${name}`, type: "flag", signature: about })),
  ];
  return { start: at - word.length, candidates: candidates.filter(({ text }) => text.startsWith(word)) };
}

import type { Found } from "./completion.ts";
import { STATEMENTS } from "./keywords.ts";
import { FLAGS, readHeader } from "./magic_header.ts";

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

import { ScriptTokens } from "./script_text.ts";

/** Deno's parser takes seconds for more, soon minutes, in which nothing can stop it. */
export const DEEPEST = 5000;

/**
 * Whether a cell's brackets are nested deeper than {@linkcode DEEPEST}. Takes time in proportion to the cell, and next to
 * none where there are few brackets.
 */
export function nestsTooDeep(code: string): boolean {
  if (code.length < 2 * DEEPEST || !hasMore(code, /[([{]/g)) return false;
  const tokens = new ScriptTokens(code);
  for (const _ of tokens) if (tokens.brackets.length > DEEPEST) return true;
  return false;
}

function hasMore(code: string, opening: RegExp): boolean {
  let count = 0;
  while (count <= DEEPEST && opening.test(code)) count++;
  return count > DEEPEST;
}

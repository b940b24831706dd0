import { sqlTokens } from "../sql_text.ts";
import type { Statement } from "./fragment.ts";

const READS = new Set(["select", "values", "table", "show", "explain", "with"]);
/** What writes in a `SELECT`, and in a `WITH` or an `EXPLAIN ANALYZE`. */
const WRITES = new Set(["into", "insert", "update", "delete", "merge", "create", "execute"]);

/**
 * Whether a statement is one of those that only read, as far as its text tells: a function that it calls may write. Anything
 * in doubt counts as no such.
 */
export function onlyReads({ text }: Statement): boolean {
  // Whether a back-slash escapes in quotes is a setting of the server.
  return [false, true].every((escapes) => {
    const words = sqlTokens(text, { escapes }).filter(({ kind }) => kind === "word")
      .map(({ start, end }) => text.slice(start, end).toLowerCase()).toArray();
    return READS.has(words[0] ?? "") && !words.some((word) => WRITES.has(word));
  });
}

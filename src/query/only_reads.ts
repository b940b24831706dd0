import type { Statement } from "./fragment.ts";

/** Whether a statement is one of those that only read; anything that may write counts as no such. */
export function onlyReads({ text }: Statement): boolean {
  const bare = text.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, " ");
  if (/^[\s(]*(select|values|table|show|explain)\b/i.test(bare)) return !/\binto\b/i.test(bare);
  return /^\s*with\b/i.test(bare) && !/\b(insert|update|delete|merge)\b/i.test(bare);
}

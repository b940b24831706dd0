import type { Magic } from "./cell_code.ts";
import { cellMagics } from "./magic.ts";

/**
 * The TypeScript of a cell, each piece of it where the person wrote it, and nothing of the SQL around it: for a parser to
 * find what is wrong. It is not for running.
 *
 * @param source The cell.
 * @throws {UsageError} For a cell that is refused.
 */
export function scriptOf(source: string): string {
  const pieces: string[] = [];
  let at = 0;
  for (const magic of cellMagics(source)) {
    const { magic: name, start, end } = magic;
    pieces.push(name === "%%sql" ? blank(source.slice(at, start)) : source.slice(at, start), values(source, magic));
    at = end;
  }
  return pieces.join("") + source.slice(at);
}

/** `%sql SELECT ${a}, ${b}` is to a parser what `$sql +(a) +(b)` is. */
function values(source: string, { magic, start, end, run }: Magic): string {
  const pieces = [magic.replaceAll("%", "$")];
  let at = start + magic.length;
  for (const { expressions } of Array.isArray(run) ? run : []) {
    for (const { start, end } of expressions) {
      pieces.push(blank(source.slice(at, start - 2)), "+(", source.slice(start, end), ")");
      at = end + 1;
    }
  }
  return pieces.join("") + blank(source.slice(at, end));
}

function blank(text: string): string {
  return text.replace(/[^\r\n]/g, " ");
}

import { cellMagics, type CellRewrite, rewriteCell } from "./magic.ts";
import type { Magic } from "./magic_body.ts";
import { printCode, refuseCode } from "./prelude.ts";
import { ScriptTokens } from "./script_text.ts";

/**
 * The code that the child runs for a cell. Help and usage errors become cells that print or throw, so that they run in
 * order and get an execution count.
 *
 * @param source The cell as the person wrote it.
 * @param module The URL of the client.
 */
export function codeForChild(source: string, module: string): string {
  const code = rewrite(source, module);
  if (!nestsTooDeep(code)) return code;
  const limit = `the maximum is ${MAX_NESTING}, because Deno's parser takes minutes for more`;
  return refuseCode("RangeError", `Cannot run the cell: its brackets are nested too deep; ${limit}`);
}

function rewrite(source: string, module: string): string {
  const cell = tryRewrite(source, module);
  switch (cell.kind) {
    case "plain":
      return source;
    case "code":
      return cell.code;
    case "help":
      return printCode(cell.text);
    case "error":
      return refuseCode(cell.name, cell.message);
  }
}

/** An internal error must not stop the queue of cells, so it becomes the error of the cell. */
function tryRewrite(source: string, module: string): CellRewrite {
  try {
    return rewriteCell(source, { module });
  } catch (error) {
    return { kind: "error", name: "InternalError", message: `Cannot read the cell: ${(error as Error).message}` };
  }
}

/** The maximum depth of brackets. For more, Deno's parser takes seconds or minutes, and can't be stopped. */
export const MAX_NESTING = 5000;

/**
 * Whether a cell's brackets are nested deeper than {@linkcode MAX_NESTING}. It takes linear time, and almost none for few
 * brackets.
 */
export function nestsTooDeep(code: string): boolean {
  if (code.length < 2 * MAX_NESTING || !opensMoreThanMax(code, /[([{]/g)) return false;
  const tokens = new ScriptTokens(code);
  for (const _ of tokens) if (tokens.brackets.length > MAX_NESTING) return true;
  return false;
}

function opensMoreThanMax(code: string, opening: RegExp): boolean {
  let count = 0;
  while (count <= MAX_NESTING && opening.test(code)) count++;
  return count > MAX_NESTING;
}

/**
 * The TypeScript of a cell at its original positions, with spaces in place of the SQL. A parser finds syntax errors in it. It
 * is not meant to run.
 *
 * @param source The cell.
 * @throws {UsageError} For a cell that can't run.
 */
export function scriptOnly(source: string): string {
  const pieces: string[] = [];
  let at = 0;
  for (const magic of cellMagics(source)) {
    const { magic: name, start, end } = magic;
    pieces.push(
      name === "%%sql" ? blank(source.slice(at, start)) : source.slice(at, start),
      magicAsScript(source, magic),
    );
    at = end;
  }
  return pieces.join("") + source.slice(at);
}

/** Turns `%sql SELECT ${a}, ${b}` into `$sql +(a) +(b)`, which parses. */
function magicAsScript(source: string, { magic, start, end, run }: Magic): string {
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

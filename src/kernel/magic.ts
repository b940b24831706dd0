import { commandRows } from "../core/psql_commands.ts";
import { UsageError } from "./failure.ts";
import { type LineMagic, lineMagics, lineMagicSpans, unclosedComment, unknownMagic } from "./line_magic.ts";
import { type Magic, magicCode, readMagic } from "./magic_body.ts";
import { FLAGS } from "./magic_header.ts";
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
  const code = rewrittenCode(source, module);
  if (!nestsTooDeep(code)) return code;
  const limit = `the maximum is ${MAX_NESTING}, because Deno's parser takes minutes for more`;
  return refuseCode("RangeError", `Cannot run the cell: its brackets are nested too deep; ${limit}`);
}

function rewrittenCode(source: string, module: string): string {
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

/** The result of rewriting a cell. */
type CellRewrite =
  /** The cell has no magic and runs unchanged. */
  | { kind: "plain" }
  /** The code to run instead. */
  | { kind: "code"; code: string }
  /** A help text to print. */
  | { kind: "help"; text: string }
  /** An error to throw; nothing of the cell runs. */
  | { kind: "error"; name: string; message: string };

/** Options of {@linkcode rewriteCell}. */
interface RewriteOptions {
  /** The URL of the client (`mod.ts`), for a notebook whose import map has no `lakebase`. */
  module: string;
}

/** A request for help: `%lsmagic`, `%%sql?` and the like. */
const HELP = /(?:%lsmagic|%%?sql\?\??|\?\??%%?sql)(?=[ \t\r]*(?:\n|$))/iy;
const CELL_MAGIC = /%%(\w*)/y;

/**
 * Rewrites the magics of a cell as code, in linear time.
 *
 * @param source The cell as the person wrote it.
 * @param options The URL of the client.
 */
export function rewriteCell(source: string, options: RewriteOptions): CellRewrite {
  const shell = shellCommandError(source);
  if (shell !== undefined) return { kind: "error", name: "UsageError", message: shell };
  if (!source.includes("%") && !mayHaveUnclosedComment(source)) return { kind: "plain" };
  try {
    return rewrite(source, options);
  } catch (error) {
    if (error instanceof UsageError) return { kind: "error", name: error.name, message: error.message };
    throw error;
  }
}

function rewrite(source: string, { module }: RewriteOptions): CellRewrite {
  const help = helpAt(source, skipLeading(source));
  if (help !== undefined) return { kind: "help", text: help };
  const magics = cellMagics(source);
  if (magics.length === 0) return { kind: "plain" };
  const code: string[] = [];
  let at = 0;
  for (const magic of magics) {
    const start = magic.magic === "%%sql" ? 0 : magic.start;
    code.push(source.slice(at, start), magicCode(source, { ...magic, start }, module), magic.endsStatement ? ";" : "");
    at = magic.end;
  }
  return { kind: "code", code: code.join("") + source.slice(at) };
}

/**
 * The magics of a cell: one `%%sql`, or any number of `%sql` within TypeScript.
 *
 * @throws {UsageError} For a magic that can't run as it is written.
 */
function cellMagics(source: string): LineMagic[] {
  const start = skipLeading(source);
  const end = cellMagicEnd(source, start);
  if (end === undefined) return lineMagics(source);
  return [{ ...readMagic(source, "%%sql", { start, end, use: "draw" }), endsStatement: false }];
}

/** The position after `%%sql` in a cell that begins with it; `undefined` for other cells. */
export function cellMagicEnd(source: string, start: number = skipLeading(source)): number | undefined {
  CELL_MAGIC.lastIndex = start;
  const magic = CELL_MAGIC.exec(source);
  if (magic === null) return undefined;
  if (magic[1]!.toLowerCase() !== "sql") throw unknownMagic(magic[0]);
  return CELL_MAGIC.lastIndex;
}

/** The part of a cell that belongs to a magic. */
export interface CellRegion {
  /** The position after the magic's name. */
  start: number;
  /** The last position that its SQL can reach. */
  end: number;
}

/**
 * The magic at a position of a cell. The cell may be incomplete.
 *
 * @param source The cell.
 * @param at The position, in UTF-16 units.
 */
export function magicRegion(source: string, at: number): CellRegion | undefined {
  if (!/%sql/i.test(source)) return undefined;
  try {
    const start = cellMagicEnd(source);
    if (start !== undefined) return start <= at ? { start, end: source.length } : undefined;
  } catch {
    return undefined; // an unknown cell magic
  }
  return lineMagicSpans(source).find(({ start, end }) => start <= at && at <= end);
}

/**
 * The TypeScript of a cell at its original positions, with spaces in place of the SQL. A parser finds syntax errors in it. It
 * is not meant to run.
 *
 * @param source The cell.
 * @throws {UsageError} For a cell that can't run.
 */
export function scriptOnly(source: string): string {
  const parts: string[] = [];
  let at = 0;
  for (const magic of cellMagics(source)) {
    const { magic: name, start, end } = magic;
    parts.push(
      name === "%%sql" ? blank(source.slice(at, start)) : source.slice(at, start),
      magicAsScript(source, magic),
    );
    at = end;
  }
  return parts.join("") + source.slice(at);
}

/** Turns `%sql SELECT ${a}, ${b}` into `$sql +(a) +(b)`, which parses. */
function magicAsScript(source: string, { magic, start, end, body }: Magic): string {
  const parts = [magic.replaceAll("%", "$")];
  let at = start + magic.length;
  for (const { expressions } of Array.isArray(body) ? body : []) {
    for (const { start, end } of expressions) {
      parts.push(blank(source.slice(at, start - 2)), "+(", source.slice(start, end), ")");
      at = end + 1;
    }
  }
  return parts.join("") + blank(source.slice(at, end));
}

function blank(text: string): string {
  return text.replace(/[^\r\n]/g, " ");
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
 * A shell command of IPython: `!ls`, `!!ls`, `files = !ls -l`. The program is one whose name is unlikely to be a variable, or
 * it is followed by a word that is not an operator of TypeScript, such as in `!echo hi`.
 */
const SHELL_COMMAND = new RegExp(
  String.raw`^\s*(?:(?:(?:const|let|var)\s+)?([\w$]+)\s*=\s*)?!!?[ \t]*` +
    String
      .raw`(?:(ls|pwd|cd|cat|pip3?|conda|apt|apt-get|git|npm|npx|deno|curl|wget|mkdir|rm|cp|mv|python3?|uv|psql|databricks|` +
    String.raw`lakebase|grep|df|nvidia-smi|printenv|whoami|uname|chmod|jupyter)(?:[ \t]+([-\w./~*"'][^\n]{0,200}))?` +
    String.raw`|([A-Za-z][\w-]*|\.{0,2}(?:\/[\w.-]+)+)(?:[ \t]+(\w[^\n]{0,200}))?)[ \t\r]*(?:\n|$)`,
);

/** Operators that are words and may follow a value. */
const WORD_OPERATOR = /^(?:in|instanceof|as|satisfies)\b/;

/** The error of a shell command such as `!ls`, which is a negation in TypeScript. It says what to write instead. */
function shellCommandError(source: string): string | undefined {
  if (!source.slice(0, 100).includes("!")) return undefined;
  const [, , listed, listedRest, other, otherRest] = SHELL_COMMAND.exec(source.slice(0, 1000)) ?? [];
  const program = listed ?? other;
  const rest = listed === undefined ? otherRest : listedRest;
  if (program === undefined || WORD_OPERATOR.test(rest ?? "")) return undefined;
  if (listed === undefined && rest === undefined && !program.includes("/")) return undefined; // such as `!done`
  const args = rest === undefined
    ? ""
    : `, { args: [${rest.trim().split(/\s+/).map((word) => JSON.stringify(word)).join(", ")}] }`;
  return `Cannot run the cell: !${program} is not a shell command in TypeScript. Write ` +
    `const { stdout } = await new Deno.Command("${program}"${args}).output(); console.log(new TextDecoder().decode(stdout))`;
}

/** Whether the last comment may be unclosed. It is a quick check before the cell is read. */
function mayHaveUnclosedComment(source: string): boolean {
  const last = source.lastIndexOf("/*");
  return last !== -1 && !source.includes("*/", last + 2);
}

/** The position after leading blank lines and comments, in TypeScript or SQL. */
function skipLeading(source: string): number {
  const trivia = /\s+|\/\/[^\n]*|--[^\n]*|\/\*/y;
  let at = 0;
  for (let match = trivia.exec(source); match !== null; match = trivia.exec(source)) {
    const close = match[0] === "/*" ? source.indexOf("*/", trivia.lastIndex) : undefined;
    if (close === -1) throw unclosedComment(source, at);
    at = trivia.lastIndex = close === undefined ? trivia.lastIndex : close + 2;
  }
  return at;
}

function helpAt(source: string, start: number): string | undefined {
  HELP.lastIndex = start;
  const request = HELP.exec(source)?.[0];
  if (request === undefined) return undefined;
  if (source.slice(HELP.lastIndex).trim() !== "") {
    throw new UsageError(`Cannot run the cell: ${request} must be alone in its cell`);
  }
  return request.toLowerCase() === "%lsmagic" ? MAGICS : SQL_HELP;
}

const FLAG_LINES = Object.entries(FLAGS).map(([name, { value, summary }]) =>
  `  ${`--${name}${value === undefined ? "" : ` ${value}`}`.padEnd(15)} ${summary}`
).join("\n");

const COMMAND_LINES = commandRows().map(([command, summary]) => `  ${command.padEnd(15)} ${summary}`).join("\n");

/** The text that `%%sql?` prints. */
const SQL_HELP = `%%sql [connection] [name <<] [flags] runs the SQL of a cell and shows its rows

  %%sql
  SELECT zone, count(*) FROM trips WHERE fare > \${least} GROUP BY zone

  %%sql rows <<          stores the result in the variable rows
  %%sql db2              uses the connection in the variable db2
  const n = %sql SELECT count(*) FROM trips      SQL up to the end of the line, within code

\${expression} is a value from the notebook. It is always sent as a bound parameter, never as text. Write \\\${ for the
characters themselves. Without a connection, the last one that was opened is used; if there is none, connect() is called.
Several statements run in one transaction, unless BEGIN or COMMIT is among them, and the rows of the last one are shown.

Flags come before the SQL:
${FLAG_LINES}

Commands instead of SQL:
${COMMAND_LINES}
`;

/** The text that `%lsmagic` prints. */
const MAGICS = `%%sql        a cell of SQL; %%sql? prints help
%sql         SQL up to the end of a line, in a cell of TypeScript
%lsmagic     this list
`;

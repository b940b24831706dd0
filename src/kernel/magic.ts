import { UsageError } from "./failure.ts";
import { type LineMagic, lineMagics, lineMagicSpans, unclosedComment, unknownMagic } from "./line_magic.ts";
import { magicCode, readMagic } from "./magic_body.ts";
import { FLAGS } from "./magic_header.ts";

/** What becomes of a cell. */
export type CellRewrite =
  /** Passed as it is. */
  | { kind: "plain" }
  /** Sent to the child instead. */
  | { kind: "code"; code: string }
  /** Answered by the kernel. */
  | { kind: "help"; text: string }
  /** Answered by the kernel; nothing reaches the child. */
  | { kind: "error"; name: string; message: string };

/** How a cell is rewritten. */
export interface RewriteOptions {
  /** The URL of the client (`mod.ts`), for a notebook whose import map names no `lakebase`. */
  module: string;
}

const HELP = /(?:%lsmagic|%%?sql\?\??|\?\??%%?sql)(?=[ \t\r]*(?:\n|$))/iy;
const CELL_MAGIC = /%%(\w*)/y;

/**
 * Makes code of a cell with magics. Pure; it takes time in proportion to the cell.
 *
 * @param source The cell as the person wrote it.
 * @param options Where the client is.
 */
export function rewriteCell(source: string, options: RewriteOptions): CellRewrite {
  const shell = shellCommandError(source);
  if (shell !== undefined) return { kind: "error", name: "UsageError", message: shell };
  if (!source.includes("%") && !mayBeUnclosed(source)) return { kind: "plain" };
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
    code.push(source.slice(at, start), magicCode(source, { ...magic, start }, module), magic.ends ? ";" : "");
    at = magic.end;
  }
  return { kind: "code", code: code.join("") + source.slice(at) };
}

/**
 * The magics of a cell: one `%%sql`, or `%sql` lines between lines of TypeScript.
 *
 * @throws {UsageError} For what can't be meant.
 */
export function cellMagics(source: string): LineMagic[] {
  const start = skipLeading(source);
  const end = cellMagicEnd(source, start);
  if (end === undefined) return lineMagics(source);
  return [{ ...readMagic(source, "%%sql", { start, end, use: "draw" }), ends: false }];
}

/** Where a `%%sql` cell's magic ends; `undefined` for another cell. */
export function cellMagicEnd(source: string, start: number = skipLeading(source)): number | undefined {
  CELL_MAGIC.lastIndex = start;
  const found = CELL_MAGIC.exec(source);
  if (found === null) return undefined;
  if (found[1]!.toLowerCase() !== "sql") throw unknownMagic(found[0]);
  return CELL_MAGIC.lastIndex;
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

/** Programs that people call from a cell of IPython; what could as well be a variable is not among them. */
const SHELL_COMMAND =
  /^\s*!\s*(ls|pwd|cd|cat|pip3?|conda|apt|apt-get|git|npm|npx|deno|curl|wget|mkdir|rm|cp|mv|python3?|uv|psql|databricks|lakebase)(?:[ \t]+([-\w./~*"'][^\n]{0,200}))?[ \t\r]*(?:\n|$)/;

/** What to write instead of `!ls`, which is no shell command in TypeScript, but a negation. */
function shellCommandError(source: string): string | undefined {
  if (!source.slice(0, 100).includes("!")) return undefined;
  const [, program, rest] = SHELL_COMMAND.exec(source.slice(0, 1000)) ?? [];
  if (program === undefined || /^(?:in|instanceof|as|satisfies)\b/.test(rest ?? "")) return undefined;
  const args = rest === undefined
    ? ""
    : `, { args: [${rest.trim().split(/\s+/).map((word) => JSON.stringify(word)).join(", ")}] }`;
  return `Cannot run the cell: !${program} is no shell command here. Write ` +
    `const { stdout } = await new Deno.Command("${program}"${args}).output(); console.log(new TextDecoder().decode(stdout))`;
}

/** Whether nothing closes the last comment, if it is one. */
function mayBeUnclosed(source: string): boolean {
  const last = source.lastIndexOf("/*");
  return last !== -1 && !source.includes("*/", last + 2);
}

/** Behind the blank lines and comments, in either language, that a cell begins with. */
function skipLeading(source: string): number {
  const trivia = /\s+|\/\/[^\n]*|--[^\n]*|\/\*/y;
  let at = 0;
  for (let found = trivia.exec(source); found !== null; found = trivia.exec(source)) {
    const close = found[0] === "/*" ? source.indexOf("*/", trivia.lastIndex) : undefined;
    if (close === -1) throw unclosedComment(source, at);
    at = trivia.lastIndex = close === undefined ? trivia.lastIndex : close + 2;
  }
  return at;
}

function helpAt(source: string, start: number): string | undefined {
  HELP.lastIndex = start;
  const found = HELP.exec(source)?.[0];
  if (found === undefined) return undefined;
  if (source.slice(HELP.lastIndex).trim() !== "") {
    throw new UsageError(`Cannot run the cell: ${found} must be alone in it`);
  }
  return found.toLowerCase() === "%lsmagic" ? MAGICS : SQL_HELP;
}

const FLAG_LINES = Object.entries(FLAGS).map(([name, { value, about }]) =>
  `  ${`--${name}${value === undefined ? "" : ` ${value}`}`.padEnd(14)} ${about}`
).join("\n");

/** What `%%sql?` prints. */
export const SQL_HELP = `%%sql [connection] [name <<] [flags] runs the SQL of a cell and draws its rows

  %%sql
  SELECT zone, count(*) FROM trips WHERE fare > \${least} GROUP BY zone

  %%sql rows <<          keeps the result as the variable rows
  %%sql db2              runs it on the connection that the variable db2 holds
  const n = %sql SELECT count(*) FROM trips      SQL to the end of the line, within code

\${expression} is a value from the notebook and always a bound parameter, never text; \\\${ stands for the characters.
Without a connection it runs on the one that was opened last, or connects as connect() does. Of several statements all run,
as one transaction unless BEGIN or COMMIT is among them, and the last one's rows are drawn.

Flags, before the SQL
${FLAG_LINES}

In place of SQL
  \\d             lists the tables               \\d trips     describes a table
  \\dt app.*      lists the tables of a schema   \\dn          lists the schemas
`;

/** What `%lsmagic` prints. */
export const MAGICS = `%%sql        a cell of SQL; %%sql? tells more
%sql         SQL to the end of a line, in a cell of TypeScript
%lsmagic     this list
`;

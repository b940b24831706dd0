import { firstWord, withoutEnd } from "../core/sql_text.ts";
import { UsageError } from "./failure.ts";
import { type MagicHeader, readHeader } from "./magic_header.ts";
import { readSql, type SqlTemplate } from "./sql_template.ts";

const COMMANDS: ReadonlySet<string> = new Set(["d", "dt", "dn", "conninfo"]);

/**
 * Reads a magic and what it runs.
 *
 * @param source The cell.
 * @param magic Which one.
 * @param place Where its name begins and ends, and what becomes of the result.
 * @throws {UsageError} For what can't be meant.
 */
export function readMagic(
  source: string,
  magic: Magic["magic"],
  { start, end, use }: { start: number; end: number; use: Use },
): Magic {
  const line = magic === "%sql";
  const { header, end: behind } = readHeader(source, end);
  checkUse(header, use);
  const first = line ? behind : behind + source.slice(behind).search(/\S|$/);
  if (source[first] === "\\") {
    const stop = line ? source.indexOf("\n", first) : -1;
    const written = source.slice(first, stop === -1 ? undefined : stop);
    return { magic, header, run: command(written, header), start, end: first + written.length, use };
  }
  const { statements, count, end: stop } = readSql(source, line ? behind : bodyStart(source, behind), line);
  if (statements.length === 0) throw new UsageError(`Cannot run the magic: ${magic} has no SQL. ${magic}? prints help`);
  if (header.explain) checkExplained(statements[0]!.strings.join(" "), count);
  return { magic, header, run: statements, start, end: stop, use };
}

/** The line of the magic is not part of the SQL. */
function bodyStart(source: string, behind: number): number {
  return source[behind] === "\n" ? behind + 1 : behind;
}

function checkUse(header: MagicHeader, use: Use): void {
  if (use !== "value") return;
  if (header.store !== undefined) {
    throw new UsageError(
      `Cannot run %sql: its result has two places, ${header.store} << and the code around it; keep one`,
    );
  }
  for (const flag of ["limit", "no-display"] as const) {
    if (header[flag] === undefined) continue;
    throw new UsageError(
      `Cannot run %sql: --${flag} is for what is drawn, and here the result is a value with all its rows`,
    );
  }
}

/** What the server has a plan of; of what is created only what a query fills. */
const EXPLAINED: ReadonlySet<string> = new Set(
  "select values table with insert update delete merge execute declare create".split(" "),
);
const CREATED = /\bcreate\s+(?:\w+\s+){0,3}?(?:table|materialized)\b/i;

/** Whether something that is created is filled by a query. */
function isFilled(text: string): boolean {
  const created = CREATED.exec(text);
  return created !== null && /\bas\b/i.test(text.slice(created.index));
}

function checkExplained(text: string, count: number): void {
  if (count > 1) throw new UsageError(`Cannot run the magic: --explain takes one statement, and here are ${count}`);
  const word = firstWord(text);
  if (EXPLAINED.has(word) && (word !== "create" || isFilled(text))) return;
  const found = word === "" ? "this" : word.toUpperCase();
  throw new UsageError(
    word === "explain"
      ? "Cannot run the magic: --explain is EXPLAIN already; leave one of them out"
      : `Cannot run the magic: --explain is for what has a plan, such as SELECT or UPDATE, and ${found} has none`,
  );
}

function command(written: string, header: MagicHeader): { command: string; argument: string } {
  const [, name = "", plus = "", argument = "", rest = ""] =
    /^\\([a-z?]*)([+S]*)[ \t]*([^\n]*)([\s\S]*)$/i.exec(written) ?? [];
  if (!COMMANDS.has(name)) {
    throw new UsageError(
      `Cannot run the magic: there is no command \\${name}${plus}; there are \\d, \\d table, \\dt pattern, \\dn and \\conninfo`,
    );
  }
  if (rest.trim() !== "") {
    throw new UsageError(`Cannot run the magic: \\${name} is alone; put the SQL into another cell`);
  }
  if (header.plot) throw new UsageError(`Cannot run the magic: --plot is for SQL, and \\${name} is none`);
  if (header.explain) throw new UsageError(`Cannot run the magic: --explain is for SQL, and \\${name} is none`);
  return { command: name, argument: withoutEnd(argument) };
}

/** What becomes of a result. */
export type Use =
  /** The cell's last expression draws it. */
  | "draw"
  /** It is drawn where it stands. */
  | "show"
  /** It is a value within an expression. */
  | "value";

/** A magic that was read. */
export interface Magic {
  /** As a person calls it. */
  magic: "%%sql" | "%sql";
  header: MagicHeader;
  /** The SQL; or a command such as `\d`, with what stands behind it. */
  run: SqlTemplate[] | { command: string; argument: string };
  /** Where in the cell all of it stands. */
  start: number;
  end: number;
  use: Use;
}

const HOOK = 'globalThis[Symbol.for("lakebase.cell")]';

/** Where the line of the value that is computed is kept, of a cell that is all SQL. */
const LINE = "lakebase_line";

/**
 * The expression that runs a magic: it awaits the function that the client leaves under a symbol. The SQL is passed as
 * strings, since a template would change line ends, back-ticks and back-slashes.
 *
 * @param source The cell.
 * @param magic The magic.
 * @param module The client's URL, where the notebook has none by name.
 */
export function magicCode(source: string, magic: Magic, module: string): string {
  const templates = Array.isArray(magic.run) ? magic.run : [];
  // Within code a value may have a `yield`, which a function around it would take.
  const located = magic.magic === "%%sql" && templates.some(({ expressions }) => expressions.length > 0);
  const client = `${HOOK} ?? await import("lakebase").then(() => ${HOOK}, () => undefined) ?? ` +
    `await import(${JSON.stringify(module)}).then(() => ${HOOK})`;
  const code = [`await (${client})({ ${options(magic)} }`];
  let [line, at] = [1, 0];
  for (const { strings, expressions } of templates) {
    code.push(`, [${JSON.stringify(strings)}, [`);
    for (const { start, end } of expressions) {
      line += source.slice(at, start).split("\n").length - 1;
      at = start;
      const expression = source.slice(start, end);
      const closing = expression.includes("//") ? "\n)" : ")"; // behind a comment
      code.push(located ? `(${LINE} = ${line}, (${expression}${closing}), ` : `(${expression}${closing}, `);
    }
    code.push("]]");
  }
  code.push(located ? `, ...(${LINE} = 0, []))` : ")");
  return located ? locatedCode(code.join("")) : code.join("");
}

/** The lines in an error's trace are those of what the cell became; it is given the cell's own. */
function locatedCode(code: string): string {
  return `await (async () => { let ${LINE} = 0; try { return ${code}; } catch (error) { ` +
    `if (${LINE} > 0 && typeof error?.stack === "string") Reflect.set(error, "stack", ` +
    `error.stack.replace(/\\n +at (async )?<anonymous>[:\\d]+(?=\\n|$)/g, "") + ` +
    `"\\n    in \${...} on line " + ${LINE}); throw error; } })()`;
}

function options({ magic, header, run, use }: Magic): string {
  const { connection, store, ...flags } = header;
  const plain = { magic, use, ...flags, ...(Array.isArray(run) ? {} : run), connection, store };
  return [
    ...Object.entries(plain).flatMap(([name, value]) =>
      value === undefined ? [] : [`${JSON.stringify(name)}: ${JSON.stringify(value)}`]
    ),
    ...(connection === undefined ? [] : [`find: () => ${connection}`]),
    // Whether it can be assigned to is known before anything runs.
    ...(store === undefined ? [] : [`check: () => ${store} = ${store}`, `keep: (${store}_) => ${store} = ${store}_`]),
  ].join(", ");
}

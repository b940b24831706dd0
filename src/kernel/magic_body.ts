import { commandNames, PSQL_COMMANDS } from "../core/psql_commands.ts";
import { firstWord, withoutEnd } from "../core/sql_text.ts";
import { UsageError } from "./failure.ts";
import { type MagicHeader, readHeader } from "./magic_header.ts";
import { readSql, type SqlTemplate } from "./sql_template.ts";

/**
 * Reads a magic: its header, and its SQL or command.
 *
 * @param source The cell.
 * @param magic The name of the magic.
 * @param position The start and end of the name, and the use of the result.
 * @throws {UsageError} For a magic that can't run as it is written.
 */
export function readMagic(
  source: string,
  magic: Magic["magic"],
  { start, end, use }: { start: number; end: number; use: Use },
): Magic {
  const isLine = magic === "%sql";
  const { header, end: headerEnd } = readHeader(source, end);
  checkUse(header, use);
  checkExclusiveFlags(header);
  const first = isLine ? headerEnd : headerEnd + source.slice(headerEnd).search(/\S|$/);
  if (source[first] === "\\") {
    const lineEnd = isLine ? source.indexOf("\n", first) : -1;
    const written = source.slice(first, lineEnd === -1 ? undefined : lineEnd);
    return { magic, header, body: readSqlCommand(written, header), start, end: first + written.length, use };
  }
  const bodyStart = isLine || source[headerEnd] !== "\n" ? headerEnd : headerEnd + 1; // the line end is not part of the SQL
  const { statements, count, end: sqlEnd } = readSql(source, bodyStart, isLine);
  if (statements.length === 0) throw new UsageError(`Cannot run the magic: ${magic} has no SQL. ${magic}? prints help`);
  for (const flag of ["save", "with"] as const) {
    if (header[flag] !== undefined) checkSavedQuery(flag, statements[0]!.strings.join(" "), count);
  }
  if (header.explain) checkExplained(statements[0]!.strings.join(" "), count);
  return { magic, header, body: statements, start, end: sqlEnd, use };
}

function checkUse(header: MagicHeader, use: Use): void {
  if (use !== "value") return;
  if (header.store !== undefined) {
    throw new UsageError(
      `Cannot run %sql: its result goes to two places, ${header.store} << and the code around it; use only one`,
    );
  }
  for (const flag of ["limit", "no-display"] as const) {
    if (header[flag] === undefined) continue;
    throw new UsageError(
      `Cannot run %sql: --${flag} applies to a result that is shown, but this result is used as a value with all rows`,
    );
  }
}

/** Refuses flags that can't be used together. */
function checkExclusiveFlags(header: MagicHeader): void {
  const format = header.csv === undefined ? header.parquet === undefined ? undefined : "parquet" : "csv";
  if (format === undefined) return;
  const other = (["parquet", "plot", "explain", "limit"] as const).find((flag) =>
    flag !== format && header[flag] !== undefined
  );
  if (other === undefined) return;
  throw new UsageError(
    `Cannot run the magic: --${format} and --${other} can't be used together; --${format} writes all rows`,
  );
}

const QUERIES: ReadonlySet<string> = new Set(["select", "values", "table", "with"]);
/** Statements that may begin with common table expressions. */
const ALLOW_WITH: ReadonlySet<string> = new Set([...QUERIES, "insert", "update", "delete", "merge"]);

function checkSavedQuery(flag: "save" | "with", text: string, count: number): void {
  if (count > 1) throw new UsageError(`Cannot run the magic: --${flag} takes one statement, but the cell has ${count}`);
  const word = firstWord(text);
  if ((flag === "save" ? QUERIES : ALLOW_WITH).has(word)) return;
  const needed = flag === "save"
    ? "a query, such as SELECT"
    : "a statement that can have WITH, such as SELECT or UPDATE";
  throw new UsageError(
    `Cannot run the magic: --${flag} needs ${needed}; this one is ${word === "" ? "not" : word.toUpperCase()}`,
  );
}

/** Statements that have a plan. CREATE has one only if a query fills the new relation. */
const EXPLAINED: ReadonlySet<string> = new Set(
  "select values table with insert update delete merge execute declare create".split(" "),
);
const CREATED = /\bcreate\s+(?:\w+\s+){0,3}?(?:table|materialized)\b/i;

/** Whether a CREATE statement fills the new relation with a query's rows. */
function isCreatedFromQuery(text: string): boolean {
  const created = CREATED.exec(text);
  return created !== null && /\bas\b/i.test(text.slice(created.index));
}

function checkExplained(text: string, count: number): void {
  if (count > 1) throw new UsageError(`Cannot run the magic: --explain takes one statement, but the cell has ${count}`);
  const word = firstWord(text);
  if (EXPLAINED.has(word) && (word !== "create" || isCreatedFromQuery(text))) return;
  const statement = word === "" ? "this one" : word.toUpperCase();
  throw new UsageError(
    word === "explain"
      ? "Cannot run the magic: the cell has both --explain and EXPLAIN; remove one of them"
      : `Cannot run the magic: --explain needs a statement with a plan, such as SELECT or UPDATE; ${statement} has none`,
  );
}

function readSqlCommand(written: string, header: MagicHeader): SqlCommand {
  const [, word = "", plus = "", argument = "", rest = ""] =
    /^\\([a-z?]*)([+S]*)[ \t]*([^\n]*)([\s\S]*)$/i.exec(written) ?? [];
  const name = word.replace(/S$/, ""); // an S adds the system's objects in psql; here a pattern such as pg_catalog.* lists them
  if (!Object.hasOwn(PSQL_COMMANDS, name)) {
    throw new UsageError(
      `Cannot run the magic: there is no command \\${name}${plus}; the commands are ${commandNames()}`,
    );
  }
  if (rest.trim() !== "") {
    throw new UsageError(`Cannot run the magic: \\${name} must be alone in its cell; put the SQL into another cell`);
  }
  for (const flag of ["plot", "explain", "csv", "parquet", "save", "with"] as const) {
    if (header[flag] === undefined) continue;
    throw new UsageError(`Cannot run the magic: --${flag} needs SQL, but \\${name} is a command`);
  }
  if (PSQL_COMMANDS[name]!.argument === undefined && withoutEnd(argument).trim() !== "") {
    throw new UsageError(`Cannot run the magic: \\${name} takes nothing after it, but has ${withoutEnd(argument)}`);
  }
  return { command: name, argument: withoutEnd(argument), ...(plus.includes("+") ? { detailed: true } : {}) };
}

/** The use of a magic's result. */
type Use =
  /** It is the cell's last expression, so Jupyter displays it. */
  | "draw"
  /** It is a statement, so its result is displayed when it runs. */
  | "show"
  /** It is a value within an expression. */
  | "value";

/** A command of psql instead of SQL. */
interface SqlCommand {
  /** Its name, such as `d`. */
  command: string;
  argument: string;
  /** Whether a `+` follows the name. */
  detailed?: true;
}

/** A magic of a cell. */
export interface Magic {
  /** Its name. */
  magic: "%%sql" | "%sql";
  header: MagicHeader;
  /** The SQL, or a command such as `\d` with its argument. */
  body: SqlTemplate[] | SqlCommand;
  /** The position of the magic in the cell. */
  start: number;
  end: number;
  use: Use;
}

const RUN_MAGIC = 'globalThis[Symbol.for("lakebase.cell")]';

/** The variable that holds the line of the value that is being computed, in a `%%sql` cell. */
const LINE_VARIABLE = "lakebase_line";

/**
 * The expression that runs a magic: it calls the function that the client stores under a global symbol. The SQL is passed
 * as strings, because a template literal would change line ends, backticks and backslashes.
 *
 * @param source The cell.
 * @param magic The magic.
 * @param module The URL of the client, used when the notebook can't import it by name.
 */
export function magicCode(source: string, magic: Magic, module: string): string {
  const templates = Array.isArray(magic.body) ? magic.body : [];
  // The value of a %sql line may contain `yield`, which does not work in the function that reports the line.
  const reportsLine = magic.magic === "%%sql" && templates.some(({ expressions }) => expressions.length > 0);
  const client = `${RUN_MAGIC} ?? await import("lakebase").then(() => ${RUN_MAGIC}, () => undefined) ?? ` +
    `await import(${JSON.stringify(module)}).then(() => ${RUN_MAGIC})`;
  const code = [`await (${client})({ ${optionsCode(magic)} }`];
  let [line, at] = [1, 0];
  for (const { strings, expressions } of templates) {
    code.push(`, [${JSON.stringify(strings)}, [`);
    for (const { start, end } of expressions) {
      line += source.slice(at, start).split("\n").length - 1;
      at = start;
      const expression = source.slice(start, end);
      const closing = expression.includes("//") ? "\n)" : ")"; // so that a comment does not hide the bracket
      code.push(
        reportsLine ? `(${LINE_VARIABLE} = ${line}, (${expression}${closing}), ` : `(${expression}${closing}, `,
      );
    }
    code.push("]]");
  }
  code.push(reportsLine ? `, ...(${LINE_VARIABLE} = 0, []))` : ")");
  return reportsLine ? lineReportingCode(code.join("")) : code.join("");
}

/** Code that replaces the frames of the generated code in an error's trace by the line of the value in the cell. */
function lineReportingCode(code: string): string {
  return `await (async () => { let ${LINE_VARIABLE} = 0; try { return ${code}; } catch (error) { ` +
    `if (${LINE_VARIABLE} > 0 && typeof error?.stack === "string") Reflect.set(error, "stack", ` +
    `error.stack.replace(/\\n +at (async )?<anonymous>[:\\d]+(?=\\n|$)/g, "") + ` +
    `"\\n    in \${...} on line " + ${LINE_VARIABLE}); throw error; } })()`;
}

function optionsCode({ magic, header, body, use }: Magic): string {
  const { connection, store, ...flags } = header;
  const plain = { magic, use, ...flags, ...(Array.isArray(body) ? {} : body), connection, store };
  return [
    ...Object.entries(plain).flatMap(([name, value]) =>
      value === undefined ? [] : [`${JSON.stringify(name)}: ${JSON.stringify(value)}`]
    ),
    ...(connection === undefined ? [] : [`find: () => ${connection}`]),
    // An assignment that is not possible, such as to a constant, fails before the SQL runs.
    ...(store === undefined ? [] : [`check: () => ${store} = ${store}`, `keep: (${store}_) => ${store} = ${store}_`]),
  ].join(", ");
}

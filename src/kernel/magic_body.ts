import { firstWord, withoutEnd } from "../sql_text.ts";
import type { Magic, Use } from "./cell_code.ts";
import { type MagicHeader, readHeader } from "./magic_header.ts";
import { readSql } from "./sql_template.ts";
import { UsageError } from "./usage_error.ts";

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

import { parseEnv } from "node:util";
import config from "../../deno.json" with { type: "json" };
import { LakebaseError, optionText } from "../core/errors.ts";

/** How long `@std/dotenv` may take to arrive before Node's parser reads the file instead. */
const ARRIVAL_LIMIT_MS = 3000;
/** A `.env` holds a few lines; more is another file under its name. */
const SIZE_LIMIT = 1_000_000;

/** A line of a `.env` file. */
export interface Assignment {
  /** What stands to the right of `=`, without its quotes. */
  value: string;
  /** Its line, from 1. */
  line: number;
  /** Why the value is not clear. */
  fault?: string;
}

/** What a `.env` file assigns. */
export interface EnvFile {
  /** The file, as it was named. */
  path: string;
  /** The last assignment to each name. */
  values: ReadonlyMap<string, Assignment>;
}

/**
 * Reads a `.env` file; the environment itself is left alone.
 *
 * @param path The file; with `undefined`, `.env` in the working directory, where there is one.
 * @returns What it assigns; `undefined` where no path was given and there is no such file.
 * @throws {LakebaseError} `BAD_SETTING` for a file that can't be read, or is no text.
 */
export async function readEnvFile(path?: string): Promise<EnvFile | undefined> {
  const name = path ?? ".env";
  const text = await readText(name, path !== undefined);
  if (text === undefined) return undefined;
  const values = scanDotenv(text);
  const parsed = values.size === 0 ? {} : (await (parser ??= loadParser())).parse(canonicalDotenv(values));
  for (const [key, found] of values) found.value = parsed[key] ?? found.value;
  return { path: name, values };
}

/** A folder of that name is a Python environment more often than not: it is none unless it was asked for. */
async function readText(path: string, asked: boolean): Promise<string | undefined> {
  if (path === "/dev/null") return undefined; // how many a program is told to read no file
  let bytes: Uint8Array;
  try {
    const { isFile, isDirectory, size } = await Deno.stat(path); // first: opening a pipe would wait for its writer
    if (isDirectory && !asked) return undefined;
    if (!isFile) throw unreadable(path, `it is ${isDirectory ? "a folder" : "no file"}`);
    if (size > SIZE_LIMIT) throw unreadable(path, `it has ${size} bytes; ${SIZE_LIMIT} are the most`);
    bytes = await Deno.readFile(path);
  } catch (cause) {
    const absent = cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotCapable;
    if (absent && !asked) return undefined;
    if (cause instanceof LakebaseError) throw cause;
    throw unreadable(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (bytes.includes(0)) throw unreadable(path, "it holds NUL bytes; save it as UTF-8");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(path, "it is not UTF-8; save it as that", cause);
  }
}

function unreadable(path: string, state: string, cause?: unknown): LakebaseError {
  const message = `Cannot read the environment file "${path}": ${state}. ${
    optionText({ envFile: false }, "envFile: false")
  } (LAKEBASE_ENV_FILE=) leaves it`;
  return new LakebaseError("BAD_SETTING", message, { cause, setting: "envFile", origin: path });
}

interface Parser {
  parse(text: string): Record<string, string | undefined>;
}

/** Asked for once in a process, with the first file that assigns something. */
let parser: Promise<Parser> | undefined;

/** The name is not written out in `import()`, or Deno would ask JSR for it before the first line of a script runs. */
async function loadParser(): Promise<Parser> {
  const specifier = config.imports["@std/dotenv"];
  if (await arrives(specifier)) return await import(specifier);
  return { parse: parseEnv };
}

/**
 * JSR is not reached from closed networks: some refuse at once, some never answer, and an import that waits can't be
 * called off, not even in a worker. A child process can.
 */
async function arrives(specifier: string): Promise<boolean> {
  if (Deno.build.standalone) return false; // `execPath` is the compiled script itself
  const command = Deno.execPath();
  if (
    Deno.permissions.querySync({ name: "run", command }).state !== "granted"
  ) return false; // asking would hang a job
  const args = ["cache", "--quiet", "--no-lock", "--no-config", specifier];
  const child = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), ARRIVAL_LIMIT_MS);
  const { success } = await child.status;
  clearTimeout(timer);
  return success;
}

const NAME = /[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*/y;
const UNCLEAR = "what follows the closing quote belongs to no value";

/**
 * What a `.env` file assigns. `@std/dotenv` and Node's `parseEnv` read many a file alike, and drop what they can't read
 * without a word, which cuts passwords short. The differences:
 *
 * - `"say \"hi\""` is `say "hi"`; for both of them it ends at the second quote. A `\"` that no quote of its line follows
 *   ends the value, so that `"C:\dir\"` is what it looks like.
 * - what follows a closing quote, other than a comment, and `#` inside a value without quotes are faults; both cut there.
 * - `$name` stays as it is, as with Node; `@std/dotenv` puts a value in its place, in values without quotes.
 * - `\t` and `\r` in double quotes are a tab and a carriage return, as with `@std/dotenv`; Node knows `\n` only.
 * - a line break beside a quote is not part of the value, as with `@std/dotenv`; Node keeps it.
 * - back-ticks are no quotes, as with `@std/dotenv`; Node takes them for some. A byte order mark is left out; Node keeps it.
 */
export function scanDotenv(text: string): Map<string, Assignment> {
  const values = new Map<string, Assignment>();
  let line = 1;
  for (let at = text.startsWith("\ufeff") ? 1 : 0; at < text.length;) {
    NAME.lastIndex = at;
    const match = NAME.exec(text);
    const end = match === null ? lineEnd(text, at) : readValue(text, NAME.lastIndex, line, (found) => {
      values.delete(match[1]!);
      values.set(match[1]!, found);
    });
    for (; at <= end; at++) if (text[at] === "\n") line++;
  }
  return values;
}

/** Reads one value, and says where its last line ends. */
function readValue(text: string, start: number, line: number, give: (found: Assignment) => void): number {
  const quote = text[start];
  const close = quote === "'" || quote === '"' ? closingQuote(text, start, quote) : -1;
  if (close < 0) {
    const end = lineEnd(text, start);
    const whole = text.slice(start, end);
    const comment = whole.indexOf("#");
    const value = (comment < 0 ? whole : whole.slice(0, comment)).trim();
    const inside = comment > 0 && !/\s/.test(whole[comment - 1]!);
    give(inside ? { value, line, fault: 'a value that holds "#" has to stand in quotes' } : { value, line });
    return end;
  }
  const inner = text.slice(start + 1, close);
  const value = (quote === "'" ? inner : unescaped(inner)).replace(/^\r?\n|\r?\n$/g, "");
  const end = lineEnd(text, close + 1);
  const clear = /^[ \t\r]*(#|$)/.test(text.slice(close + 1, end));
  give(clear ? { value, line } : { value, line, fault: UNCLEAR });
  return end;
}

function closingQuote(text: string, start: number, quote: string): number {
  for (let at = start; (at = text.indexOf(quote, at + 1)) >= 0;) {
    if (quote === "'" || text[at - 1] !== "\\") return at;
    const next = text.indexOf(quote, at + 1);
    if (next < 0 || next > lineEnd(text, at)) return at;
  }
  return -1;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

function unescaped(text: string): string {
  const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  return text.replace(/\\([nrt"])/g, (_, letter: string) => escapes[letter] ?? letter);
}

/**
 * The assignments in the form that `@std/dotenv` and Node's `parseEnv` read alike. A value that no form of theirs can hold
 * is left out: it stays as it was read.
 */
export function canonicalDotenv(values: ReadonlyMap<string, Assignment>): string {
  const lines: string[] = [];
  for (const [name, { value }] of values) {
    if (/^\n|\n$/.test(value)) continue;
    if (!value.includes("'")) lines.push(`${name}='${value}'`);
    else if (!/["\\]/.test(value)) lines.push(`${name}="${value}"`);
  }
  return lines.join("\n");
}

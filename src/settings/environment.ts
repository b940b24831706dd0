import { loadModule } from "../core/lazy_import.ts";
import { parseEnv } from "node:util";
import config from "../../deno.json" with { type: "json" };
import { LakebaseError, optionText } from "../core/errors.ts";
import { SETTING_NAMES } from "./options.ts";
import type { Origin, WithOrigin } from "./origin.ts";
import { badSetting } from "./read_option.ts";
import { IN_ENV_FILE, NEVER_IN_ENV_FILE } from "./workspace.ts";

/** The variables of the environment, and those of `.env` that the environment does not have, by name. */
export type Variables = ReadonlyMap<string, WithOrigin>;

/** The variable that names a SQL warehouse. */
export const WAREHOUSE = "DATABRICKS_WAREHOUSE_ID";

/** The only variables that are taken from a `.env`. Any other variable might name a program to run. */
const ALLOWED_IN_FILE = new Set([
  ...Object.values(SETTING_NAMES).flat(),
  "LAKEBASE_LOCAL",
  WAREHOUSE,
  ...IN_ENV_FILE,
]);

/**
 * Merges the environment over `.env`. An empty value counts as not set.
 *
 * @param env The environment of the process, or its replacement.
 * @param file The `.env`.
 * @param source The source that `env` counts as.
 * @throws {LakebaseError} `BAD_SETTING` for an ambiguous value in `.env`, with its line.
 */
export function mergeVariables(
  env: Record<string, string | undefined>,
  file?: EnvFile,
  source: Origin["source"] = "environment",
): Variables {
  const variables = new Map<string, WithOrigin>();
  for (const [name, { value, line, fault }] of file?.values ?? []) {
    if (!ALLOWED_IN_FILE.has(name) || env[name]) continue;
    const origin = { source: ".env", name, file: file!.path, line } as const;
    if (fault !== undefined) {
      throw badSetting(`${name} in ${file!.path}, line ${line}: ${fault}`, { setting: name, origin });
    }
    if (value !== "") variables.set(name, { value, origin });
  }
  for (const [name, value] of Object.entries(env)) if (value) variables.set(name, { value, origin: { source, name } });
  return variables;
}

/** The variables of a `.env` that are never taken from such a file, with the reasons. */
export function refusedNames(file: EnvFile | undefined): [name: string, reason: string][] {
  return Object.entries(NEVER_IN_ENV_FILE).filter(([name]) => file?.values.has(name));
}

/** Milliseconds that the download of `@std/dotenv` may take; after that, Node's parser is used. */
const DOWNLOAD_LIMIT_MS = 3000;
/** The largest `.env` that is read, in bytes. A larger file is something else under that name. */
const SIZE_LIMIT = 1_000_000;

/** A line of a `.env` file. */
interface Assignment {
  /** The value, without its quotes. */
  value: string;
  /** The line, counted from 1. */
  line: number;
  /** Why the value is ambiguous; `undefined` if it is not. */
  fault?: string;
}

/** What a `.env` file assigns. */
export interface EnvFile {
  /** The path of the file, as the caller gave it. */
  path: string;
  /** The last assignment to each name. */
  values: ReadonlyMap<string, Assignment>;
}

/**
 * Reads a `.env` file. This does not change the environment of the process.
 *
 * @param path The file. Without it, `.env` in the working directory is read, if there is one.
 * @returns What it assigns; `undefined` if no path was given and there is no such file.
 * @throws {LakebaseError} `BAD_SETTING` for a file that can't be read, or is not UTF-8 text.
 */
export async function readEnvFile(path?: string): Promise<EnvFile | undefined> {
  const name = path ?? ".env";
  const text = await readText(name, path !== undefined);
  if (text === undefined) return undefined;
  const values = scanDotenv(text);
  const parsed = values.size === 0 ? {} : (await (parser ??= loadParser())).parse(canonicalDotenv(values));
  for (const [key, assignment] of values) assignment.value = parsed[key] ?? assignment.value;
  return { path: name, values };
}

/** A folder `.env` is usually a Python environment, so it is ignored unless the caller named it. */
async function readText(path: string, isNamed: boolean): Promise<string | undefined> {
  if (path === "/dev/null") return undefined; // the usual way to say "no file"
  let bytes: Uint8Array;
  try {
    const { isFile, isDirectory, size } = await Deno.stat(path); // opening a pipe would wait for its writer
    if (isDirectory && !isNamed) return undefined;
    if (!isFile) throw unreadable(path, `it is ${isDirectory ? "a folder" : "not a file"}`);
    if (size > SIZE_LIMIT) throw unreadable(path, `it has ${size} bytes; the limit is ${SIZE_LIMIT}`);
    bytes = await Deno.readFile(path);
  } catch (cause) {
    const absent = cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotCapable;
    if (absent && !isNamed) return undefined;
    if (cause instanceof LakebaseError) throw cause;
    throw unreadable(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (bytes.includes(0)) throw unreadable(path, "it contains NUL bytes; save it as UTF-8");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw unreadable(path, "it is not UTF-8; save it as UTF-8", cause);
  }
}

function unreadable(path: string, state: string, cause?: unknown): LakebaseError {
  const message = `Cannot read the environment file "${path}": ${state}. ${
    optionText({ envFile: false }, "envFile: false")
  } (LAKEBASE_ENV_FILE=) turns it off`;
  return new LakebaseError("BAD_SETTING", message, { cause, setting: "envFile", origin: path });
}

interface Parser {
  parse(text: string): Record<string, string | undefined>;
}

/** Loaded once in a process, for the first `.env` file that assigns something. */
let parser: Promise<Parser> | undefined;

/** The name is not a literal in `import()`: Deno would download the package before the first line of a script runs. */
async function loadParser(): Promise<Parser> {
  const specifier = config.imports["@std/dotenv"];
  if (await isAvailable(specifier)) return await loadModule(() => import(specifier));
  return { parse: parseEnv };
}

/**
 * Whether the package is cached or can be downloaded in time. In a closed network JSR may never answer. Nothing can
 * cancel a waiting import, even in a worker, but a child process can be killed.
 */
async function isAvailable(specifier: string): Promise<boolean> {
  if (Deno.build.standalone) return false; // `execPath` is the compiled script itself
  const command = Deno.execPath();
  if (
    Deno.permissions.querySync({ name: "run", command }).state !== "granted"
  ) return false; // a prompt would hang a job
  const args = ["cache", "--quiet", "--no-lock", "--no-config", specifier];
  const child = new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), DOWNLOAD_LIMIT_MS);
  const { success } = await child.status;
  clearTimeout(timer);
  return success;
}

const NAME = /[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*/y;
const TEXT_AFTER_QUOTE = "there is text after the closing quote";

/**
 * Finds the assignments in the text of a `.env` file. `@std/dotenv` and Node's `parseEnv` read most files in the same way, but
 * they silently drop what they can't read, so a password may lose its end. This function differs from them as follows:
 *
 * - `"say \"hi\""` is `say "hi"`; the parsers end the value at the second quote. A `\"` with no further quote on its
 *   line ends the value, so that `"C:\dir\"` is a path that ends in a backslash.
 * - Text after a closing quote, other than a comment, and `#` inside a value without quotes are faults; they cut the value.
 * - `$name` is kept, as by Node; `@std/dotenv` expands it in values without quotes.
 * - `\t` and `\r` in double quotes are a tab and a carriage return, as in `@std/dotenv`; Node knows `\n` only.
 * - A line break next to a quote is not part of the value, as in `@std/dotenv`; Node keeps it.
 * - Backticks are not quotes, as in `@std/dotenv`; they are in Node. A byte order mark is skipped; Node keeps it.
 */
export function scanDotenv(text: string): Map<string, Assignment> {
  const values = new Map<string, Assignment>();
  let line = 1;
  for (let at = text.startsWith("\ufeff") ? 1 : 0; at < text.length;) {
    NAME.lastIndex = at;
    const match = NAME.exec(text);
    const end = match === null ? lineEnd(text, at) : readValue(text, NAME.lastIndex, line, (assignment) => {
      values.delete(match[1]!);
      values.set(match[1]!, assignment);
    });
    for (; at <= end; at++) if (text[at] === "\n") line++;
  }
  return values;
}

/** Reads one value, and returns the index where its last line ends. */
function readValue(text: string, start: number, line: number, assign: (assignment: Assignment) => void): number {
  const quote = text[start];
  const close = quote === "'" || quote === '"' ? closingQuote(text, start, quote) : -1;
  if (close < 0) {
    const end = lineEnd(text, start);
    const whole = text.slice(start, end);
    const comment = whole.indexOf("#");
    const value = (comment < 0 ? whole : whole.slice(0, comment)).trim();
    const cutsValue = comment > 0 && !/\s/.test(whole[comment - 1]!);
    assign(cutsValue ? { value, line, fault: 'a value that contains "#" must be in quotes' } : { value, line });
    return end;
  }
  const inner = text.slice(start + 1, close);
  const value = (quote === "'" ? inner : unescaped(inner)).replace(/^\r?\n|\r?\n$/g, "");
  const end = lineEnd(text, close + 1);
  const isClear = /^[ \t\r]*(#|$)/.test(text.slice(close + 1, end));
  assign(isClear ? { value, line } : { value, line, fault: TEXT_AFTER_QUOTE });
  return end;
}

function closingQuote(text: string, start: number, quote: string): number {
  let end = -1; // the end of the line, found once, because a line may have very many quotes
  for (let at = start; (at = text.indexOf(quote, at + 1)) >= 0;) {
    if (quote === "'" || text[at - 1] !== "\\") return at;
    const next = text.indexOf(quote, at + 1);
    if (at > end) end = lineEnd(text, at);
    if (next < 0 || next > end) return at;
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
 * Writes the assignments so that `@std/dotenv` and Node's `parseEnv` read them in the same way. It leaves out a value that
 * they can't represent; the caller keeps the value that {@linkcode scanDotenv} read.
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

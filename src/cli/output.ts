import { LakebaseError, MESSAGE_FOR, type NamedOptions, type OptionValue, redact } from "../core/errors.ts";
import { quoteName } from "../core/sql_text.ts";
import { printable } from "../core/text.ts";
import { until } from "../sql/stop.ts";

const encoder = new TextEncoder();

/** The terminal commands with which a table dims NULL. No other commands are printed. */
const DIM = new RegExp("(\x1b\\[22?m)");

/**
 * Writes a text. A terminal and standard error get control characters in a visible form, because names, values and errors
 * come from others. A file or a pipe gets the text unchanged.
 */
export async function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): Promise<void> {
  const isShown = to === Deno.stderr || to.isTerminal();
  const safe = isShown ? text.split(DIM).map((part) => DIM.test(part) ? part : printable(part)).join("") : text;
  for (let bytes = encoder.encode(safe); bytes.length > 0;) bytes = bytes.subarray(await to.write(bytes));
}

/** Writes a text, and resolves when more can be written. */
export type Write = (text: string) => Promise<void>;

/**
 * Calls `work` with a function that writes to standard output, or to a file that appears only when it is complete.
 *
 * @param path The file; `undefined` for standard output.
 * @throws What `work` throws, or what a pull to a file throws.
 */
export async function withOutput(
  path: string | undefined,
  stopped: AbortSignal,
  work: (write: Write) => Promise<void>,
): Promise<void> {
  // Stop must not wait for a reader that has stopped reading.
  if (path === undefined) return await work((text) => until(print(Deno.stdout, text), stopped));
  const { openFileTarget } = await import("../transfer/pull/file_target.ts");
  const file = await openFileTarget(path, stopped);
  try {
    await work((text) => until(file.write(encoder.encode(text)), stopped));
    await file.commit(stopped);
  } catch (error) {
    await file.abort(error, stopped);
    throw error;
  }
}

/** Environment variables as lines for a shell. */
export function exportLines(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables).map(([name, value]) => `export ${name}=${shellWord(value)}\n`).join("");
}

/** A text as one word of a shell. */
function shellWord(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

/** Exit codes. A signal that stopped the program has 128 plus its number: 130 for Ctrl-C, 143 for SIGTERM. */
export const EXIT = { ok: 0, failure: 1, usage: 2, brokenPipe: 141 } as const;

/** The exit code of an error. */
export function exitCode(error: unknown): number {
  if (isBrokenPipe(error)) return EXIT.brokenPipe;
  const isUsage = error instanceof LakebaseError && (error.code === "BAD_SETTING" || error.code === "BAD_PARAMETER");
  return isUsage ? EXIT.usage : EXIT.failure;
}

/**
 * The text that is printed for an error; empty when the reader of the output has closed it, as `head` does.
 *
 * @param trace Whether to add the stack trace.
 */
export function errorText(error: unknown, trace: boolean): string {
  if (isBrokenPipe(error)) return "";
  const code = error instanceof LakebaseError ? `[${error.code}] ` : "";
  const text = trace && error instanceof Error ? Deno.inspect(error) : `${code}${shellMessage(error)}`;
  return `lakebase: ${redact(text)}\n`;
}

/** The message of an error, with its options as a person types them in a shell: `{ format: "csv" }` is `--format csv`. */
export function shellMessage(error: unknown): string {
  if (error instanceof LakebaseError) return error[MESSAGE_FOR](shellText);
  return error instanceof Error ? error.message : String(error);
}

/** Whether the reader of the output has closed it. The similar error of a broken connection to the server does not count. */
function isBrokenPipe(error: unknown): boolean {
  if (error instanceof LakebaseError) return error.code === "BAD_FILE" && (error.cause as Error)?.name === "BrokenPipe";
  return error instanceof Deno.errors.BrokenPipe;
}

/** Options of `pull()`, `load()` and `connect()` that have another name in the shell. */
const SHELL_NAMES: Readonly<Record<string, string>> = {
  name: "NAME",
  header: "--no-header",
  nullText: "--null",
  types: "--type",
  partitions: "--no-partitions",
};

function optionOf(name: string): string {
  return SHELL_NAMES[name] ?? `--${inKebabCase(name)}`;
}

function inKebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function shellText(named: NamedOptions): string {
  if (typeof named === "string") return optionOf(named);
  return Object.entries(named).map(([name, value]) => optionText(name, value)).join(" ");
}

function optionText(name: string, value: OptionValue): string {
  if (name === "shell") return String(value);
  if (name === "param") return `$${value}, with -p ${value}=VALUE`;
  if (name === "mode") return optionOf(String(value));
  if (value === false) return `--no-${inKebabCase(name)}`;
  if (value === true) return optionOf(name);
  if (typeof value !== "object") return `${optionOf(name)} ${asTyped(String(value))}`;
  if (Array.isArray(value)) return `${optionOf(name)} ${value.length === 0 ? "NAMES" : asTyped(namesText(value))}`;
  const option = name === "columns" ? "--rename" : optionOf(name);
  return Object.entries(value).map((pair) => `${option} ${asTyped(pair.join("="))}`).join(" ");
}

/** Names in the form that `--columns` takes. */
function namesText(names: readonly string[]): string {
  return names.map((name) => /^[^\s",]+$/.test(name) ? name : quoteName(name)).join(",");
}

/** A value as a person types it in a shell, where `\t` is a tab. */
function asTyped(text: string): string {
  return shellWord(text.replaceAll("\t", "\\t"));
}

import { LakebaseError, MESSAGE_FOR, type NamedOptions, type OptionValue, redact } from "../core/errors.ts";

/** Exit codes. A signal that stopped the program has 128 plus its number: 130 for Ctrl-C, 143 for SIGTERM. */
export const EXIT = { ok: 0, failure: 1, usage: 2, brokenPipe: 141 } as const;

/** The exit code of an error. */
export function exitCode(error: unknown): number {
  if (isBrokenPipe(error)) return EXIT.brokenPipe;
  const wrongUse = error instanceof LakebaseError && (error.code === "BAD_SETTING" || error.code === "BAD_PARAMETER");
  return wrongUse ? EXIT.usage : EXIT.failure;
}

/**
 * The text that is printed for an error; empty when the reader of the output has left, as `head` does.
 *
 * @param trace Whether to add where the error was thrown.
 */
export function errorText(error: unknown, trace: boolean): string {
  if (isBrokenPipe(error)) return "";
  const code = error instanceof LakebaseError ? `[${error.code}] ` : "";
  const text = trace && error instanceof Error ? Deno.inspect(error) : `${code}${shellMessage(error)}`;
  return `lakebase: ${redact(text)}\n`;
}

/** The message of an error, with the options in it as they are typed: `{ format: "csv" }` is `--format csv` here. */
export function shellMessage(error: unknown): string {
  if (error instanceof LakebaseError) return error[MESSAGE_FOR](shellText);
  return error instanceof Error ? error.message : String(error);
}

/** Whether the reader of the output has closed it. A broken connection is a similar error, but not this one. */
function isBrokenPipe(error: unknown): boolean {
  if (error instanceof LakebaseError) return error.code === "BAD_FILE" && (error.cause as Error)?.name === "BrokenPipe";
  return error instanceof Deno.errors.BrokenPipe;
}

/** Options of `pull()`, `load()` and `connect()` whose shell name is not `--` and their own name. */
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
  return Object.entries(named).map(([name, value]) => withValue(name, value)).join(" ");
}

function withValue(name: string, value: OptionValue): string {
  if (name === "param") return `$${value}, with -p ${value}=VALUE`;
  if (name === "mode") return optionOf(String(value));
  if (value === false) return `--no-${inKebabCase(name)}`;
  if (value === true) return optionOf(name);
  if (typeof value !== "object") return `${optionOf(name)} ${word(String(value))}`;
  if (Array.isArray(value)) return `${optionOf(name)} ${value.length === 0 ? "NAMES" : word(namesText(value))}`;
  const option = name === "columns" ? "--rename" : optionOf(name);
  return Object.entries(value).map((pair) => `${option} ${word(pair.join("="))}`).join(" ");
}

/** Names in the form that `--columns` takes. */
function namesText(names: readonly string[]): string {
  return names.map((name) => /^[^\s",]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`).join(",");
}

/** A word as a person types it in a shell. */
function word(text: string): string {
  const typed = text.replaceAll("\t", "\\t");
  return /^[\w.,:=/-]+$/.test(typed) ? typed : `'${typed.replaceAll("'", `'\\''`)}'`;
}

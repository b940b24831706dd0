import { LakebaseError, redact } from "../core/errors.ts";

/** Exit codes that scripts can tell apart. A signal that stopped it adds its number to 128: 130 for Ctrl-C, 143 for SIGTERM. */
export const EXIT = { ok: 0, failure: 1, usage: 2, brokenPipe: 141 } as const;

/** The exit code for an error. */
export function exitCode(error: unknown): number {
  if (isBrokenPipe(error)) return EXIT.brokenPipe;
  const wrongUse = error instanceof LakebaseError && (error.code === "BAD_SETTING" || error.code === "BAD_PARAMETER");
  return wrongUse ? EXIT.usage : EXIT.failure;
}

/**
 * What is printed of an error; empty where the reader of the output has left, as `head` does, which nobody needs to be told.
 *
 * @param trace Also where it was thrown.
 */
export function errorText(error: unknown, trace: boolean): string {
  if (isBrokenPipe(error)) return "";
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof LakebaseError ? `[${error.code}] ` : "";
  // What a server says, or the values of a file that it repeats, is not ours to translate.
  const ours = (line: string) => (error as { code?: unknown }).code !== "QUERY_FAILED" || line.startsWith("HINT: ");
  const said = settingInShell(error, message).split("\n").map((line) => ours(line) ? inShell(line) : line).join("\n");
  const text = trace && error instanceof Error ? Deno.inspect(error) : `${code}${said}`;
  return `lakebase: ${redact(text)}\n`;
}

/** An option of `connect()` is an option of the shell's; which one it is, the error's own fields say. */
function settingInShell(error: unknown, message: string): string {
  if (!(error instanceof LakebaseError) || error.setting === undefined || error.origin !== "option") return message;
  const name = `--${error.setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  return message.replaceAll(`option "${error.setting}"`, `option ${name}`).replaceAll(
    `"${error.setting}" (`,
    `${name} (`,
  )
    .replaceAll("envFile: false", "--no-env-file");
}

/** Whether the reader of the output has left, said by Deno or by a pull; a connection may break in the same way. */
function isBrokenPipe(error: unknown): boolean {
  if (error instanceof LakebaseError) return error.code === "BAD_FILE" && (error.cause as Error)?.name === "BrokenPipe";
  return error instanceof Deno.errors.BrokenPipe;
}

/** What options of `pull()` and `load()` are called here, where that is not `--` and their name. */
const NAMES: Readonly<Record<string, string>> = {
  header: "--no-header",
  nullText: "--null",
  types: "--type",
  rowGroupSize: "--row-group-size",
  partitions: "--no-partitions",
  rowsPerFile: "--rows-per-file",
  partitionBy: "--partition-by",
  skipBlankLines: "--skip-blank-lines",
};
const PLAIN = [
  "format",
  "delimiter",
  ...["quote", "escape", "encoding", "skip", "comment", "decimal", "index"],
  "columns",
  "gzip",
  "compression",
  "parallel",
  "timeout",
  "create",
  "mode",
  "replace",
  "local",
];

const KEY = [...Object.keys(NAMES), ...PLAIN].join("|");
const STRING = String.raw`"(?:[^"\\]|\\.)*"`;
const TYPES = String.raw`\{ (?:${STRING}|\w+): ${STRING}(?:, (?:${STRING}|\w+): ${STRING})* \}`;
const LIST = String.raw`\[(?:\.\.\.|${STRING}(?:, ${STRING})*)\]`;
const PAIR = String.raw`(?:${KEY}): (?:${STRING}|\d+|true|false|${LIST}|${TYPES})`;

const OBJECT = new RegExp(String.raw`\{ ${PAIR}(?:, ${PAIR})* \}`, "g");
const EACH_PAIR = new RegExp(PAIR, "g");
const EACH_TYPE = new RegExp(String.raw`(${STRING}|\w+): (${STRING})`, "g");
/** An option that the message is about; not the same word in what a server or a file says. */
const SUBJECT = new RegExp(String.raw`(?:(?<=^Cannot [^:]*: )|the option )(${KEY})(?= (?:is|has|names) )`);
/** An option of `connect()`, which the message names together with its variable of the environment. */
const SETTING = /"(endpoint|instance|profile|host|port|database|user|ca)"(?= \((?:PG|LAKEBASE|DATABRICKS)[A-Z_]*\))/g;
const LEFT_OUT = new RegExp(String.raw`(?<=leave )"(${KEY})"(?= out)`, "i");

/** A message of the module in words of the shell: `{ format: "csv" }` is `--format csv` here. */
export function inShell(message: string): string {
  return message.replaceAll("connect({ local: true })", "--local")
    .replace(SETTING, "--$1")
    .replace(/(?<=\nHINT: a value goes in as )\$\{(\w+)\}(?=, which is bound)/, "$$$1, with -p $1=VALUE")
    .replaceAll('name the "profile"', "give --profile")
    .replace(/^(Cannot load: )types is.*such as (?=\{)/s, "$1a --type is no type of SQL; write it as in ")
    .replace(new RegExp(String.raw`(?<=as in )${TYPES}`), typeOptions)
    .replace(OBJECT, (object) => object.match(EACH_PAIR)!.map(option).join(" "))
    .replace(SUBJECT, (_, key) => nameOf(key))
    .replace(LEFT_OUT, (_, key) => nameOf(key));
}

function nameOf(key: string): string {
  return NAMES[key] ?? `--${key}`;
}

/** `key: value`, as options. */
function option(pair: string): string {
  const at = pair.indexOf(": ");
  const [key, value] = [pair.slice(0, at), pair.slice(at + 2)];
  if (key === "types") return typeOptions(value);
  if (key === "columns" && value.startsWith("{")) return typeOptions(value, "--rename");
  if (key === "mode") return `--${JSON.parse(value)}`;
  if (value === "true" || value === "false") return nameOf(key);
  if (value.startsWith("[")) {
    return `${nameOf(key)} ${value === "[...]" ? "NAMES" : word(namesText(JSON.parse(value)))}`;
  }
  return `${nameOf(key)} ${word(value.startsWith('"') ? JSON.parse(value) : value)}`;
}

function typeOptions(types: string, name = "--type"): string {
  const unquoted = (text: string) => text.startsWith('"') ? JSON.parse(text) as string : text;
  return [...types.matchAll(EACH_TYPE)].map(([, column, type]) => {
    return `${name} ${word(`${unquoted(column!)}=${unquoted(type!)}`)}`;
  }).join(" ");
}

/** Names as `--columns` takes them. */
function namesText(names: readonly string[]): string {
  return names.map((name) => /^[^\s",]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`).join(",");
}

/** A word as it is typed. */
function word(text: string): string {
  const typed = text.replaceAll("\t", "\\t");
  return /^[\w.,:=/-]+$/.test(typed) ? typed : `'${typed.replaceAll("'", `'\\''`)}'`;
}

import { parseEnv } from "node:util";
import config from "../../deno.json" with { type: "json" };
import { LakebaseError } from "../errors.ts";

/** How long `@std/dotenv` may take to arrive before Node's parser reads the file instead. */
const ARRIVAL_LIMIT_MS = 3000;

/**
 * Reads a `.env` file; the environment itself is left alone.
 *
 * @param path The file; with `undefined`, `.env` in the working directory, where there is one.
 * @returns Its values; empty where no path was given and there is no `.env`.
 * @throws {LakebaseError} `BAD_SETTING` where a file that was asked for can't be read.
 */
export async function readDotenv(
  path?: string,
): Promise<Record<string, string>> {
  const text = await readText(path);
  if (text === undefined) return {};
  const { parse } = await loadParser();
  return { ...parse(canonicalDotenv(text)) };
}

async function readText(path: string | undefined): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path ?? ".env");
  } catch (cause) {
    if (path === undefined && !(cause instanceof Deno.errors.IsADirectory)) {
      return undefined;
    }
    const state = cause instanceof Error ? cause.message : String(cause);
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot read envFile "${path ?? ".env"}": ${state}`,
      { cause },
    );
  }
}

interface Parser {
  parse(text: string): Record<string, string>;
}

/** The name is not written out in `import()`, or Deno would ask JSR for it before the first line of a script runs. */
async function loadParser(): Promise<Parser> {
  const specifier = config.imports["@std/dotenv"];
  if (await arrives(specifier)) return await import(specifier);
  return { parse: (text) => parseEnv(text) as Record<string, string> };
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

const ASSIGNMENT = /^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*(?:'([^']*)'|"([^"]*)"|([^\r\n#]*))[^\r\n]*$/gm;

/**
 * The file in the form that `@std/dotenv` and Node's `parseEnv` read alike. As written they differ: `@std/dotenv`
 * replaces `$name` in unquoted values, which eats a part of many a password, drops the newline beside a quote and knows
 * `\t` and `\r`; Node takes back-ticks for quotes and a byte order mark for a letter.
 *
 * @param text A `.env` file.
 * @returns One quoted assignment for each in the file; comments and what is no assignment are gone.
 */
export function canonicalDotenv(text: string): string {
  const lines: string[] = [];
  for (
    const [, name, single, double, bare] of text.replace(/^\ufeff/, "")
      .matchAll(ASSIGNMENT)
  ) {
    lines.push(
      `${name}=${
        quoted(
          single ?? (double === undefined ? bare?.trim() : unescaped(double)) ??
            "",
        )
      }`,
    );
  }
  return lines.join("\n");
}

function unescaped(text: string): string {
  const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  return text.replace(
    /\\([nrt])/g,
    (_, letter: string) => escapes[letter] ?? letter,
  );
}

function quoted(value: string): string {
  const text = value.replace(/^\r?\n|\r?\n$/g, "");
  if (!text.includes("'")) return `'${text}'`;
  return text.includes('"') ? text : `"${text}"`;
}

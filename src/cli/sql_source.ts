import { until } from "../query/cancel.ts";
import { badParameter } from "../query/parameter.ts";
import { checkParameters, type Parameters } from "./parameters.ts";
import { parseScript, type ScriptStatement } from "./script.ts";

/** What was said on where the SQL is. */
export interface SqlSource {
  /** SQL, or `-` for standard input. */
  text?: string | undefined;
  /** A file of it, or `-`. */
  file?: string | undefined;
  /** Values for `$names`. */
  param?: Parameters;
}

/** SQL that is ready to run. */
export interface Script {
  /** What to call it in an error; `undefined` where it stood in the command line. */
  name: string | undefined;
  /** Its statements, in order; one at least. */
  statements: readonly ScriptStatement[];
}

/**
 * Finds the SQL: in the command line, in a file, or on standard input.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` where there is none, or parameters and values don't go together.
 */
export async function readScript(
  { text, file, param = new Map() }: SqlSource,
  stopped: AbortSignal,
): Promise<Script> {
  if (text !== undefined && file !== undefined) {
    throw badParameter("there is SQL in the command line and a --file; keep one");
  }
  if (text !== undefined && /^\S+\.sql$/i.test(text)) {
    throw badParameter(`"${text}" is no SQL; did you mean --file ${text}?`);
  }
  if (text === undefined && file === undefined && Deno.stdin.isTerminal()) {
    throw badParameter("there is no SQL; put it in the command line, in a --file, or on standard input");
  }
  const inline = text !== undefined && text !== "-";
  const { name, sql } = inline ? { name: undefined, sql: text } : await until(readSql(file ?? "-"), stopped);
  const statements = parseScript(sql);
  if (statements.length === 0) throw badParameter(`there is no SQL in ${name ?? "the command line"}`);
  const slash = statements.find(({ strings }) => strings[0]!.startsWith("\\"));
  if (slash !== undefined) {
    const command = slash.strings[0]!.split(/\s/, 1)[0];
    throw badParameter(
      `${command} is a command of psql, not SQL; "lakebase tables" and "lakebase --help" show what there is`,
    );
  }
  checkParameters(statements, param);
  return { name, statements };
}

async function readSql(file: string): Promise<{ name: string; sql: string }> {
  const name = file === "-" ? "standard input" : file;
  try {
    const bytes = file === "-" ? await new Response(Deno.stdin.readable).arrayBuffer() : await Deno.readFile(file);
    return { name, sql: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (cause) {
    const state = cause instanceof Deno.errors.NotFound ? "is not there" : `can't be read: ${(cause as Error).message}`;
    throw badParameter(`${name} ${state}`, cause);
  }
}

import { LakebaseError } from "../errors.ts";
import { noticeLines } from "../notebook/table_text.ts";
import { Reader } from "../query/cursor.ts";
import type { Statement } from "../query/fragment.ts";
import type { Session } from "../query/session.ts";
import { stoppable } from "../query/stop.ts";
import { type FormatOptions, makeFormat } from "./formats.ts";
import { print, type Write } from "./output.ts";
import { bindParameters, type Parameters } from "./parameters.ts";
import { scriptSession } from "./script_session.ts";
import type { RowFormat } from "./row_format.ts";
import type { Script } from "./sql_source.ts";

/** How a script runs. */
export interface RunScriptOptions extends FormatOptions {
  /** The parameters' values. */
  param?: Parameters;
  /** Ends it. */
  signal: AbortSignal;
  /** Seconds that each statement may take. */
  timeout?: number | undefined;
}

/**
 * Runs a script on one connection, and writes the rows of each statement as they come.
 *
 * @throws {LakebaseError} As `run`, with the place of the statement in the script.
 */
export async function runScript(
  session: Session,
  { name, statements }: Script,
  options: RunScriptOptions,
  write: Write,
): Promise<void> {
  const { types } = makeFormat(options);
  await using own = await scriptSession(session, types);
  for (const statement of statements) {
    try {
      await runStatement(own, bindParameters(statement, options.param ?? new Map()), options, write);
    } catch (error) {
      const where = name === undefined && statements.length === 1 ? undefined : `${name ?? "SQL"}:${statement.line}`;
      throw where === undefined ? error : located(error, where);
    }
  }
  await own.end();
}

async function runStatement(
  session: Session,
  statement: Statement,
  options: RunScriptOptions,
  write: Write,
): Promise<void> {
  using stop = stoppable(options);
  await using reader = new Reader(session, statement, stop.signal);
  try {
    await writeRows(reader, makeFormat(options), write);
  } finally {
    const notices = noticeLines(reader.answer.notices);
    if (notices.length > 0) await print(Deno.stderr, `${notices.join("\n")}\n`);
  }
}

async function writeRows(reader: Reader, format: RowFormat, write: Write): Promise<void> {
  let keys: string[] | undefined;
  while (!reader.ended) {
    const rows = await reader.batch() as Record<string, unknown>[];
    const { fields, tag } = reader.answer;
    if (keys === undefined) {
      keys = fields.map(({ key }) => key);
      await write(keys.length === 0 ? format.command(tag) : format.begin(fields));
    }
    if (keys.length > 0) await write(format.rows(rows.map((row) => keys!.map((key) => row[key]))));
  }
  if (keys !== undefined && keys.length > 0) await write(format.end());
}

/** The error with the place in the script, as psql says it. */
function located(error: unknown, where: string): unknown {
  if (!(error instanceof LakebaseError) || error.code !== "QUERY_FAILED") return error;
  const { code, message, sqlstate } = error;
  return new LakebaseError(code, `${where}: ${message}`, { cause: error, sqlstate });
}

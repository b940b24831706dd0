import type { Lakehouse } from "../api/lakehouse.ts";
import { LakebaseError } from "../core/errors.ts";
import { noticeLines } from "../draw/table_text.ts";
import { Cursor } from "../sql/cursor.ts";
import type { Statement } from "../sql/fragment.ts";
import { isOpenTransaction } from "../sql/run.ts";
import { type Session, sublease, type TransactionState } from "../sql/session.ts";
import { stoppable } from "../sql/stop.ts";
import type { ParserSource } from "../sql/types.ts";
import { print, type Write } from "./output.ts";
import { type FormatOptions, makeFormat, type RowFormat } from "./rows.ts";
import { bindParameters, type Parameters, type Script, toFragment } from "./script.ts";

/** Options of {@linkcode runScript} and {@linkcode runInWarehouse}. */
export interface RunScriptOptions extends FormatOptions {
  /** The parameters' values. */
  param?: Parameters;
  /** Ends the script. */
  signal: AbortSignal;
  /** The time limit of each statement, in seconds. */
  timeout?: number | undefined;
}

/**
 * Runs a script on one connection, and writes the rows of each statement as they arrive.
 *
 * @throws {LakebaseError} The errors of `run`, with the name and line of the statement.
 */
export async function runScript(
  session: Session,
  script: Script,
  options: RunScriptOptions,
  write: Write,
): Promise<void> {
  const { types } = makeFormat(options);
  await using connection = await scriptSession(session, types);
  for (const statement of script.statements) {
    try {
      await runStatement(connection, bindParameters(statement, options.param ?? new Map()), options, write);
    } catch (error) {
      throw withLocation(script, statement, error);
    }
  }
  await connection.end();
}

/** Runs a script in a SQL warehouse, one statement after the other, and writes the rows of each as they arrive. */
export async function runInWarehouse(
  lake: Lakehouse,
  script: Script,
  options: RunScriptOptions,
  write: Write,
): Promise<void> {
  const api = await import("../api/lakehouse.ts"); // not at the start, because most scripts run in a Lakebase
  for (const statement of script.statements) {
    const format = makeFormat(options);
    try {
      const fragment = toFragment(statement, options.param ?? new Map());
      const { fields, command, rows } = await lake[api.ENGINE].texts(fragment, options);
      if (fields.length === 0) await write(format.command(command));
      else {
        const parsers = fields.map(({ oid }) => format.types.getTypeParser(oid));
        await write(format.begin(fields));
        for await (const batch of rows) {
          await write(
            format.rows(batch.map((row) => row.map((text, at) => text === null ? null : parsers[at]!(text)))),
          );
        }
        await write(format.end());
      }
    } catch (error) {
      throw withLocation(script, statement, error);
    }
  }
}

/** The error of a statement, with the statement's line in the script, as in psql, unless it is the only statement. */
function withLocation({ name, statements }: Script, { line }: { line: number }, error: unknown): unknown {
  if (name === undefined && statements.length === 1) return error;
  if (!(error instanceof LakebaseError) || error.code !== "QUERY_FAILED") return error;
  const { code, message, sqlstate } = error;
  return new LakebaseError(code, `${name ?? "SQL"}:${line}: ${message}`, { cause: error, sqlstate });
}

async function runStatement(
  session: Session,
  statement: Statement,
  options: RunScriptOptions,
  write: Write,
): Promise<void> {
  using stop = stoppable(options);
  await using cursor = new Cursor(session, statement, stop.signal);
  try {
    await writeRows(cursor, makeFormat(options), write);
  } finally {
    const notices = noticeLines(cursor.answer.notices);
    if (notices.length > 0) await print(Deno.stderr, `${notices.join("\n")}\n`);
  }
}

async function writeRows(cursor: Cursor, format: RowFormat, write: Write): Promise<void> {
  let keys: string[] | undefined;
  while (!cursor.ended) {
    const rows = await cursor.batch() as Record<string, unknown>[];
    const { fields, tag } = cursor.answer;
    if (keys === undefined) {
      keys = fields.map(({ key }) => key);
      await write(keys.length === 0 ? format.command(tag) : format.begin(fields));
    }
    if (keys.length > 0) await write(format.rows(rows.map((row) => keys!.map((key) => row[key]))));
  }
  if (keys !== undefined && keys.length > 0) await write(format.end());
}

/** A session on one connection, as in psql: `BEGIN`, `SET` and temporary tables last from one statement to the next. */
interface ScriptSession extends Session, AsyncDisposable {
  /**
   * Ends the session.
   *
   * @throws {LakebaseError} `QUERY_FAILED` if a transaction was left open; it is rolled back.
   */
  end(): Promise<void>;
}

/**
 * Takes a connection for a whole script.
 *
 * @param session The session that gives the connection.
 * @param types Reads the values.
 */
async function scriptSession(session: Session, types: ParserSource): Promise<ScriptSession> {
  const lease = await session.acquire("a script");
  const open: TransactionState = { failure: undefined, markEnded() {} };
  const borrowed = sublease(lease, () => {});
  const end = async () => {
    const isOpen = lease.broken === undefined && isOpenTransaction(lease);
    if (isOpen) await lease.client.query("ROLLBACK").catch((error: Error) => lease.broken = error);
    lease.broken ??= new Error("its settings and temporary tables are the script's own");
    lease.release();
    lease.release = () => {};
    if (isOpen && open.failure === undefined) throw openTransactionError();
  };
  return {
    ...session,
    types,
    get transaction() { // a statement of the script may begin or end a transaction
      if (isOpenTransaction(lease)) return open;
      open.failure = undefined;
      return undefined;
    },
    acquire: () => Promise.resolve(borrowed),
    end,
    [Symbol.asyncDispose]: () => end().catch(() => {}), // an earlier error says more
  };
}

function openTransactionError(): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot leave a transaction open: the SQL ends without COMMIT, so its changes were rolled back. Add COMMIT",
    { sqlstate: "25000" },
  );
}

import { loadModule } from "../core/lazy_import.ts";
import { LakebaseError, shorten } from "../core/errors.ts";
import { maskPasswords, utf16Index } from "../core/sql_text.ts";
import { textWidth } from "../core/text.ts";
import { visible } from "../draw/escape.ts";
import { adviceFor, hintFor } from "./advice.ts";
import type { Statement } from "./fragment.ts";
import type { Session } from "./session.ts";

/**
 * Turns a failure into an error for the person who wrote the statement. It asks the database, for a second at most, which
 * name was probably meant or which privilege is missing.
 *
 * @param session The session that the statement ran in.
 * @param error The failure.
 * @param statement The statement that failed.
 */
export async function explainFailure(session: Session, error: unknown, statement: Statement): Promise<LakebaseError> {
  if (error instanceof LakebaseError) return error;
  const { transaction, held } = session;
  // A failed look-up must not hide the error itself.
  const explanation = await askDatabase(session, error, statement.text).catch((): Explanation => ({}));
  const explained = queryError(error, statement, { ...explanation, earlierFailure: transaction?.failure, held });
  if (transaction !== undefined) transaction.failure ??= firstLine(explained.message);
  return explained;
}

/** What the database said about a failure. */
interface Explanation {
  /** The name that was probably meant. */
  suggestion?: string | undefined;
  /** For a missing privilege: the owner of the object, and what the owner can run. */
  privilegeHint?: string | undefined;
}

async function askDatabase(session: Session, error: unknown, text: string): Promise<Explanation> {
  const { missingPrivilegeHint, suggest } = await loadModule(() => import("./diagnosis.ts")); // loaded with the first failure
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === "42501") {
    return { privilegeHint: await withinLimit(missingPrivilegeHint(session, String(message), text)) };
  }
  return { suggestion: await withinLimit(suggest(session, error, text)) };
}

/** How long an error waits for the answer of the database. */
const LIMIT_MS = 1000;

async function withinLimit<T>(work: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), LIMIT_MS);
  work.catch(() => {}); // after the limit nobody waits for the work
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

/** An error that the server sent, as `pg` throws it. */
export interface ServerError extends Error {
  code?: string;
  severity?: string;
  detail?: string;
  hint?: string;
  position?: string;
  internalPosition?: string;
  internalQuery?: string;
  where?: string;
}

/** The most characters of each part of a server error, so that a long value does not push the hints out of sight. */
const MAX_SHOWN = 2000;
/** The most columns of a line of SQL that an error shows. */
const LINE_WIDTH = 120;

/** What else is known about a failure. */
interface FailureContext extends Explanation {
  /** The first error of the same transaction. */
  earlierFailure?: string | undefined;
  /** Whether the session keeps its connection, so that statements may begin and end transactions. */
  held?: boolean | undefined;
}

/**
 * Turns an error of the driver into one for the person who wrote the statement.
 *
 * @param error The error of the driver.
 * @param statement The statement that failed.
 * @param context What else is known about the failure.
 */
export function queryError(error: unknown, statement: Statement, context: FailureContext = {}): LakebaseError {
  if (error instanceof LakebaseError) return error;
  const failure = (error instanceof Error ? error : new Error(String(error))) as ServerError;
  const { suggestion, privilegeHint, earlierFailure, held = false } = context;
  const { code: sqlstate, severity, detail } = failure;
  if (severity === undefined || sqlstate === undefined) return connectionLost(failure, undefined, held);
  if (severity === "FATAL" || severity === "PANIC") return connectionLost(failure, sqlstate, held);
  const hint = privilegeHint ?? hintFor(failure, statement) ?? failure.hint ?? adviceFor(failure);
  const lines = [
    `${onOneLine(failure.message)} (SQLSTATE ${sqlstate})`,
    ...excerpt(failure, statement),
    ...(detail ? [`DETAIL: ${onOneLine(detail)}`] : []),
    ...(hint ? [`HINT: ${onOneLine(hint)}`] : []),
    ...(suggestion && !namesColumn(failure.hint, suggestion) ? [`Did you mean ${visible(suggestion)}?`] : []),
    ...(sqlstate === "25P02" && earlierFailure !== undefined ? abortedLines(earlierFailure, held) : []),
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { cause: withoutFrames(failure), sqlstate });
}

/** Whether the server's own hint names the suggested column, as `"trips.zone"` does for `zone`. */
function namesColumn(hint: string | undefined, suggestion: string): boolean {
  return hint !== undefined && hint.includes(`.${suggestion}"`);
}

/** Shortens a text of the server, and puts it on one line. */
function onOneLine(text: string): string {
  return visible(shorten(text, MAX_SHOWN));
}

function abortedLines(earlierFailure: string, held: boolean): string[] {
  return [
    `An earlier statement of this transaction failed: ${earlierFailure}`,
    `HINT: Until a rollback, the server refuses all other statements. ${
      held ? "Run ROLLBACK" : "Throw"
    }, or put what may ` +
    "fail between SAVEPOINT s and ROLLBACK TO SAVEPOINT s",
  ];
}

/** Copies the driver's error without its stack frames, all of which are in the driver. */
export function withoutFrames(failure: ServerError): Error {
  const { name, message, code, severity, detail, hint } = failure;
  const plain = Object.assign(new Error(message), { code, severity, detail, hint });
  plain.stack = `${name}: ${message}`;
  return plain;
}

/** The timeouts of an idle session and of a transaction, at which the server rolls back what was open. */
const ROLLED_BACK = /^(25P0[34]|57P05)$/;

function connectionLost(failure: ServerError, sqlstate: string | undefined, held: boolean): LakebaseError {
  const { detail } = failure;
  const state = sqlstate === undefined ? "" : ` (SQLSTATE ${sqlstate})`;
  const outcome = sqlstate !== undefined && ROLLED_BACK.test(sqlstate)
    ? "The server rolled back all uncommitted changes"
    : "It is not known whether it took effect, so it was not retried";
  const next = held
    ? "the next statement says what was lost with the session"
    : "the next statement gets a new session";
  const hint = adviceFor(failure);
  const lines = [
    `Cannot finish the statement: ${onOneLine(failure.message)}${state}. ${outcome}; ${next}`,
    ...(detail ? [`DETAIL: ${onOneLine(detail)}`] : []),
    ...(hint ? [`HINT: ${hint}`] : []),
  ];
  return new LakebaseError("CONNECTION_LOST", lines.join("\n"), { cause: withoutFrames(failure), sqlstate });
}

function excerpt(failure: ServerError, { text, prefix = "" }: Statement): string[] {
  if (failure.position !== undefined) return caretLines(maskPasswords(text), Number(failure.position) - prefix.length);
  const { internalQuery, internalPosition } = failure;
  if (internalQuery === undefined || internalPosition === undefined) return [];
  return [
    `in ${onOneLine(failure.where?.split("\n", 1)[0] ?? "a function")}:`,
    ...caretLines(maskPasswords(internalQuery), Number(internalPosition)),
  ];
}

/**
 * Shows the line of a statement that an error is about, with a caret under the error's position.
 *
 * @param text The statement.
 * @param position The position, counted from 1 in characters (not UTF-16 units), as Postgres does.
 * @returns Two lines, or none if the position is outside the text.
 */
export function caretLines(text: string, position: number): string[] {
  const index = utf16Index(text, position - 1);
  if (!(index >= 0 && index <= text.length)) return [];
  const start = index === 0 ? 0 : text.lastIndexOf("\n", index - 1) + 1;
  const end = text.indexOf("\n", index);
  const line = text.slice(start, end === -1 ? undefined : end).replace(/\r$/, "");
  const skipped = Math.max(0, index - start - LINE_WIDTH / 2);
  const before = line.slice(skipped, index - start);
  const shown = line.slice(skipped, skipped + LINE_WIDTH);
  const number = `LINE ${text.slice(0, start).split("\n").length}: ${skipped > 0 ? "..." : ""}`;
  const tail = line.length > skipped + LINE_WIDTH ? "..." : "";
  return [`${number}${visible(shown)}${tail}`, `${" ".repeat(number.length + textWidth(visible(before)))}^`];
}

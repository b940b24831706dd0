import { LakebaseError, shorten } from "../core/errors.ts";
import { maskPasswords, utf16Index } from "../core/sql_text.ts";
import { textWidth } from "../core/text.ts";
import { visible } from "../draw/escape.ts";
import { cureFor, hintFor } from "./cures.ts";
import type { Statement } from "./fragment.ts";
import { explainRefusal } from "./privilege.ts";
import type { Session } from "./session.ts";
import { suggest } from "./suggestion.ts";

/**
 * An error for the person who wrote the statement. What is not there is looked for among what is, within a second.
 *
 * @param session Where it ran.
 * @param error What was thrown.
 * @param statement What was run.
 */
export async function explainFailure(session: Session, error: unknown, statement: Statement): Promise<LakebaseError> {
  if (error instanceof LakebaseError) return error;
  const { suggestion, refusal } = await askDatabase(session, error, statement.text).catch((): Found => ({})); // not worth an error
  const { transaction } = session;
  const explained = queryError(error, statement, {
    suggestion,
    refusal,
    earlier: transaction?.failure,
    begun: session.held,
  });
  if (transaction !== undefined) transaction.failure ??= firstLine(explained.message);
  return explained;
}

type Found = Pick<FailureContext, "suggestion" | "refusal">;

/** What the database knows of a failure, where it says so within a second. */
async function askDatabase(session: Session, error: unknown, text: string): Promise<Found> {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === "42501") return { refusal: await withinLimit(explainRefusal(session, String(message), text)) };
  return { suggestion: await withinLimit(suggest(session, error, text)) };
}

/** A guess has to come at once or not at all. */
const LIMIT_MS = 1000;

async function withinLimit<T>(looking: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), LIMIT_MS);
  looking.catch(() => {});
  try {
    return await Promise.race([looking, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

/** An error that the server sent, as `pg` throws it. */
interface ServerError extends Error {
  code?: string;
  severity?: string;
  detail?: string;
  hint?: string;
  position?: string;
  internalPosition?: string;
  internalQuery?: string;
  where?: string;
}

/** Characters of each thing that the server said: with this an error's hints are not lost behind a long value. */
const MOST_SAID = 2000;
/** Columns of a line of SQL that an error shows. */
const LINE_WIDTH = 120;

/** What else is known of a failure. */
export interface FailureContext {
  /** What was probably meant. */
  suggestion?: string | undefined;
  /** Of a right that is missing: whose the object is, and what its owner would run. */
  refusal?: string | undefined;
  /** What failed before in the same transaction. */
  earlier?: string | undefined;
  /** Whether a statement has begun that transaction, not a function. */
  begun?: boolean | undefined;
}

/**
 * What the driver threw, as an error for the person who wrote the statement.
 *
 * @param error What the driver threw.
 * @param statement The statement.
 * @param context What else is known.
 */
export function queryError(error: unknown, statement: Statement, context: FailureContext = {}): LakebaseError {
  if (error instanceof LakebaseError) return error;
  const failure = (error instanceof Error ? error : new Error(String(error))) as ServerError;
  const { suggestion, refusal, earlier, begun = false } = context;
  const { code: sqlstate, severity, detail } = failure;
  if (severity === undefined || sqlstate === undefined) return lost(failure, undefined);
  if (severity === "FATAL" || severity === "PANIC") return lost(failure, sqlstate);
  const hint = refusal ?? hintFor(failure, statement) ?? failure.hint ?? cureFor(failure);
  const lines = [
    `${said(failure.message)} (SQLSTATE ${sqlstate})`,
    ...excerpt(failure, statement),
    ...(detail ? [`DETAIL: ${said(detail)}`] : []),
    ...(hint ? [`HINT: ${said(hint)}`] : []),
    ...(suggestion ? [`Did you mean ${visible(suggestion)}?`] : []),
    ...(sqlstate === "25P02" && earlier !== undefined ? abortedLines(earlier, begun) : []),
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { cause: withoutFrames(failure), sqlstate });
}

/** What the server said, on one line. */
function said(text: string): string {
  return visible(shorten(text, MOST_SAID));
}

function abortedLines(earlier: string, begun: boolean): string[] {
  return [
    `An earlier statement of this transaction failed: ${earlier}`,
    `HINT: After that the server takes nothing but a rollback. ${begun ? "Run ROLLBACK" : "Throw"}, or put what may ` +
    "fail between SAVEPOINT s and ROLLBACK TO SAVEPOINT s",
  ];
}

/** The driver's error without the driver's frames, which lead nowhere that the reader could do something. */
function withoutFrames(failure: ServerError): Error {
  const { name, message, code, severity, detail, hint } = failure;
  const plain = Object.assign(new Error(message), { code, severity, detail, hint });
  plain.stack = `${name}: ${message}`;
  return plain;
}

/** What ends a session that runs nothing, or a transaction: nothing of what was open takes effect. */
const ROLLED_BACK = /^(25P0[34]|57P05)$/;

function lost(failure: ServerError, sqlstate: string | undefined): LakebaseError {
  const { detail } = failure;
  const state = sqlstate === undefined ? "" : ` (SQLSTATE ${sqlstate})`;
  const outcome = sqlstate !== undefined && ROLLED_BACK.test(sqlstate)
    ? "The server rolled back what was not committed; the next statement gets a new session"
    : "Whether it took effect is not known, so it was not tried again; the next one gets a new connection";
  const hint = cureFor(failure);
  const lines = [
    `Cannot finish the statement: ${said(failure.message)}${state}. ${outcome}`,
    ...(detail ? [`DETAIL: ${said(detail)}`] : []),
    ...(hint ? [`HINT: ${hint}`] : []),
  ];
  return new LakebaseError("CONNECTION_LOST", lines.join("\n"), { cause: withoutFrames(failure), sqlstate });
}

function excerpt(failure: ServerError, { text, prefix = "" }: Statement): string[] {
  if (failure.position !== undefined) return caretLines(maskPasswords(text), Number(failure.position) - prefix.length);
  const { internalQuery, internalPosition } = failure;
  if (internalQuery === undefined || internalPosition === undefined) return [];
  return [
    `in ${said(failure.where?.split("\n", 1)[0] ?? "a function")}:`,
    ...caretLines(maskPasswords(internalQuery), Number(internalPosition)),
  ];
}

/**
 * The line of a statement that an error is about, with a caret under the place.
 *
 * @param text The statement.
 * @param position The place, counted from 1 in characters (not UTF-16 units), as Postgres does.
 * @returns Two lines, or none for a place outside the text.
 */
function caretLines(text: string, position: number): string[] {
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

import { LakebaseError, shorten } from "../core/errors.ts";
import { maskPasswords } from "../core/sql_text.ts";
import { visible } from "../draw/escape.ts";
import { caretLines } from "../sql/failure.ts";

/** The error of a statement, as the API gives it. */
export interface StatementFailure {
  /** A word of the API, such as `BAD_REQUEST`. */
  error_code?: string;
  /** The warehouse's message, with its error class, its SQLSTATE and a position. */
  message?: string;
}

/** The most characters of a message, so that a long value does not push the hints out of sight. */
const MOST_SAID = 2000;

/** Matches the place of an error in a message. Spark counts lines from 1, and the characters of a line from 0. */
const POSITION = /[;(]\s*line (\d+),?\s*pos (\d+)\)?/;
/** Matches the place of an error that came while the statement ran. Spark counts both from 1 there. */
const RUNTIME_POSITION = /\n== SQL.*?\(line (\d+), position (\d+)\) ==/;
const SQLSTATE = /\bSQLSTATE:?\s*([0-9A-Z]{5})\b/;

/**
 * The error for a statement that a warehouse refused or could not finish.
 *
 * @param failure What the API says.
 * @param text The statement.
 * @param state The SQLSTATE, if the message does not have it.
 */
export function statementError(
  { error_code, message = "" }: StatementFailure,
  text: string,
  state?: string,
): LakebaseError {
  const said = withoutExcerpt(message);
  const sqlstate = SQLSTATE.exec(said)?.[1] ?? state;
  const shown = shorten(cleaned(said), MOST_SAID).split("\n").map(visible).join("\n");
  const suffix = sqlstate === undefined ? "" : ` (SQLSTATE ${sqlstate})`;
  const lines = [
    `${shown === "" ? error_code ?? "the statement failed, and the warehouse does not say why" : shown}${suffix}`,
    ...excerpt(text, message),
    ...hintFor(message),
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { sqlstate });
}

/** Removes the statement that Spark repeats below a syntax error, with a caret of its own, and the trace of the JVM. */
function withoutExcerpt(message: string): string {
  const ends = [message.indexOf("\n== SQL"), message.search(/\n[ \t]*at [\w.$]+\(/)].filter((end) => end !== -1);
  return message.slice(0, Math.min(message.length, ...ends)).trimEnd();
}

/** The class of a JVM's exception. Without limits, the pattern would overflow its stack on a long text. */
const JAVA_CLASS = /^(?:[\w$]{1,200}\.){1,50}\w{0,200}(?:Exception|Error):\s*/;

/** Removes the SQLSTATE and the position: the error shows them at its end, and as a caret. */
function cleaned(message: string): string {
  const placeless = message.replace(POSITION, "");
  const state = /\bSQLSTATE:?\s*[0-9A-Z]{5}\b/.exec(placeless);
  const stateless = state === null
    ? placeless
    : `${withoutStop(placeless.slice(0, state.index))}. ${placeless.slice(state.index + state[0].length).trimStart()}`;
  return withoutStop(stateless).replace(JAVA_CLASS, "");
}

/** Removes the full stops and spaces at the end. A pattern for them would try each space of a long text. */
function withoutStop(text: string): string {
  let end = text.length;
  while (end > 0 && /[.\s]/.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** The line of the statement that the message is about, with a caret; nothing if it names no place. */
function excerpt(text: string, message: string): string[] {
  const runtime = RUNTIME_POSITION.exec(message);
  const [, line, column] = runtime ?? POSITION.exec(message) ?? [];
  if (line === undefined) return [];
  const lines = text.split("\n");
  const before = lines.slice(0, Number(line) - 1);
  if (before.length >= lines.length) return [];
  const characters = [...before.map((one) => `${one}\n`).join("")].length;
  return caretLines(maskPasswords(text), characters + Number(column) + (runtime === null ? 1 : 0));
}

function hintFor(message: string): string[] {
  if (/inline.*(byte|size) limit|exceed\w* .*25 ?MiB|INLINE.*limit/i.test(message.slice(0, MOST_SAID))) {
    return [
      "HINT: The rows that a cell shows come with the answer, at most 25 MiB. Show fewer or shorter ones, or await a new query",
    ];
  }
  return [];
}

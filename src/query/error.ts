import { LakebaseError } from "../errors.ts";
import { visible } from "../notebook/escape.ts";
import { textWidth } from "../notebook/text_width.ts";

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

/** Columns of a line of SQL that an error shows. */
const LINE_WIDTH = 120;

/**
 * What the driver threw, as an error for the person who wrote the statement.
 *
 * @param error What the driver threw.
 * @param text The statement.
 * @param suggestion What was probably meant, where that is known.
 */
export function queryError(error: unknown, text: string, suggestion?: string): LakebaseError {
  if (error instanceof LakebaseError) return error;
  const failure = (error instanceof Error ? error : new Error(String(error))) as ServerError;
  const { code: sqlstate, severity, detail, hint } = failure;
  if (severity === undefined || sqlstate === undefined) return lost(failure, undefined);
  if (severity === "FATAL" || severity === "PANIC") return lost(failure, sqlstate);
  const lines = [
    `${visible(failure.message)} (SQLSTATE ${sqlstate})`,
    ...excerpt(failure, text),
    ...(detail ? [`DETAIL: ${detail}`] : []),
    ...(hint ? [`HINT: ${hint}`] : []),
    ...(suggestion ? [`Did you mean ${suggestion}?`] : []),
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { cause: error, sqlstate });
}

function lost(failure: ServerError, sqlstate: string | undefined): LakebaseError {
  return new LakebaseError(
    "CONNECTION_LOST",
    `Cannot finish the statement: ${
      visible(failure.message)
    }. Whether it took effect is not known, so it was not tried ` +
      "again; the next one gets a new connection",
    { cause: failure, sqlstate },
  );
}

function excerpt(failure: ServerError, text: string): string[] {
  if (failure.position !== undefined) return caretLines(text, Number(failure.position));
  const { internalQuery, internalPosition } = failure;
  if (internalQuery === undefined || internalPosition === undefined) return [];
  return [
    `in ${visible(failure.where?.split("\n")[0] ?? "a function")}:`,
    ...caretLines(internalQuery, Number(internalPosition)),
  ];
}

/**
 * The line of a statement that an error is about, with a caret under the place.
 *
 * @param text The statement.
 * @param position The place, counted from 1 in characters (not UTF-16 units), as Postgres does.
 * @returns Two lines, or none for a place outside the text.
 */
export function caretLines(text: string, position: number): string[] {
  const index = utf16Index(text, position - 1);
  if (!(index >= 0 && index <= text.length)) return [];
  const start = text.lastIndexOf("\n", index - 1) + 1;
  const end = text.indexOf("\n", index);
  const line = text.slice(start, end === -1 ? undefined : end).replace(/\r$/, "");
  const skipped = Math.max(0, index - start - LINE_WIDTH / 2);
  const before = line.slice(skipped, index - start);
  const shown = line.slice(skipped, skipped + LINE_WIDTH);
  const number = `LINE ${text.slice(0, start).split("\n").length}: ${skipped > 0 ? "..." : ""}`;
  const tail = line.length > skipped + LINE_WIDTH ? "..." : "";
  return [`${number}${visible(shown)}${tail}`, `${" ".repeat(number.length + textWidth(visible(before)))}^`];
}

function utf16Index(text: string, characters: number): number {
  let index = 0;
  for (let count = 0; count < characters; count++) {
    if (index >= text.length) return count === characters ? index : NaN;
    index += text.codePointAt(index)! > 0xffff ? 2 : 1;
  }
  return index;
}

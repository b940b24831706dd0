import { LakebaseError, shorten } from "../core/errors.ts";
import { maskPasswords } from "../core/sql_text.ts";
import { countText } from "../core/text.ts";
import { visible } from "../draw/escape.ts";
import { caretLines } from "../sql/failure.ts";
import type { ChunkLink, ManifestChunk } from "./links.ts";
import type { JsonRow, ManifestColumn } from "./types.ts";

/** The Statement Execution API's report on a statement. */
export interface StatementAnswer {
  statement_id?: string;
  status?: { state?: string; error?: StatementFailure; sql_state?: string };
  manifest?: {
    schema?: { columns?: ManifestColumn[] };
    total_row_count?: number;
    total_chunk_count?: number;
    truncated?: boolean;
    chunks?: ManifestChunk[];
  };
  result?: ResultPart;
}

/** The error of a statement, as the API reports it. */
export interface StatementFailure {
  /** The API's code, such as `BAD_REQUEST`. */
  error_code?: string;
  /** The warehouse's message, with its error class, its SQLSTATE and a position. */
  message?: string;
}

/** A part of a result: its rows, or links to them. */
export interface ResultPart {
  data_array?: JsonRow[];
  external_links?: ChunkLink[];
  next_chunk_index?: number;
}

/** The type of a field. It may be missing, except for `name` and `index`. */
type Shape =
  /** A string. */
  | "text"
  /** A string that must be there. */
  | "name"
  /** A string, or `null` for NULL. */
  | "cell"
  /** A whole number from 0. */
  | "count"
  /** A whole number from 0 that must be there. */
  | "index"
  | "flag"
  /** An object whose values are strings. */
  | "texts"
  | readonly [Shape]
  | { readonly [field: string]: Shape };

const PART_SHAPE = {
  data_array: [["cell"]],
  external_links: [{ chunk_index: "index", external_link: "name", expiration: "text", http_headers: "texts" }],
  next_chunk_index: "count",
} as const;

const STATEMENT_SHAPE = {
  statement_id: "text",
  status: { state: "text", error: { error_code: "text", message: "text" }, sql_state: "text" },
  manifest: {
    schema: {
      columns: [{
        name: "name",
        type_name: "text",
        type_text: "text",
        type_precision: "count",
        type_scale: "count",
      }],
    },
    total_row_count: "count",
    total_chunk_count: "count",
    truncated: "flag",
    chunks: [{ chunk_index: "index", row_count: "count", byte_count: "count" }],
  },
  result: PART_SHAPE,
} as const;

/**
 * Reads the API's report on a statement.
 *
 * @throws {LakebaseError} `CONNECTION_LOST` for an answer of another shape, because nobody can tell what happened to
 * the statement.
 */
export function readStatement(body: unknown): StatementAnswer {
  const problem = checkShape(body, STATEMENT_SHAPE, "the answer");
  if (problem === undefined) return body as StatementAnswer;
  throw lostError(`the workspace's answer can't be understood: ${problem}`);
}

/**
 * Reads a part of a result.
 *
 * @throws {LakebaseError} `WORKSPACE_UNAVAILABLE` for an answer of another shape.
 */
export function readPart(body: unknown): ResultPart {
  const problem = checkShape(body, PART_SHAPE, "the answer");
  if (problem === undefined) return body as ResultPart;
  throw unreadableAnswer(`the workspace's answer can't be understood: ${problem}`);
}

/**
 * Makes the error for a result that can't be read, or that does not match the workspace's description.
 *
 * @param state What was found, as a part of a sentence.
 * @param part What can't be read.
 */
export function unreadableAnswer(state: string, part: string = "the result"): LakebaseError {
  return new LakebaseError(
    "WORKSPACE_UNAVAILABLE",
    `Cannot read ${part}: ${state}. The statement itself ran to its end`,
  );
}

/**
 * Checks a value, and brings it into shape: removes fields that are `null`, and turns the texts of counts into numbers.
 *
 * @returns The first problem; `undefined` if there is none.
 */
function checkShape(value: unknown, shape: Shape, path: string): string | undefined {
  if (typeof shape === "string") return hasType(value, shape) ? undefined : typeProblem(path, value);
  if (isList(shape)) {
    if (!Array.isArray(value)) return typeProblem(path, value);
    return firstProblem(value, (item, at) => checkShape(item, shape[0], `${path}[${at}]`));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return typeProblem(path, value);
  const fields = value as Record<string, unknown>;
  return firstProblem(Object.entries(shape), ([name, fieldShape]) => {
    const field = fields[name];
    if (fieldShape === "count" && typeof field === "string" && /^\d{1,15}$/.test(field)) fields[name] = Number(field);
    else if (field === null) delete fields[name];
    const mayBeMissing = fieldShape !== "name" && fieldShape !== "index";
    return fields[name] === undefined && mayBeMissing ? undefined : checkShape(fields[name], fieldShape, name);
  });
}

function firstProblem<T>(items: readonly T[], check: (item: T, at: number) => string | undefined): string | undefined {
  for (let at = 0; at < items.length; at++) {
    const problem = check(items[at]!, at);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function isList(shape: Exclude<Shape, string>): shape is readonly [Shape] {
  return Array.isArray(shape);
}

function hasType(value: unknown, shape: string): boolean {
  switch (shape) {
    case "cell":
      return value === null || typeof value === "string";
    case "count":
    case "index":
      return Number.isSafeInteger(value) && value as number >= 0;
    case "flag":
      return typeof value === "boolean";
    case "texts":
      return typeof value === "object" && value !== null &&
        Object.values(value).every((item) => typeof item === "string");
    default:
      return typeof value === "string";
  }
}

/** Names the type of a value, but not the value, which may be secret. */
function typeProblem(path: string, value: unknown): string {
  const type = value === null || value === undefined
    ? "missing"
    : Array.isArray(value)
    ? "a list"
    : `${typeof value === "object" ? "an" : "a"} ${typeof value}`;
  return `${path} is ${type === "a number" ? "another number" : type}`;
}

/** The maximum characters of a message, so that a long value in it does not push the hints out of sight. */
const MAX_MESSAGE_LENGTH = 2000;

/** Matches the position of an error in a message. Spark counts lines from 1, and the characters of a line from 0. */
const POSITION = /[;(]\s*line (\d+),?\s*pos (\d+)\)?/;
/** Matches the position of an error that occurred while the statement ran. In it, Spark counts both from 1. */
const RUNTIME_POSITION = /\n== SQL.*?\(line (\d+), position (\d+)\) ==/;
const SQLSTATE = /\bSQLSTATE:?\s*([0-9A-Z]{5})\b/;

/**
 * Makes the error for a statement that a warehouse refused or could not finish.
 *
 * @param failure The API's report.
 * @param text The statement.
 * @param reportedState The SQLSTATE of the report, for a message that does not have it.
 */
export function statementError(
  { error_code, message = "" }: StatementFailure,
  text: string,
  reportedState?: string,
): LakebaseError {
  const own = withoutExcerpt(message).trimStart(); // the message of a syntax error begins with a line end
  const sqlstate = SQLSTATE.exec(own)?.[1] ?? reportedState;
  const shown = shorten(withoutCodes(own), MAX_MESSAGE_LENGTH).split("\n").map(visible).join("\n");
  const suffix = sqlstate === undefined ? "" : ` (SQLSTATE ${sqlstate})`;
  const lines = [
    `${shown === "" ? error_code ?? "the statement failed, and the warehouse does not say why" : shown}${suffix}`,
    ...lineWithCaret(text, message),
    ...hintFor(message),
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { sqlstate });
}

/** Removes the copy of the statement, with Spark's own caret, below a syntax error, and the JVM's stack trace. */
function withoutExcerpt(message: string): string {
  const ends = [message.indexOf("\n== SQL"), message.search(/\n[ \t]*at [\w.$]+\(/)].filter((end) => end !== -1);
  return message.slice(0, Math.min(message.length, ...ends)).trimEnd();
}

/** The class of a JVM's exception. Without limits, the pattern would overflow its stack on a long text. */
const JAVA_CLASS = /^(?:[\w$]{1,200}\.){1,50}\w{0,200}(?:Exception|Error):\s*/;

/** Removes the SQLSTATE, which the error shows at its end, and the position, which it shows as a caret. */
function withoutCodes(message: string): string {
  const text = message.replace(POSITION, "");
  const state = SQLSTATE.exec(text);
  const withoutState = state === null
    ? text
    : `${withoutFullStop(text.slice(0, state.index))}. ${text.slice(state.index + state[0].length).trimStart()}`;
  return withoutFullStop(withoutState).replace(JAVA_CLASS, "");
}

/** Removes the full stops and spaces at the end. A regular expression would take quadratic time on a long text. */
function withoutFullStop(text: string): string {
  let end = text.length;
  while (end > 0 && /[.\s]/.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** The line of the statement that the message is about, with a caret; empty if the message names no position. */
function lineWithCaret(text: string, message: string): string[] {
  const runtimePosition = RUNTIME_POSITION.exec(message);
  const [, line, column] = runtimePosition ?? POSITION.exec(message) ?? [];
  if (line === undefined) return [];
  const lines = text.split("\n");
  const before = lines.slice(0, Number(line) - 1);
  if (before.length >= lines.length) return [];
  const characters = [...before.map((line) => `${line}\n`).join("")].length;
  return caretLines(maskPasswords(text), characters + Number(column) + (runtimePosition === null ? 1 : 0));
}

function hintFor(message: string): string[] {
  if (/inline.*(byte|size) limit|exceed\w* .*25 ?MiB|INLINE.*limit/i.test(message.slice(0, MAX_MESSAGE_LENGTH))) {
    return [
      "HINT: The rows that a cell shows come with the answer, which has at most 25 MiB. Show fewer or shorter rows, or await a new query",
    ];
  }
  return [];
}

/** Makes the error for a statement that was not accepted, or whose answer was lost. */
export function submissionError(error: unknown, text: string, warehouse: string): unknown {
  if (!(error instanceof LakebaseError)) return error;
  const { code, message } = error;
  if (code === "CONNECTION_LOST") {
    const reason = (error.cause as Error | undefined)?.message ?? message;
    return new LakebaseError(
      code,
      `Cannot finish the statement: ${reason}. The answer to its submission is lost, so whether it ran is not known; it was ` +
        "not submitted again",
      { cause: error },
    );
  }
  const refusal = code === "WORKSPACE_REFUSED" && error.cause instanceof Error ? error.cause.message : "";
  if (refusal === "") return error;
  if (!/not a valid endpoint id|warehouse.*(?:not exist|not found|deleted)/i.test(refusal)) {
    return statementError({ message: refusal }, text);
  }
  return new LakebaseError(
    "ENDPOINT_NOT_FOUND",
    `Cannot run the statement: ${warehouse} no longer exists: ${refusal} Open the lakehouse again, with another warehouse`,
    { cause: error },
  );
}

/** Makes the error for a result that the API has cut off without a limit: it keeps the first 100 GiB of a result. */
export function cutOffError(rows: number | undefined): LakebaseError {
  const after = rows === undefined ? "" : ` after ${countText(rows, "row")}`;
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot read the result: the warehouse has cut it off${after}, because a result has at most 100 GiB. The statement itself ` +
      "ran to its end. Read it in parts, with a WHERE for each, or let the warehouse keep the rows: CREATE TABLE ... AS",
  );
}

/** Makes the error for a statement that this program did not cancel. */
export function canceledError(failure: StatementFailure | undefined): LakebaseError {
  const reason = failure?.message
    ? `: ${failure.message}`
    : ". It was canceled in the warehouse, by a person or because the warehouse stopped";
  return new LakebaseError("CANCELED", `Canceled${reason}`);
}

/** Makes the error for a statement whose result the warehouse has closed. */
export function closedError(): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot read the result: the warehouse has closed it. The statement itself ran to its end",
  );
}

/** Makes the error for a result that the warehouse no longer has. The API keeps it for an hour, however long reading takes. */
export function expiredError(cause: LakebaseError): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot read the rest of the result: the warehouse no longer has it; it keeps a result for one hour. The " +
      "statement itself ran to its end. Read the rows sooner, or in parts, with a WHERE for each",
    { cause },
  );
}

/** Makes the error for a statement that can no longer be followed. @param state What was found, as a part of a sentence. */
export function lostError(state: string): LakebaseError {
  return new LakebaseError(
    "CONNECTION_LOST",
    `Cannot follow the statement: ${state}. Whether it takes effect is not known`,
  );
}

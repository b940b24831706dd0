import { LakebaseError, shorten } from "../core/errors.ts";
import { maskPasswords } from "../core/sql_text.ts";
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

/** The types of a field. `needed` is a string that must be there, and `cell` is a string or NULL. */
type Shape =
  | "text"
  | "needed"
  | "cell"
  | "count"
  | "index"
  | "flag"
  | "texts"
  | readonly [Shape]
  | { readonly [field: string]: Shape };

const PART = {
  data_array: [["cell"]],
  external_links: [{ chunk_index: "index", external_link: "needed", expiration: "text", http_headers: "texts" }],
  next_chunk_index: "count",
} as const;

const STATEMENT = {
  statement_id: "text",
  status: { state: "text", error: { error_code: "text", message: "text" }, sql_state: "text" },
  manifest: {
    schema: {
      columns: [{
        name: "needed",
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
  result: PART,
} as const;

/**
 * Reads the API's report on a statement.
 *
 * @throws {LakebaseError} `CONNECTION_LOST` for an answer of another shape, because nobody can tell what happened to
 * the statement.
 */
export function readStatement(body: unknown): StatementAnswer {
  const problem = problemOf(body, STATEMENT, "the answer");
  if (problem === undefined) return body as StatementAnswer;
  throw new LakebaseError(
    "CONNECTION_LOST",
    `Cannot follow the statement: the workspace's answer can't be understood: ${problem}. Whether it takes effect is not known`,
  );
}

/**
 * Reads a part of a result.
 *
 * @throws {LakebaseError} `WORKSPACE_UNAVAILABLE` for an answer of another shape.
 */
export function readPart(body: unknown): ResultPart {
  const problem = problemOf(body, PART, "the answer");
  if (problem === undefined) return body as ResultPart;
  throw unreadable(`the workspace's answer can't be understood: ${problem}`);
}

/** Makes the error for a result that does not match the workspace's description. */
export function unreadable(state: string): LakebaseError {
  return new LakebaseError(
    "WORKSPACE_UNAVAILABLE",
    `Cannot read the result: ${state}. The statement itself ran to its end`,
  );
}

/**
 * Says what is wrong with a value. Also removes fields that are `null`, and turns strings into numbers where numbers
 * are wanted.
 */
function problemOf(value: unknown, shape: Shape, path: string): string | undefined {
  if (typeof shape === "string") return fits(value, shape) ? undefined : wrongType(path, value);
  if (isList(shape)) {
    if (!Array.isArray(value)) return wrongType(path, value);
    return firstOf(value, (item, at) => problemOf(item, shape[0], `${path}[${at}]`));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrongType(path, value);
  const fields = value as Record<string, unknown>;
  return firstOf(Object.entries(shape), ([name, inner]) => {
    const found = fields[name];
    if (inner === "count" && typeof found === "string" && /^\d{1,15}$/.test(found)) fields[name] = Number(found);
    else if (found === null) delete fields[name];
    const isThere = fields[name] !== undefined;
    return isThere || inner === "needed" || inner === "index" ? problemOf(fields[name], inner, name) : undefined;
  });
}

function firstOf<T>(items: readonly T[], problem: (item: T, at: number) => string | undefined): string | undefined {
  for (let at = 0; at < items.length; at++) {
    const found = problem(items[at]!, at);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isList(shape: Exclude<Shape, string>): shape is readonly [Shape] {
  return Array.isArray(shape);
}

function fits(value: unknown, shape: string): boolean {
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
        Object.values(value).every((one) => typeof one === "string");
    default:
      return typeof value === "string";
  }
}

/** Names the type but not the value, which may be secret. */
function wrongType(path: string, value: unknown): string {
  const type = value === null || value === undefined
    ? "missing"
    : Array.isArray(value)
    ? "a list"
    : `${typeof value === "object" ? "an" : "a"} ${typeof value}`;
  return `${path} is ${type === "a number" ? "another number" : type}`;
}

/** The most characters of a message, so that a long value does not push the hints out of sight. */
const MOST_SAID = 2000;

/** Matches the position of an error in a message. Spark counts lines from 1, and the characters of a line from 0. */
const POSITION = /[;(]\s*line (\d+),?\s*pos (\d+)\)?/;
/** Matches the position of an error that occurred while the statement ran. There, Spark counts both from 1. */
const RUNTIME_POSITION = /\n== SQL.*?\(line (\d+), position (\d+)\) ==/;
const SQLSTATE = /\bSQLSTATE:?\s*([0-9A-Z]{5})\b/;

/**
 * Makes the error for a statement that a warehouse refused or could not finish.
 *
 * @param failure The API's report.
 * @param text The statement.
 * @param state The SQLSTATE, if the message does not have it.
 */
export function statementError(
  { error_code, message = "" }: StatementFailure,
  text: string,
  state?: string,
): LakebaseError {
  const said = withoutExcerpt(message).trimStart(); // the message of a syntax error begins with a line end
  const sqlstate = SQLSTATE.exec(said)?.[1] ?? state;
  const shown = shorten(withoutCodes(said), MOST_SAID).split("\n").map(visible).join("\n");
  const suffix = sqlstate === undefined ? "" : ` (SQLSTATE ${sqlstate})`;
  const lines = [
    `${shown === "" ? error_code ?? "the statement failed, and the warehouse does not say why" : shown}${suffix}`,
    ...excerpt(text, message),
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

/** Removes the SQLSTATE and the position. The error shows the SQLSTATE at its end, and the position as a caret. */
function withoutCodes(message: string): string {
  const placeless = message.replace(POSITION, "");
  const state = /\bSQLSTATE:?\s*[0-9A-Z]{5}\b/.exec(placeless);
  const stateless = state === null
    ? placeless
    : `${withoutStop(placeless.slice(0, state.index))}. ${placeless.slice(state.index + state[0].length).trimStart()}`;
  return withoutStop(stateless).replace(JAVA_CLASS, "");
}

/** Removes the full stops and spaces at the end. A regular expression would take quadratic time on a long text. */
function withoutStop(text: string): string {
  let end = text.length;
  while (end > 0 && /[.\s]/.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** The line of the statement that the message is about, with a caret; empty if the message names no position. */
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

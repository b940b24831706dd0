import { LakebaseError } from "../core/errors.ts";
import type { StatementFailure } from "./failure.ts";
import type { ChunkLink, ManifestChunk } from "./links.ts";
import type { JsonRow, ManifestColumn } from "./types.ts";

/** What the Statement Execution API says of a statement. */
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

/** A part of a result: rows, or links to them. */
export interface ResultPart {
  data_array?: JsonRow[];
  external_links?: ChunkLink[];
  next_chunk_index?: number;
}

/** What a field may be. `needed` is a text that must be there, and `cell` a text or NULL. */
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
 * Reads what the API says of a statement.
 *
 * @throws {LakebaseError} `CONNECTION_LOST` for an answer of another shape, because it hides what became of the statement.
 */
export function readStatement(body: unknown): StatementAnswer {
  const problem = problemOf(body, STATEMENT, "the answer");
  if (problem === undefined) return body as StatementAnswer;
  throw new LakebaseError(
    "CONNECTION_LOST",
    `Cannot follow the statement: the workspace's answer is not understood, ${problem}. Whether it takes effect is not known`,
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
  throw new LakebaseError(
    "WORKSPACE_UNAVAILABLE",
    `Cannot read the result: the workspace's answer is not understood, ${problem}. The statement itself ran to its end`,
  );
}

/** Tells what is wrong with a value. Fields that are `null` are removed, and numbers that are texts become numbers. */
function problemOf(value: unknown, shape: Shape, path: string): string | undefined {
  if (typeof shape === "string") return fits(value, shape) ? undefined : wrong(path, value);
  if (isList(shape)) {
    if (!Array.isArray(value)) return wrong(path, value);
    return firstOf(value, (item, at) => problemOf(item, shape[0], `${path}[${at}]`));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return wrong(path, value);
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

/** Names the type and not the value, which may be secret. */
function wrong(path: string, value: unknown): string {
  const type = value === null || value === undefined
    ? "missing"
    : Array.isArray(value)
    ? "a list"
    : `a ${typeof value}`;
  return `${path} is ${type === "a number" ? "another number" : type}`;
}

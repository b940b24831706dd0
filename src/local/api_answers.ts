import { createHash, randomBytes } from "node:crypto";

/** A named resource of the API, with its JSON and its children by kind. */
export interface Resource {
  name: string;
  json: Record<string, unknown>;
  children: Record<string, Resource[]>;
}

/** The fields that every resource has. */
export function commonFields(
  name: string,
  uid: string,
  created: Date,
  more: Record<string, unknown>,
): Record<string, unknown> {
  return { name, uid, ...more, create_time: timestamp(created), update_time: timestamp(created) };
}

/** A time as the API writes it: RFC 3339 in UTC, without fractions. */
export function timestamp(at: Date | number): string {
  return new Date(at).toISOString().replace(/\.\d+/, "");
}

/** An id that depends only on the name, so it is the same in every run. */
export function stableUid(prefix: string, name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  if (prefix) return `${prefix}local-${hex.slice(0, 8)}`;
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
}

/** An id that no other resource has, not even a later one with the same name. */
export function newUid(prefix: string): string {
  return `${prefix}local-${randomBytes(6).toString("hex")}`;
}

/** The id of a role in its resource's name. */
export function roleId(role: string): string {
  return role.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** The number of items of a page, unless the list has a limit of its own. */
const MAX_PAGE_SIZE = 100;

/**
 * One page of a list under its key, with the token of the next page. The API omits the key of an empty page.
 *
 * @throws {ApiError} 400 if the page size or the token in `query` is not valid.
 */
export function page(
  key: string,
  items: unknown[],
  query: URLSearchParams,
  maxSize: number = MAX_PAGE_SIZE,
): Record<string, unknown> {
  const size = Number(query.get("page_size") || maxSize);
  if (!Number.isInteger(size) || size < 1) throw invalid("Field 'page_size' must be a positive integer");
  const token = query.get("page_token");
  const start = token ? Number(decodeToken(token)) : 0;
  if (!Number.isInteger(start) || start < 0 || start > items.length) throw invalid("Field 'page_token' is not valid");
  const end = start + Math.min(size, maxSize);
  return {
    ...(end > start && items.length > start ? { [key]: items.slice(start, end) } : {}),
    ...(end < items.length ? { next_page_token: btoa(String(end)) } : {}),
  };
}

function decodeToken(text: string): string {
  try {
    return atob(text);
  } catch {
    return "not a number"; // the caller refuses the token
  }
}

/** An error of the workspace API: a status and `{ error_code, message }`. */
export class ApiError extends Error {
  readonly status: number;
  readonly errorCode: string;
  /** The `details` of the body, if any. */
  readonly details: unknown[] | undefined;

  constructor(status: number, errorCode: string, message: string, details?: unknown[]) {
    super(message);
    this.details = details;
    this.name = "ApiError";
    this.status = status;
    this.errorCode = errorCode;
  }
}

/** 400 with the code that the API uses for a bad field. */
export function invalid(message: string): ApiError {
  return new ApiError(400, "INVALID_PARAMETER_VALUE", message);
}

/** 404 with the code that the API uses for an unknown name. */
export function notFound(message = "resource not found"): ApiError {
  return new ApiError(404, "NOT_FOUND", message);
}

/** The usual `error_code` for a status. */
export function errorCodeOf(status: number): string {
  return ERROR_CODES[status] ?? "INTERNAL_ERROR";
}

const ERROR_CODES: Record<number, string> = {
  400: "INVALID_PARAMETER_VALUE",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ALREADY_EXISTS",
  413: "REQUEST_LIMIT_EXCEEDED",
  429: "REQUEST_LIMIT_EXCEEDED",
  503: "TEMPORARILY_UNAVAILABLE",
  507: "INSUFFICIENT_STORAGE",
};

/** An error response of the API. */
export function errorAnswer(status: number, error_code: string, message: string, details?: unknown[]): Response {
  const body = { error_code, message: `${message} [TraceId: ${crypto.randomUUID()}]`, ...(details && { details }) };
  return Response.json(body, { status });
}

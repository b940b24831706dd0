/** The JSON that the APIs of the workspace have in common: resources, pages, errors, and the bodies of requests. */
import { createHash, randomBytes } from "node:crypto";

/** A resource of the API, such as a branch. */
export interface Resource {
  /** The full name, such as `projects/p/branches/b`. */
  name: string;
  json: Record<string, unknown>;
  /** The resources below this one by their kind in the plural, such as `endpoints`. */
  children: Record<string, Resource[]>;
}

/** The fields that every resource has, and those of its kind. */
export function commonFields(
  name: string,
  uid: string,
  created: Date,
  otherFields: Record<string, unknown>,
): Record<string, unknown> {
  return { name, uid, ...otherFields, create_time: timestamp(created), update_time: timestamp(created) };
}

/** Formats a time as the API does: RFC 3339 in UTC, without fractions. */
export function timestamp(time: Date | number): string {
  return new Date(time).toISOString().replace(/\.\d+/, "");
}

/** Makes an id from the name only, so that it is the same in every run. */
export function stableUid(prefix: string, name: string): string {
  const hex = createHash("sha256").update(name).digest("hex");
  if (prefix) return `${prefix}local-${hex.slice(0, 8)}`;
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    "-",
  );
}

/** Makes an id that no other resource has, not even a later one of the same name. */
export function newUid(prefix: string): string {
  return `${prefix}local-${randomBytes(6).toString("hex")}`;
}

/** The id of a role in the name of its resource. */
export function roleId(role: string): string {
  return role.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** Limit of the items of a page, unless the list has its own. */
const MAX_PAGE_SIZE = 100;

/**
 * Makes a page of a list: the items under `key`, and the token of the next page. Like the API, it omits an empty list.
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

/** An error of the workspace API, which answers with the status and `{ error_code, message }`. */
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

/** The error for a field that is not valid: 400. */
export function invalid(message: string): ApiError {
  return new ApiError(400, "INVALID_PARAMETER_VALUE", message);
}

/** The error for a name that does not exist: 404. */
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

/** Makes the response for an error. */
export function errorAnswer(status: number, error_code: string, message: string, details?: unknown[]): Response {
  const body = { error_code, message: `${message} [TraceId: ${crypto.randomUUID()}]`, ...(details && { details }) };
  return Response.json(body, { status });
}

/** Limit of a request's body in bytes, unless the route has its own. Real requests have a few hundred bytes. */
const MAX_BODY_BYTES = 1_000_000;

/**
 * Reads the body of a request. The size is limited, because the caller may not be authenticated yet.
 *
 * @throws {ApiError} 413 if the body is too long.
 */
export async function bodyText(request: Request, limit: number = MAX_BODY_BYTES): Promise<string> {
  const decoder = new TextDecoder();
  let [text, length] = ["", 0];
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > limit) {
      throw new ApiError(413, "REQUEST_LIMIT_EXCEEDED", `The request's body has more than ${limit} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * Returns the fields of a JSON object.
 *
 * @throws {ApiError} 400 if the value is not an object.
 */
export function readObject(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ApiError(400, "MALFORMED_REQUEST", "Request body is not a JSON object");
}

/** Removes the fields that are null, because null means "not set" in the JSON of protobuf. */
function withoutNulls(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

/**
 * Reads a protobuf Duration such as "900s", in milliseconds.
 *
 * @throws {ApiError} 400, with the field's name, if the value is not a duration.
 */
function readDuration(field: string, value: unknown): number {
  const seconds = typeof value === "string" ? /^(\d+(?:\.\d{1,9})?)s$/.exec(value)?.[1] : undefined;
  if (!seconds) throw invalid(`Field '${field}' is not a duration such as "900s"`);
  return Number(seconds) * 1000;
}

/** The body of `POST /api/2.0/postgres/credentials`. */
interface CredentialRequest {
  /** The endpoint's full name. */
  endpoint: string;
  groupName: string | undefined;
  readOnly: boolean;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

// The limits of a credential's lifetime, in milliseconds.
const MIN_TTL = 300_000;
const MAX_TTL = 3_600_000;
/** Milliseconds by which a time may be out of range, because clocks differ and a request takes time to arrive. */
const CLOCK_TOLERANCE = 5_000;

/**
 * Reads the body of `POST /api/2.0/postgres/credentials`.
 *
 * @param now Milliseconds since the epoch.
 * @throws {ApiError} 400 if a field is missing or out of range.
 */
export function readCredentialRequest(body: unknown, now: number): CredentialRequest {
  const fields = withoutNulls(readObject(body));
  const { endpoint, group_name: groupName } = fields;
  if (typeof endpoint !== "string" || !endpoint) {
    throw invalid(`Field 'endpoint' is required, expected non-default value (not "")!`);
  }
  if (groupName !== undefined && typeof groupName !== "string") throw invalid("Field 'group_name' must be a string");
  return {
    endpoint,
    groupName: groupName || undefined,
    readOnly: areReadOnly(fields["claims"]),
    expiresAt: credentialExpiry(fields, now),
  };
}

/**
 * Whether there are claims and all of them are `READ_ONLY`.
 *
 * @throws {ApiError} 400 if the claims are not a list of objects.
 */
export function areReadOnly(claims: unknown): boolean {
  if (claims === undefined || claims === null) return false;
  if (!Array.isArray(claims)) throw invalid("Field 'claims' must be a list");
  return claims.length > 0 && claims.every((claim) => readObject(claim)["permission_set"] === "READ_ONLY");
}

function credentialExpiry({ ttl, expire_time: expireTime }: Record<string, unknown>, now: number): number {
  if (ttl !== undefined && expireTime !== undefined) throw invalid("Only one of 'ttl' and 'expire_time' may be given");
  if (ttl !== undefined) return now + checkedLifetime("ttl", readDuration("ttl", ttl));
  if (expireTime === undefined) return now + MAX_TTL;
  const at = typeof expireTime === "string" ? Date.parse(expireTime) : NaN;
  if (Number.isNaN(at)) throw invalid("Field 'expire_time' is not a timestamp");
  return now + checkedLifetime("expire_time", at - now);
}

function checkedLifetime(field: string, lifetime: number): number {
  const tolerance = field === "ttl" ? 0 : CLOCK_TOLERANCE;
  if (lifetime >= MIN_TTL - tolerance && lifetime <= MAX_TTL + tolerance) return Math.min(lifetime, MAX_TTL);
  throw invalid(`Field '${field}' must be between 300s and 3600s from now`);
}

/** The `spec` of a branch in a request. */
export interface BranchSpec {
  sourceBranch?: string | undefined;
  /** Milliseconds since the epoch. */
  sourceTime?: number | undefined;
  sourceLsn?: string | undefined;
  isProtected?: boolean | undefined;
  /** Milliseconds since the epoch; `undefined` for never. The key is missing if the request says nothing about it. */
  expiresAt?: number | undefined;
}

/** Limit of the lifetime of a branch that expires, in milliseconds. */
const MAX_LIFETIME = 30 * 86_400_000;
/** Milliseconds of history that a project keeps. */
const HISTORY_RETENTION = 7 * 86_400_000;

/**
 * Checks the id of a new branch.
 *
 * @throws {ApiError} 400 if the id is missing or not valid.
 */
export function checkBranchId(id: string | null): string {
  if (!id) throw invalid(`Field 'branch_id' is required, expected non-default value (not "")!`);
  if (/^[a-z][a-z0-9-]{0,62}$/.test(id)) return id;
  throw invalid(
    `Field 'branch_id' must be 1-63 characters long, start with a lowercase letter, and contain only lowercase letters, ` +
      "numbers, and hyphens",
  );
}

/**
 * Reads the body of a request that creates a branch.
 *
 * @param now Milliseconds since the epoch.
 * @throws {ApiError} 400 if a field is missing, unknown or out of range.
 */
export function readBranchSpec(body: unknown, now: number): BranchSpec {
  const fields = specOf(body);
  if (fields["source_snapshot"] !== undefined) {
    throw invalid("Field 'spec.source_snapshot' names no snapshot: the local Lakebase has none");
  }
  const sourceBranch = readText(fields, "source_branch");
  const sourceLsn = readText(fields, "source_branch_lsn");
  const sourceTime = readTime(fields, "source_branch_time");
  if (sourceTime !== undefined && sourceLsn !== undefined) {
    throw invalid("Only one of 'spec.source_branch_time' and 'spec.source_branch_lsn' may be given");
  }
  if (sourceTime !== undefined) checkSourceTime(sourceTime, now);
  if (sourceLsn !== undefined && !/^[0-9a-f]{1,8}\/[0-9a-f]{1,8}$/i.test(sourceLsn)) {
    throw invalid("Field 'spec.source_branch_lsn' is not an LSN such as \"0/1A2B3C4\"");
  }
  const isProtected = readFlag(fields, "is_protected");
  return { sourceBranch, sourceTime, sourceLsn, isProtected, expiresAt: branchExpiry(fields, now) };
}

/**
 * Reads the body of a request that changes a branch.
 *
 * @param mask The fields to change, such as `spec.expiration,spec.is_protected`.
 * @param now Milliseconds since the epoch.
 * @throws {ApiError} 400 if a field is missing, unknown or out of range.
 */
export function readBranchUpdate(body: unknown, mask: string | null, now: number): BranchSpec {
  const paths = (mask ?? "").split(",").filter((path) => path !== "");
  if (paths.length === 0) throw invalid(`Field 'update_mask' is required, expected non-default value (not "")!`);
  const fields = specOf(body);
  const spec: BranchSpec = {};
  for (const path of paths) {
    if (path === "spec.expiration") spec.expiresAt = branchExpiry(fields, now);
    else if (path === "spec.is_protected") spec.isProtected = readFlag(fields, "is_protected") ?? false;
    else throw invalid(`Unknown field path in update_mask: '${path}'`);
  }
  return spec;
}

const SPEC_FIELDS = new Set([
  "source_branch",
  "source_branch_time",
  "source_branch_lsn",
  "source_snapshot",
  "ttl",
  "expire_time",
  "no_expiry",
  "is_protected",
]);

function specOf(body: unknown): Record<string, unknown> {
  const { spec } = readObject(body);
  const fields = withoutNulls(readObject(spec ?? {}));
  const unknown = Object.keys(fields).find((name) => !SPEC_FIELDS.has(name));
  if (unknown !== undefined) throw invalid(`Unknown field 'spec.${unknown}'`);
  return fields;
}

/** Reads the time at which a branch expires from the one of three fields that a request must have. */
function branchExpiry(fields: Record<string, unknown>, now: number): number | undefined {
  const [field, ...others] = ["ttl", "expire_time", "no_expiry"].filter((name) => fields[name] !== undefined);
  if (field === undefined || others.length > 0) {
    throw invalid("Exactly one of 'spec.ttl', 'spec.expire_time' and 'spec.no_expiry' must be given");
  }
  if (field === "no_expiry") {
    if (readFlag(fields, "no_expiry") === true) return undefined;
    throw invalid("Field 'spec.no_expiry' can't be false; give 'spec.ttl' or 'spec.expire_time' instead");
  }
  const at = field === "ttl" ? now + readDuration("spec.ttl", fields["ttl"]) : readTime(fields, "expire_time")!;
  if (at <= now) throw invalid("The expiration time must be in the future");
  if (at > now + MAX_LIFETIME + CLOCK_TOLERANCE) throw invalid("expiration time exceeds the maximum expiration time");
  return at;
}

function checkSourceTime(at: number, now: number): void {
  if (at > now + CLOCK_TOLERANCE) throw invalid("Field 'spec.source_branch_time' must not be in the future");
  if (at < now - HISTORY_RETENTION) {
    throw invalid("Field 'spec.source_branch_time' is before the project's history retention window");
  }
}

function readText(fields: Record<string, unknown>, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || value === "") return undefined;
  if (typeof value === "string") return value;
  throw invalid(`Field 'spec.${name}' must be a string`);
}

function readFlag(fields: Record<string, unknown>, name: string): boolean | undefined {
  const value = fields[name];
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(`Field 'spec.${name}' must be true or false`);
}

/** Reads an RFC 3339 time, in milliseconds since the epoch. */
function readTime(fields: Record<string, unknown>, name: string): number | undefined {
  const value = readText(fields, name);
  if (value === undefined) return undefined;
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i.test(value) ? Date.parse(value) : NaN;
  if (Number.isNaN(at)) throw invalid(`Field 'spec.${name}' is not a timestamp`);
  return at;
}

import { ApiError, invalid } from "./api_error.ts";

/** What a caller of `POST /api/2.0/postgres/credentials` asks for. */
export interface CredentialRequest {
  endpoint: string;
  groupName: string | undefined;
  readOnly: boolean;
  /** Milliseconds of the epoch. */
  expiresAt: number;
}

const MIN_TTL = 300_000;
const MAX_TTL = 3_600_000;

/**
 * Reads the body of `POST /api/2.0/postgres/credentials` as of `now`, in milliseconds of the epoch.
 *
 * @throws {ApiError} 400 where a field is missing or out of range.
 */
export function readCredentialRequest(body: unknown, now: number): CredentialRequest {
  const fields = present(record(body));
  const { endpoint, group_name: groupName } = fields;
  if (typeof endpoint !== "string" || !endpoint) {
    throw invalid(`Field 'endpoint' is required, expected non-default value (not "")!`);
  }
  if (groupName !== undefined && typeof groupName !== "string") throw invalid("Field 'group_name' must be a string");
  return {
    endpoint,
    groupName: groupName || undefined,
    readOnly: readsOnly(fields["claims"]),
    expiresAt: expiry(fields, now),
  };
}

/**
 * Whether every claim is `READ_ONLY`, where there are claims.
 *
 * @throws {ApiError} 400 where the claims are no list of objects.
 */
export function readsOnly(claims: unknown): boolean {
  if (claims === undefined || claims === null) return false;
  if (!Array.isArray(claims)) throw invalid("Field 'claims' must be a list");
  return claims.length > 0 && claims.every((claim) => record(claim)["permission_set"] === "READ_ONLY");
}

/** The value as the fields of a JSON object; 400 where it is something else. */
export function record(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ApiError(400, "MALFORMED_REQUEST", "Request body is not a JSON object");
}

/** Without those that are null: protobuf's JSON has it that they are not set. */
function present(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function expiry({ ttl, expire_time: expireTime }: Record<string, unknown>, now: number): number {
  if (ttl !== undefined && expireTime !== undefined) throw invalid("Only one of 'ttl' and 'expire_time' may be given");
  if (ttl !== undefined) return now + within("ttl", duration(ttl));
  if (expireTime === undefined) return now + MAX_TTL;
  const at = typeof expireTime === "string" ? Date.parse(expireTime) : NaN;
  if (Number.isNaN(at)) throw invalid("Field 'expire_time' is not a timestamp");
  return now + within("expire_time", at - now);
}

/** Milliseconds of a protobuf Duration such as "900s". */
function duration(text: unknown): number {
  const seconds = typeof text === "string" ? /^(\d+(?:\.\d+)?)s$/.exec(text)?.[1] : undefined;
  if (!seconds) throw invalid("Field 'ttl' is not a duration such as \"900s\"");
  return Number(seconds) * 1000;
}

function within(field: string, lifetime: number): number {
  // An expire_time of now + 1 h was computed a moment ago, on a clock a little off.
  const slack = field === "ttl" ? 0 : 5_000;
  if (lifetime >= MIN_TTL - slack && lifetime <= MAX_TTL + slack) return Math.min(lifetime, MAX_TTL);
  throw invalid(`Field '${field}' must be between 300s and 3600s from now`);
}

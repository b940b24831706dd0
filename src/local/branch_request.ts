import { invalid } from "./api_error.ts";
import { readDuration, record } from "./credential.ts";

/** The `spec` of a branch as a request gives it. */
export interface BranchSpec {
  sourceBranch?: string | undefined;
  /** Milliseconds since the epoch. */
  sourceTime?: number | undefined;
  sourceLsn?: string | undefined;
  isProtected?: boolean | undefined;
  /** Milliseconds since the epoch; undefined for never. The key is missing where the request does not say. */
  expiresAt?: number | undefined;
}

/** The longest life of a branch that expires. */
const LONGEST_LIFE = 30 * 86_400_000;
/** Milliseconds of the past that a project keeps. */
const RETENTION = 7 * 86_400_000;
/** A client computed its expire_time a moment ago, on a clock that may differ a little. */
const SLACK = 5_000;

/**
 * Checks the id of a new branch.
 *
 * @throws {ApiError} 400
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
export function readSpec(body: unknown, now: number): BranchSpec {
  const fields = specOf(body);
  if (fields["source_snapshot"] !== undefined) {
    throw invalid("Field 'spec.source_snapshot' names no snapshot: the local Lakebase has none");
  }
  const sourceBranch = text(fields, "source_branch");
  const sourceLsn = text(fields, "source_branch_lsn");
  const sourceTime = time(fields, "source_branch_time");
  if (sourceTime !== undefined && sourceLsn !== undefined) {
    throw invalid("Only one of 'spec.source_branch_time' and 'spec.source_branch_lsn' may be given");
  }
  if (sourceTime !== undefined) checkSourceTime(sourceTime, now);
  if (sourceLsn !== undefined && !/^[0-9a-f]{1,8}\/[0-9a-f]{1,8}$/i.test(sourceLsn)) {
    throw invalid("Field 'spec.source_branch_lsn' is not an LSN such as \"0/1A2B3C4\"");
  }
  const isProtected = flag(fields, "is_protected");
  return { sourceBranch, sourceTime, sourceLsn, isProtected, expiresAt: readExpiry(fields, now) };
}

/**
 * Reads the body of a request that changes a branch.
 *
 * @param mask The fields to change, such as `spec.expiration,spec.is_protected`.
 * @param now Milliseconds since the epoch.
 * @throws {ApiError} 400 if a field is missing, unknown or out of range.
 */
export function readUpdate(body: unknown, mask: string | null, now: number): BranchSpec {
  const paths = (mask ?? "").split(",").filter((path) => path !== "");
  if (paths.length === 0) throw invalid(`Field 'update_mask' is required, expected non-default value (not "")!`);
  const fields = specOf(body);
  const spec: BranchSpec = {};
  for (const path of paths) {
    if (path === "spec.expiration") spec.expiresAt = readExpiry(fields, now);
    else if (path === "spec.is_protected") spec.isProtected = flag(fields, "is_protected") ?? false;
    else throw invalid(`Unknown field path in update_mask: '${path}'`);
  }
  return spec;
}

const SPEC_FIELDS = new Set([
  ...["source_branch", "source_branch_time", "source_branch_lsn", "source_snapshot"],
  ...["ttl", "expire_time", "no_expiry", "is_protected"],
]);

function specOf(body: unknown): Record<string, unknown> {
  const { spec } = record(body);
  const given = spec === undefined || spec === null ? {} : record(spec);
  const fields = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
  const unknown = Object.keys(fields).find((name) => !SPEC_FIELDS.has(name));
  if (unknown !== undefined) throw invalid(`Unknown field 'spec.${unknown}'`);
  return fields;
}

/** When a branch expires; exactly one of three fields says so. */
function readExpiry(fields: Record<string, unknown>, now: number): number | undefined {
  const given = ["ttl", "expire_time", "no_expiry"].filter((name) => fields[name] !== undefined);
  if (given.length !== 1) {
    throw invalid("Exactly one of 'spec.ttl', 'spec.expire_time' and 'spec.no_expiry' must be given");
  }
  if (given[0] === "no_expiry") {
    if (flag(fields, "no_expiry") === true) return undefined;
    throw invalid("Field 'spec.no_expiry' can't be false; give 'spec.ttl' or 'spec.expire_time' instead");
  }
  const at = given[0] === "ttl" ? now + readDuration("spec.ttl", fields["ttl"]) : time(fields, "expire_time")!;
  if (at <= now) throw invalid("The expiration time must be in the future");
  if (at > now + LONGEST_LIFE + SLACK) throw invalid("expiration time exceeds the maximum expiration time");
  return at;
}

function checkSourceTime(at: number, now: number): void {
  if (at > now + SLACK) throw invalid("Field 'spec.source_branch_time' must not be in the future");
  if (at < now - RETENTION) {
    throw invalid("Field 'spec.source_branch_time' is before the project's history retention window");
  }
}

function text(fields: Record<string, unknown>, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || value === "") return undefined;
  if (typeof value === "string") return value;
  throw invalid(`Field 'spec.${name}' must be a string`);
}

function flag(fields: Record<string, unknown>, name: string): boolean | undefined {
  const value = fields[name];
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(`Field 'spec.${name}' must be true or false`);
}

/** An RFC 3339 time in milliseconds since the epoch. */
function time(fields: Record<string, unknown>, name: string): number | undefined {
  const value = text(fields, name);
  if (value === undefined) return undefined;
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i.test(value) ? Date.parse(value) : NaN;
  if (Number.isNaN(at)) throw invalid(`Field 'spec.${name}' is not a timestamp`);
  return at;
}

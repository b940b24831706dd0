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

/** An id that depends on the name alone, so that it is the same in every run. */
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

import type { Field } from "../query/result.ts";
import { isBuiltIn } from "../query/type_names.ts";

/**
 * What can be computed of a column.
 *
 * - `number`: everything
 * - `moment`: no mean
 * - `ordered`: least and greatest only
 * - `text`: the same, in the order of its characters
 * - `plain`: values are equal or not
 * - `opaque`: as `plain`, by what its text is; for types that have no equality, or may have none
 */
export type ColumnKind = "number" | "moment" | "ordered" | "text" | "plain" | "opaque";

const KINDS: Readonly<Record<Exclude<ColumnKind, "opaque">, string>> = {
  number: "int2 int4 int8 float4 float8 numeric",
  moment: "date time timetz timestamp timestamptz interval",
  ordered: "oid money inet cidr pg_lsn",
  text: "text varchar bpchar name char",
  plain: "bool uuid macaddr macaddr8",
};

const KIND_OF = new Map<string, ColumnKind>(
  Object.entries(KINDS).flatMap(([kind, types]) => types.split(" ").map((type) => [type, kind as ColumnKind])),
);

/** The kind of a column, by its built-in type; what a database made for itself is opaque. */
export function kindOf({ type, oid }: Field): ColumnKind {
  return (isBuiltIn(oid) ? KIND_OF.get(type) : undefined) ?? "opaque";
}

/** Whether values of this kind are at hand in JavaScript's form; the others are text, cut after 1,000 characters. */
export function isTyped(kind: ColumnKind): boolean {
  return kind !== "text" && kind !== "opaque";
}

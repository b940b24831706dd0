import { Buffer } from "node:buffer";
// @ts-types="npm:@types/pg@^8.11.0"
import pg from "npm:pg@^8.23.0";
import { LakebaseError } from "../errors.ts";
import type { WireValue } from "../query/parameter.ts";
import { BUILT_IN, isBuiltIn, typeName } from "../query/type_names.ts";

const BYTEA = BUILT_IN["bytea"]![0];
const TEXTS = new Set(["text", "varchar", "bpchar", "name"].map((name) => BUILT_IN[name]![0]));

/**
 * A parameter's value as SQL, for a statement that can't be given any. It means what the bound value would.
 *
 * @param value The value as it would be bound.
 * @param oid The type that the server has found for the parameter.
 * @param type The type as SQL.
 * @param position The parameter's number, from 1, for the error.
 * @throws {LakebaseError} `BAD_PARAMETER` for bytes that are neither `bytea` nor text.
 */
export function literal(value: WireValue, oid: number, type: string, position: number): string {
  if (value === null) return `(NULL::${type})`;
  if (!Buffer.isBuffer(value)) return `(${pg.escapeLiteral(value).trim()}::${type})`;
  const bytes = `(E'\\\\x${value.toString("hex")}'::pg_catalog.bytea)`;
  if (oid === BYTEA) return bytes;
  if (TEXTS.has(oid)) return `(pg_catalog.convert_from(${bytes}, 'UTF8')::${type})`;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot read the rows: parameter ${position} is bytes, but the statement takes ${typeName(oid)} there`,
  );
}

/**
 * A type as SQL. Quoted, since `bit` and `char` alone would mean one bit and one character.
 *
 * @param oid The type's oid.
 * @param learned The names of a database's own types, as `format_type` has them.
 */
export function typeText(oid: number, learned: ReadonlyMap<number, string>): string {
  const name = learned.get(oid);
  if (!isBuiltIn(oid)) return name ?? "pg_catalog.text";
  const [, element = "", array = ""] = /^(.*?)((?:\[\])?)$/.exec(typeName(oid))!;
  return `pg_catalog."${element}"${array}`;
}

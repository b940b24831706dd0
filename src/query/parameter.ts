import { Buffer } from "node:buffer";
import { LakebaseError } from "../errors.ts";
import { arrayText } from "./array.ts";

/** A value as the wire takes it: text, bytes, or NULL. */
export type WireValue = string | Buffer | null;

/** A value to bind, and the cast that tells the server what it is. */
export interface Parameter {
  /** The value. */
  value: WireValue;
  /** `::pg_catalog.jsonb` for an object; else empty, which leaves the type to the statement. */
  cast: "" | "::pg_catalog.jsonb";
}

/**
 * Turns a value into a parameter. Arrays become Postgres arrays, objects `jsonb`, a typed array or a buffer `bytea`.
 *
 * @param value Anything that a program may hold.
 * @param position The parameter's number, from 1, for the error.
 * @throws {LakebaseError} `BAD_PARAMETER` for what Postgres has no form of.
 */
export function encodeParameter(value: unknown, position: number): Parameter {
  return encodeValue(value, `parameter ${position}`);
}

/** {@linkcode encodeParameter} for a value that an error calls by another name. */
export function encodeValue(value: unknown, name: string): Parameter {
  if (value === null) return { value, cast: "" };
  const text = scalarText(value, name);
  if (text !== undefined) return { value: text, cast: "" };
  if (Array.isArray(value)) return { value: encodeArray(value, name), cast: "" };
  const bytes = bytesOf(value);
  if (bytes !== undefined) return { value: bytes, cast: "" };
  return { value: jsonText(value, name), cast: "::pg_catalog.jsonb" };
}

/**
 * An error for a statement that can't be sent.
 *
 * @param state What is wrong, as the end of a sentence.
 */
export function badParameter(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot run the query: ${state}`, { cause });
}

/** The text of what is neither array, bytes nor a plain object; `undefined` for those. */
function scalarText(value: unknown, name: string): string | undefined {
  switch (typeof value) {
    case "string":
      return wellFormed(value, name);
    case "number":
    case "bigint":
    case "boolean":
      return String(value);
    case "object":
      if (value instanceof Date) return dateText(value, name);
      return Object.prototype.toString.call(value).startsWith("[object Temporal.") ? String(value) : undefined;
    case "undefined":
      throw badParameter(`${name} is undefined; write null for NULL`);
    default:
      throw badParameter(`${name} is a ${typeof value}`);
  }
}

/** Postgres keeps text in UTF-8, which has no form of half a surrogate pair, and it takes no zero. */
function wellFormed(text: string, name: string): string {
  if (!text.isWellFormed()) throw badParameter(`${name} has half of a surrogate pair, which UTF-8 has no form of`);
  if (text.includes("\0")) {
    throw badParameter(`${name} has a zero character, which Postgres can't store in text; bind a Uint8Array as bytea`);
  }
  return text;
}

function encodeArray(array: readonly unknown[], name: string): string {
  const element = `${name} is an array that holds a value that can't be bound: it`;
  try {
    return arrayText(array, (value) => {
      if (value === null) return null;
      if (value === undefined) {
        throw badParameter(`${name} is an array that holds undefined; write null for NULL`);
      }
      const text = scalarText(value, element);
      if (text !== undefined) return text;
      const bytes = bytesOf(value);
      return bytes === undefined ? jsonText(value, element) : `\\x${bytes.toString("hex")}`;
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw badParameter(`${name} is an array that holds itself, or is nested too deep`, error);
  }
}

function bytesOf(value: unknown): Buffer | undefined {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
  return value instanceof ArrayBuffer ? Buffer.from(value) : undefined;
}

function jsonText(value: unknown, name: string): string {
  if (typeof (value as { then?: unknown }).then === "function") {
    throw badParameter(`${name} is a promise; await it first`);
  }
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind === "Map" || kind === "Set") throw badParameter(`${name} is a ${kind}; bind an array or an object`);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw badParameter(`${name} is an object that has no JSON form (${(cause as Error).message})`, cause);
  }
  if (text === undefined) throw badParameter(`${name} is an object whose toJSON() gives undefined`);
  return text;
}

function dateText(date: Date, name: string): string {
  if (Number.isNaN(date.getTime())) throw badParameter(`${name} is an invalid Date`);
  const text = date.toISOString();
  if (!/^[+-]/.test(text)) return yearZero(text);
  const year = date.getUTCFullYear();
  return `${String(year > 0 ? year : 1 - year).padStart(4, "0")}${text.slice(7)}${year > 0 ? "" : " BC"}`;
}

/** Postgres has no year 0: it is 1 BC. */
function yearZero(text: string): string {
  return text.startsWith("0000") ? `0001${text.slice(4)} BC` : text;
}

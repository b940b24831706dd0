import type { Data, Float, Int } from "npm:apache-arrow@^21.2.0";
import type { ColumnType } from "../../column_type.ts";
import type { ColumnReader, Values } from "./column_reader.ts";

/** Digits of 2^64. */
const DIGITS_OF_64_BITS = 20;

/** The smallest type that holds all whole numbers of a type: Postgres has none without a sign. */
export function integerType({ bitWidth, isSigned }: Int): { type: ColumnType; postgres: string } {
  const bits = isSigned ? bitWidth : bitWidth + 1;
  if (bits <= 16) return { type: { kind: "int16" }, postgres: "smallint" };
  if (bits <= 32) return { type: { kind: "int32" }, postgres: "integer" };
  if (bits <= 64) return { type: { kind: "int64" }, postgres: "bigint" };
  const type: ColumnType = { kind: "decimal", precision: DIGITS_OF_64_BITS, scale: 0 };
  return { type, postgres: `numeric(${DIGITS_OF_64_BITS})` };
}

/** Whole numbers in that type. */
export function integers({ bitWidth, isSigned }: Int): (data: Data) => Values {
  if (isSigned && bitWidth > 8) return ({ values }) => ({ values });
  if (bitWidth === 8) return ({ values }) => ({ values: Int16Array.from(values as Uint8Array) });
  if (bitWidth === 16) return ({ values }) => ({ values: Int32Array.from(values as Uint16Array) });
  if (bitWidth === 32) return ({ values }) => ({ values: BigInt64Array.from(values as Uint32Array, BigInt) });
  return ({ values, length }) => {
    const source = new Uint32Array(values.buffer, values.byteOffset, length * 2);
    const wide = new Uint32Array(length * 4);
    for (let at = 0; at < length; at++) {
      wide[at * 4] = source[at * 2]!;
      wide[at * 4 + 1] = source[at * 2 + 1]!;
    }
    return { values: wide };
  };
}

/** Floating-point numbers; Postgres has none of 16 bits. */
export function floats({ precision }: Float): ColumnReader {
  if (precision === 2) return { type: { kind: "float64" }, postgres: "double precision", read };
  if (precision === 1) return { type: { kind: "float32" }, postgres: "real", read };
  return {
    type: { kind: "float32" },
    postgres: "real",
    read: ({ values }) => ({
      values: Float32Array.from(new Float16Array(values.buffer, values.byteOffset, values.length)),
    }),
  };
}

function read({ values }: Data): Values {
  return { values };
}

import { LakebaseError } from "../../core/errors.ts";
import type { Field } from "../../sql/result.ts";
import { BUILT_IN } from "../../core/type_names.ts";
import { BINARY_HEADER, BINARY_TRAILER } from "../copy/messages.ts";
import { valueText } from "../load/rows.ts";
import { type Batch, type BatchColumn, type ColumnType, columnType } from "./batch.ts";
import { BatchDecoder } from "./binary/decoder.ts";
import { EPOCH_DAYS } from "./binary/storage.ts";

/** About how many bytes the decoder gets at once. */
const BLOCK = 262_144;
/** Microseconds from 1970, the epoch of a column, to 2000, the epoch of Postgres. */
const EPOCH = 946_684_800_000_000n;
const MOMENT =
  /^(\d{4,})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?( BC)?$/;
const TIME = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/;
const encoder = new TextEncoder();

/** Gives the columns of rows in memory. The precision of a `numeric` is unknown here, so its values are kept as text. */
export function columnsOfFields(fields: readonly Field[]): BatchColumn[] {
  return fields.map(({ key: name, oid }) => ({ name, oid, type: columnType(oid, -1).type }));
}

/**
 * Converts the rows of a result to columns. Encodes the rows as a binary COPY, which the decoder reads.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that does not fit the column's type; the caller may have changed a row.
 */
export function batchOfRows(rows: readonly object[], columns: readonly BatchColumn[]): Batch {
  const decoder = new BatchDecoder(columns.map((column) => ({ ...column, oid: wireOid(column) })));
  const out = new Bytes();
  out.bytes(BINARY_HEADER);
  for (const [index, row] of rows.entries()) {
    out.int16(columns.length);
    for (const { name, type, oid } of columns) {
      const value = (row as Record<string, unknown>)[name];
      try {
        putSized(out, type, value, wireOid({ oid, type }));
      } catch (error) {
        if (!(error instanceof UnfitValue)) throw error;
        throw unfitError(index, name, value);
      }
    }
    if (out.length < BLOCK) continue;
    decoder.push(out.take());
  }
  out.bytes(BINARY_TRAILER.bytes);
  decoder.push(out.take());
  decoder.end();
  return decoder.take();
}

class UnfitValue extends Error {}

function unfitError(row: number, name: string, value: unknown): LakebaseError {
  const found = Deno.inspect(value, { depth: 1, strAbbreviateSize: 40 });
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull: row ${(row + 1).toLocaleString("en-US")}, column ${
      JSON.stringify(name)
    } is ${found}, which is not a value of ` +
      "the column's type",
  );
}

/** Gives the type that a column is encoded as: `json` for `jsonb`, since it has no version number before its text. */
function wireOid({ oid, type }: Pick<BatchColumn, "oid" | "type">): number {
  if (type.kind === "json") return BUILT_IN["json"]![0];
  return type.kind === "list" && type.element.kind === "json" ? BUILT_IN["json"]![1] : oid;
}

function putSized(out: Bytes, type: ColumnType, value: unknown, oid: number): void {
  if (value === null || value === undefined) return out.int32(-1);
  const at = out.length;
  out.int32(0);
  put(out, type, value, oid);
  out.int32At(at, out.length - at - 4);
}

function put(out: Bytes, type: ColumnType, value: unknown, oid: number): void {
  switch (type.kind) {
    case "bool":
      if (typeof value !== "boolean") throw new UnfitValue();
      return out.bytes(Uint8Array.of(value ? 1 : 0));
    case "int16":
      return out.int16(Number(whole(value, 16)));
    case "int32":
      return out.int32(Number(whole(value, 32)));
    case "uint32":
      return out.int32(Number(whole(value, 33)) | 0);
    case "int64":
      return out.int64(whole(value, 64));
    case "float32":
    case "float64":
      if (typeof value !== "number") throw new UnfitValue();
      return out.float(value, type.kind === "float32" ? 4 : 8);
    case "date":
      return out.int32(days(value));
    case "time":
      return out.int64(timeOfDay(value));
    case "timestamp":
      return out.int64(moment(value));
    case "uuid":
      return out.bytes(uuid(value));
    case "binary":
      if (!(value instanceof Uint8Array)) throw new UnfitValue();
      return out.bytes(value);
    case "json":
      return out.bytes(encoder.encode(JSON.stringify(value)));
    case "list":
      return putList(out, type.element, value, oid);
    default:
      return out.bytes(encoder.encode(valueText(value, PLAIN, () => "a value") ?? ""));
  }
}

const PLAIN = { name: "", type: "text", oid: 25, form: "scalar", generated: false } as const;

function putList(out: Bytes, element: ColumnType, value: unknown, oid: number): void {
  if (!Array.isArray(value)) throw new UnfitValue();
  const entry = Object.values(BUILT_IN).find(([, array]) => array === oid);
  out.int32(value.length === 0 ? 0 : 1);
  out.int32(value.includes(null) ? 1 : 0);
  out.int32(entry?.[0] ?? 0);
  if (value.length === 0) return;
  out.int32(value.length);
  out.int32(1);
  for (const item of value) {
    if (Array.isArray(item) && element.kind !== "json") throw new UnfitValue();
    putSized(out, element, item, entry?.[0] ?? 0);
  }
}

function whole(value: unknown, bits: number): bigint {
  if (typeof value !== "bigint" && !Number.isSafeInteger(value)) throw new UnfitValue();
  const number = BigInt(value as number | bigint);
  if (BigInt.asIntN(bits, number) !== number) throw new UnfitValue();
  return number;
}

function days(value: unknown): number {
  if (value === "infinity") return 2 ** 31 - 1;
  if (value === "-infinity") return -(2 ** 31);
  const day = typeof value === "string"
    ? microseconds(value)
    : value instanceof Date
    ? moment(value) + EPOCH
    : undefined;
  if (day === undefined) throw new UnfitValue();
  return Number(day / 86_400_000_000n) - EPOCH_DAYS;
}

function moment(value: unknown): bigint {
  if (value === "infinity") return 2n ** 63n - 1n;
  if (value === "-infinity") return -(2n ** 63n);
  const found = typeof value === "string" ? microseconds(value) : undefined;
  if (found !== undefined) return found - EPOCH;
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw new UnfitValue();
  return BigInt(value.getTime()) * 1000n - EPOCH;
}

/** Parses a date or timestamp as Postgres writes it, to microseconds since 1970. */
function microseconds(text: string): bigint | undefined {
  const found = MOMENT.exec(text);
  if (found === null) return undefined;
  const [, year, month, day, hour = 0, minute = 0, second = 0, fraction = "", sign, zoneHour = 0, zoneMinute = 0, bc] =
    found;
  const date = new Date(0);
  date.setUTCFullYear(bc === undefined ? Number(year) : 1 - Number(year), Number(month) - 1, Number(day));
  const zone = (Number(zoneHour) * 60 + Number(zoneMinute)) * (sign === "-" ? -1 : 1);
  const seconds = date.getTime() / 1000 + Number(hour) * 3600 + (Number(minute) - zone) * 60 + Number(second);
  return Number.isNaN(seconds) ? undefined : BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

function timeOfDay(value: unknown): bigint {
  const found = typeof value === "string" ? TIME.exec(value) : null;
  if (found === null) throw new UnfitValue();
  const [, hour, minute, second, fraction = ""] = found;
  return BigInt(Number(hour) * 3600 + Number(minute) * 60 + Number(second)) * 1_000_000n +
    BigInt(fraction.padEnd(6, "0"));
}

function uuid(value: unknown): Uint8Array {
  const digits = typeof value === "string" ? value.replaceAll("-", "") : "";
  if (!/^[\da-f]{32}$/i.test(digits)) throw new UnfitValue();
  return Uint8Array.fromHex(digits);
}

/** A growing buffer of bytes. */
class Bytes {
  length = 0;
  #bytes = new Uint8Array(BLOCK * 2);
  #view = new DataView(this.#bytes.buffer);

  int16(value: number): void {
    this.#view.setInt16(this.#room(2), value);
  }

  int32(value: number): void {
    this.#view.setInt32(this.#room(4), value);
  }

  int32At(at: number, value: number): void {
    this.#view.setInt32(at, value);
  }

  int64(value: bigint): void {
    this.#view.setBigInt64(this.#room(8), value);
  }

  float(value: number, width: 4 | 8): void {
    const at = this.#room(width);
    if (width === 4) this.#view.setFloat32(at, value);
    else this.#view.setFloat64(at, value);
  }

  bytes(value: Uint8Array): void {
    const at = this.#room(value.length); // may replace #bytes
    this.#bytes.set(value, at);
  }

  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.length);
    this.length = 0;
    return taken;
  }

  #room(length: number): number {
    const at = this.length;
    this.length += length;
    if (this.length > this.#bytes.length) {
      const more = new Uint8Array(this.length * 2);
      more.set(this.#bytes.subarray(0, at));
      this.#bytes = more;
      this.#view = new DataView(more.buffer);
    }
    return at;
  }
}

/**
 * Reads rows as columns: the rows of a query by COPY, and the rows of a result from memory.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { LakebaseError } from "../../core/errors.ts";
import { isTraced, traced } from "../../core/trace.ts";
import { BUILT_IN } from "../../core/type_names.ts";
import { compile, type Fragment, type Statement } from "../../sql/fragment.ts";
import { catalogQueryOn } from "../../sql/catalog_cache.ts";
import { encodeValue } from "../../sql/parameter.ts";
import { type Field, fieldsOf } from "../../sql/result.ts";
import { type FindSession, onConnection } from "../../sql/run.ts";
import { originOf, type Session } from "../../sql/session.ts";
import { cancelable, type StopOptions, stoppable, until } from "../../sql/stop.ts";
import { copyOut } from "../copy/copy_out.ts";
import { copyStatement } from "../copy/copy_query.ts";
import { describeSource, expectUsualStyle } from "../copy/source.ts";
import { BINARY_HEADER, BINARY_TRAILER } from "../copy/messages.ts";
import { type Batch, type BatchColumn, type ColumnType, columnType } from "./batch.ts";
import { BatchDecoder } from "./binary/decoder.ts";
import { EPOCH_DAYS } from "./binary/storage.ts";
import { Columns } from "./columns.ts";

/**
 * Runs a query, and gives its rows column by column.
 *
 * @throws {LakebaseError} As `run`; also `QUERY_FAILED` for a value that a column can't hold.
 */
export async function readColumns(find: FindSession, query: Fragment, options: StopOptions): Promise<Columns> {
  using stop = stoppable(options);
  const session = await until(find(), stop.signal);
  const statement = compile(query);
  const run = () => readOnConnection(session, statement, stop.signal);
  return await (isTraced() ? traced({ text: statement.text, server: session.server }, run) : run());
}

async function readOnConnection(
  session: Session,
  statement: Statement,
  stop: AbortSignal | undefined,
): Promise<Columns> {
  return await onConnection(session, statement, stop, async (lease, signal) => {
    const started = performance.now();
    const query = { statement, table: undefined, name: "the query" };
    const source = await describeSource(session, lease, query, signal);
    expectUsualStyle(source, lease);
    const wireFields = source.columns.map(({ name, oid }) => ({ name, dataTypeID: oid }));
    const decoder = new BatchDecoder(source.columns);
    for await (const { bytes } of copyOut(session, lease, copyStatement(source, { format: "binary" }), signal)) {
      decoder.push(bytes);
    }
    decoder.end();
    const elapsed = performance.now() - started;
    await cancelable(session, lease, signal, session.catalog.fetchTypes(wireFields, catalogQueryOn(lease.client)));
    const fields = fieldsOf(wireFields, session.catalog);
    return new Columns({ batch: decoder.take(), fields, elapsed, origin: originOf(session), find: () => session });
  });
}

/** The approximate number of bytes that the decoder gets at once. */
const BLOCK_BYTES = 262_144;
/** Microseconds from 1970, the epoch of a column, to 2000, the epoch of Postgres. */
const EPOCH_MICROSECONDS = 946_684_800_000_000n;
/** A date or a timestamp, as Postgres or ISO 8601 writes it. */
const TIMESTAMP =
  /^(\d{4,})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?( BC)?$/;
const TIME = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/;
const UTF8 = new TextEncoder();

/** Gives the columns of rows in memory. A `numeric` is kept as text, because its precision is unknown. */
export function columnsOfFields(fields: readonly Field[]): BatchColumn[] {
  return fields.map(({ key: name, oid }) => ({ name, oid, type: columnType(oid, -1).type }));
}

/**
 * Converts the rows of a result to columns. Encodes the rows as a binary COPY, which the decoder reads.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that does not fit the column's type, because the caller changed a row.
 */
export function batchOfRows(rows: readonly object[], columns: readonly BatchColumn[]): Batch {
  const decoder = new BatchDecoder(columns.map((column) => ({ ...column, oid: wireOid(column) })));
  const out = new ByteBuffer();
  out.bytes(BINARY_HEADER);
  for (const [index, row] of rows.entries()) {
    out.int16(columns.length);
    for (const { name, type, oid } of columns) {
      const value = (row as Record<string, unknown>)[name];
      try {
        putSized(out, type, value, wireOid({ oid, type }));
      } catch (error) {
        throw error instanceof UnfitValue ? unfitError(index, name, value) : error;
      }
    }
    if (out.length < BLOCK_BYTES) continue;
    decoder.push(out.take());
  }
  out.bytes(BINARY_TRAILER.bytes);
  decoder.push(out.take());
  decoder.end();
  return decoder.take();
}

/** Thrown for a value that is not of its column's type. */
class UnfitValue extends Error {}

function unfitError(row: number, name: string, value: unknown): LakebaseError {
  const cell = `row ${(row + 1).toLocaleString("en-US")}, column ${JSON.stringify(name)}`;
  const found = Deno.inspect(value, { depth: 1, strAbbreviateSize: 40 });
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull: ${cell} is ${found}, which is not a value of the column's type`,
  );
}

/** Gives the type in which a column is encoded: `json` instead of `jsonb`, which has a version number before its text. */
function wireOid({ oid, type }: Pick<BatchColumn, "oid" | "type">): number {
  if (type.kind === "json") return BUILT_IN["json"]![0];
  return type.kind === "list" && type.element.kind === "json" ? BUILT_IN["json"]![1] : oid;
}

/** Writes a value after its length; a NULL has the length -1. */
function putSized(out: ByteBuffer, type: ColumnType, value: unknown, oid: number): void {
  if (value === null || value === undefined) return out.int32(-1);
  const at = out.length;
  out.int32(0);
  put(out, type, value, oid);
  out.int32At(at, out.length - at - 4);
}

function put(out: ByteBuffer, type: ColumnType, value: unknown, oid: number): void {
  switch (type.kind) {
    case "bool":
      if (typeof value !== "boolean") throw new UnfitValue();
      return out.bytes(Uint8Array.of(value ? 1 : 0));
    case "int16":
      return out.int16(Number(integer(value, 16)));
    case "int32":
      return out.int32(Number(integer(value, 32)));
    case "uint32":
      return out.int32(Number(integer(value, 33)) | 0);
    case "int64":
      return out.int64(integer(value, 64));
    case "float32":
    case "float64":
      if (typeof value !== "number") throw new UnfitValue();
      return out.float(value, type.kind === "float32" ? 4 : 8);
    case "date":
      return out.int32(days(value));
    case "time":
      return out.int64(timeOfDay(value));
    case "timestamp":
      return out.int64(timestamp(value));
    case "uuid":
      return out.bytes(uuid(value));
    case "binary":
      if (!(value instanceof Uint8Array)) throw new UnfitValue();
      return out.bytes(value);
    case "json":
      return out.bytes(UTF8.encode(JSON.stringify(value)));
    case "list":
      return putList(out, type.element, value, oid);
    default:
      return out.bytes(UTF8.encode(textOf(value)));
  }
}

/** Gives the text of a value, the same as for a query's parameter. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    const text = encodeValue(value, "the value").value;
    return Buffer.isBuffer(text) ? `\\x${text.toString("hex")}` : text ?? "";
  } catch (error) {
    throw error instanceof LakebaseError ? new UnfitValue() : error;
  }
}

/** Writes an array: the dimensions, whether there are NULLs, the element type, the size, the lower bound, the elements. */
function putList(out: ByteBuffer, element: ColumnType, value: unknown, oid: number): void {
  if (!Array.isArray(value)) throw new UnfitValue();
  const elementOid = Object.values(BUILT_IN).find(([, array]) => array === oid)?.[0] ?? 0;
  out.int32(value.length === 0 ? 0 : 1);
  out.int32(value.includes(null) ? 1 : 0);
  out.int32(elementOid);
  if (value.length === 0) return;
  out.int32(value.length);
  out.int32(1);
  for (const item of value) {
    if (Array.isArray(item) && element.kind !== "json") throw new UnfitValue();
    putSized(out, element, item, elementOid);
  }
}

function integer(value: unknown, bits: number): bigint {
  if (typeof value !== "bigint" && !Number.isSafeInteger(value)) throw new UnfitValue();
  const number = BigInt(value as number | bigint);
  if (BigInt.asIntN(bits, number) !== number) throw new UnfitValue();
  return number;
}

/** Gives days since 2000. */
function days(value: unknown): number {
  if (value === "infinity") return 2 ** 31 - 1;
  if (value === "-infinity") return -(2 ** 31);
  const since1970 = typeof value === "string"
    ? microseconds(value)
    : value instanceof Date
    ? timestamp(value) + EPOCH_MICROSECONDS
    : undefined;
  if (since1970 === undefined) throw new UnfitValue();
  return Number(since1970 / 86_400_000_000n) - EPOCH_DAYS;
}

/** Gives microseconds since 2000. */
function timestamp(value: unknown): bigint {
  if (value === "infinity") return 2n ** 63n - 1n;
  if (value === "-infinity") return -(2n ** 63n);
  const since1970 = typeof value === "string" ? microseconds(value) : undefined;
  if (since1970 !== undefined) return since1970 - EPOCH_MICROSECONDS;
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw new UnfitValue();
  return BigInt(value.getTime()) * 1000n - EPOCH_MICROSECONDS;
}

/** Parses a date or a timestamp. Gives microseconds since 1970; `undefined` for another text. */
function microseconds(text: string): bigint | undefined {
  const match = TIMESTAMP.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour = 0, minute = 0, second = 0, fraction = "", sign, zoneHour = 0, zoneMinute = 0, bc] =
    match;
  const date = new Date(0);
  date.setUTCFullYear(bc === undefined ? Number(year) : 1 - Number(year), Number(month) - 1, Number(day));
  const zone = (Number(zoneHour) * 60 + Number(zoneMinute)) * (sign === "-" ? -1 : 1);
  const seconds = date.getTime() / 1000 + Number(hour) * 3600 + (Number(minute) - zone) * 60 + Number(second);
  return Number.isNaN(seconds) ? undefined : BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
}

function timeOfDay(value: unknown): bigint {
  const match = typeof value === "string" ? TIME.exec(value) : null;
  if (match === null) throw new UnfitValue();
  const [, hour, minute, second, fraction = ""] = match;
  return BigInt(Number(hour) * 3600 + Number(minute) * 60 + Number(second)) * 1_000_000n +
    BigInt(fraction.padEnd(6, "0"));
}

function uuid(value: unknown): Uint8Array {
  const digits = typeof value === "string" ? value.replaceAll("-", "") : "";
  if (!/^[\da-f]{32}$/i.test(digits)) throw new UnfitValue();
  return Uint8Array.fromHex(digits);
}

/** A growing buffer of bytes. */
class ByteBuffer {
  length = 0;
  #bytes = new Uint8Array(BLOCK_BYTES * 2);
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

  /** Makes room for more bytes. Returns the position of the first of them. */
  #room(length: number): number {
    const at = this.length;
    this.length += length;
    if (this.length > this.#bytes.length) {
      const grown = new Uint8Array(this.length * 2);
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

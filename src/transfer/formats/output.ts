import { joinBytes } from "../../core/bytes.ts";
import { LakebaseError } from "../../core/errors.ts";
import { type Batch, type BatchColumn, type ColumnData, columnWords } from "../columns/batch.ts";
import { BatchDecoder } from "../columns/binary/decoder.ts";
import { DAY_MICROSECONDS } from "../columns/value.ts";
import type { Chunk } from "../copy/messages.ts";

/** The approximate size of a write in bytes; each longer piece is a write of its own. */
const OUTPUT_BYTES = 1_048_576;

/** Collects the pieces of a file and joins the short ones. */
export class Output {
  /** The number of bytes so far. */
  offset = 0;
  #waiting = 0;
  #pieces: Uint8Array[] = [];

  /** Whether enough bytes are waiting for a write. */
  get isFull(): boolean {
    return this.#waiting >= OUTPUT_BYTES;
  }

  /** Adds bytes, which must not change afterwards. */
  put(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.offset += bytes.length;
    this.#waiting += bytes.length;
  }

  /** Returns the bytes that were added since the last call. */
  *take(): Generator<Uint8Array, void, void> {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#waiting = 0;
    let short: Uint8Array[] = [];
    for (const piece of pieces) {
      if (piece.length < OUTPUT_BYTES) {
        short.push(piece);
        continue;
      }
      if (short.length > 0) yield joinBytes(short);
      yield piece;
      short = [];
    }
    if (short.length > 0) yield joinBytes(short);
  }
}

/** The size at which a batch is full: a number of rows or of bytes on the wire, whichever is reached first. */
interface BatchLimit {
  /** The number of rows. A batch may have more, because a chunk is never split. */
  rows: number;
  /** The number of bytes. A longer row is a batch of its own. */
  bytes: number;
}

/** Decodes the rows of a binary COPY into batches. */
export async function* batches(
  chunks: AsyncIterable<Chunk>,
  columns: readonly BatchColumn[],
  limit: BatchLimit,
): AsyncGenerator<Batch, void, void> {
  const decoder = new BatchDecoder(columns);
  for await (const { bytes } of chunks) {
    if (decoder.rows > 0 && decoder.bytes + bytes.length > limit.bytes) yield decoder.take();
    decoder.push(bytes);
    if (decoder.rows >= limit.rows || decoder.bytes >= limit.bytes) yield decoder.take();
  }
  decoder.end();
  if (decoder.rows > 0) yield decoder.take();
}

/** The time 24:00:00, which Postgres accepts; Arrow and Parquet do not. */
const DAY_LOW = DAY_MICROSECONDS | 0;
const DAY_HIGH = Math.floor(DAY_MICROSECONDS / 2 ** 32);

/**
 * Checks for values that Arrow and Parquet can't hold. Without the check, `infinity` would become a date in the year 294247.
 *
 * @param before The number of rows in earlier batches.
 * @throws {LakebaseError} `QUERY_FAILED`, with the row and the column.
 */
export function checkTimes({ columns }: Batch, before = 0): void {
  for (const column of columns) {
    const { name, child, offsets } = column;
    const found = unrepresentableTime(child ?? column);
    if (found === undefined) continue;
    const row = before + 1 + (child === undefined ? found.at : offsets!.findIndex((start) => start > found.at) - 1);
    throw new LakebaseError(
      "QUERY_FAILED",
      `Cannot convert column "${name}": row ${row} has the value ${found.value}, which Arrow and Parquet can't represent; ` +
        "select it as ::text",
    );
  }
}

/** Finds the first such value; {@linkcode ColumnValues} tells how it is stored. */
function unrepresentableTime(data: ColumnData): { at: number; value: string } | undefined {
  const { kind } = data.type;
  if (kind !== "date" && kind !== "timestamp" && kind !== "time") return undefined;
  const source = columnWords(data);
  if (kind === "date") {
    const at = source.findIndex((day) => day === 0x7fff_ffff || day === -0x8000_0000);
    return at < 0 ? undefined : infiniteValue(at, source[at]!);
  }
  // Compares words, because reading 64-bit numbers costs more than the rest of the conversion.
  for (let word = 0; word < source.length; word += 2) {
    const low = source[word]!;
    const high = source[word + 1]!;
    if (kind === "time") {
      if (low === DAY_LOW && high === DAY_HIGH) return { at: word / 2, value: "24:00:00" };
    } else if (high === 0x7fff_ffff && low === -1 || high === -0x8000_0000 && low === 0) {
      return infiniteValue(word / 2, high);
    }
  }
  return undefined;
}

function infiniteValue(at: number, value: number): { at: number; value: string } {
  return { at, value: value < 0 ? "-infinity" : "infinity" };
}

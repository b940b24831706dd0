import { deltaBinaryUnpack } from "npm:hyparquet@1.33.0/src/delta.js";
import { byteStreamSplit } from "npm:hyparquet@1.33.0/src/encoding.js";
import { readVarInt } from "npm:hyparquet@1.33.0/src/thrift.js";
import type { ParquetType } from "npm:hyparquet@1.33.0";
import { joinBytes } from "../../../../core/bytes.ts";
import { UnsupportedFeature } from "../../file_rows.ts";
import { HybridReader } from "./hybrid_reader.ts";

/** Numbers in their stored type. */
export type StoredNumbers = Int32Array | BigInt64Array | Float32Array | Float64Array;

/**
 * The values that are not NULL, in order.
 *
 * - `numbers`: a typed array
 * - `fixed`: values of `width` bytes each; a boolean takes one byte
 * - `bytes`: texts or byte strings; each has a start and a length in `bytes`
 */
export type PageValues =
  | { kind: "numbers"; values: StoredNumbers }
  | { kind: "fixed"; bytes: Uint8Array; width: number }
  | { kind: "bytes"; bytes: Uint8Array; starts: Int32Array; lengths: Int32Array };

/** Reads the next values of a page. */
export interface PageValueReader {
  /** Reads `count` values. */
  read(count: number): PageValues;
}

/** How a column's values are stored. */
export interface PhysicalStorage {
  /** The physical type. */
  type: ParquetType;
  /** The bytes per value of a type of fixed length. */
  width: number;
}

const NUMBERS: Partial<Record<ParquetType, new (buffer: ArrayBuffer) => StoredNumbers>> = {
  INT32: Int32Array,
  INT64: BigInt64Array,
  FLOAT: Float32Array,
  DOUBLE: Float64Array,
};

/** The number of bytes of a length. */
const LENGTH_BYTES = 4;

/** The most bytes of a page. No value of Postgres is longer. */
export const MAX_PAGE_BYTES = 2 ** 30;

/**
 * Creates the reader for the values of a page.
 *
 * @param bytes The bytes after the levels.
 * @param maxCount The most values that the page may have.
 * @throws {Error} If the encoding is unknown or unsupported, or the values are damaged.
 */
export function pageValueReader(
  encoding: string | undefined,
  storage: PhysicalStorage,
  bytes: Uint8Array,
  maxCount: number,
  dictionary: PageValues | undefined,
): PageValueReader {
  if (encoding === undefined) throw new Error("it has values of an unknown encoding");
  switch (encoding) {
    case "PLAIN":
      return plainReader(storage, bytes);
    case "PLAIN_DICTIONARY":
    case "RLE_DICTIONARY":
      if (dictionary === undefined) throw new Error("its dictionary is missing");
      return dictionaryReader(new HybridReader(bytes.subarray(1), bytes[0] ?? 0), dictionary);
    case "RLE":
      if (storage.type !== "BOOLEAN") throw new Error(`values of the type ${storage.type} can't be in runs`);
      return runReader(bytes);
    default:
      return decodedReader(decodeAll(encoding, storage, bytes, maxCount));
  }
}

function plainReader(storage: PhysicalStorage, bytes: Uint8Array): PageValueReader {
  if (storage.type === "BYTE_ARRAY") return plainBytesReader(bytes);
  if (storage.type === "BOOLEAN") return plainBitReader(bytes);
  const width = widthOf(storage);
  let at = 0;
  return {
    read: (count) => {
      const end = at + count * width;
      if (end > bytes.length) throw new Error("it breaks off within its values");
      const values = bytes.slice(at, end);
      at = end;
      return fixedValues(storage, values);
    },
  };
}

function widthOf({ type, width }: PhysicalStorage): number {
  switch (type) {
    case "INT32":
    case "FLOAT":
      return 4;
    case "INT64":
    case "DOUBLE":
      return 8;
    case "INT96":
      return 12;
    default:
      return width;
  }
}

/** Wraps bytes that nothing else uses as values of the stored type. */
function fixedValues(storage: PhysicalStorage, bytes: Uint8Array<ArrayBuffer>): PageValues {
  const Numbers = NUMBERS[storage.type];
  if (Numbers !== undefined) return { kind: "numbers", values: new Numbers(bytes.buffer) };
  return { kind: "fixed", bytes, width: widthOf(storage) };
}

/** Reads values that each follow their length. */
function plainBytesReader(bytes: Uint8Array): PageValueReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  return {
    read: (count) => {
      const starts = new Int32Array(count);
      const lengths = new Int32Array(count);
      for (let index = 0; index < count; index++) {
        if (at + LENGTH_BYTES > bytes.length) throw new Error("it breaks off within its values");
        const length = view.getUint32(at, true);
        if (length > bytes.length - at - LENGTH_BYTES) throw new Error("it has a value that is longer than its page");
        starts[index] = at + LENGTH_BYTES;
        lengths[index] = length;
        at += LENGTH_BYTES + length;
      }
      return { kind: "bytes", bytes, starts, lengths };
    },
  };
}

function plainBitReader(bytes: Uint8Array): PageValueReader {
  let at = 0;
  return {
    read: (count) => {
      if (at + count > bytes.length * 8) throw new Error("it breaks off within its values");
      const bits = new Uint8Array(count);
      for (let index = 0; index < count; index++, at++) bits[index] = bytes[at >>> 3]! >>> (at & 7) & 1;
      return { kind: "fixed", bytes: bits, width: 1 };
    },
  };
}

function runReader(bytes: Uint8Array): PageValueReader {
  const runs = new HybridReader(bytes.subarray(LENGTH_BYTES), 1);
  return {
    read: (count) => {
      const bits = new Uint8Array(count);
      runs.fill(bits);
      return { kind: "fixed", bytes: bits, width: 1 };
    },
  };
}

function dictionaryReader(runs: HybridReader, dictionary: PageValues): PageValueReader {
  const size = countOf(dictionary);
  return {
    read: (count) => {
      const indices = new Int32Array(count);
      if (count > 0) runs.fill(indices);
      for (let at = 0; at < count; at++) {
        if (indices[at]! >>> 0 >= size) throw new Error(`it points beyond its dictionary of ${size} values`);
      }
      return lookUpValues(dictionary, indices);
    },
  };
}

/** Returns the number of values. */
export function countOf(values: PageValues): number {
  if (values.kind === "numbers") return values.values.length;
  return values.kind === "fixed" ? values.bytes.length / values.width : values.starts.length;
}

/** Returns the values at the indices. */
function lookUpValues(from: PageValues, indices: Int32Array): PageValues {
  const { length } = indices;
  if (from.kind === "numbers") return { kind: "numbers", values: lookUpNumbers(from.values, indices) };
  if (from.kind === "bytes") {
    const { bytes, starts, lengths } = from;
    return { kind: "bytes", bytes, starts: lookUpNumbers(starts, indices), lengths: lookUpNumbers(lengths, indices) };
  }
  const { bytes, width } = from;
  const out = new Uint8Array(length * width);
  for (let at = 0; at < length; at++) {
    const place = indices[at]! * width;
    for (let byte = 0; byte < width; byte++) out[at * width + byte] = bytes[place + byte]!;
  }
  return { kind: "fixed", bytes: out, width };
}

function lookUpNumbers<Numbers extends StoredNumbers>(from: Numbers, indices: Int32Array): Numbers {
  const out = new (from.constructor as new (length: number) => Numbers)(indices.length);
  for (let at = 0; at < indices.length; at++) out[at] = from[indices[at]!]!;
  return out;
}

/** Reads values that are already decoded. */
function decodedReader(all: PageValues): PageValueReader {
  let at = 0;
  return {
    read: (count) => {
      if (at + count > countOf(all)) throw new Error("it breaks off within its values");
      at += count;
      return sliceValues(all, at - count, at);
    },
  };
}

/** Returns the values from `from` up to `to`. They are copied, except for the contents of texts and bytes. */
export function sliceValues(all: PageValues, from: number, to: number): PageValues {
  if (all.kind === "numbers") return { kind: "numbers", values: all.values.slice(from, to) };
  if (all.kind === "fixed") return { ...all, bytes: all.bytes.slice(from * all.width, to * all.width) };
  return { ...all, starts: all.starts.slice(from, to), lengths: all.lengths.slice(from, to) };
}

/** Decodes the rarer encodings, mostly with the library. */
function decodeAll(encoding: string, storage: PhysicalStorage, bytes: Uint8Array, maxCount: number): PageValues {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = { view, offset: 0 };
  if (encoding === "BYTE_STREAM_SPLIT") {
    const count = Math.floor(bytes.length / widthOf(storage));
    const values = byteStreamSplit(reader, count, storage.type, storage.width);
    if (!Array.isArray(values)) return { kind: "numbers", values: values as StoredNumbers };
    return { kind: "fixed", bytes: joinBytes(values as Uint8Array[]), width: storage.width };
  }
  const count = deltaCount(view);
  if (count > maxCount) throw new Error(`it has ${count} values where its header has ${maxCount}`);
  switch (encoding) {
    case "DELTA_BINARY_PACKED": {
      const values = storage.type === "INT32" ? new Int32Array(count) : new BigInt64Array(count);
      if (count > 0) deltaBinaryUnpack(reader, count, values);
      return { kind: "numbers", values };
    }
    case "DELTA_LENGTH_BYTE_ARRAY":
      return deltaBytes(reader, new Int32Array(count), count, storage);
    case "DELTA_BYTE_ARRAY": {
      const prefixes = new Int32Array(count);
      if (count > 0) deltaBinaryUnpack(reader, count, prefixes);
      return deltaBytes(reader, prefixes, count, storage);
    }
    default:
      throw new UnsupportedFeature(`it has the encoding ${encoding}, which can't be read here`);
  }
}

/** Returns the number of values, which is the third number of the header. */
function deltaCount(view: DataView): number {
  const reader = { view, offset: 0 };
  if (view.byteLength === 0) return 0;
  readVarInt(reader);
  readVarInt(reader);
  return readVarInt(reader) >>> 0;
}

/** Decodes values that start with a prefix of the previous value. The suffixes of all values follow their lengths. */
function deltaBytes(
  reader: { view: DataView; offset: number },
  prefixes: Int32Array,
  count: number,
  { type, width }: PhysicalStorage,
): PageValues {
  const suffixes = new Int32Array(count);
  if (count > 0) deltaBinaryUnpack(reader, count, suffixes);
  const { buffer, byteOffset } = reader.view;
  const source = new Uint8Array(buffer, byteOffset, reader.view.byteLength);
  const lengths = prefixes.map((prefix, at) => prefix + suffixes[at]!);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (total > MAX_PAGE_BYTES) {
    throw new UnsupportedFeature(
      `it has a page of ${total} bytes; pages of up to ${MAX_PAGE_BYTES} bytes can be read here`,
    );
  }
  const bytes = new Uint8Array(total);
  const starts = new Int32Array(count);
  let from = reader.offset;
  let end = 0;
  for (let at = 0; at < count; at++) {
    const prefix = prefixes[at]!;
    const suffix = suffixes[at]!;
    const before = at === 0 ? 0 : lengths[at - 1]!;
    if (prefix < 0 || suffix < 0 || prefix > before || from + suffix > source.length) {
      throw new Error("it has a value that is longer than its page");
    }
    starts[at] = end;
    if (prefix > 0) bytes.copyWithin(end, starts[at - 1]!, starts[at - 1]! + prefix);
    bytes.set(source.subarray(from, from + suffix), end + prefix);
    from += suffix;
    end += prefix + suffix;
  }
  if (type !== "FIXED_LEN_BYTE_ARRAY") return { kind: "bytes", bytes, starts, lengths };
  if (lengths.some((length) => length !== width)) throw new Error("it has values of another length than its column");
  return { kind: "fixed", bytes, width };
}

/**
 * What this project adds to the reader of apache-arrow: codecs, a choice of columns, and checks of the metadata. Only this
 * file uses undocumented parts of the library's reader.
 *
 * @module
 */

import zlib from "node:zlib";
import {
  compressionRegistry,
  CompressionType,
  type DataType,
  type Field,
  type RecordBatchReader,
  Schema,
  Type,
} from "npm:apache-arrow@21.2.0";
import { ByteBuffer } from "npm:flatbuffers@25.9.23";
import { UnsupportedFeature } from "../file_rows.ts";

/** Adds Zstandard and LZ4, with which other writers compress, to the library's reader. */
export function registerCodecs(): void {
  compressionRegistry.set(CompressionType.ZSTD, {
    decode: (bytes) =>
      toStatedSize(bytes, (size) => zlib.zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size) })),
  });
  compressionRegistry.set(CompressionType.LZ4_FRAME, {
    decode: (bytes) => toStatedSize(bytes, (size) => decompressLz4(bytes, size)),
  });
}

/** The most bytes of a buffer of a column with 32-bit offsets. */
const MAX_BUFFER_BYTES = 2 ** 31;

/** Decompresses a buffer to the size that stands before it. Without a limit, a few kilobytes could become gigabytes. */
function toStatedSize(bytes: Uint8Array, decompress: (size: number) => Uint8Array): Uint8Array {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset - 8, 8).getBigInt64(0, true));
  if (size < 0 || size > MAX_BUFFER_BYTES) throw new Error(`a compressed buffer states a size of ${size} bytes`);
  const decompressed = decompress(size);
  if (decompressed.length === size) return decompressed;
  throw new Error(`a compressed buffer has ${decompressed.length} bytes, and states a size of ${size}`);
}

/** The magic number of an LZ4 frame, and the flags in its header. */
const LZ4_FRAME = 0x184d_2204;
const HAS_BLOCK_CHECKSUM = 0x10;
const HAS_SIZE = 0x08;
const HAS_DICTIONARY = 0x01;
/** The bit in a block's length that marks an uncompressed block. */
const UNCOMPRESSED = 0x8000_0000;

/** The length of the shortest match, and the length that is continued in the next bytes. */
const MIN_MATCH = 4;
const CONTINUED = 15;

/**
 * Decompresses an LZ4 frame. Feather files use LZ4, and the runtime has no decompressor for it.
 *
 * @param maxBytes The most bytes that the result may have.
 * @throws {Error} If the bytes are not a valid LZ4 frame, use a dictionary, or decompress to more than `maxBytes` bytes.
 */
export function decompressLz4(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== LZ4_FRAME) throw new Error("it is not an LZ4 frame");
  const flags = view.getUint8(4);
  if ((flags & HAS_DICTIONARY) !== 0) throw new Error("its LZ4 frame needs a dictionary");
  const output = new DecompressedBytes(Math.min(bytes.length * 3, maxBytes), maxBytes);
  let at = 7 + ((flags & HAS_SIZE) === 0 ? 0 : 8);
  for (;;) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) return output.bytes;
    const length = size & ~UNCOMPRESSED;
    const block = bytes.subarray(at, at + length);
    if (block.length !== length) throw new Error("its LZ4 data breaks off");
    if (size >= UNCOMPRESSED) output.put(block);
    else decompressBlock(block, output);
    at += length + ((flags & HAS_BLOCK_CHECKSUM) === 0 ? 0 : 4);
  }
}

/** Decompresses a block: literals and matches alternate, and the block ends with literals. */
function decompressBlock(block: Uint8Array, output: DecompressedBytes): void {
  let at = 0;
  const restOfLength = () => {
    let length = 0;
    for (;;) {
      const byte = block[at++];
      if (byte === undefined) throw new Error("its LZ4 data breaks off");
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = token >> 4 === CONTINUED ? CONTINUED + restOfLength() : token >> 4;
    if (at + literals > block.length) throw new Error("its LZ4 data breaks off");
    output.put(block.subarray(at, at + literals));
    at += literals;
    if (at === block.length) return;
    const distance = block[at]! | block[at + 1]! << 8;
    at += 2;
    output.repeat(
      distance,
      MIN_MATCH + ((token & CONTINUED) === CONTINUED ? CONTINUED + restOfLength() : token & CONTINUED),
    );
  }
}

/** The decompressed bytes so far. Later matches copy from them. */
class DecompressedBytes {
  #bytes: Uint8Array;
  #length = 0;
  readonly #maxBytes: number;

  constructor(expectedBytes: number, maxBytes: number) {
    this.#bytes = new Uint8Array(expectedBytes);
    this.#maxBytes = maxBytes;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  put(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Copies a match byte by byte, because a match may overlap the bytes that it writes. */
  repeat(distance: number, count: number): void {
    if (distance === 0 || distance > this.#length) throw new Error("its LZ4 data points before its start");
    this.#reserve(count);
    const bytes = this.#bytes;
    const end = this.#length + count;
    for (let at = this.#length; at < end; at++) bytes[at] = bytes[at - distance]!;
    this.#length = end;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const needed = this.#length + more;
    if (needed > this.#maxBytes) {
      throw new Error(`its LZ4 data becomes more than the ${this.#maxBytes} bytes that it states`);
    }
    const grown = new Uint8Array(Math.min(Math.max(this.#bytes.length * 2, needed), this.#maxBytes));
    grown.set(this.bytes);
    this.#bytes = grown;
  }
}

/** The part of the library's reader that turns a message into columns. It has no public way to leave columns out. */
interface BatchLoader {
  schema: Schema;
  _loadRecordBatch(header: BatchHeader, body: Uint8Array, metadata: unknown): unknown;
  _loadDictionaryBatch(header: { id: number }, body: Uint8Array): unknown;
}

/** The header of a batch. It lists the nodes and the buffers of all columns, one column after another. */
interface BatchHeader {
  length: number;
  nodes: readonly unknown[];
  buffers: readonly unknown[];
  compression: unknown;
  /** The number of data buffers of each column of views. */
  variadicBufferCounts: readonly number[];
}

/** A number of entries in each list of a header. */
interface EntryCounts {
  nodes: number;
  buffers: number;
  variadicBufferCounts: number;
}

/**
 * Makes a reader load only these columns, in this order. Otherwise it would decompress the buffers of all columns, and
 * load all dictionaries.
 */
export function loadColumns(reader: RecordBatchReader, columns: readonly number[]): void {
  const loader = (reader as unknown as { _impl: BatchLoader })._impl;
  const { _loadRecordBatch: loadBatch, _loadDictionaryBatch: loadDictionary } = loader;
  loader._loadRecordBatch = function (header, body, metadata) {
    const all = this.schema; // a stream may repeat the schema between two batches
    const chosen = chosenSchema(all, columns);
    try {
      this.schema = chosen;
      return loadBatch.call(this, chosenHeader(header, all.fields, columns), body, metadata);
    } finally {
      this.schema = all;
    }
  };
  loader._loadDictionaryBatch = function (header, body) {
    const { dictionaries } = chosenSchema(this.schema, columns);
    return dictionaries.has(header.id) ? loadDictionary.call(this, header, body) : undefined;
  };
}

function chosenSchema(all: Schema, columns: readonly number[]): Schema {
  const fields = columns.map((column) => all.fields[column]);
  if (fields.includes(undefined)) throw new Error("it has a second schema with fewer columns");
  return new Schema(fields as Field[], all.metadata, null, all.metadataVersion);
}

function chosenHeader(header: BatchHeader, fields: readonly Field[], columns: readonly number[]): BatchHeader {
  const { length, compression, nodes, buffers, variadicBufferCounts } = header;
  const chosen = new Set(columns);
  const ranges: { from: EntryCounts; to: EntryCounts }[] = [];
  let from: EntryCounts = { nodes: 0, buffers: 0, variadicBufferCounts: 0 };
  fields.forEach(({ type }, column) => {
    const to = { ...from };
    addEntries(type, to, header);
    if (chosen.has(column)) ranges.push({ from, to });
    from = to;
  });
  const entriesOf = <T>(list: readonly T[], name: keyof EntryCounts): T[] =>
    ranges.flatMap(({ from, to }) => list.slice(from[name], to[name]));
  return {
    length,
    compression,
    nodes: entriesOf(nodes, "nodes"),
    buffers: entriesOf(buffers, "buffers"),
    variadicBufferCounts: entriesOf(variadicBufferCounts, "variadicBufferCounts"),
  };
}

/** Counts the entries of a column of this type and of the columns inside it (Arrow columnar format, "Buffer Listing"). */
function addEntries(type: DataType, counts: EntryCounts, header: BatchHeader): void {
  counts.nodes++;
  counts.buffers += buffersOf(type);
  if (type.typeId === Type.Utf8View || type.typeId === Type.BinaryView) {
    counts.buffers += header.variadicBufferCounts[counts.variadicBufferCounts++] ?? 0;
  }
  if (type.typeId === Type.Dictionary) return; // its values are in batches of their own
  for (const child of type.children ?? []) addEntries(child.type, counts, header);
}

/** The number of buffers of a column, without the columns inside it. Unions are not read. */
function buffersOf({ typeId }: DataType): number {
  switch (typeId) {
    case Type.Null:
      return 0;
    case Type.Struct:
    case Type.FixedSizeList:
      return 1;
    case Type.Utf8:
    case Type.LargeUtf8:
    case Type.Binary:
    case Type.LargeBinary:
      return 3;
    default:
      return 2; // a bitmap, and offsets or values
  }
}

/** The function with which FlatBuffers, the format of Arrow's metadata, reads the length of a list. */
const { __vector_len: lengthOf } = ByteBuffer.prototype;

/**
 * Rejects lists in the metadata that are longer than the metadata. FlatBuffers checks nothing, and the library's reader would
 * create as many objects as a damaged length says. Call this only in a worker, because it changes the library's prototype.
 */
export function limitListLengths(): void {
  ByteBuffer.prototype.__vector_len = function (offset: number): number {
    const length = lengthOf.call(this, offset);
    if (length >= 0 && length <= this.capacity()) return length;
    throw new Error("its metadata has a list that is longer than itself");
  };
}

/** The newest `MetadataVersion` of Schema.fbs, named V5. */
const NEWEST_VERSION = 4;
/** A value of `Endianness`: big-endian. */
const BIG_ENDIAN = 1;
/** A value of `MessageHeader`: the message has a schema. */
const SCHEMA_MESSAGE = 1;

/** Vtable offsets of fields in Message.fbs, File.fbs and Schema.fbs. Each entry takes two bytes. */
const VERSION = 4;
const FOOTER_SCHEMA = 6;
const HEADER_TYPE = 6;
const HEADER = 8;
const ENDIANNESS = 4;

/**
 * Checks the version and the byte order, which the library's reader ignores.
 *
 * @param bytes The message with the schema, or the footer of a file.
 * @throws {UnsupportedFeature} If the values are big-endian or the version is newer than V5.
 */
export function checkMetadata(bytes: Uint8Array, kind: "message" | "footer"): void {
  const buffer = new ByteBuffer(bytes);
  const root = buffer.readInt32(0);
  const field = (table: number, place: number) => {
    const offset = buffer.__offset(table, place);
    return offset === 0 ? undefined : table + offset;
  };
  const version = field(root, VERSION);
  const number = version === undefined ? 0 : buffer.readInt16(version);
  if (number > NEWEST_VERSION) {
    throw new UnsupportedFeature(
      `it is of version V${number + 1} of Arrow's format; up to V${NEWEST_VERSION + 1} can be read here`,
    );
  }
  const type = field(root, HEADER_TYPE);
  if (kind === "message" && (type === undefined || buffer.readUint8(type) !== SCHEMA_MESSAGE)) return;
  const schema = field(root, kind === "message" ? HEADER : FOOTER_SCHEMA);
  if (schema === undefined) return;
  const endianness = field(buffer.__indirect(schema), ENDIANNESS);
  if (endianness !== undefined && buffer.readInt16(endianness) === BIG_ENDIAN) {
    throw new UnsupportedFeature("it is big-endian; write it on, or for, a little-endian machine");
  }
}

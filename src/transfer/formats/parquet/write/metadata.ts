/**
 * The Thrift structs of a Parquet file, as parquet.thrift defines them: the footer with the schema, and the page headers.
 *
 * @module
 */

import type { ColumnType } from "../../../columns/batch.ts";
import type { Bounds, Leaf } from "./column_chunk.ts";

/** The footer's data about a row group. */
export interface RowGroup {
  /** The number of rows. */
  rows: number;
  /** A chunk for each column. */
  chunks: ColumnChunk[];
}

/** Values of `PageType` and `Encoding`. */
const DATA_PAGE = 0;
const PLAIN = 0;
const RLE = 3;

/**
 * Encodes the footer, the struct `FileMetaData`.
 *
 * @param codec The value of `CompressionCodec`.
 */
export function footer(
  leaves: readonly Leaf[],
  groups: readonly RowGroup[],
  codec: number,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const thrift = new ThriftWriter();
  thrift.integer(1, 1);
  writeSchema(thrift, 2, leaves);
  thrift.integer(3, groups.reduce((rows, group) => rows + group.rows, 0), Thrift.i64);
  thrift.structs(4, groups, (group) => writeRowGroup(thrift, leaves, group, codec));
  thrift.structs(5, Object.entries(metadata), ([key, value]) => {
    thrift.binary(1, key);
    thrift.binary(2, value);
  });
  thrift.binary(6, "lakebase");
  // Readers ignore the bounds of texts unless the order is stated here.
  thrift.structs(7, leaves, () => thrift.struct(1));
  return thrift.end();
}

function writeRowGroup(thrift: ThriftWriter, leaves: readonly Leaf[], { rows, chunks }: RowGroup, codec: number): void {
  const sum = (size: (chunk: ColumnChunk) => number) => chunks.reduce((total, chunk) => total + size(chunk), 0);
  thrift.structs(1, chunks.map((chunk, at) => ({ chunk, leaf: leaves[at]! })), ({ chunk, leaf }) => {
    thrift.integer(2, 0, Thrift.i64); // required, but deprecated: writers disagreed on its meaning
    thrift.struct(3, () => writeColumn(thrift, leaf, chunk, codec));
  });
  thrift.integer(2, sum((chunk) => chunk.uncompressed), Thrift.i64);
  thrift.integer(3, rows, Thrift.i64);
  thrift.integer(5, chunks[0]!.offset, Thrift.i64);
  thrift.integer(6, sum((chunk) => chunk.compressed), Thrift.i64);
}

function writeColumn(thrift: ThriftWriter, leaf: Leaf, chunk: ColumnChunk, codec: number): void {
  thrift.integer(1, leaf.physical);
  thrift.integers(2, [PLAIN, RLE]);
  thrift.texts(3, leaf.path);
  thrift.integer(4, codec);
  thrift.integer(5, chunk.values, Thrift.i64);
  thrift.integer(6, chunk.uncompressed, Thrift.i64);
  thrift.integer(7, chunk.compressed, Thrift.i64);
  thrift.integer(9, chunk.offset, Thrift.i64);
  const { statistics } = chunk;
  if (statistics === undefined) return;
  thrift.struct(12, () => {
    thrift.integer(3, statistics.nulls, Thrift.i64);
    if (statistics.bounds === undefined) return;
    thrift.binary(5, statistics.bounds.max);
    thrift.binary(6, statistics.bounds.min);
  });
}

/** The footer's data about a column chunk. */
export interface ColumnChunk {
  /** The position of its first page in the file. */
  offset: number;
  /** The number of values, including NULLs and empty lists. */
  values: number;
  /** The bytes in the file, including page headers. */
  compressed: number;
  /** The bytes before compression, including page headers. */
  uncompressed: number;
  /** Statistics that let readers skip the row group; absent for lists. */
  statistics?: { nulls: number; bounds: Bounds | undefined };
}

/** Encodes the header of a page. */
export function pageHeader(values: number, uncompressed: number, compressed: number): Uint8Array {
  const thrift = new ThriftWriter();
  thrift.integer(1, DATA_PAGE);
  thrift.integer(2, uncompressed);
  thrift.integer(3, compressed);
  thrift.struct(5, () => {
    thrift.integer(1, values);
    thrift.integer(2, PLAIN);
    thrift.integer(3, RLE);
    thrift.integer(4, RLE);
  });
  return thrift.end();
}

/** Values of `FieldRepetitionType` in parquet.thrift. */
const OPTIONAL = 1;
const REPEATED = 2;

/** Values of `ConvertedType`, which tells older readers the type of a column. */
const Converted = { utf8: 0, list: 3, decimal: 5, date: 6, timestampMicros: 10, uint32: 13, int16: 16, json: 19 };

/** The fields of the union `LogicalType`. */
const Logical = { string: 1, list: 3, decimal: 5, date: 6, time: 7, timestamp: 8, integer: 10, json: 12, uuid: 14 };

/** Writes an element of the schema. The schema is a tree in depth-first order. */
type Element = (thrift: ThriftWriter) => void;

/** Writes the schema of a file as a field of the footer. */
function writeSchema(thrift: ThriftWriter, field: number, leaves: readonly Leaf[]): void {
  const root: Element = (thrift) => {
    thrift.binary(4, "root");
    thrift.integer(5, leaves.length);
  };
  thrift.structs(field, [root, ...leaves.flatMap(elements)], (write) => write(thrift));
}

/** Returns the elements of a column: its leaf, and for a list the two groups around the leaf. */
function elements(leaf: Leaf): Element[] {
  if (!leaf.isList) return [(thrift) => writeLeaf(thrift, leaf)];
  return [
    (thrift) => {
      writeGroup(thrift, OPTIONAL, leaf.path[0]!);
      thrift.integer(6, Converted.list);
      thrift.struct(10, () => thrift.struct(Logical.list));
    },
    (thrift) => writeGroup(thrift, REPEATED, leaf.path[1]!),
    (thrift) => writeLeaf(thrift, leaf),
  ];
}

function writeGroup(thrift: ThriftWriter, repetition: number, name: string): void {
  thrift.integer(3, repetition);
  thrift.binary(4, name);
  thrift.integer(5, 1);
}

function writeLeaf(thrift: ThriftWriter, { path, physical, width, type }: Leaf): void {
  thrift.integer(1, physical);
  if (width !== undefined) thrift.integer(2, width);
  thrift.integer(3, OPTIONAL);
  thrift.binary(4, path.at(-1)!);
  const converted = convertedType(type);
  if (converted !== undefined) thrift.integer(6, converted);
  if (type.kind === "decimal") {
    thrift.integer(7, type.scale);
    thrift.integer(8, type.precision);
  }
  const logical = logicalType(thrift, type);
  if (logical !== undefined) thrift.struct(10, logical);
}

function convertedType(type: ColumnType): number | undefined {
  switch (type.kind) {
    case "text":
      return Converted.utf8;
    case "json":
      return Converted.json;
    case "decimal":
      return Converted.decimal;
    case "date":
      return Converted.date;
    case "timestamp": // the converted type always means UTC
      return type.utc ? Converted.timestampMicros : undefined;
    case "uint32":
      return Converted.uint32;
    case "int16":
      return Converted.int16;
    default:
      return undefined;
  }
}

function logicalType(thrift: ThriftWriter, type: ColumnType): (() => void) | undefined {
  switch (type.kind) {
    case "text":
      return () => thrift.struct(Logical.string);
    case "json":
      return () => thrift.struct(Logical.json);
    case "uuid":
      return () => thrift.struct(Logical.uuid);
    case "date":
      return () => thrift.struct(Logical.date);
    case "decimal":
      return () =>
        thrift.struct(Logical.decimal, () => {
          thrift.integer(1, type.scale);
          thrift.integer(2, type.precision);
        });
    case "time":
      return () => thrift.struct(Logical.time, () => writeMicroseconds(thrift, false));
    case "timestamp":
      return () => thrift.struct(Logical.timestamp, () => writeMicroseconds(thrift, type.utc));
    case "int16":
      return () => writeInteger(thrift, 16, true);
    case "uint32":
      return () => writeInteger(thrift, 32, false);
    default:
      return undefined;
  }
}

function writeMicroseconds(thrift: ThriftWriter, utc: boolean): void {
  thrift.bool(1, utc);
  thrift.struct(2, () => thrift.struct(2));
}

function writeInteger(thrift: ThriftWriter, bits: number, signed: boolean): void {
  thrift.struct(Logical.integer, () => {
    thrift.byte(1, bits);
    thrift.bool(2, signed);
  });
}

/** The field types of Thrift's compact protocol. */
const Thrift = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  struct: 12,
} as const;

const UTF8 = new TextEncoder();

/** Writes a struct in Thrift's compact protocol. */
class ThriftWriter {
  #bytes = new Uint8Array(256);
  #length = 0;
  /** The number of the last field in each open struct. */
  readonly #last: number[] = [0];

  /** Writes a whole number below 2^53. */
  integer(field: number, value: number, type: 4 | 5 | 6 = Thrift.i32): void {
    this.#field(field, type);
    this.#zigzag(value);
  }

  /** Writes a byte. */
  byte(field: number, value: number): void {
    this.#field(field, Thrift.byte);
    this.#byte(value);
  }

  /** Writes a boolean, which the protocol encodes in the type of the field. */
  bool(field: number, value: boolean): void {
    this.#field(field, value ? Thrift.true : Thrift.false);
  }

  /** Writes bytes, or a text as UTF-8. */
  binary(field: number, value: Uint8Array | string): void {
    this.#field(field, Thrift.binary);
    this.#binary(value);
  }

  /** Writes a struct, whose fields `write` writes. */
  struct(field: number, write: () => void = () => {}): void {
    this.#field(field, Thrift.struct);
    this.#struct(write);
  }

  /** Writes a list of structs. */
  structs<Item>(field: number, items: readonly Item[], write: (item: Item) => void): void {
    this.#list(field, Thrift.struct, items.length);
    for (const item of items) this.#struct(() => write(item));
  }

  /** Writes a list of texts. */
  texts(field: number, items: readonly string[]): void {
    this.#list(field, Thrift.binary, items.length);
    for (const item of items) this.#binary(item);
  }

  /** Writes a list of whole numbers. */
  integers(field: number, items: readonly number[]): void {
    this.#list(field, Thrift.i32, items.length);
    for (const item of items) this.#zigzag(item);
  }

  /** Ends the outermost struct and returns all bytes. */
  end(): Uint8Array {
    this.#byte(0);
    return this.#bytes.subarray(0, this.#length);
  }

  #struct(write: () => void): void {
    this.#last.push(0);
    write();
    this.#last.pop();
    this.#byte(0);
  }

  #list(field: number, type: number, length: number): void {
    this.#field(field, Thrift.list);
    if (length < 15) return this.#byte((length << 4) | type);
    this.#byte(0xf0 | type);
    this.#varint(length);
  }

  /** Writes a field's header: its distance from the previous field, at most 15 in Parquet. Fields must ascend. */
  #field(field: number, type: number): void {
    const top = this.#last.length - 1;
    this.#byte(((field - this.#last[top]!) << 4) | type);
    this.#last[top] = field;
  }

  #binary(value: Uint8Array | string): void {
    const bytes = typeof value === "string" ? UTF8.encode(value) : value;
    this.#varint(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #zigzag(value: number): void {
    this.#varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** Divides instead of shifting, because positions in a file can exceed 32 bits. */
  #varint(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#byte((rest % 128) | 128);
    this.#byte(rest);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

import type { ColumnType } from "../../../columns/batch.ts";

/** The metadata key of the Arrow schema. polars needs this schema to read JSON as text. */
export const ARROW_SCHEMA = "ARROW:schema";

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
export function writeSchema(thrift: ThriftWriter, field: number, leaves: readonly Leaf[]): void {
  const root: Element = (thrift) => {
    thrift.binary(4, "root");
    thrift.integer(5, leaves.length);
  };
  thrift.structs(field, [root, ...leaves.flatMap(elements)], (write) => write(thrift));
}

function elements(leaf: Leaf): Element[] {
  if (!leaf.list) return [(thrift) => writeLeaf(thrift, leaf)];
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

/** The physical types (`Type` in parquet.thrift). */
export const Physical = { boolean: 0, int32: 1, int64: 2, float: 4, double: 5, bytes: 6, fixed: 7 } as const;

/** A column as Parquet stores it. For a list, these are its elements. */
export interface Leaf {
  /** The column's name. */
  name: string;
  /** The names on the path from the root to the leaf. */
  path: readonly string[];
  /** The type of the values, or of the elements of a list. */
  type: ColumnType;
  /** Whether the column is a list. */
  list: boolean;
  /** The physical type. */
  physical: number;
  /** The bytes per value; only for `Physical.fixed`. */
  width?: number;
}

/** The most digits of a decimal that fits into 32 or 64 bits. */
const DIGITS_32 = 9;
const DIGITS_64 = 18;

const FIXED_WIDTH = 16;

/** Chooses how a column is stored. */
export function leafOf(name: string, type: ColumnType): Leaf {
  const list = type.kind === "list";
  const element = list ? type.element : type;
  const physical = physicalType(element);
  return {
    name,
    path: list ? [name, "list", "element"] : [name],
    type: element,
    list,
    physical,
    ...(physical === Physical.fixed ? { width: FIXED_WIDTH } : {}),
  };
}

function physicalType(type: ColumnType): number {
  switch (type.kind) {
    case "bool":
      return Physical.boolean;
    case "int16":
    case "int32":
    case "uint32":
    case "date":
      return Physical.int32;
    case "int64":
    case "time":
    case "timestamp":
      return Physical.int64;
    case "float32":
      return Physical.float;
    case "float64":
      return Physical.double;
    case "decimal":
      return type.precision <= DIGITS_32
        ? Physical.int32
        : type.precision <= DIGITS_64
        ? Physical.int64
        : Physical.fixed;
    case "uuid":
      return Physical.fixed;
    default:
      return Physical.bytes;
  }
}

/** The field types of Thrift's compact protocol. */
export const Thrift = {
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

/** Writes a struct in Thrift's compact protocol. The page headers and the footer of a Parquet file are such structs. */
export class ThriftWriter {
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

  /** Writes a struct; `write` writes its fields. */
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

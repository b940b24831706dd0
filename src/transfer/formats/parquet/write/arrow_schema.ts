/**
 * Encodes columns as an Arrow schema, for the metadata of a Parquet file: "Schema.fbs" and "Message.fbs" in
 * https://github.com/apache/arrow/tree/main/format. apache-arrow could do it, but loading its 146 modules holds the thread for
 * longer than anything else in a pull, and is most of what a first pull fetches.
 *
 * @module
 */

import { Builder } from "npm:flatbuffers@25.9.23";
import { ARROW_EXTENSIONS, type ColumnType } from "../../../columns/batch.ts";

/** "MetadataVersion" and "MessageHeader". */
const VERSION_5 = 4;
const SCHEMA_HEADER = 1;

/** The numbers of the types in the union "Type". */
const Type = {
  int: 2,
  float: 3,
  binary: 4,
  utf8: 5,
  bool: 6,
  decimal: 7,
  date: 8,
  time: 9,
  timestamp: 10,
  list: 12,
  fixed: 15,
} as const;

/** "TimeUnit", "DateUnit" and "Precision". */
const MICROSECOND = 2;
const DAY = 0;
const SINGLE = 1;
const DOUBLE = 2;

/**
 * Encodes a schema as a message of Arrow's stream format.
 *
 * @param columns The names, which differ from each other, and the types.
 */
export function encodeArrowSchema(columns: readonly { name: string; type: ColumnType }[]): Uint8Array {
  const builder = new Builder();
  const fields = vector(builder, columns.map(({ name, type }) => writeField(builder, name, type)));
  const schema = table(builder, 4, () => builder.addFieldOffset(1, fields, 0));
  const message = table(builder, 5, () => {
    builder.addFieldInt16(0, VERSION_5, 0);
    builder.addFieldInt8(1, SCHEMA_HEADER, 0);
    builder.addFieldOffset(2, schema, 0);
  });
  builder.finish(message);
  return framed(builder.asUint8Array());
}

/** Writes a message: the marker -1, its length, and the message, padded to a multiple of eight bytes. */
function framed(message: Uint8Array): Uint8Array {
  const length = (message.length + 7) & ~7;
  const framed = new Uint8Array(8 + length);
  const head = new DataView(framed.buffer);
  head.setInt32(0, -1, true);
  head.setInt32(4, length, true);
  framed.set(message, 8);
  return framed;
}

function writeField(builder: Builder, name: string, type: ColumnType): number {
  const children = vector(builder, type.kind === "list" ? [writeField(builder, "item", type.element)] : []);
  const [id, value] = writeType(builder, type);
  const extension = ARROW_EXTENSIONS[type.kind];
  const metadata = extension === undefined ? 0 : vector(builder, [
    writeEntry(builder, "ARROW:extension:name", extension),
    writeEntry(builder, "ARROW:extension:metadata", ""),
  ]);
  const label = builder.createString(name);
  return table(builder, 7, () => {
    builder.addFieldOffset(0, label, 0);
    builder.addFieldInt8(1, 1, 0); // nullable
    builder.addFieldInt8(2, id, 0);
    builder.addFieldOffset(3, value, 0);
    builder.addFieldOffset(5, children, 0);
    builder.addFieldOffset(6, metadata, 0);
  });
}

function writeEntry(builder: Builder, key: string, value: string): number {
  const [name, content] = [builder.createString(key), builder.createString(value)];
  return table(builder, 2, () => {
    builder.addFieldOffset(0, name, 0);
    builder.addFieldOffset(1, content, 0);
  });
}

/** Writes a type, and returns its number in the union and its position. */
function writeType(builder: Builder, type: ColumnType): readonly [id: number, place: number] {
  const plain = (id: number) => [id, table(builder, 0, () => {})] as const;
  const integer = (bits: number, signed = true) =>
    [
      Type.int,
      table(builder, 2, () => {
        builder.addFieldInt32(0, bits, 0);
        builder.addFieldInt8(1, Number(signed), 0);
      }),
    ] as const;
  const float = (precision: number) =>
    [Type.float, table(builder, 1, () => builder.addFieldInt16(0, precision, 0))] as const;
  switch (type.kind) {
    case "bool":
      return plain(Type.bool);
    case "int16":
      return integer(16);
    case "int32":
      return integer(32);
    case "int64":
      return integer(64);
    case "uint32":
      return integer(32, false);
    case "float32":
      return float(SINGLE);
    case "float64":
      return float(DOUBLE);
    case "decimal":
      return [
        Type.decimal,
        table(builder, 3, () => {
          builder.addFieldInt32(0, type.precision, 0);
          builder.addFieldInt32(1, type.scale, 0);
          builder.addFieldInt32(2, 128, 128);
        }),
      ];
    case "date":
      return [Type.date, table(builder, 1, () => builder.addFieldInt16(0, DAY, 1))];
    case "time":
      return [
        Type.time,
        table(builder, 2, () => {
          builder.addFieldInt16(0, MICROSECOND, 1);
          builder.addFieldInt32(1, 64, 32);
        }),
      ];
    case "timestamp": {
      const zone = type.utc ? builder.createString("UTC") : 0;
      return [
        Type.timestamp,
        table(builder, 2, () => {
          builder.addFieldInt16(0, MICROSECOND, 0);
          builder.addFieldOffset(1, zone, 0);
        }),
      ];
    }
    case "uuid":
      return [Type.fixed, table(builder, 1, () => builder.addFieldInt32(0, 16, 0))];
    case "text":
    case "json":
      return plain(Type.utf8);
    case "binary":
      return plain(Type.binary);
    case "list":
      return plain(Type.list);
  }
}

/** Writes a table whose fields are numbers, or were written before. */
function table(builder: Builder, fields: number, write: () => void): number {
  builder.startObject(fields);
  write();
  return builder.endObject();
}

/** Writes a vector of tables that were written before. */
function vector(builder: Builder, places: readonly number[]): number {
  builder.startVector(4, places.length, 4);
  for (const place of places.toReversed()) builder.addOffset(place);
  return builder.endVector();
}

import {
  type Data,
  type DataType,
  type Date_,
  type Decimal,
  type Dictionary,
  type Duration,
  type Field,
  type Float,
  type Int,
  type Interval,
  type Time,
  type Timestamp,
  Type,
} from "npm:apache-arrow@^21.2.0";
import type { ColumnData } from "../../batch.ts";
import { problemAt } from "../../binary/block.ts";
import type { ColumnType } from "../../column_type.ts";
import { fixedBytes, largeBytes, plainBytes, viewBytes } from "./bytes.ts";
import { decimals, decimalTexts, isKept } from "./decimals.ts";
import { gather } from "./gather.ts";
import { durationTexts, intervalTexts, parquetIntervals } from "./intervals.ts";
import { jsonTexts } from "./json.ts";
import { listOffsets } from "./lists.ts";
import { floats, integers, integerType } from "./numbers.ts";
import { checkSound } from "./sound.ts";
import { days, times, timestamps } from "./times.ts";

/** The values without what the field says of them; with their own NULLs where those are not the ones of the batch. */
export type Values = Pick<ColumnData, "values" | "offsets" | "child" | "nullBitmap"> & { nullCount?: number };

/** How the values of an Arrow field are taken over. */
export interface ColumnReader {
  /** How they are kept. */
  type: ColumnType;
  /** What Postgres has for them. */
  postgres: string;
  /** Whether it has no type of its own, since all of its values are NULL. */
  untyped?: boolean;
  /** The values of a batch. */
  read(data: Data): Values;
}

/** What an extension type's name says more than the storage does. */
const EXTENSION = "ARROW:extension:name";

const INTERVAL_BYTES = 12;

/**
 * How a field is taken over: without a copy where it is kept alike, else converted; what is nested more than once as JSON.
 *
 * @returns `undefined` for what Postgres has no form of.
 */
export function columnReader(field: Field): ColumnReader | undefined {
  if (isNested(field)) return jsonReader(field);
  const extension = field.metadata.get(EXTENSION);
  const { type } = field;
  switch (type.typeId) {
    case Type.Dictionary:
      return dictionaryReader(field, type as Dictionary);
    case Type.List:
    case Type.LargeList:
    case Type.FixedSizeList:
      return listReader(type);
    case Type.Utf8:
    case Type.LargeUtf8:
    case Type.Utf8View:
      return extension === "arrow.json"
        ? { type: { kind: "json" }, postgres: "jsonb", read: bytesOf(type) }
        : { type: { kind: "text" }, postgres: "text", read: bytesOf(type) };
    case Type.FixedSizeBinary:
      if (extension === "parquet.interval" && type.byteWidth === INTERVAL_BYTES) {
        return { type: { kind: "text" }, postgres: "interval", read: parquetIntervals };
      }
      return extension === "arrow.uuid" && type.byteWidth === 16
        ? { type: { kind: "uuid" }, postgres: "uuid", read: ({ values }) => ({ values }) }
        : { type: { kind: "binary" }, postgres: "bytea", read: fixedBytes(type.byteWidth) };
    default:
      return scalarReader(type);
  }
}

/** The values of a batch as a column. */
export function columnData(reader: ColumnReader, name: string, data: Data): ColumnData {
  const { length } = data;
  const nullCount = data.type.typeId === Type.Null ? length : data.nullCount;
  const nulls = data.type.typeId === Type.Null
    ? { nullBitmap: new Uint8Array((length + 7) >> 3) }
    : nullCount > 0
    ? { nullBitmap: data.nullBitmap }
    : {};
  const column = { name, type: reader.type, length, nullCount, ...nulls, ...reader.read(data) };
  checkSound(column);
  return column;
}

function jsonReader(field: Field): ColumnReader | undefined {
  const readers = new Map<Field, ColumnReader>();
  const isKnown = (child: Field): boolean => {
    if (holdsNested(child)) return (child.type.children as Field[]).every(isKnown);
    const reader = columnReader(child);
    if (reader !== undefined) readers.set(child, reader);
    return reader !== undefined;
  };
  if (!isKnown(field)) return undefined;
  const read = jsonTexts(field, (child, data) => columnData(readers.get(child)!, child.name, data));
  return { type: { kind: "json" }, postgres: "jsonb", read };
}

function isNested(field: Field): boolean {
  switch (field.type.typeId) {
    case Type.Struct:
    case Type.Map:
      return true;
    case Type.List:
    case Type.LargeList:
    case Type.FixedSizeList:
      return holdsNested(field.type.children[0]!);
    default:
      return false;
  }
}

/** Whether something is in itself more than one value. */
function holdsNested({ type }: Field): boolean {
  return [Type.Struct, Type.Map, Type.List, Type.LargeList, Type.FixedSizeList].includes(type.typeId);
}

function scalarReader(type: DataType): ColumnReader | undefined {
  switch (type.typeId) {
    case Type.Null:
      return {
        type: { kind: "text" },
        postgres: "text",
        untyped: true,
        read: ({ length }) => ({ values: new Uint8Array(), offsets: new Int32Array(length + 1) }),
      };
    case Type.Bool:
      return { type: { kind: "bool" }, postgres: "boolean", read: ({ values }) => ({ values }) };
    case Type.Int:
      return { ...integerType(type as Int), read: integers(type as Int) };
    case Type.Float:
      return floats(type as Float);
    case Type.Decimal:
      return decimalReader(type as Decimal);
    case Type.Date:
      return { type: { kind: "date" }, postgres: "date", read: days(type as Date_) };
    case Type.Time:
      return { type: { kind: "time" }, postgres: "time", read: times(type as Time) };
    case Type.Timestamp: {
      const { timezone } = type as Timestamp;
      const utc = timezone !== null && timezone !== undefined;
      return {
        type: { kind: "timestamp", utc },
        postgres: utc ? "timestamptz" : "timestamp",
        read: timestamps(type as Timestamp),
      };
    }
    case Type.Duration:
      return { type: { kind: "text" }, postgres: "interval", read: durationTexts(type as Duration) };
    case Type.Interval:
      return { type: { kind: "text" }, postgres: "interval", read: intervalTexts(type as Interval) };
    case Type.Binary:
    case Type.LargeBinary:
    case Type.BinaryView:
      return { type: { kind: "binary" }, postgres: "bytea", read: bytesOf(type) };
    default:
      return undefined;
  }
}

function decimalReader(type: Decimal): ColumnReader {
  const { precision, scale } = type;
  if (!isKept(type)) return { type: { kind: "text" }, postgres: "numeric", read: decimalTexts(type) };
  return {
    type: { kind: "decimal", precision, scale },
    postgres: `numeric(${precision},${scale})`,
    read: decimals(type),
  };
}

function bytesOf(type: DataType): (data: Data) => Values {
  switch (type.typeId) {
    case Type.LargeUtf8:
    case Type.LargeBinary:
      return largeBytes;
    case Type.Utf8View:
    case Type.BinaryView:
      return viewBytes;
    default:
      return plainBytes;
  }
}

function listReader(type: DataType): ColumnReader | undefined {
  const field = type.children[0] as Field;
  const element = columnReader(field);
  if (element === undefined) return undefined;
  return {
    type: { kind: "list", element: element.type },
    postgres: `${element.postgres}[]`,
    read: (data) => {
      const offsets = listOffsets(data);
      const rowOf = (at: number) => at < 0 ? at : offsets.findIndex((start) => start > at) - 1;
      const child = problemAt(() => columnData(element, "item", data.children[0]!), rowOf);
      return { values: new Uint8Array(), offsets, child };
    },
  };
}

/** The distinct values are taken over once for each dictionary, and from there to each row. */
function dictionaryReader(field: Field, type: Dictionary): ColumnReader | undefined {
  const element = columnReader(field.clone({ type: type.dictionary }));
  if (element === undefined || element.type.kind === "list") return undefined;
  let known: { data: readonly Data[]; columns: ColumnData[] } | undefined;
  return {
    ...element,
    read: (data) => {
      const chunks = data.dictionary!.data;
      if (known?.data !== chunks) {
        known = { data: chunks, columns: chunks.map((chunk) => columnData(element, "item", chunk)) };
      }
      return gather(data, known.columns);
    },
  };
}

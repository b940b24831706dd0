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
} from "npm:apache-arrow@21.2.0";
import { type ColumnData, EXTENSION_NAME, isSet, problemAt } from "../../columns/batch.ts";
import { jsonTexts } from "./json.ts";
import {
  type ColumnReader,
  days,
  decimals,
  decimalTexts,
  durationTexts,
  fitsDecimal,
  fixedBytes,
  floats,
  integers,
  integerType,
  intervalTexts,
  largeBytes,
  listOffsets,
  parquetIntervals,
  plainBytes,
  times,
  timestamps,
  unchanged,
  type Values,
  viewBytes,
} from "./values.ts";

const INTERVAL_BYTES = 12;

/**
 * Chooses the reader for a field. The reader makes no copy if the layout is that of a column. Structs, maps and nested lists
 * become JSON.
 *
 * @returns `undefined` if Postgres has no matching type.
 */
export function columnReader(field: Field): ColumnReader | undefined {
  if (becomesJson(field)) return jsonReader(field);
  const extension = field.metadata.get(EXTENSION_NAME);
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
        ? { type: { kind: "json" }, postgres: "jsonb", read: bytesReader(type) }
        : { type: { kind: "text" }, postgres: "text", read: bytesReader(type) };
    case Type.FixedSizeBinary:
      if (extension === "parquet.interval" && type.byteWidth === INTERVAL_BYTES) {
        return { type: { kind: "text" }, postgres: "interval", read: parquetIntervals };
      }
      return extension === "arrow.uuid" && type.byteWidth === 16
        ? { type: { kind: "uuid" }, postgres: "uuid", read: unchanged }
        : { type: { kind: "binary" }, postgres: "bytea", read: fixedBytes(type.byteWidth) };
    default:
      return scalarReader(type);
  }
}

/**
 * Reads the values of a batch as a column.
 *
 * @throws {CellProblem} If Postgres can't hold a value.
 * @throws {Error} If the data is damaged.
 */
export function columnData(reader: ColumnReader, name: string, data: Data): ColumnData {
  const { length } = data;
  const nullCount = data.type.typeId === Type.Null ? length : data.nullCount;
  const nulls = data.type.typeId === Type.Null
    ? { nullBitmap: new Uint8Array((length + 7) >> 3) }
    : nullCount > 0
    ? { nullBitmap: data.nullBitmap }
    : {};
  const column = { name, type: reader.type, length, nullCount, ...nulls, ...reader.read(data) };
  checkLayout(column);
  return column;
}

function jsonReader(field: Field): ColumnReader | undefined {
  const readers = new Map<Field, ColumnReader>();
  const isKnown = (child: Field): boolean => {
    if (isContainer(child)) return (child.type.children as Field[]).every(isKnown);
    const reader = columnReader(child);
    if (reader !== undefined) readers.set(child, reader);
    return reader !== undefined;
  };
  if (!isKnown(field)) return undefined;
  const read = jsonTexts(field, (child, data) => columnData(readers.get(child)!, child.name, data));
  return { type: { kind: "json" }, postgres: "jsonb", read };
}

/** Whether the values of a field have no type of Postgres but JSON. */
function becomesJson(field: Field): boolean {
  switch (field.type.typeId) {
    case Type.Struct:
    case Type.Map:
      return true;
    case Type.List:
    case Type.LargeList:
    case Type.FixedSizeList:
      return isContainer(field.type.children[0]!);
    default:
      return false;
  }
}

/** Whether a value of the field contains other values. */
function isContainer({ type }: Field): boolean {
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
      return { type: { kind: "bool" }, postgres: "boolean", read: unchanged };
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
      return { type: { kind: "binary" }, postgres: "bytea", read: bytesReader(type) };
    default:
      return undefined;
  }
}

function decimalReader(type: Decimal): ColumnReader {
  const { precision, scale } = type;
  if (!fitsDecimal(type)) return { type: { kind: "text" }, postgres: "numeric", read: decimalTexts(type) };
  return {
    type: { kind: "decimal", precision, scale },
    postgres: `numeric(${precision},${scale})`,
    read: decimals(type),
  };
}

function bytesReader(type: DataType): (data: Data) => Values {
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

/** Converts the distinct values of each dictionary once, and copies them to the rows. */
function dictionaryReader(field: Field, type: Dictionary): ColumnReader | undefined {
  const element = columnReader(field.clone({ type: type.dictionary }));
  if (element === undefined || element.type.kind === "list") return undefined;
  let converted: { chunks: readonly Data[]; columns: ColumnData[] } | undefined;
  return {
    ...element,
    read: (data) => {
      const chunks = data.dictionary!.data;
      if (converted?.chunks !== chunks) {
        converted = { chunks, columns: chunks.map((chunk) => columnData(element, "item", chunk)) };
      }
      return lookUpValues(data, converted.columns);
    },
  };
}

/** The bits per value of each fixed-width kind. */
const BITS: Partial<Record<ColumnData["type"]["kind"], number>> = {
  bool: 1,
  int16: 16,
  int32: 32,
  uint32: 32,
  float32: 32,
  date: 32,
  int64: 64,
  float64: 64,
  time: 64,
  timestamp: 64,
  uuid: 128,
  decimal: 128,
};

/**
 * Checks that a column's bitmap, offsets and values are long enough and consistent. Those of a damaged file may not be.
 *
 * @throws {Error} If they are not.
 */
function checkLayout({ name, type, length, nullBitmap, values, offsets, child }: ColumnData): void {
  const bits = BITS[type.kind];
  const reach = child?.length ?? values.length;
  const isValid = (nullBitmap === undefined || nullBitmap.length * 8 >= length) &&
    (bits === undefined ? isRising(offsets, length, reach) : values.byteLength * 8 >= length * bits);
  if (!isValid) throw new Error(`the values of column "${name}" are not where they should be`);
  if (child !== undefined) checkLayout(child);
}

/** Whether offsets never fall, and end within the values. */
function isRising(offsets: Int32Array | undefined, length: number, reach: number): boolean {
  if (offsets === undefined || offsets.length <= length) return length === 0;
  if (offsets[0]! < 0) return false;
  for (let at = 1; at <= length; at++) if (offsets[at]! < offsets[at - 1]!) return false;
  return offsets[length]! <= reach;
}

/** A distinct value: its column, and its row there. */
interface DictionaryEntry {
  column: ColumnData;
  at: number;
}

/** The values of a dictionary; `undefined` for a NULL. */
type DictionaryEntries = readonly (DictionaryEntry | undefined)[];

/**
 * Looks up the values of a dictionary-encoded column, one for each index.
 *
 * @param data The indices.
 * @param columns The distinct values; more than one column if the dictionary grew.
 * @throws {Error} If an index is not in the dictionary.
 */
function lookUpValues(data: Data, columns: readonly ColumnData[]): Values {
  const entries = columns.flatMap(entriesOf);
  const first = columns[0];
  if (first === undefined) return { values: new Uint8Array(), offsets: new Int32Array(data.length + 1) };
  const nulls = entries.includes(undefined) ? lookUpNulls(data, entries) : {};
  if (first.offsets !== undefined) return { ...lookUpBytes(data, entries), ...nulls };
  return { ...first.type.kind === "bool" ? lookUpBits(data, entries) : lookUpFixed(data, entries, first), ...nulls };
}

function entriesOf(column: ColumnData): DictionaryEntries {
  const { length, nullBitmap } = column;
  const isPresent = (at: number) => nullBitmap === undefined || isSet(nullBitmap, at);
  return Array.from({ length }, (_, at) => isPresent(at) ? { column, at } : undefined);
}

function entryOf(data: Data, entries: DictionaryEntries, at: number): DictionaryEntry | undefined {
  if (!data.getValid(at)) return undefined;
  const index = Number(data.values[at]);
  if (index < 0 || index >= entries.length) throw new Error("an index points beyond its dictionary");
  return entries[index];
}

/** Finds the NULLs: rows without an index, and rows whose index points to a NULL. */
function lookUpNulls(data: Data, entries: DictionaryEntries): Pick<Values, "nullBitmap" | "nullCount"> {
  const nullBitmap = new Uint8Array((data.length + 7) >> 3);
  let nullCount = 0;
  for (let row = 0; row < data.length; row++) {
    if (entryOf(data, entries, row) === undefined) nullCount++;
    else nullBitmap[row >> 3]! |= 1 << (row & 7);
  }
  return { nullBitmap, nullCount };
}

function lookUpBytes(data: Data, entries: DictionaryEntries): Values {
  const offsets = new Int32Array(data.length + 1);
  for (let row = 0; row < data.length; row++) {
    const entry = entryOf(data, entries, row);
    const size = entry === undefined ? 0 : entry.column.offsets![entry.at + 1]! - entry.column.offsets![entry.at]!;
    offsets[row + 1] = offsets[row]! + size;
  }
  const values = new Uint8Array(offsets[data.length]!);
  for (let row = 0; row < data.length; row++) {
    const entry = entryOf(data, entries, row);
    if (entry === undefined) continue;
    const { column, at } = entry;
    const source = column.values as Uint8Array;
    values.set(source.subarray(column.offsets![at], column.offsets![at + 1]), offsets[row]);
  }
  return { values, offsets };
}

function lookUpBits(data: Data, entries: DictionaryEntries): Values {
  const values = new Uint8Array((data.length + 7) >> 3);
  for (let row = 0; row < data.length; row++) {
    const entry = entryOf(data, entries, row);
    if (entry !== undefined && isSet(entry.column.values as Uint8Array, entry.at)) values[row >> 3]! |= 1 << (row & 7);
  }
  return { values };
}

function lookUpFixed(data: Data, entries: DictionaryEntries, like: ColumnData): Values {
  const size = like.values.length / Math.max(1, like.length);
  const values = new (like.values.constructor as Uint8ArrayConstructor)(data.length * size);
  for (let row = 0; row < data.length; row++) {
    const entry = entryOf(data, entries, row);
    if (entry === undefined) continue;
    const source = entry.column.values as Uint8Array;
    for (let item = 0; item < size; item++) values[row * size + item] = source[entry.at * size + item]!;
  }
  return { values };
}

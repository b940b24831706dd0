import {
  Binary,
  Bool,
  BufferType,
  Data,
  type DataType,
  DateDay,
  Decimal,
  Field,
  FixedSizeBinary,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  TimeMicrosecond,
  TimestampMicrosecond,
  Uint32,
  Utf8,
} from "npm:apache-arrow@^21.2.0";
import { fieldsOf } from "../query/fields.ts";
import type { Batch, BatchColumn, ColumnData } from "./batch.ts";
import { checkTimes } from "./check_times.ts";
import type { ColumnType } from "./column_type.ts";

/** Arrow's own name for what a column means beyond its type. */
const EXTENSIONS: Partial<Record<ColumnType["kind"], string>> = { uuid: "arrow.uuid" };

/**
 * The Arrow schema of columns.
 *
 * @param columns Of those of one name the second is called `name_2`, as in rows.
 */
export function arrowSchema(columns: readonly Pick<BatchColumn, "name" | "type">[]): Schema {
  const keys = fieldsOf(columns.map(({ name }) => ({ name, dataTypeID: 0 }))).map(({ key }) => key);
  return new Schema(columns.map(({ type }, at) => arrowField(keys[at]!, type)));
}

/**
 * A batch as Arrow has it; nothing is copied. Which values Arrow has no form of {@linkcode checkTimes} knows.
 */
export function recordBatch({ rows, columns }: Batch, schema: Schema): RecordBatch {
  const children = columns.map((column, at) => arrowData(column, schema.fields[at]!.type));
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children }));
}

/**
 * A batch as a table of its own.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for a date or timestamp that is infinite, and the time 24:00:00.
 */
export function arrowTable(batch: Batch): Table {
  checkTimes(batch);
  const schema = arrowSchema(batch.columns);
  return new Table(schema, [recordBatch(batch, schema)]);
}

function arrowField(name: string, type: ColumnType): Field {
  const extension = EXTENSIONS[type.kind];
  const metadata = extension === undefined ? [] : [
    ["ARROW:extension:name", extension],
    ["ARROW:extension:metadata", ""],
  ] as const;
  return new Field(name, arrowType(type), true, new Map(metadata));
}

function arrowType(type: ColumnType): DataType {
  switch (type.kind) {
    case "bool":
      return new Bool();
    case "int16":
      return new Int16();
    case "int32":
      return new Int32();
    case "int64":
      return new Int64();
    case "uint32":
      return new Uint32();
    case "float32":
      return new Float32();
    case "float64":
      return new Float64();
    case "decimal":
      return new Decimal(type.scale, type.precision, 128);
    case "date":
      return new DateDay();
    case "time":
      return new TimeMicrosecond();
    case "timestamp":
      return new TimestampMicrosecond(type.utc ? "UTC" : null);
    case "uuid":
      return new FixedSizeBinary(16);
    case "text":
    case "json":
      return new Utf8();
    case "binary":
      return new Binary();
    case "list":
      return new List(arrowField("item", type.element));
  }
}

function arrowData(column: ColumnData, type: DataType): Data {
  const { length, nullCount, nullBitmap, values, offsets, child } = column;
  const children = child === undefined ? [] : [arrowData(child, type.children[0]!.type)];
  const buffers = {
    ...(offsets === undefined ? {} : { [BufferType.OFFSET]: offsets }),
    ...(nullBitmap === undefined ? {} : { [BufferType.VALIDITY]: nullBitmap }),
    [BufferType.DATA]: values,
  };
  return new Data(type, 0, length, nullCount, buffers, children);
}

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
  Message,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  Table,
  TimeMicrosecond,
  TimestampMicrosecond,
  Uint32,
  Utf8,
} from "npm:apache-arrow@21.2.0";
import { fieldsOf } from "../../../sql/result.ts";
import {
  ARROW_EXTENSIONS,
  type Batch,
  type BatchColumn,
  type ColumnData,
  type ColumnType,
  EXTENSION_METADATA,
  EXTENSION_NAME,
} from "../../columns/batch.ts";
import type { Chunk } from "../../copy/messages.ts";
import type { EncodeContext } from "../file_format.ts";
import { batches, checkTimes, Output } from "../output.ts";

/** The size of a record batch: small enough for a reader's cache, and large enough that the metadata is negligible. */
const BATCH_LIMIT = { rows: 65_536, bytes: 16 * 1_048_576 };

/** Encodes rows as an Arrow IPC file, without compression, so that readers can map it into memory. */
export async function* encodeArrow(
  chunks: AsyncIterable<Chunk>,
  { columns, batches: ready }: EncodeContext,
): AsyncGenerator<Uint8Array, void, void> {
  const schema = arrowSchema(columns);
  const output = new Output();
  const writer = new UnqueuedFileWriter((bytes) => output.put(bytes));
  writer.reset(undefined, schema);
  let rows = 0;
  for await (const batch of ready ?? batches(chunks, columns, BATCH_LIMIT)) {
    checkTimes(batch, rows);
    writer.write(recordBatch(batch, schema));
    if (output.isFull) yield* output.take();
    rows += batch.rows;
  }
  writer.finish();
  yield* output.take();
}

/** Bypasses the queue of apache-arrow's writer, which would copy each chunk and wait for it. */
class UnqueuedFileWriter extends RecordBatchFileWriter {
  readonly #put: (bytes: Uint8Array) => void;

  constructor(put: (bytes: Uint8Array) => void) {
    super();
    this.#put = put;
  }

  /** Also writes the schema at the start, which apache-arrow leaves out, so that the file can be read as a stream. */
  protected override _writeSchema(schema: Schema): this {
    super._writeSchema(schema);
    return this._writeMessage(Message.from(schema));
  }

  protected override _write(chunk: ArrayBufferView): this {
    const { buffer, byteOffset, byteLength } = chunk;
    if (byteLength > 0) this.#put(new Uint8Array(buffer, byteOffset, byteLength));
    this._position += byteLength;
    return this;
  }
}

/**
 * Gives the Arrow schema of columns.
 *
 * @param columns If two are called `name`, the second becomes `name_2`, as in rows.
 */
export function arrowSchema(columns: readonly Pick<BatchColumn, "name" | "type">[]): Schema {
  const keys = fieldsOf(columns.map(({ name }) => ({ name, dataTypeID: 0 }))).map(({ key }) => key);
  return new Schema(columns.map(({ type }, at) => arrowField(keys[at]!, type)));
}

/** Converts a batch to Arrow without a copy. {@linkcode checkTimes} finds values that Arrow can't hold. */
function recordBatch({ rows, columns }: Batch, schema: Schema): RecordBatch {
  const children = columns.map((column, at) => arrowData(column, schema.fields[at]!.type));
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children }));
}

/**
 * Converts a batch to an Arrow table.
 *
 * @throws {LakebaseError} `QUERY_FAILED` for an infinite date or timestamp, and for the time 24:00:00.
 */
export function arrowTable(batch: Batch): Table {
  checkTimes(batch);
  const schema = arrowSchema(batch.columns);
  return new Table(schema, [recordBatch(batch, schema)]);
}

function arrowField(name: string, type: ColumnType): Field {
  const extension = ARROW_EXTENSIONS[type.kind];
  const metadata = extension === undefined ? [] : [
    [EXTENSION_NAME, extension],
    [EXTENSION_METADATA, ""],
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

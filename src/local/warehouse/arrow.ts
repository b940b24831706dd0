/** Writes the chunks of a result as Arrow streams. It is loaded for the first result in this format. */
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Decimal,
  DurationMicrosecond,
  Field,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  IntervalYearMonth,
  List,
  makeData,
  Null,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  TimestampMicrosecond,
  Utf8,
} from "npm:apache-arrow@21.2.0";
import type { ChunkEncoder } from "./result.ts";
import type { WarehouseType } from "./types.ts";
import {
  type Bytes,
  days,
  forEachElement,
  forEachField,
  forEachValue,
  intervalMicroseconds,
  intervalMonths,
  microseconds,
  unscaled,
  uuid,
} from "./values.ts";

/** Makes an encoder whose chunks are Arrow streams, each with one record batch. */
export function arrowEncoder(names: readonly string[], types: readonly WarehouseType[]): ChunkEncoder {
  const schema = new Schema(types.map((type, at) => field(names[at]!, type)));
  // A RecordBatch drops all but one of several columns with the same name, so it is made with other names.
  const distinct = new Schema(types.map((type, at) => field(String(at), type)));
  let columns = types.map(newBuilder);
  return {
    append: (row) => forEachValue(row, (column, at, length) => columns[column]!.append(row, at, length)),
    take: (rows) => {
      const children = columns.map((column, at) => column.data(distinct.fields[at]!.type));
      columns = types.map(newBuilder);
      const data = makeData({ type: new Struct(distinct.fields), length: rows, nullCount: 0, children });
      const writer = new RecordBatchStreamWriter();
      writer.reset(undefined, schema);
      writer.write(Object.assign(new RecordBatch(distinct, data), { schema }));
      return writer.finish().toUint8Array(true);
    },
  };
}

/** Makes a field. As in Databricks, the metadata names the SQL type. */
function field(name: string, type: WarehouseType): Field {
  return new Field(name, arrowType(type), true, new Map([["Spark:DataType:SqlName", type.text]]));
}

function arrowType(type: WarehouseType): DataType {
  switch (type.kind) {
    case "boolean":
      return new Bool();
    case "short":
      return new Int16();
    case "int":
      return new Int32();
    case "long":
      return new Int64();
    case "float":
      return new Float32();
    case "double":
      return new Float64();
    case "decimal":
      return new Decimal(type.scale!, type.precision!, 128);
    case "binary":
      return new Binary();
    case "date":
      return new DateDay();
    case "timestamp":
      return new TimestampMicrosecond("Etc/UTC");
    case "timestampNtz":
      return new TimestampMicrosecond();
    case "dayTime":
      return new DurationMicrosecond();
    case "yearMonth":
      return new IntervalYearMonth();
    case "array":
      return new List(new Field("element", arrowType(type.element!), true));
    case "struct":
      return new Struct(type.fields!.map(({ name, type }) => field(name, type)));
    case "void":
      return new Null();
    default:
      return new Utf8();
  }
}

/** Collects the values of a column. */
interface ColumnBuilder {
  /** Appends the value at an offset; a length of -1 means NULL. */
  append(from: Bytes, at: number, length: number): void;
  /** Returns all values. */
  data(type: DataType): Data;
}

function newBuilder(type: WarehouseType): ColumnBuilder {
  switch (type.kind) {
    case "boolean":
      return new BooleanBuilder();
    case "short":
      return new FixedBuilder(Int16Array, 1, ({ view }, at, values, i) => values[i] = view.getInt16(at));
    case "int":
      return new FixedBuilder(Int32Array, 1, ({ view }, at, values, i) => values[i] = view.getInt32(at));
    case "long":
      return new FixedBuilder(BigInt64Array, 1, ({ view }, at, values, i) => values[i] = view.getBigInt64(at));
    case "float":
      return new FixedBuilder(Float32Array, 1, ({ view }, at, values, i) => values[i] = view.getFloat32(at));
    case "double":
      return new FixedBuilder(Float64Array, 1, ({ view }, at, values, i) => values[i] = view.getFloat64(at));
    case "date":
      return new FixedBuilder(Int32Array, 1, (from, at, values, i) => values[i] = days(from, at));
    case "timestamp":
    case "timestampNtz":
      return new FixedBuilder(BigInt64Array, 1, (from, at, values, i) => values[i] = microseconds(from, at));
    case "dayTime":
      return new FixedBuilder(BigInt64Array, 1, (from, at, values, i) => values[i] = intervalMicroseconds(from, at));
    case "yearMonth":
      return new FixedBuilder(Int32Array, 1, (from, at, values, i) => values[i] = intervalMonths(from, at));
    case "decimal":
      return new FixedBuilder(BigInt64Array, 2, (from, at, values, i) => {
        const units = unscaled(from, at, type.scale!, type.precision!);
        values[i] = units; // BigInt64Array keeps the lower 64 bits
        values[i + 1] = units >> 64n;
      });
    case "array":
      return new ListBuilder(type.element!);
    case "struct":
      return new StructBuilder(type.fields!.map(({ type }) => type));
    case "void":
      return new NullBuilder();
    default:
      return new BytesBuilder(type.kind);
  }
}

/** The bitmap of the values that are not NULL. */
class Validity {
  length = 0;
  nulls = 0;
  #bits = new Uint8Array(128);

  add(valid: boolean): void {
    const byte = this.length >> 3;
    if (byte >= this.#bits.length) this.#bits = grown(this.#bits, byte + 1);
    if (valid) this.#bits[byte]! |= 1 << (this.length & 7);
    else this.nulls++;
    this.length++;
  }

  get common(): { length: number; nullCount: number; nullBitmap?: Uint8Array } {
    const { length, nulls: nullCount } = this;
    return nullCount === 0 ? { length, nullCount } : { length, nullCount, nullBitmap: this.#bits };
  }
}

type Numbers = Int16Array | Int32Array | BigInt64Array | Float32Array | Float64Array;

/** Reads the value at an offset into an array. */
type Reader<A> = (from: Bytes, at: number, values: A, index: number) => void;

/** Collects values of a fixed width: that number of items of the array. */
class FixedBuilder<A extends Numbers> implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #width: number;
  readonly #read: Reader<A>;
  #values: A;

  constructor(Values: new (length: number) => A, width: number, read: Reader<A>) {
    this.#values = new Values(1024 * width);
    this.#width = width;
    this.#read = read;
  }

  append(from: Bytes, at: number, length: number): void {
    const index = this.#validity.length * this.#width;
    if (index >= this.#values.length) this.#values = grown(this.#values, index + this.#width);
    this.#validity.add(length >= 0);
    if (length >= 0) this.#read(from, at, this.#values, index);
  }

  data(type: DataType): Data {
    const data = this.#values.subarray(0, this.#validity.length * this.#width);
    return makeData({ type, ...this.#validity.common, data } as never);
  }
}

class BooleanBuilder implements ColumnBuilder {
  readonly #validity = new Validity();
  #bits = new Uint8Array(128);

  append({ view }: Bytes, at: number, length: number): void {
    const index = this.#validity.length;
    if (index >> 3 >= this.#bits.length) this.#bits = grown(this.#bits, (index >> 3) + 1);
    this.#validity.add(length >= 0);
    if (length >= 0 && view.getUint8(at) === 1) this.#bits[index >> 3]! |= 1 << (index & 7);
  }

  data(type: DataType): Data {
    return makeData({ type, ...this.#validity.common, data: this.#bits } as never);
  }
}

class BytesBuilder implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #kind: WarehouseType["kind"];
  #offsets = new Int32Array(1024);
  #bytes = new Uint8Array(8192);
  #size = 0;

  constructor(kind: WarehouseType["kind"]) {
    this.#kind = kind;
  }

  append(from: Bytes, at: number, length: number): void {
    this.#validity.add(length >= 0);
    if (length >= 0) {
      const value = this.#kind === "uuid"
        ? new TextEncoder().encode(uuid(from, at))
        // The binary form of jsonb begins with a version.
        : from.bytes.subarray(this.#kind === "jsonb" ? at + 1 : at, at + length);
      if (this.#size + value.length > this.#bytes.length) this.#bytes = grown(this.#bytes, this.#size + value.length);
      this.#bytes.set(value, this.#size);
      this.#size += value.length;
    }
    const { length: count } = this.#validity;
    if (count >= this.#offsets.length) this.#offsets = grown(this.#offsets, count + 1);
    this.#offsets[count] = this.#size;
  }

  data(type: DataType): Data {
    const { length } = this.#validity;
    const valueOffsets = this.#offsets.subarray(0, length + 1);
    const data = this.#bytes.subarray(0, this.#size);
    return makeData({ type, ...this.#validity.common, valueOffsets, data } as never);
  }
}

class ListBuilder implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #child: ColumnBuilder;
  #offsets = new Int32Array(1024);
  #size = 0;

  constructor(element: WarehouseType) {
    this.#child = newBuilder(element);
  }

  append(from: Bytes, at: number, length: number): void {
    this.#validity.add(length >= 0);
    if (length >= 0) this.#size += forEachElement(from, at, (at, length) => this.#child.append(from, at, length));
    const { length: count } = this.#validity;
    if (count >= this.#offsets.length) this.#offsets = grown(this.#offsets, count + 1);
    this.#offsets[count] = this.#size;
  }

  data(type: DataType): Data {
    const valueOffsets = this.#offsets.subarray(0, this.#validity.length + 1);
    const child = this.#child.data(type.children[0]!.type);
    return makeData({ type, ...this.#validity.common, valueOffsets, child } as never);
  }
}

class StructBuilder implements ColumnBuilder {
  readonly #validity = new Validity();
  readonly #children: ColumnBuilder[];

  constructor(fields: readonly WarehouseType[]) {
    this.#children = fields.map(newBuilder);
  }

  append(from: Bytes, at: number, length: number): void {
    this.#validity.add(length >= 0);
    if (length >= 0) forEachField(from, at, (field, at, length) => this.#children[field]!.append(from, at, length));
    else for (const child of this.#children) child.append(from, at, -1);
  }

  data(type: DataType): Data {
    const children = this.#children.map((child, at) => child.data(type.children[at]!.type));
    return makeData({ type, ...this.#validity.common, children } as never);
  }
}

class NullBuilder implements ColumnBuilder {
  #length = 0;

  append(): void {
    this.#length++;
  }

  data(type: DataType): Data {
    return makeData({ type, length: this.#length, nullCount: this.#length } as never);
  }
}

/** Copies values into an array of at least this length. */
function grown<A extends Numbers | Uint8Array>(values: A, minLength: number): A {
  const larger = new (values.constructor as new (length: number) => A)(Math.max(values.length * 2, minLength));
  larger.set(values as never);
  return larger;
}

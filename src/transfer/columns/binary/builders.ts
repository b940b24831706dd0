import { BUILT_IN, typeName } from "../../../core/type_names.ts";
import { type BatchColumn, CellProblem, type ColumnData, type ColumnType } from "../batch.ts";
import { type Block, decimal, FIXED, lengthAt, type Storage, type ValueArray } from "./storage.ts";

/** Collects the values of one column. */
export interface Builder {
  /** The number of bytes of each value on the wire; -1 if it varies. */
  readonly width: number;
  /**
   * Adds values of a block.
   *
   * @param from The position of the first value in the block's index.
   * @param count The number of values.
   * @throws {CellProblem} For a value that can't be stored.
   */
  append(block: Block, from: number, count: number): void;
  /** Returns the collected values, and starts over. */
  take(): Omit<ColumnData, "name" | "type">;
}

/** Makes the builder for a column. */
export function builderFor({ oid, type }: Pick<BatchColumn, "oid" | "type">): Builder {
  if (type.kind !== "list") return scalarBuilder(oid, type);
  const element = elementOid(oid);
  return new ListBuilder(scalarBuilder(element, type.element), element, type.element);
}

function scalarBuilder(oid: number, type: ColumnType): Builder {
  switch (type.kind) {
    case "text":
    case "binary":
      return new BytesBuilder(0);
    case "json":
      return new BytesBuilder(oid === BUILT_IN["jsonb"]![0] ? 1 : 0);
    case "decimal":
      return new FixedBuilder(decimal(type.scale));
    case "list":
      throw new TypeError("Postgres has no lists of lists");
    default:
      return new FixedBuilder(FIXED[type.kind]);
  }
}

function elementOid(array: number): number {
  for (const [oid, arrayOid] of Object.values(BUILT_IN)) if (arrayOid === array) return oid;
  throw new TypeError(`${array} is not an array`);
}

/** The number of rows that the first array has space for. */
const FIRST_CAPACITY = 1024;

/** Collects values of a fixed size. */
class FixedBuilder<R extends ValueArray> implements Builder {
  readonly width: number;
  readonly #storage: Storage<R>;
  readonly #nulls = new Nulls();
  #array: R | undefined;
  #capacity = FIRST_CAPACITY;
  #length = 0;

  /** Makes a builder that uses a storage. */
  constructor(storage: Storage<R>) {
    this.width = storage.width;
    this.#storage = storage;
  }

  append(block: Block, from: number, count: number): void {
    const at = this.#length;
    this.#storage.fill(this.#arrayFor(at + count), at, block, from, count);
    this.#nulls.add(block, from, count, at);
    this.#length += count;
  }

  take(): Omit<ColumnData, "name" | "type"> {
    const length = this.#length;
    const values = this.#storage.values(this.#arrayFor(length), length);
    this.#length = 0;
    this.#array = undefined; // the capacity stays, because the next batch is probably as large
    return { length, ...this.#nulls.take(length), values };
  }

  /** Returns the array with space for a number of rows. */
  #arrayFor(rows: number): R {
    if (this.#array !== undefined && rows <= this.#capacity) return this.#array;
    if (rows > this.#capacity) this.#capacity = Math.max(rows, this.#capacity * 2);
    const array = this.#storage.makeArray(this.#capacity);
    if (this.#array !== undefined) array.set(this.#array);
    return this.#array = array;
  }
}

/** The greatest offset in 32 bits. */
const MAX_BYTES = 2 ** 31 - 1;
/** Up to this many bytes, a loop copies faster than `set`. */
const SHORT = 32;
/** The version number before the text of a jsonb. */
const JSONB_VERSION = 1;

/** Collects texts or bytes, one after the other. */
class BytesBuilder implements Builder {
  readonly width = -1;
  readonly #skip: number;
  readonly #nulls = new Nulls();
  #bytes = new Uint8Array();
  #used = 0;
  readonly #offsets = new Offsets();
  #length = 0;

  /** @param skip The size of the version number before each value: 1 for jsonb, else 0. */
  constructor(skip: 0 | 1) {
    this.#skip = skip;
  }

  append(block: Block, from: number, count: number): void {
    const { bytes, view, index } = block;
    const at = this.#length;
    const offsets = this.#offsets.arrayFor(at + count);
    for (let i = 0; i < count; i++) {
      const position = index[from + i]!;
      if (position >= 0) {
        const skip = this.#skip;
        const length = lengthAt(view, position) - skip;
        if (skip > 0 && (length < 0 || bytes[position] !== JSONB_VERSION)) {
          throw new CellProblem(i, "it is a jsonb of an unknown version; select it as ::json");
        }
        this.#copy(bytes, position + skip, length, i);
      }
      offsets[at + i + 1] = this.#used;
    }
    this.#nulls.add(block, from, count, at);
    this.#length += count;
  }

  take(): Omit<ColumnData, "name" | "type"> {
    const length = this.#length;
    const values = this.#bytes.subarray(0, this.#used);
    const offsets = this.#offsets.take(length);
    this.#bytes = new Uint8Array();
    this.#length = this.#used = 0;
    return { length, ...this.#nulls.take(length), values, offsets };
  }

  #copy(bytes: Uint8Array, position: number, length: number, at: number): void {
    const used = this.#used;
    if (used + length > this.#bytes.length) this.#grow(used + length, at);
    const target = this.#bytes;
    if (length > SHORT) target.set(bytes.subarray(position, position + length), used);
    else for (let byte = 0; byte < length; byte++) target[used + byte] = bytes[position + byte]!;
    this.#used = used + length;
  }

  #grow(needed: number, at: number): void {
    if (needed > MAX_BYTES) {
      throw new CellProblem(at, "the column's values are above 2 GB; select fewer rows, or pull() them to a file");
    }
    const grown = new Uint8Array(Math.min(MAX_BYTES, Math.max(needed, this.#bytes.length * 2, 4096)));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** The number of dimensions, whether there are NULLs, and the element type. */
const ARRAY_HEADER_BYTES = 12;
/** The header of a one-dimensional array also has the size and the lower bound. */
const FULL_ARRAY_HEADER_BYTES = 20;

/** Collects one-dimensional arrays whose elements are numbered from 1, which is the default. */
class ListBuilder implements Builder {
  readonly width = -1;
  readonly #element: Builder;
  readonly #oid: number;
  readonly #type: ColumnType;
  readonly #nulls = new Nulls();
  #index = new Int32Array(64);
  readonly #offsets = new Offsets();
  #elements = 0;
  #length = 0;

  /** Makes a builder from the builder and the type of the elements. */
  constructor(element: Builder, oid: number, type: ColumnType) {
    this.#element = element;
    this.#oid = oid;
    this.#type = type;
  }

  append(block: Block, from: number, count: number): void {
    const at = this.#length;
    const offsets = this.#offsets.arrayFor(at + count);
    for (let i = 0; i < count; i++) {
      const position = block.index[from + i]!;
      if (position >= 0) this.#appendOne(block, position, i);
      offsets[at + i + 1] = this.#elements;
    }
    this.#nulls.add(block, from, count, at);
    this.#length += count;
  }

  take(): Omit<ColumnData, "name" | "type"> {
    const length = this.#length;
    const offsets = this.#offsets.take(length);
    const child = { name: "item", type: this.#type, ...this.#element.take() };
    this.#length = this.#elements = 0;
    return { length, ...this.#nulls.take(length), values: new Uint8Array(), offsets, child };
  }

  #appendOne({ bytes, view }: Block, position: number, at: number): void {
    try {
      const count = this.#findElements(view, position);
      this.#element.append({ bytes, view, index: this.#index }, 0, count);
      this.#elements += count;
    } catch (error) {
      if (!(error instanceof CellProblem)) throw error;
      throw new CellProblem(at, error.at < 0 ? error.message : `element ${error.at + 1}: ${error.message}`);
    }
  }

  /** Finds the elements of an array. Returns their number. */
  #findElements(view: DataView, position: number): number {
    const length = lengthAt(view, position);
    if (length < ARRAY_HEADER_BYTES) throw new CellProblem(-1, `${length} bytes are too few for an array`);
    const dimensions = view.getInt32(position);
    if (dimensions > 1) throw new CellProblem(-1, `it is an array of ${dimensions} dimensions; select it as ::text`);
    const oid = view.getInt32(position + 8);
    if (oid !== this.#oid) {
      throw new CellProblem(-1, `it is an array of ${typeName(oid)}, not of ${typeName(this.#oid)}`);
    }
    if (dimensions === 0) return 0;
    const count = dimensions === 1 && length >= FULL_ARRAY_HEADER_BYTES
      ? view.getInt32(position + ARRAY_HEADER_BYTES)
      : -1;
    const first = count > 0 ? view.getInt32(position + ARRAY_HEADER_BYTES + 4) : 1;
    if (first !== 1) {
      throw new CellProblem(
        -1,
        `it is an array that is numbered from ${first}, which a list can't be; select it as ::text`,
      );
    }
    const end = position + length;
    if (count < 0 || count * 4 > length) {
      throw new CellProblem(-1, `an array of ${length} bytes can't have ${count} elements`);
    }
    if (count > this.#index.length) this.#index = new Int32Array(Math.max(count, this.#index.length * 2));
    let next = position + FULL_ARRAY_HEADER_BYTES;
    for (let element = 0; element < count; element++) next = this.#findElement(view, next, end, element);
    if (next !== end) throw new CellProblem(-1, "its elements do not end where the array ends");
    return count;
  }

  /** Finds an element. Returns the position of the next one. */
  #findElement(view: DataView, position: number, end: number, element: number): number {
    const { width } = this.#element;
    const length = position + 4 <= end ? view.getInt32(position) : -2;
    this.#index[element] = length === -1 ? -1 : position + 4;
    if (length === -1) return position + 4;
    const isValid = length >= 0 && position + 4 + length <= end && (width < 0 || length === width);
    if (!isValid) throw new CellProblem(element, width < 0 ? "its length is wrong" : `it does not have ${width} bytes`);
    return position + 4 + length;
  }
}

/** Collects which values of a column are NULL. A column without NULLs has no bitmap. */
class Nulls {
  /** The number of NULLs. */
  count = 0;
  #bitmap: Uint8Array | undefined;

  /** Adds the NULLs among a block's values. The first of these values has the index `at` in the column. */
  add({ index }: Block, from: number, count: number, at: number): void {
    for (let i = 0; i < count; i++) {
      if (index[from + i]! >= 0) continue;
      const row = at + i;
      const bitmap = this.#bitmapFor(row);
      bitmap[row >> 3]! &= ~(1 << (row & 7));
      this.count++;
    }
  }

  /** Returns the NULLs in the form of Arrow, and starts over. */
  take(length: number): { nullCount: number; nullBitmap?: Uint8Array } {
    const nullCount = this.count;
    if (nullCount === 0) return { nullCount };
    const nullBitmap = this.#bitmapFor(length - 1).subarray(0, (length + 7) >> 3);
    this.count = 0;
    this.#bitmap = undefined;
    return { nullCount, nullBitmap };
  }

  /** Returns the bitmap with space for a value. */
  #bitmapFor(row: number): Uint8Array {
    const bitmap = this.#bitmap ?? new Uint8Array();
    if (row >> 3 < bitmap.length) return bitmap;
    const grown = new Uint8Array(Math.max(128, ((row >> 3) + 1) * 2)).fill(0xff, bitmap.length);
    grown.set(bitmap);
    return this.#bitmap = grown;
  }
}

/** Collects where each value begins, and where the last one ends. */
class Offsets {
  #offsets = new Int32Array(1024);

  /** Returns the offsets with space for a number of values. */
  arrayFor(values: number): Int32Array {
    if (values < this.#offsets.length) return this.#offsets;
    const grown = new Int32Array(Math.max(values + 1, this.#offsets.length * 2));
    grown.set(this.#offsets);
    return this.#offsets = grown;
  }

  /** Returns the offsets of the first values, and starts over. */
  take(values: number): Int32Array {
    const offsets = this.arrayFor(values).subarray(0, values + 1);
    this.#offsets = new Int32Array(1024);
    return offsets;
  }
}

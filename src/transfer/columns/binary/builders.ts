import { BUILT_IN, typeName } from "../../../core/type_names.ts";
import type { BatchColumn, ColumnData, ColumnType } from "../batch.ts";
import { decimal } from "./decimal.ts";
import { type Block, CellProblem, lengthAt } from "./decoder.ts";
import { FIXED, FixedBuilder, Nulls, Offsets } from "./storage.ts";

/** Collects the values of one column. */
export interface Builder {
  /** Bytes of each value on the wire; -1 if they vary. */
  readonly width: number;
  /**
   * Adds values of a block.
   *
   * @param from Where the first value is in the block's index.
   * @param count The number of values.
   * @throws {CellProblem} For a value that can't be stored.
   */
  append(block: Block, from: number, count: number): void;
  /** Gives the collected values, and starts over. */
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
      return FIXED[type.kind]();
  }
}

function elementOid(array: number): number {
  for (const [oid, arrayOid] of Object.values(BUILT_IN)) if (arrayOid === array) return oid;
  throw new TypeError(`${array} is not an array`);
}

/** The greatest offset of 32 bits. */
const MOST_BYTES = 2 ** 31 - 1;
/** Up to this many bytes, a loop copies faster than a call of `set`. */
const SHORT = 32;
/** The version number before the text of a jsonb. */
const JSONB_VERSION = 1;

/** Collects texts or bytes, one after the other. */
export class BytesBuilder implements Builder {
  readonly width = -1;
  readonly #skip: number;
  readonly #nulls = new Nulls();
  #bytes = new Uint8Array();
  #used = 0;
  readonly #offsets = new Offsets();
  #length = 0;

  /** Takes the size of the version number before each value: 1 for jsonb, else 0. */
  constructor(skip: 0 | 1) {
    this.#skip = skip;
  }

  append(block: Block, from: number, count: number): void {
    const { bytes, view, index } = block;
    const at = this.#length;
    const offsets = this.#offsets.reach(at + count);
    for (let i = 0; i < count; i++) {
      const place = index[from + i]!;
      if (place >= 0) {
        const skip = this.#skip;
        const length = lengthAt(view, place) - skip;
        if (skip > 0 && (length < 0 || bytes[place] !== JSONB_VERSION)) {
          throw new CellProblem(i, "it is a jsonb of a version that is not known; select it as ::json");
        }
        this.#copy(bytes, place + skip, length, i);
      }
      offsets[at + i + 1] = this.#used;
    }
    this.#nulls.note(block, from, count, at);
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

  #copy(bytes: Uint8Array, place: number, length: number, at: number): void {
    const used = this.#used;
    if (used + length > this.#bytes.length) this.#grow(used + length, at);
    const own = this.#bytes;
    if (length > SHORT) own.set(bytes.subarray(place, place + length), used);
    else for (let byte = 0; byte < length; byte++) own[used + byte] = bytes[place + byte]!;
    this.#used = used + length;
  }

  #grow(least: number, at: number): void {
    if (least > MOST_BYTES) {
      throw new CellProblem(at, "the column's values are above 2 GB; select fewer rows, or pull() them to a file");
    }
    const grown = new Uint8Array(Math.min(MOST_BYTES, Math.max(least, this.#bytes.length * 2, 4096)));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** The number of dimensions, whether there are NULLs, and the element type. */
const HEADER_BYTES = 12;
/** The header of a one-dimensional array also has the size and the lower bound. */
const FULL_HEADER_BYTES = 20;

/** Collects one-dimensional arrays that are numbered from 1, as arrays are by default. */
export class ListBuilder implements Builder {
  readonly width = -1;
  readonly #element: Builder;
  readonly #oid: number;
  readonly #type: ColumnType;
  readonly #nulls = new Nulls();
  #index = new Int32Array(64);
  readonly #offsets = new Offsets();
  #elements = 0;
  #length = 0;

  /** Takes the builder of the elements, and their type. */
  constructor(element: Builder, oid: number, type: ColumnType) {
    this.#element = element;
    this.#oid = oid;
    this.#type = type;
  }

  append(block: Block, from: number, count: number): void {
    const at = this.#length;
    const offsets = this.#offsets.reach(at + count);
    for (let i = 0; i < count; i++) {
      const place = block.index[from + i]!;
      if (place >= 0) this.#appendOne(block, place, i);
      offsets[at + i + 1] = this.#elements;
    }
    this.#nulls.note(block, from, count, at);
    this.#length += count;
  }

  take(): Omit<ColumnData, "name" | "type"> {
    const length = this.#length;
    const offsets = this.#offsets.take(length);
    const child = { name: "item", type: this.#type, ...this.#element.take() };
    this.#length = this.#elements = 0;
    return { length, ...this.#nulls.take(length), values: new Uint8Array(), offsets, child };
  }

  #appendOne({ bytes, view }: Block, place: number, at: number): void {
    try {
      const count = this.#find(view, place);
      this.#element.append({ bytes, view, index: this.#index }, 0, count);
      this.#elements += count;
    } catch (error) {
      if (!(error instanceof CellProblem)) throw error;
      throw new CellProblem(at, error.at < 0 ? error.message : `element ${error.at + 1}: ${error.message}`);
    }
  }

  /** Finds the elements of an array, and gives their number. */
  #find(view: DataView, place: number): number {
    const length = lengthAt(view, place);
    if (length < HEADER_BYTES) throw new CellProblem(-1, `an array of ${length} bytes is none`);
    const dimensions = view.getInt32(place);
    if (dimensions > 1) throw new CellProblem(-1, `it is an array of ${dimensions} dimensions; select it as ::text`);
    const oid = view.getInt32(place + 8);
    if (oid !== this.#oid) {
      throw new CellProblem(-1, `it is an array of ${typeName(oid)}, not of ${typeName(this.#oid)}`);
    }
    if (dimensions === 0) return 0;
    const count = dimensions === 1 && length >= FULL_HEADER_BYTES ? view.getInt32(place + HEADER_BYTES) : -1;
    const first = count > 0 ? view.getInt32(place + HEADER_BYTES + 4) : 1;
    if (first !== 1) {
      throw new CellProblem(
        -1,
        `it is an array that is numbered from ${first}, which a list can't be; select it as ::text`,
      );
    }
    const end = place + length;
    if (count < 0 || count * 4 > length) {
      throw new CellProblem(-1, `an array of ${length} bytes has no ${count} elements`);
    }
    if (count > this.#index.length) this.#index = new Int32Array(Math.max(count, this.#index.length * 2));
    let next = place + FULL_HEADER_BYTES;
    for (let element = 0; element < count; element++) next = this.#findOne(view, next, end, element);
    if (next !== end) throw new CellProblem(-1, "its elements end where the array does not");
    return count;
  }

  #findOne(view: DataView, place: number, end: number, element: number): number {
    const { width } = this.#element;
    const length = place + 4 <= end ? view.getInt32(place) : -2;
    this.#index[element] = length === -1 ? -1 : place + 4;
    if (length === -1) return place + 4;
    const sound = length >= 0 && place + 4 + length <= end && (width < 0 || length === width);
    if (!sound) throw new CellProblem(element, `it does not have ${width < 0 ? "a length" : `${width} bytes`}`);
    return place + 4 + length;
  }
}

import { LakebaseError } from "../../../core/errors.ts";
import { typeName } from "../../../core/type_names.ts";
import type { Batch, BatchColumn } from "../batch.ts";
import { type Builder, builderFor } from "./builders.ts";

/** `PGCOPY`, then what a transfer that mends line ends would spoil. */
const SIGNATURE = [0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00];
/** The signature, the flags, the length of what follows. */
const HEADER_BYTES = 19;
/** The upper half of the flags says what a reader must know; none is in use since PostgreSQL 12. */
const CRITICAL_FLAGS = 0xffff_0000;
/** Postgres has no value above 1 GB. */
const MOST_BYTES = 2 ** 30;
/** Values to find before they are read, column by column: few enough to stay in the processor's cache. */
const BLOCK_VALUES = 16_384;

/**
 * Turns the bytes of a `COPY ... TO STDOUT (FORMAT binary)` into columns. What was pushed is copied, and may change after.
 *
 * Rows are read in two passes: one finds where each value of some rows begins, the other reads them column by column, in
 * loops that know their type.
 */
export class BatchDecoder {
  readonly #columns: readonly BatchColumn[];
  readonly #builders: Builder[];
  /** The bytes of each column's values; -1 where they differ. */
  readonly #widths: Int32Array;
  readonly #index: Int32Array;
  /** Rows whose values are found before they are read. */
  readonly #blockRows: number;
  readonly #carry = new Carry();
  #state: "header" | "rows" | "end" = "header";
  #rows = 0;
  #bytes = 0;
  /** Rows of the batches before. */
  #taken = 0;

  /** Made for the columns that are copied. */
  constructor(columns: readonly BatchColumn[]) {
    this.#columns = columns;
    this.#builders = columns.map(builderFor);
    this.#widths = Int32Array.from(this.#builders, ({ width }) => width);
    this.#blockRows = Math.max(8, Math.floor(BLOCK_VALUES / Math.max(1, columns.length)));
    this.#index = new Int32Array(this.#blockRows * columns.length);
  }

  /** Rows since the last {@linkcode take}. */
  get rows(): number {
    return this.#rows;
  }

  /** Their bytes on the wire. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the next bytes, split anywhere.
   *
   * @throws {LakebaseError} `QUERY_FAILED`, with the row and the column, for a value that can't be kept, and for what is no
   * binary copy of these columns.
   */
  push(chunk: Uint8Array): void {
    this.#carry.read(chunk, (bytes) => this.#read(bytes));
  }

  /** The rows so far; what follows goes into another batch. */
  take(): Batch {
    const rows = this.#rows;
    const columns = this.#builders.map((builder, at) => {
      const { name, type } = this.#columns[at]!;
      return { name, type, ...builder.take() };
    });
    this.#taken += rows;
    this.#rows = this.#bytes = 0;
    return { rows, columns };
  }

  /**
   * Checks that the copy ended where it should.
   *
   * @throws {LakebaseError} `QUERY_FAILED` where it broke off.
   */
  end(): void {
    if (this.#state !== "end") throw malformed(`it breaks off after row ${this.#taken + this.#rows}`);
  }

  /** Reads what is whole; how many bytes that was, and how many it takes to go on. */
  #read(bytes: Uint8Array): { used: number; wanted: number } {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let used = 0;
    if (this.#state === "header") {
      used = this.#readHeader(bytes, view);
      if (used > bytes.length || bytes.length < HEADER_BYTES) return { used: 0, wanted: Math.max(used, HEADER_BYTES) };
      this.#state = "rows";
    }
    let wanted = 0;
    while (this.#state === "rows" && wanted === 0) {
      const found = this.#find(view, used);
      this.#append(bytes, view, found.rows);
      this.#bytes += found.end - used;
      used = found.end;
      wanted = found.wanted;
    }
    if (this.#state === "end" && used < bytes.length) throw malformed("bytes follow its end");
    return { used, wanted };
  }

  /** The length of the header, where enough of it is there to tell. */
  #readHeader(bytes: Uint8Array, view: DataView): number {
    const known = Math.min(bytes.length, SIGNATURE.length);
    for (let at = 0; at < known; at++) if (bytes[at] !== SIGNATURE[at]) throw malformed("it does not begin as one");
    if (bytes.length < HEADER_BYTES) return HEADER_BYTES;
    if ((view.getUint32(11) & CRITICAL_FLAGS) !== 0) throw malformed("its header has flags that are not known");
    const extension = view.getInt32(15);
    if (extension < 0 || extension > MOST_BYTES) throw malformed(`its header is followed by ${extension} bytes`);
    return HEADER_BYTES + extension;
  }

  /** Finds the values of whole rows, as many as the index takes. */
  #find(view: DataView, from: number): { rows: number; end: number; wanted: number } {
    const columns = this.#widths.length;
    const most = this.#blockRows;
    const index = this.#index;
    const widths = this.#widths;
    const length = view.byteLength;
    let row = 0;
    let end = from;
    for (; row < most; row++) {
      if (end + 2 > length) return { rows: row, end, wanted: 2 };
      const count = view.getInt16(end);
      if (count !== columns) {
        if (count !== -1) throw malformed(`row ${this.#number(row)} has ${count} values for ${columns} columns`);
        this.#state = "end";
        return { rows: row, end: end + 2, wanted: 0 };
      }
      let at = end + 2;
      for (let column = 0; column < columns; column++) {
        if (at + 4 > length) return { rows: row, end, wanted: at + 4 - end };
        const bytes = view.getInt32(at);
        at += 4;
        if (bytes === -1) index[column * most + row] = -1;
        else {
          const width = widths[column]!;
          if (width >= 0 ? bytes !== width : bytes < 0 || bytes > MOST_BYTES) throw this.#badLength(row, column, bytes);
          index[column * most + row] = at;
          at += bytes;
        }
      }
      if (at > length) return { rows: row, end, wanted: at - end };
      end = at;
    }
    return { rows: row, end, wanted: 0 };
  }

  #append(bytes: Uint8Array, view: DataView, rows: number): void {
    if (rows === 0) return;
    const block = { bytes, view, index: this.#index };
    for (const [column, builder] of this.#builders.entries()) {
      try {
        builder.append(block, column * this.#blockRows, rows);
      } catch (error) {
        throw error instanceof CellProblem ? this.#unreadable(error.at, column, error.message) : error;
      }
    }
    this.#rows += rows;
  }

  #badLength(row: number, column: number, bytes: number): LakebaseError {
    const { oid } = this.#columns[column]!;
    return this.#unreadable(row, column, `${bytes} bytes are no ${typeName(oid)}`);
  }

  #unreadable(row: number, column: number, problem: string): LakebaseError {
    const { name } = this.#columns[column]!;
    return new LakebaseError("QUERY_FAILED", `Cannot read column "${name}" of row ${this.#number(row)}: ${problem}`);
  }

  #number(row: number): number {
    return this.#taken + this.#rows + row + 1;
  }
}

function malformed(state: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot read the copied rows: ${state}; they are no binary copy of Postgres`,
  );
}

/** How much stays allocated for what is left of a chunk. */
const KEPT_BYTES = 2 ** 20;

/** How far a reader got in some bytes. */
export interface ReadState {
  /** The number of bytes that it has read. */
  used: number;
  /** The number of further bytes that it needs at least to continue. */
  wanted: number;
}

/** Puts what is left of one chunk in front of the next. */
export class Carry {
  #bytes = new Uint8Array();
  #length = 0;
  /** Below it the reader need not be asked: a value of many chunks would be looked at for each of them. */
  #wanted = 0;

  /**
   * Has a chunk read.
   *
   * @param reader Gets what is there, and says what it did with it.
   */
  read(chunk: Uint8Array, reader: (bytes: Uint8Array) => ReadState): void {
    if (this.#length === 0) {
      const { used, wanted } = reader(chunk);
      this.#wanted = wanted;
      if (used < chunk.length) this.#append(chunk.subarray(used));
      return;
    }
    this.#append(chunk);
    if (this.#length < this.#wanted) return;
    const { used, wanted } = reader(this.#bytes.subarray(0, this.#length));
    this.#wanted = wanted;
    this.#drop(used);
  }

  #append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const doubled = Math.max(length, this.#bytes.length * 2);
      const grown = new Uint8Array(this.#wanted > length ? Math.min(doubled, this.#wanted) : doubled);
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  #drop(used: number): void {
    this.#bytes.copyWithin(0, used, this.#length);
    this.#length -= used;
    if (this.#bytes.length > KEPT_BYTES && this.#length < KEPT_BYTES) this.#bytes = this.#bytes.slice(0, this.#length);
  }
}

/** Where values lie in some bytes. */
export interface Block {
  /** The bytes. */
  bytes: Uint8Array;
  /** The same, to read numbers from. */
  view: DataView;
  /** Where each value begins, right behind its length; -1 for NULL. */
  index: Int32Array;
}

/** A value that can't be kept; only its place within the block is known where it is found. */
export class CellProblem extends Error {
  /** Which of the values that were appended, or of a batch, from 0; -1 where that is not known. */
  readonly at: number;

  /** Made with the place, and what is wrong there. */
  constructor(at: number, problem: string) {
    super(problem);
    this.at = at;
  }
}

/**
 * Does some work; a problem in it is given the place of what it is a part of.
 *
 * @param placeOf The place, from the one of the part; -1 where it is not known.
 */
export function problemAt<T>(work: () => T, placeOf: (at: number) => number): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof CellProblem ? new CellProblem(placeOf(error.at), error.message) : error;
  }
}

/** The length of a value in front of which it stands. */
export function lengthAt(view: DataView, at: number): number {
  return view.getInt32(at - 4);
}

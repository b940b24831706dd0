import { LakebaseError } from "../../../core/errors.ts";
import { typeName } from "../../../core/type_names.ts";
import { type Batch, type BatchColumn, CellProblem } from "../batch.ts";
import { type Builder, builderFor } from "./builders.ts";

/** `PGCOPY`, and bytes that show whether a transfer has converted line ends. */
const SIGNATURE = [0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00];
/** The signature, the flags and the length of the header's extension. */
const HEADER_BYTES = 19;
/** A reader must refuse an unknown flag in the upper half. PostgreSQL 12 and later set none. */
const CRITICAL_FLAGS = 0xffff_0000;
/** Postgres has no values above 1 GB. */
const MAX_BYTES = 2 ** 30;
/** The most values in a block: few enough for the processor's cache. */
const BLOCK_VALUES = 16_384;

/**
 * Converts the bytes of a `COPY ... TO STDOUT (FORMAT binary)` to columns. The pushed bytes are copied, so the caller may
 * reuse their memory.
 *
 * Each block of rows is read in two passes. The first finds where each value begins. The second reads the values column by
 * column, in a loop for each type.
 */
export class BatchDecoder {
  readonly #columns: readonly BatchColumn[];
  readonly #builders: Builder[];
  /** The bytes of each column's values; -1 if they vary. */
  readonly #widths: Int32Array;
  readonly #index: Int32Array;
  /** The rows of a block. */
  readonly #blockRows: number;
  readonly #joiner = new ChunkJoiner();
  #state: "header" | "rows" | "end" = "header";
  #rows = 0;
  #bytes = 0;
  /** The number of rows in earlier batches. */
  #rowsTaken = 0;

  /** Makes a decoder for the columns of the COPY. */
  constructor(columns: readonly BatchColumn[]) {
    this.#columns = columns;
    this.#builders = columns.map(builderFor);
    this.#widths = Int32Array.from(this.#builders, ({ width }) => width);
    this.#blockRows = Math.max(8, Math.floor(BLOCK_VALUES / Math.max(1, columns.length)));
    this.#index = new Int32Array(this.#blockRows * columns.length);
  }

  /** The number of rows since the last {@linkcode take}. */
  get rows(): number {
    return this.#rows;
  }

  /** The number of bytes of these rows on the wire. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes the next bytes, which may end anywhere.
   *
   * @throws {LakebaseError} `QUERY_FAILED` for a value that can't be stored, with its row and column; and for bytes that are
   * not a binary copy of these columns.
   */
  push(chunk: Uint8Array): void {
    this.#joiner.read(chunk, (bytes) => this.#read(bytes));
  }

  /** Returns the rows so far. The next rows go into another batch. */
  take(): Batch {
    const rows = this.#rows;
    const columns = this.#builders.map((builder, at) => {
      const { name, type } = this.#columns[at]!;
      return { name, type, ...builder.take() };
    });
    this.#rowsTaken += rows;
    this.#rows = this.#bytes = 0;
    return { rows, columns };
  }

  /**
   * Checks that the copy is complete.
   *
   * @throws {LakebaseError} `QUERY_FAILED` if it is not.
   */
  end(): void {
    if (this.#state !== "end") throw malformed(`they break off after row ${this.#rowsTaken + this.#rows}`);
  }

  /** Reads the complete rows. */
  #read(bytes: Uint8Array): { used: number; needed: number } {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let used = 0;
    if (this.#state === "header") {
      used = this.#readHeader(bytes, view);
      if (used > bytes.length || bytes.length < HEADER_BYTES) return { used: 0, needed: Math.max(used, HEADER_BYTES) };
      this.#state = "rows";
    }
    let needed = 0;
    while (this.#state === "rows" && needed === 0) {
      const block = this.#findValues(view, used);
      this.#append(bytes, view, block.rows);
      this.#bytes += block.end - used;
      used = block.end;
      needed = block.needed;
    }
    if (this.#state === "end" && used < bytes.length) throw malformed("more bytes follow their end");
    return { used, needed };
  }

  /** Checks the header. Returns its length, or the number of bytes that are needed to find its length. */
  #readHeader(bytes: Uint8Array, view: DataView): number {
    const length = Math.min(bytes.length, SIGNATURE.length);
    for (let at = 0; at < length; at++) if (bytes[at] !== SIGNATURE[at]) throw malformed("their signature is wrong");
    if (bytes.length < HEADER_BYTES) return HEADER_BYTES;
    if ((view.getUint32(11) & CRITICAL_FLAGS) !== 0) throw malformed("their header has unknown flags");
    const extension = view.getInt32(15);
    if (extension < 0 || extension > MAX_BYTES) throw malformed(`their header has an extension of ${extension} bytes`);
    return HEADER_BYTES + extension;
  }

  /** Finds the values of complete rows, as many rows as the index has space for. */
  #findValues(view: DataView, from: number): { rows: number; end: number; needed: number } {
    const columns = this.#widths.length;
    const blockRows = this.#blockRows;
    const index = this.#index;
    const widths = this.#widths;
    const length = view.byteLength;
    let row = 0;
    let end = from;
    for (; row < blockRows; row++) {
      if (end + 2 > length) return { rows: row, end, needed: 2 };
      const count = view.getInt16(end);
      if (count !== columns) {
        if (count !== -1) throw malformed(`row ${this.#number(row)} has ${count} values for ${columns} columns`);
        this.#state = "end";
        return { rows: row, end: end + 2, needed: 0 };
      }
      let at = end + 2;
      for (let column = 0; column < columns; column++) {
        if (at + 4 > length) return { rows: row, end, needed: at + 4 - end };
        const bytes = view.getInt32(at);
        at += 4;
        if (bytes === -1) index[column * blockRows + row] = -1;
        else {
          const width = widths[column]!;
          if (width >= 0 ? bytes !== width : bytes < 0 || bytes > MAX_BYTES) throw this.#badLength(row, column, bytes);
          index[column * blockRows + row] = at;
          at += bytes;
        }
      }
      if (at > length) return { rows: row, end, needed: at - end };
      end = at;
    }
    return { rows: row, end, needed: 0 };
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
    return this.#unreadable(row, column, `${bytes} bytes are not a value of type ${typeName(oid)}`);
  }

  #unreadable(row: number, column: number, problem: string): LakebaseError {
    const { name } = this.#columns[column]!;
    return new LakebaseError("QUERY_FAILED", `Cannot read column "${name}" of row ${this.#number(row)}: ${problem}`);
  }

  #number(row: number): number {
    return this.#rowsTaken + this.#rows + row + 1;
  }
}

function malformed(state: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot read the copied rows: ${state}; they are not in the binary format of COPY`,
  );
}

/** The most memory that is kept while the rest of a chunk is short. */
const KEPT_BYTES = 2 ** 20;

/** How far a reader got in some bytes. */
interface ReadState {
  /** The number of bytes that the reader has used. */
  used: number;
  /** The number of further bytes that the reader needs to continue, at least. */
  needed: number;
}

/** Puts the unread rest of a chunk before the next chunk. */
class ChunkJoiner {
  #bytes = new Uint8Array();
  #length = 0;
  /** The reader is not called with fewer bytes, because a long value may span many chunks. */
  #needed = 0;

  /**
   * Passes a chunk to the reader, with the rest of the previous chunk before it.
   *
   * @param reader Reads the bytes, and returns how far it got.
   */
  read(chunk: Uint8Array, reader: (bytes: Uint8Array) => ReadState): void {
    if (this.#length === 0) {
      const { used, needed } = reader(chunk);
      this.#needed = needed;
      if (used < chunk.length) this.#append(chunk.subarray(used));
      return;
    }
    this.#append(chunk);
    if (this.#length < this.#needed) return;
    const { used, needed } = reader(this.#bytes.subarray(0, this.#length));
    this.#needed = needed;
    this.#drop(used);
  }

  #append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const doubled = Math.max(length, this.#bytes.length * 2);
      const grown = new Uint8Array(this.#needed > length ? Math.min(doubled, this.#needed) : doubled);
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

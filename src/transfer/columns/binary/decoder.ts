import { LakebaseError } from "../../../core/errors.ts";
import { typeName } from "../../../core/type_names.ts";
import { type Batch, type BatchColumn, CellProblem } from "../batch.ts";
import { type Builder, builderFor } from "./builders.ts";

/** `PGCOPY`, then bytes that show whether a transfer has converted line ends. */
const SIGNATURE = [0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00];
/** The signature, the flags and the length of the header's extension. */
const HEADER_BYTES = 19;
/** A reader must know every flag in the upper half. PostgreSQL 12 and later set none. */
const CRITICAL_FLAGS = 0xffff_0000;
/** Postgres has no values above 1 GB. */
const MOST_BYTES = 2 ** 30;
/** The most values in a block: few enough to stay in the processor's cache. */
const BLOCK_VALUES = 16_384;

/**
 * Turns the bytes of a `COPY ... TO STDOUT (FORMAT binary)` into columns. It copies the pushed bytes, so the caller may reuse
 * their memory.
 *
 * Each block of rows is read in two passes: the first finds where each value begins, the second reads the values column by
 * column, in loops for each type.
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
  /** The rows of earlier batches. */
  #taken = 0;

  /** Takes the columns that are copied. */
  constructor(columns: readonly BatchColumn[]) {
    this.#columns = columns;
    this.#builders = columns.map(builderFor);
    this.#widths = Int32Array.from(this.#builders, ({ width }) => width);
    this.#blockRows = Math.max(8, Math.floor(BLOCK_VALUES / Math.max(1, columns.length)));
    this.#index = new Int32Array(this.#blockRows * columns.length);
  }

  /** The rows since the last {@linkcode take}. */
  get rows(): number {
    return this.#rows;
  }

  /** The bytes of these rows on the wire. */
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

  /** Gives the rows so far. The next rows go into another batch. */
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
   * Checks that the copy is complete.
   *
   * @throws {LakebaseError} `QUERY_FAILED` if it is not.
   */
  end(): void {
    if (this.#state !== "end") throw malformed(`it breaks off after row ${this.#taken + this.#rows}`);
  }

  /** Reads the complete rows. */
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

  /** Checks the header. Gives its length, or the least length that tells it. */
  #readHeader(bytes: Uint8Array, view: DataView): number {
    const known = Math.min(bytes.length, SIGNATURE.length);
    for (let at = 0; at < known; at++) if (bytes[at] !== SIGNATURE[at]) throw malformed("it does not begin as one");
    if (bytes.length < HEADER_BYTES) return HEADER_BYTES;
    if ((view.getUint32(11) & CRITICAL_FLAGS) !== 0) throw malformed("its header has flags that are not known");
    const extension = view.getInt32(15);
    if (extension < 0 || extension > MOST_BYTES) throw malformed(`its header is followed by ${extension} bytes`);
    return HEADER_BYTES + extension;
  }

  /** Finds the values of complete rows, as many as the index has space for. */
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
    return this.#unreadable(row, column, `${bytes} bytes are not a value of type ${typeName(oid)}`);
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
    `Cannot read the copied rows: ${state}; they are not in the binary format of COPY`,
  );
}

/** The most memory that is kept for the rest of a chunk. */
const KEPT_BYTES = 2 ** 20;

/** How far a reader got in some bytes. */
interface ReadState {
  /** The number of bytes that it has read. */
  used: number;
  /** The least number of bytes, after the used ones, that it needs to continue. */
  wanted: number;
}

/** Puts the unread rest of a chunk before the next chunk. */
class ChunkJoiner {
  #bytes = new Uint8Array();
  #length = 0;
  /** The bytes that the reader waits for. It is not called before, since a long value may span many chunks. */
  #wanted = 0;

  /**
   * Passes a chunk to the reader, after the rest of the chunk before.
   *
   * @param reader Reads the bytes, and tells how far it got.
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

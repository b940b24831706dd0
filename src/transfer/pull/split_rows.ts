import type { CopyFormat } from "../copy/copy_query.ts";
import {
  BINARY_HEADER,
  BINARY_TRAILER,
  type Chunk,
  type CopyItem,
  END_OF_COPY,
  withoutFraming,
} from "../copy/messages.ts";

/** How the rows of one COPY are divided into files. */
interface Division {
  /** The format in which the server writes the rows. */
  format: CopyFormat;
  /** The most rows of a file. */
  rowsPerFile?: number | undefined;
  /** Whether each row begins with the values of its partition, and the rows of a partition follow each other. */
  partitioned: boolean;
}

/** The rows of one file. They must be read before the rows of the next file. */
interface RowsOfFile {
  /** The values of the partition, as the server's text; empty if there are no partitions. */
  partition: (string | null)[];
  /** The rows, as a COPY of only these rows would give them. */
  chunks: AsyncIterable<Chunk>;
}

const LINE_FEED = 10;
const QUOTE = 0x22;
const TAB = 0x09;
const COMMA = 0x2c;

/**
 * Divides the rows of a COPY into files. Each file gets the line with the names, or the header and the trailer of the
 * binary format. Without partitions there is at least one file, so that the columns of an empty table are visible.
 */
export async function* splitRows(
  chunks: AsyncIterable<Chunk>,
  division: Division,
): AsyncGenerator<RowsOfFile, void, void> {
  const splitter = new RowSplitter(chunks, division);
  while (await splitter.hasNext()) yield { partition: splitter.partition(), chunks: splitter.file() };
}

class RowSplitter {
  readonly #source: AsyncIterator<Chunk>;
  readonly #layout: RowLayout;
  readonly #rowsPerFile: number;
  readonly #partitioned: boolean;
  /** The current chunk. Its rows from `#at` on are not in a file yet. */
  #chunk: Chunk | undefined;
  #at = 0;
  /** The number of these rows. */
  #rowsLeft = 0;
  #header: Uint8Array<ArrayBuffer> | undefined;
  /** The values of the current partition, as the server sends them. */
  #key: Uint8Array = new Uint8Array();
  #files = 0;

  constructor(chunks: AsyncIterable<Chunk>, { format, rowsPerFile = Infinity, partitioned }: Division) {
    this.#layout = layoutOf(format);
    this.#rowsPerFile = rowsPerFile;
    this.#partitioned = partitioned;
    const rows = this.#layout.binary ? withoutHeaderAndTrailer(chunks) : chunks;
    this.#source = rows[Symbol.asyncIterator]();
    if (this.#layout.binary) this.#header = BINARY_HEADER;
  }

  /** Whether there is another file. */
  async hasNext(): Promise<boolean> {
    if (this.#layout.headed && this.#header === undefined) await this.#takeHeader();
    if (!await this.#fill()) return this.#files === 0 && !this.#partitioned;
    if (this.#partitioned) this.#key = this.#keyAt(this.#at);
    return true;
  }

  /** Returns the values of the next file's partition. The server sends them as JSON in hexadecimal digits. */
  partition(): (string | null)[] {
    if (!this.#partitioned) return [];
    return JSON.parse(new TextDecoder().decode(Uint8Array.fromHex(new TextDecoder().decode(this.#key))));
  }

  /** Reads the rows of the next file. */
  async *file(): AsyncGenerator<Chunk, void, void> {
    this.#files++;
    if (this.#header !== undefined) yield { bytes: this.#header.slice(), rows: 1 };
    for (let room = this.#rowsPerFile; room > 0 && await this.#fill();) {
      const taken = this.#partitioned ? this.#takeOfPartition(room) : this.#take(room);
      if (taken.rows === 0) break;
      room -= taken.rows;
      yield taken;
    }
    if (this.#layout.binary) yield { ...BINARY_TRAILER, bytes: BINARY_TRAILER.bytes.slice() };
  }

  /** Gets the next chunk if the current one has no rows left. Returns whether there are more rows. */
  async #fill(): Promise<boolean> {
    while (this.#rowsLeft === 0) {
      const { value, done } = await this.#source.next();
      if (done) return false;
      this.#chunk = value;
      this.#rowsLeft = value.rows;
      this.#at = 0;
    }
    return true;
  }

  async #takeHeader(): Promise<void> {
    if (!await this.#fill()) return;
    const { bytes } = this.#chunk!;
    const end = this.#layout.endOfRow(bytes, 0);
    this.#header = bytes.slice(this.#partitioned ? this.#layout.endOfKey(bytes, 0) : 0, end);
    this.#at = end;
    this.#rowsLeft--;
  }

  #take(room: number): Chunk {
    const { bytes } = this.#chunk!;
    const rows = Math.min(room, this.#rowsLeft);
    let end = this.#at;
    if (rows === this.#rowsLeft) end = bytes.length;
    else for (let row = 0; row < rows; row++) end = this.#layout.endOfRow(bytes, end);
    const taken = bytes.subarray(this.#at, end);
    this.#at = end;
    this.#rowsLeft -= rows;
    return { bytes: taken, rows };
  }

  /** Takes rows of the current partition, without the partition's values. */
  #takeOfPartition(room: number): Chunk {
    const { bytes } = this.#chunk!;
    const out = new Uint8Array(bytes.length - this.#at);
    let filled = 0;
    let rows = 0;
    while (rows < room && this.#rowsLeft > 0 && this.#isKeyAt(this.#at)) {
      const end = this.#layout.endOfRow(bytes, this.#at);
      if (this.#layout.binary) {
        const columns = (bytes[this.#at]! << 8 | bytes[this.#at + 1]!) - 1;
        out[filled++] = columns >> 8;
        out[filled++] = columns & 0xff;
      }
      const rest = bytes.subarray(this.#layout.endOfKey(bytes, this.#at), end);
      out.set(rest, filled);
      filled += rest.length;
      this.#at = end;
      this.#rowsLeft--;
      rows++;
    }
    return { bytes: out.subarray(0, filled), rows };
  }

  #keyAt(at: number): Uint8Array {
    const { bytes } = this.#chunk!;
    return bytes.slice(at + this.#layout.beforeKey, this.#layout.endOfKey(bytes, at) - this.#layout.afterKey);
  }

  #isKeyAt(at: number): boolean {
    const { bytes } = this.#chunk!;
    const start = at + this.#layout.beforeKey;
    const key = this.#key;
    if (this.#layout.endOfKey(bytes, at) - this.#layout.afterKey - start !== key.length) return false;
    for (let index = 0; index < key.length; index++) if (bytes[start + index] !== key[index]) return false;
    return true;
  }
}

/** Removes the header and the trailer of the binary format. */
async function* withoutHeaderAndTrailer(chunks: AsyncIterable<Chunk>): AsyncGenerator<Chunk, void, void> {
  async function* ended(): AsyncGenerator<CopyItem, void, void> {
    yield* chunks;
    yield END_OF_COPY;
  }
  for await (const item of withoutFraming(ended(), false)) if (item !== END_OF_COPY) yield item;
}

/** The layout of a row in a format of COPY. The key of a row is the text of its partition's values. */
interface RowLayout {
  binary: boolean;
  /** Whether the first line has the names. */
  headed: boolean;
  /** The number of bytes before the partition's values in a row. */
  beforeKey: number;
  /** The number of bytes between the partition's values and the row's first value. */
  afterKey: number;
  /** Finds the end of the row that begins at a position. */
  endOfRow(bytes: Uint8Array, at: number): number;
  /** Finds the first value of that row, after the partition's values. */
  endOfKey(bytes: Uint8Array, at: number): number;
}

function layoutOf({ format, header = false, delimiter }: CopyFormat): RowLayout {
  if (format === "binary") return BINARY;
  const csv = format === "csv";
  const separator = delimiter?.charCodeAt(0) ?? (csv ? COMMA : TAB);
  return {
    binary: false,
    headed: header,
    beforeKey: 0,
    afterKey: 1,
    endOfRow: (bytes, at) => csv ? endOfQuotedRow(bytes, at) : bytes.indexOf(LINE_FEED, at) + 1,
    endOfKey: (bytes, at) => bytes.indexOf(separator, at) + 1,
  };
}

function endOfQuotedRow(bytes: Uint8Array, at: number): number {
  for (let quoted = false; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) quoted = !quoted;
    else if (byte === LINE_FEED && !quoted) return at + 1;
  }
  return bytes.length;
}

/** A row is the number of its values in 16 bits, then for each value its length in 32 bits (-1 for NULL), and the value. */
const BINARY: RowLayout = {
  binary: true,
  headed: false,
  beforeKey: 6,
  afterKey: 0,
  endOfRow: (bytes, at) => {
    const columns = bytes[at]! << 8 | bytes[at + 1]!;
    at += 2;
    for (let column = 0; column < columns; column++) at += 4 + Math.max(0, int32At(bytes, at));
    return at;
  },
  endOfKey: (bytes, at) => at + 6 + int32At(bytes, at + 2),
};

function int32At(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 24 | bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!;
}

import { Buffer } from "node:buffer";

/** Rows of a COPY, as the server sent them. */
export interface Chunk {
  /** Complete `CopyData` messages without their headers. The receiver may change the bytes. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The number of messages. Each is a row, except for a line with the names, and the trailer of the binary format. */
  rows: number;
}

/** Marks the end of the rows of each COPY in a series. */
export const END_OF_COPY: unique symbol = Symbol("end of a COPY");

/** An item that a series of COPYs yields. */
export type CopyItem = Chunk | typeof END_OF_COPY;

/** Receives the messages that are not `CopyData`. */
interface OtherMessages {
  /** Receives a message that came between rows, such as a notice. */
  beside(message: Buffer): void;
  /** Receives all bytes behind the last `CopyData`. */
  rest(bytes: Buffer): void;
}

/** PostgreSQL's protocol, section "Message Formats". */
const COPY_DATA = 0x64;
const HEADER = 5;
/** `CopyOutResponse`, `NoticeResponse`, `ParameterStatus`, `NotificationResponse`; `CommandComplete` of an earlier statement. */
const BESIDE = codes("HNSAC");
/** `ErrorResponse`, `CopyDone`, and the answers to a statement that is no COPY. */
const LAST = codes("EcTDIZG");

/** The approximate bytes of a chunk; a longer message is a chunk of its own. */
const CHUNK_BYTES = 262_144;

/**
 * Takes the rows out of the bytes of a socket during a COPY. The bytes of a row are moved once, within the buffer that they
 * came in, and no event or object is made for a row.
 */
export class CopyMessages {
  /** The number of bytes that wait to be taken. */
  waiting = 0;
  /** Whether the last `CopyData` has come. */
  ended = false;
  readonly #others: OtherMessages;
  readonly #ready: Chunk[] = [];
  #out = new Uint8Array(0);
  #filled = 0;
  #rows = 0;
  /** The beginning of a message that continues in the next buffer. */
  #begun: Buffer | undefined;
  /** The payload of a message that is longer than a buffer. */
  #long: Uint8Array<ArrayBuffer> | undefined;
  #longFilled = 0;

  constructor(others: OtherMessages) {
    this.#others = others;
  }

  /**
   * Reads a buffer, and overwrites it.
   *
   * @throws {Error} For bytes that are not a message of Postgres.
   */
  push(input: Buffer): void {
    const begun = this.#begun;
    this.#begun = undefined;
    if (this.#long !== undefined) this.#split(input.subarray(this.#lengthen(this.#long, input)));
    else this.#split(begun === undefined ? input : Buffer.concat([begun, input]));
  }

  /** Whether a full chunk is waiting. */
  get full(): boolean {
    return this.#ready.length > 0;
  }

  /**
   * The next chunk.
   *
   * @param partial Whether a chunk that is not full may be taken.
   */
  take(partial = true): Chunk | undefined {
    if (partial && !this.full) this.#give();
    const chunk = this.#ready.shift();
    this.waiting -= chunk?.bytes.length ?? 0;
    return chunk;
  }

  /** Moves the rows to the start of the buffer, one after another. */
  #split(input: Buffer): void {
    let at = 0;
    let filled = 0;
    let rows = 0;
    while (at + HEADER <= input.length && input[at] === COPY_DATA) {
      const end = at + lengthAt(input, at);
      if (end > input.length) break;
      input.copyWithin(filled, at + HEADER, end);
      filled += end - at - HEADER;
      at = end;
      rows++;
    }
    if (rows > 0) this.#add(input.subarray(0, filled), rows);
    if (at < input.length) this.#other(input.subarray(at));
  }

  #other(input: Buffer): void {
    const code = input[0]!;
    if (LAST.has(code)) {
      this.ended = true;
      return this.#others.rest(input);
    }
    if (code !== COPY_DATA && !BESIDE.has(code)) {
      throw new Error(`the server sent bytes that are not a message (${code})`);
    }
    const length = input.length < HEADER ? Infinity : lengthAt(input, 0);
    if (length <= input.length) {
      this.#others.beside(input.subarray(0, length));
      return this.#split(input.subarray(length));
    }
    if (code === COPY_DATA && length !== Infinity && length > CHUNK_BYTES) return this.#lengthenFirst(input, length);
    this.#begun = input;
  }

  #add(rows: Uint8Array, count: number): void {
    if (this.#filled + rows.length > this.#out.length) {
      this.#give();
      this.#out = new Uint8Array(Math.max(CHUNK_BYTES, rows.length));
    }
    this.#out.set(rows, this.#filled);
    this.#filled += rows.length;
    this.#rows += count;
    this.waiting += rows.length;
  }

  #give(): void {
    if (this.#rows === 0) return;
    this.#ready.push({ bytes: this.#out.subarray(0, this.#filled), rows: this.#rows });
    this.#out = new Uint8Array(0);
    this.#filled = this.#rows = 0;
  }

  #lengthenFirst(input: Uint8Array, length: number): void {
    this.#give();
    this.#long = new Uint8Array(length - HEADER);
    this.#longFilled = 0;
    this.#lengthen(this.#long, input.subarray(HEADER));
  }

  /** Adds to the long message; returns the number of bytes of the buffer that belong to it. */
  #lengthen(long: Uint8Array<ArrayBuffer>, input: Uint8Array): number {
    const taken = Math.min(long.length - this.#longFilled, input.length);
    long.set(input.subarray(0, taken), this.#longFilled);
    this.#longFilled += taken;
    if (this.#longFilled === long.length) {
      this.waiting += long.length;
      this.#ready.push({ bytes: long, rows: 1 });
      this.#long = undefined;
    }
    return taken;
  }
}

/** The length of the message at a position, including the byte of its type. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const length = (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!;
  if (length < 4) throw new Error(`the server sent a message of the length ${length}`);
  return length + 1;
}

function codes(letters: string): ReadonlySet<number> {
  return new Set([...letters].map((letter) => letter.charCodeAt(0)));
}

/** The length of the signature and the flags of `COPY ... (FORMAT binary)`. The length of the header extension follows. */
const HEADER_START = 15;

/** The header of a `COPY ... (FORMAT binary)`: the signature, no flags and no extension. */
export const BINARY_HEADER: Uint8Array<ArrayBuffer> = Uint8Array.fromHex("5047434f50590aff0d0a00" + "00".repeat(8));

/** The trailer of a `COPY ... (FORMAT binary)`. */
export const BINARY_TRAILER: Chunk = { bytes: Uint8Array.of(0xff, 0xff), rows: 1 };

/**
 * Removes the headers and trailers of a series of binary COPYs, so that their rows can follow one another.
 *
 * @param chunks The chunks of the series. The server sends the header in the message of the first row, and the trailer in a
 * message of its own.
 * @param headed Whether the header of the first COPY is kept.
 */
export async function* withoutFraming(
  chunks: AsyncIterable<CopyItem>,
  headed: boolean,
): AsyncGenerator<CopyItem, void, void> {
  let last: Chunk | undefined;
  let headless = !headed;
  for await (const chunk of chunks) {
    if (chunk === END_OF_COPY) {
      if (last !== undefined) yield* withoutTrailer(last);
      yield chunk;
      last = undefined;
      headless = true;
      continue;
    }
    if (last !== undefined) yield last;
    last = last === undefined && headless ? withoutHeader(chunk) : chunk;
  }
}

function* withoutTrailer({ bytes, rows }: Chunk): Generator<Chunk, void, void> {
  const kept = bytes.subarray(0, bytes.length - BINARY_TRAILER.bytes.length);
  if (kept.length > 0) yield { bytes: kept, rows: rows - BINARY_TRAILER.rows };
}

function withoutHeader({ bytes, rows }: Chunk): Chunk {
  const extension = new DataView(bytes.buffer, bytes.byteOffset).getInt32(HEADER_START);
  return { bytes: bytes.subarray(HEADER_START + 4 + extension), rows };
}

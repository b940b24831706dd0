import { Buffer } from "node:buffer";

/** Rows as the server sent them in a COPY. */
export interface Chunk {
  /** Whole `CopyData` messages without their headers; they belong to who got them. */
  bytes: Uint8Array<ArrayBuffer>;
  /** How many messages they were: a row each, but for the lines with the names, and the header and trailer of binary. */
  rows: number;
}

/** Stands behind the rows of each statement of a series. */
export const END_OF_COPY: unique symbol = Symbol("end of a COPY");

/** What a series of COPYs gives. */
export type CopyItem = Chunk | typeof END_OF_COPY;

/** Who gets what is no `CopyData`. */
export interface OtherMessages {
  /** A message that may come in between, such as a notice. */
  beside(message: Buffer): void;
  /** What follows the last `CopyData`, from its first byte. */
  rest(bytes: Buffer): void;
}

/** PostgreSQL's protocol, section "Message Formats". */
const COPY_DATA = 0x64;
const HEADER = 5;
/** `CopyOutResponse`, `NoticeResponse`, `ParameterStatus`, `NotificationResponse`; `CommandComplete` of what was sent before. */
const BESIDE = codes("HNSAC");
/** `ErrorResponse`, `CopyDone`, and what answers a statement that is no COPY. */
const LAST = codes("EcTDIZG");

/** Bytes of a chunk, about; a longer message is a chunk of its own. */
const CHUNK_BYTES = 262_144;

/**
 * Takes the rows out of what a socket brings during a COPY. A row costs one move of its bytes within the buffer that it
 * came in, no event and no object.
 */
export class CopyMessages {
  /** How many bytes of chunks nobody has taken yet. */
  waiting = 0;
  /** Whether the last `CopyData` has come. */
  ended = false;
  readonly #others: OtherMessages;
  readonly #ready: Chunk[] = [];
  #out = new Uint8Array(0);
  #filled = 0;
  #rows = 0;
  /** The beginning of a message that goes on in the next buffer. */
  #begun: Buffer | undefined;
  /** The payload of a message that is longer than a buffer. */
  #long: Uint8Array<ArrayBuffer> | undefined;
  #longFilled = 0;

  constructor(others: OtherMessages) {
    this.#others = others;
  }

  /**
   * Takes a buffer and uses it up.
   *
   * @throws {Error} Where it is no message of Postgres.
   */
  push(input: Buffer): void {
    const begun = this.#begun;
    this.#begun = undefined;
    if (this.#long !== undefined) this.#split(input.subarray(this.#lengthen(this.#long, input)));
    else this.#split(begun === undefined ? input : Buffer.concat([begun, input]));
  }

  /** Whether there is a chunk of the full size. */
  get full(): boolean {
    return this.#ready.length > 0;
  }

  /**
   * The next chunk.
   *
   * @param partial Whether it may be a small one, of what there is.
   */
  take(partial = true): Chunk | undefined {
    if (partial && !this.full) this.#give();
    const chunk = this.#ready.shift();
    this.waiting -= chunk?.bytes.length ?? 0;
    return chunk;
  }

  /** Moves the rows to the buffer's start, one behind the other. */
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
      throw new Error(`the server sent something that is no message (${code})`);
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

  /** How much of the buffer belonged to the long message. */
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

/** The length of the message at a place, its kind's byte included. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const length = (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!;
  if (length < 4) throw new Error(`the server sent a message of the length ${length}`);
  return length + 1;
}

function codes(letters: string): ReadonlySet<number> {
  return new Set([...letters].map((letter) => letter.charCodeAt(0)));
}

/** The signature and the flags of `COPY ... (FORMAT binary)`; the length of what else its header has follows. */
const HEADER_START = 15;

/** What begins a `COPY ... (FORMAT binary)`: the signature, no flags, and nothing more. */
export const BINARY_HEADER: Uint8Array<ArrayBuffer> = Uint8Array.fromHex("5047434f50590aff0d0a00" + "00".repeat(8));

/** What ends a `COPY ... (FORMAT binary)`. */
export const BINARY_TRAILER: Chunk = { bytes: Uint8Array.of(0xff, 0xff), rows: 1 };

/**
 * Takes away what several binary COPYs have once each, so that they can stand one behind the other.
 *
 * @param chunks Their rows, each COPY's with its end behind them. The server sends a header in the message of the first row,
 * and a trailer in one of its own.
 * @param headed Whether to leave the first one's header.
 */
export async function* withoutFrames(
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

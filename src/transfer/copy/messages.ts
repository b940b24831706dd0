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
  betweenRows(message: Buffer): void;
  /** Receives all bytes after the last `CopyData`. */
  afterRows(bytes: Buffer): void;
}

/** PostgreSQL's protocol, section "Message Formats". */
const COPY_DATA = 0x64;
const HEADER = 5;
/** `CopyOutResponse`, `NoticeResponse`, `ParameterStatus`, `NotificationResponse`; `CommandComplete` of an earlier statement. */
const BETWEEN_ROWS = codes("HNSAC");
/** `ErrorResponse`, `CopyDone`, and the answers to a statement that is not a COPY. */
const AFTER_ROWS = codes("EcTDIZG");

/** The approximate size of a chunk. A message that is longer is a chunk of its own. */
const CHUNK_BYTES = 262_144;

/**
 * Takes the rows out of the bytes of a socket during a COPY. It moves the bytes of a row once, within the buffer in which
 * they arrived, and makes no event or object for a row.
 */
export class CopyMessages {
  /** The number of bytes that wait to be taken. */
  waiting = 0;
  /** Whether the last `CopyData` has arrived. */
  ended = false;
  readonly #others: OtherMessages;
  readonly #ready: Chunk[] = [];
  #chunk = new Uint8Array(0);
  #filled = 0;
  #rows = 0;
  /** The beginning of a message that continues in the next buffer. */
  #incomplete: Buffer | undefined;
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
    const incomplete = this.#incomplete;
    this.#incomplete = undefined;
    if (this.#long !== undefined) this.#split(input.subarray(this.#fillLong(this.#long, input)));
    else this.#split(incomplete === undefined ? input : Buffer.concat([incomplete, input]));
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
    if (partial && !this.full) this.#finishChunk();
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
    if (at < input.length) this.#readOther(input.subarray(at));
  }

  #readOther(input: Buffer): void {
    const code = input[0]!;
    if (AFTER_ROWS.has(code)) {
      this.ended = true;
      return this.#others.afterRows(input);
    }
    if (code !== COPY_DATA && !BETWEEN_ROWS.has(code)) {
      throw new Error(`the server sent bytes that are not a message (${code})`);
    }
    const length = input.length < HEADER ? Infinity : lengthAt(input, 0);
    if (length <= input.length) {
      this.#others.betweenRows(input.subarray(0, length));
      return this.#split(input.subarray(length));
    }
    if (code === COPY_DATA && length !== Infinity && length > CHUNK_BYTES) return this.#startLong(input, length);
    this.#incomplete = input;
  }

  #add(rows: Uint8Array, count: number): void {
    if (this.#filled + rows.length > this.#chunk.length) {
      this.#finishChunk();
      this.#chunk = new Uint8Array(Math.max(CHUNK_BYTES, rows.length));
    }
    this.#chunk.set(rows, this.#filled);
    this.#filled += rows.length;
    this.#rows += count;
    this.waiting += rows.length;
  }

  #finishChunk(): void {
    if (this.#rows === 0) return;
    this.#ready.push({ bytes: this.#chunk.subarray(0, this.#filled), rows: this.#rows });
    this.#chunk = new Uint8Array(0);
    this.#filled = this.#rows = 0;
  }

  #startLong(input: Uint8Array, length: number): void {
    this.#finishChunk();
    this.#long = new Uint8Array(length - HEADER);
    this.#longFilled = 0;
    this.#fillLong(this.#long, input.subarray(HEADER));
  }

  /** Adds bytes to the long message. Returns how many bytes of the buffer belong to it. */
  #fillLong(long: Uint8Array<ArrayBuffer>, input: Uint8Array): number {
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

/** The outcome of a COPY after which another one was sent. */
export type CopyOutcome =
  /** It has succeeded. `next` holds the first bytes of the answer to the next one. */
  | { next: Buffer }
  /** It has failed, and so has the next one. The driver gets the error, and the bytes from the last `ReadyForQuery` on. */
  | { forDriver: Buffer };

const [ERROR, READY, SEVERITY] = ["E", "Z", "V"].map((letter) => letter.charCodeAt(0));

/**
 * Reads the messages between the rows of two COPYs that were sent one after the other. If the first COPY fails, its
 * transaction is aborted, and the second COPY fails only for that reason. The second error is dropped, because `pg`
 * knows about one query and expects one end.
 */
export class CopyEnd {
  #bytes: Buffer = Buffer.alloc(0);
  #error: Buffer | undefined;
  #readyMessages = 0;

  /**
   * Reads bytes. The first ones begin with the message after the last row.
   *
   * @returns The outcome, once it is known.
   */
  push(bytes: Buffer): CopyOutcome | undefined {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const message = this.#message();
      if (message === undefined) return undefined;
      if (message[0] === READY && (this.#error === undefined || ++this.#readyMessages === 2)) break;
      if (message[0] === ERROR) {
        if (!keepsConnection(message)) return { forDriver: this.#bytes }; // nothing follows, because the server ends the connection
        this.#error ??= Buffer.from(message);
      }
      this.#bytes = this.#bytes.subarray(message.length);
    }
    if (this.#error !== undefined) return { forDriver: Buffer.concat([this.#error, this.#bytes]) };
    return { next: this.#bytes.subarray(HEADER + 1) };
  }

  /** The first message, if it is complete. */
  #message(): Buffer | undefined {
    if (this.#bytes.length < HEADER) return undefined;
    const length = this.#bytes.readInt32BE(1) + 1;
    return this.#bytes.length < length ? undefined : this.#bytes.subarray(0, length);
  }
}

/** Whether the connection continues after the error, as it does after an `ERROR`, but not after a `FATAL`. */
function keepsConnection(error: Buffer): boolean {
  for (let at = HEADER; error[at] !== undefined && error[at] !== 0;) {
    const end = error.indexOf(0, at);
    if (error[at] === SEVERITY) return error.toString("latin1", at + 1, end) === "ERROR";
    at = end + 1;
  }
  return false;
}

/** The bytes of the signature and the flags of `COPY ... (FORMAT binary)`. The length of the header extension follows. */
const SIGNATURE_AND_FLAGS = 15;

/** The header of a `COPY ... (FORMAT binary)`: the signature, no flags and no extension. */
export const BINARY_HEADER: Uint8Array<ArrayBuffer> = Uint8Array.fromHex("5047434f50590aff0d0a00" + "00".repeat(8));

/** The trailer of a `COPY ... (FORMAT binary)`. */
export const BINARY_TRAILER: Chunk = { bytes: Uint8Array.of(0xff, 0xff), rows: 1 };

/**
 * Removes the headers and trailers of a series of binary COPYs, so that their rows can follow one another.
 *
 * @param chunks The chunks of the series. The server sends the header in the message of the first row, and the trailer in a
 * message of its own.
 * @param keepHeader Whether the header of the first COPY is kept.
 */
export async function* withoutFraming(
  chunks: AsyncIterable<CopyItem>,
  keepHeader: boolean,
): AsyncGenerator<CopyItem, void, void> {
  let last: Chunk | undefined;
  let dropHeader = !keepHeader;
  for await (const chunk of chunks) {
    if (chunk === END_OF_COPY) {
      if (last !== undefined) yield* withoutTrailer(last);
      yield chunk;
      last = undefined;
      dropHeader = true;
      continue;
    }
    if (last !== undefined) yield last;
    last = last === undefined && dropHeader ? withoutHeader(chunk) : chunk;
  }
}

function* withoutTrailer({ bytes, rows }: Chunk): Generator<Chunk, void, void> {
  const kept = bytes.subarray(0, bytes.length - BINARY_TRAILER.bytes.length);
  if (kept.length > 0) yield { bytes: kept, rows: rows - BINARY_TRAILER.rows };
}

function withoutHeader({ bytes, rows }: Chunk): Chunk {
  const extension = new DataView(bytes.buffer, bytes.byteOffset).getInt32(SIGNATURE_AND_FLAGS);
  return { bytes: bytes.subarray(SIGNATURE_AND_FLAGS + 4 + extension), rows };
}

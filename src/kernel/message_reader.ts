import { COMMAND, joined, LONG, MAX_FLAGS, MAX_FRAME_BYTES, type Message, MORE, readFrameHeader } from "./zmtp.ts";

/** How far a message has been read. */
export interface FeedResult {
  /** Bytes behind the end of the message, or none. */
  rest: Uint8Array<ArrayBuffer>;
  /** The message, once it is whole. */
  message?: Message;
}

const MAX_HEADER_BYTES = 9;
/** Far more than any Jupyter message has. */
const MAX_FRAMES = 10_000;

/**
 * Puts messages together of bytes that arrive in pieces of any size; takes time in proportion to the bytes. Who has sent
 * them is known only at the end of a message, where its signature can be checked.
 */
export class MessageReader {
  readonly #most: number;
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;
  /** Where the frames' bodies begin and end. */
  #bounds: [start: number, end: number][] = [];
  #header: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Bytes of the present frame's body still to come; `undefined` while its header is being read. */
  #missing: number | undefined;
  #more = false;
  #command = false;

  /** @param most Bytes that a message may have. */
  constructor(most: number = MAX_FRAME_BYTES) {
    this.#most = most;
  }

  /** Whether the next byte begins a message. */
  get atBoundary(): boolean {
    return this.#length === 0 && this.#header.length === 0;
  }

  /** How many frames have begun. */
  get frames(): number {
    return this.#bounds.length;
  }

  /** Whether so many more bytes would end the message. */
  endsWithin(bytes: number): boolean {
    return this.#missing !== undefined && !this.#more && this.#missing <= bytes;
  }

  /**
   * Reads on, as far as the end of the message at most.
   *
   * @param bytes What arrived; it is kept, not copied.
   * @throws {Error} When the bytes are no ZMTP; the reader is then of no more use.
   */
  feed(bytes: Uint8Array<ArrayBuffer>): FeedResult {
    const whole = this.atBoundary ? firstMessage(bytes) : undefined;
    if (whole !== undefined) return whole;
    let rest = bytes;
    for (;;) {
      if (this.#missing === undefined) {
        const left = this.#readHeader(rest);
        if (left === undefined) return { rest: rest.subarray(rest.length) };
        rest = left;
      }
      const body = rest.subarray(0, this.#missing);
      this.#append(body);
      rest = rest.subarray(body.length);
      this.#missing! -= body.length;
      if (this.#missing! > 0) return { rest };
      this.#missing = undefined;
      if (!this.#more) return { rest, message: this.#take() };
    }
  }

  /** Reads a frame's header; returns what is behind it, or `undefined` while it is not whole. */
  #readHeader(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
    const before = this.#header.length;
    const start = before === 0 ? bytes : joined([this.#header, bytes.subarray(0, MAX_HEADER_BYTES - before)]);
    const header = readFrameHeader(start);
    if (header === undefined) {
      this.#header = start.slice();
      return undefined;
    }
    if (this.#bounds.length === MAX_FRAMES) throw new Error("Cannot read a ZMTP message: its frames do not end");
    if (this.#length + header.size + header.length > this.#most) {
      throw new Error(`Cannot read a ZMTP message: it has more than ${this.#most} bytes`);
    }
    this.#header = new Uint8Array(0);
    this.#append(start.subarray(0, header.size));
    this.#bounds.push([this.#length, this.#length + header.length]);
    this.#missing = header.length;
    this.#more = header.more;
    this.#command = header.command;
    return bytes.subarray(header.size - before);
  }

  #append(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  #take(): Message {
    const raw = joined(this.#parts);
    const message = {
      raw,
      frames: this.#bounds.map(([start, end]) => raw.subarray(start, end)),
      command: this.#command,
    };
    this.#parts = [];
    this.#length = 0;
    this.#bounds = [];
    return message;
  }
}

/** What bytes begin with, where that is a whole message: the usual case, in which nothing has to be put together. */
function firstMessage(bytes: Uint8Array<ArrayBuffer>): FeedResult | undefined {
  const frames: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; frames.length < MAX_FRAMES;) {
    const flags = bytes[at];
    if (flags === undefined || flags > MAX_FLAGS) return undefined;
    const size = flags & LONG ? MAX_HEADER_BYTES : 2;
    const length = size === 2 ? bytes[at + 1]! : readFrameHeader(bytes.subarray(at, at + size))?.length ?? NaN;
    const end = at + size + length;
    if (!(end <= bytes.length)) return undefined;
    frames.push(bytes.subarray(at + size, end));
    if (!(flags & MORE)) {
      const message = { raw: bytes.subarray(0, end), frames, command: (flags & COMMAND) !== 0 };
      return { rest: bytes.subarray(end), message };
    }
    at = end;
  }
  return undefined;
}

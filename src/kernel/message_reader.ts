import { joinBytes } from "../core/bytes.ts";
import { COMMAND, LONG, MAX_FLAGS, MAX_FRAME_BYTES, type Message, MORE, readFrameHeader } from "./zmtp.ts";

/** The result of reading some bytes. */
export interface FeedResult {
  /** The bytes after the end of the message; empty while the message is incomplete. */
  rest: Uint8Array<ArrayBuffer>;
  /** The message, once it is complete. */
  message?: Message;
}

const MAX_HEADER_BYTES = 9;
/** A limit far above what any Jupyter message has. */
const MAX_FRAMES = 10_000;

/**
 * Assembles messages from chunks of any size, in linear time. It limits sizes because the sender is not known before the
 * message is complete and its signature can be checked.
 */
export class MessageReader {
  readonly #most: number;
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;
  /** Where the body of each frame begins and ends. */
  #bounds: [start: number, end: number][] = [];
  #header: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Missing bytes of the current frame's body; `undefined` while the header is being read. */
  #missing: number | undefined;
  #more = false;
  #command = false;

  /** @param most The maximum bytes of a message. */
  constructor(most: number = MAX_FRAME_BYTES) {
    this.#most = most;
  }

  /** Whether the next byte begins a message. */
  get atBoundary(): boolean {
    return this.#length === 0 && this.#header.length === 0;
  }

  /** How many frames of the current message have begun. */
  get frames(): number {
    return this.#bounds.length;
  }

  /** Whether the message is complete after at most `bytes` more bytes. */
  endsWithin(bytes: number): boolean {
    return this.#missing !== undefined && !this.#more && this.#missing <= bytes;
  }

  /**
   * Reads bytes up to the end of the message.
   *
   * @param bytes The bytes that arrived; they are kept, not copied.
   * @throws {Error} When the bytes are not ZMTP; the reader can't be used after that.
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

  /** Reads a frame's header. Returns the bytes after it, or `undefined` while the header is incomplete. */
  #readHeader(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
    const before = this.#header.length;
    const start = before === 0 ? bytes : joinBytes([this.#header, bytes.subarray(0, MAX_HEADER_BYTES - before)]);
    const header = readFrameHeader(start);
    if (header === undefined) {
      this.#header = start.slice();
      return undefined;
    }
    if (this.#bounds.length === MAX_FRAMES) {
      throw new Error(`Cannot read a ZMTP message: it has more than ${MAX_FRAMES} frames`);
    }
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
    const raw = joinBytes(this.#parts);
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

/** Reads a complete message at the start of the bytes, without copying. That is the usual case. */
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

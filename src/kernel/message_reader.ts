import { joinBytes } from "../core/bytes.ts";
import { COMMAND, LONG, MAX_FLAGS, MAX_FRAME_BYTES, type Message, MORE, readFrameHeader } from "./zmtp.ts";

/** The result of reading some bytes. */
interface FeedResult {
  /** The bytes after the end of the message; empty while the message is incomplete. */
  rest: Uint8Array<ArrayBuffer>;
  /** The message, once it is complete. */
  message?: Message;
}

const MAX_HEADER_BYTES = 9;
/** The maximum number of frames. Jupyter messages have far fewer. */
const MAX_FRAMES = 10_000;

/**
 * Assembles messages from chunks of any size, in linear time. It limits sizes, because the signature that identifies the
 * sender can be checked only when the message is complete.
 */
export class ZmtpReader {
  readonly #maxBytes: number;
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;
  /** The start and end of the body of each frame. */
  #bounds: [start: number, end: number][] = [];
  #header: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Missing bytes of the current frame's body; `undefined` while the header is being read. */
  #missing: number | undefined;
  #more = false;
  #command = false;

  /** @param maxBytes The maximum bytes of a message. */
  constructor(maxBytes: number = MAX_FRAME_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Whether the next byte begins a message. */
  get atBoundary(): boolean {
    return this.#length === 0 && this.#header.length === 0;
  }

  /** The number of frames of the current message that have begun. */
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
    const first = this.atBoundary ? firstMessage(bytes) : undefined;
    if (first !== undefined) return first;
    let rest = bytes;
    for (;;) {
      if (this.#missing === undefined) {
        const afterHeader = this.#readHeader(rest);
        if (afterHeader === undefined) return { rest: rest.subarray(rest.length) };
        rest = afterHeader;
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
    if (this.#length + header.size + header.length > this.#maxBytes) {
      throw new Error(`Cannot read a ZMTP message: it has more than ${this.#maxBytes} bytes`);
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

/** Reads a complete message at the start of the bytes, which is the usual case, without copying. */
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

/** The first bytes of every Jupyter message without identities: the delimiter's frame and a signature's flags. */
const MARK = new Uint8Array([1, 9, ...new TextEncoder().encode("<IDS|MSG>"), 1]);

/** The number of frames before the buffers. JSON never ends with the mark's first byte, but a buffer may. */
const JSON_FRAMES = 6;

/** Options of {@linkcode IopubReader}. */
interface IopubReaderOptions {
  /** Verifies the signature of a message that was found inside another one. */
  isSigned: (message: Message) => boolean;
  /** Called when bytes can't be read. Reading continues at the next readable message. */
  onError: (error: Error) => void;
}

/**
 * Reads the messages of the Deno kernel's iopub channel, and separates interleaved messages: the kernel may write a status in
 * the middle of a long output, so that one message is inside another. The inner message is always complete, and its first
 * bytes never occur in JSON.
 */
export class IopubReader {
  readonly #options: IopubReaderOptions;
  #outer = new ZmtpReader();
  #inner: ZmtpReader | undefined;
  #outOfSync = false;
  #carried: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #messages: Message[] = [];

  constructor(options: IopubReaderOptions) {
    this.#options = options;
  }

  /**
   * Reads a chunk.
   *
   * @param chunk The bytes that arrived; they are kept, not copied.
   * @returns The messages that are complete now.
   */
  push(chunk: Uint8Array<ArrayBuffer>): Message[] {
    let bytes = this.#carried.length === 0 ? chunk : joinBytes([this.#carried, chunk]);
    this.#carried = new Uint8Array(0);
    while (bytes.length > 0) bytes = this.#step(bytes);
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  /** Reads some of the bytes and returns the rest. */
  #step(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (this.#inner !== undefined) return this.#stepInner(this.#inner, bytes);
    const { complete, partial } = findMark(bytes, !this.#outOfSync && this.#outer.atBoundary ? 1 : 0);
    const end = complete ?? partial;
    if (this.#outOfSync) {
      this.#outOfSync = complete === undefined;
      return complete === undefined ? this.#keepForLater(bytes.subarray(partial)) : bytes.subarray(complete);
    }
    const unread = this.#feed(bytes.subarray(0, end)).length;
    const rest = bytes.subarray(end - unread);
    if (unread > 0 || this.#outer.atBoundary || this.#outOfSync || rest.length === 0) return rest;
    if (complete !== undefined) {
      this.#inner = new ZmtpReader();
      return rest;
    }
    const ends = this.#outer.frames > JSON_FRAMES && this.#outer.endsWithin(rest.length);
    return ends ? this.#feed(rest) : this.#keepForLater(rest);
  }

  #stepInner(inner: ZmtpReader, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    let fed;
    try {
      fed = inner.feed(bytes);
    } catch (error) {
      return this.#loseSync(error, bytes);
    }
    const { rest, message } = fed;
    if (message === undefined) return rest;
    this.#inner = undefined;
    if (this.#options.isSigned(message)) {
      this.#messages.push(message);
      return rest;
    }
    // The bytes only looked like a message. They belong to the outer message.
    const unread = this.#feed(message.raw);
    return unread.length === 0 ? rest : joinBytes([unread, rest]);
  }

  #feed(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    try {
      const { rest, message } = this.#outer.feed(bytes);
      if (message !== undefined) this.#messages.push(message);
      return rest;
    } catch (error) {
      return this.#loseSync(error, bytes);
    }
  }

  /** Starts to look for the next message, after the first unreadable byte. */
  #loseSync(error: unknown, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    this.#outer = new ZmtpReader();
    this.#inner = undefined;
    this.#outOfSync = true;
    this.#options.onError(error as Error);
    return bytes.subarray(1);
  }

  #keepForLater(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    this.#carried = bytes;
    return bytes.subarray(bytes.length);
  }
}

/**
 * Finds the mark.
 *
 * @returns The position of the complete mark, if there is one, and of a partial mark at the end of the bytes, or else their
 * length.
 */
function findMark(bytes: Uint8Array, from: number): { complete?: number; partial: number } {
  for (let at = bytes.indexOf(MARK[0]!, from); at !== -1; at = bytes.indexOf(MARK[0]!, at + 1)) {
    const length = Math.min(MARK.length, bytes.length - at);
    if (!MARK.subarray(0, length).every((byte, index) => byte === bytes[at + index])) continue;
    return length === MARK.length ? { complete: at, partial: bytes.length } : { partial: at };
  }
  return { partial: bytes.length };
}

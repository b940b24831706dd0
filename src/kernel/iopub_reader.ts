import { joinBytes } from "../core/bytes.ts";
import { MessageReader } from "./message_reader.ts";
import type { Message } from "./zmtp.ts";

/** The first bytes of every Jupyter message without identities: the delimiter's frame and a signature's flags. */
const MARK = new Uint8Array([1, 9, ...new TextEncoder().encode("<IDS|MSG>"), 1]);

/** The frames before the buffers. JSON never ends with the mark's first byte, but a buffer may. */
const JSON_FRAMES = 6;

/** What a reader needs. */
export interface IopubReaderOptions {
  /** Verifies the signature of a message that was found inside another one. */
  isSigned: (message: Message) => boolean;
  /** Called when bytes can't be read. Reading goes on at the next readable message. */
  onError: (error: Error) => void;
}

/**
 * Reads the messages of the Deno kernel's iopub channel, and separates interleaved ones: the kernel may write a status in
 * the middle of a long output, so that one message is inside another. The inner message is always complete, and its first
 * bytes never occur in JSON.
 */
export class IopubReader {
  readonly #options: IopubReaderOptions;
  #outer = new MessageReader();
  #inner: MessageReader | undefined;
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
    const { whole, part } = findMark(bytes, !this.#outOfSync && this.#outer.atBoundary ? 1 : 0);
    const end = whole ?? part;
    if (this.#outOfSync) {
      this.#outOfSync = whole === undefined;
      return whole === undefined ? this.#keepForLater(bytes.subarray(part)) : bytes.subarray(whole);
    }
    const left = this.#feed(bytes.subarray(0, end)).length;
    const rest = bytes.subarray(end - left);
    if (left > 0 || this.#outer.atBoundary || this.#outOfSync || rest.length === 0) return rest;
    if (whole !== undefined) {
      this.#inner = new MessageReader();
      return rest;
    }
    const ends = this.#outer.frames > JSON_FRAMES && this.#outer.endsWithin(rest.length);
    return ends ? this.#feed(rest) : this.#keepForLater(rest);
  }

  #stepInner(inner: MessageReader, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
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
    // It only looked like a message: the bytes belong to the outer one.
    const left = this.#feed(message.raw);
    return left.length === 0 ? rest : joinBytes([left, rest]);
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
    this.#outer = new MessageReader();
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

/** Finds the mark (`whole`), or an incomplete mark at the end of the bytes (`part`), else `part` is their length. */
function findMark(bytes: Uint8Array, from: number): { whole?: number; part: number } {
  for (let at = bytes.indexOf(MARK[0]!, from); at !== -1; at = bytes.indexOf(MARK[0]!, at + 1)) {
    const length = Math.min(MARK.length, bytes.length - at);
    if (!MARK.subarray(0, length).every((byte, index) => byte === bytes[at + index])) continue;
    return length === MARK.length ? { whole: at, part: bytes.length } : { part: at };
  }
  return { part: bytes.length };
}

import { Buffer, constants } from "node:buffer";
import { LakebaseError } from "../core/errors.ts";
import { giveTurn } from "../core/pause.ts";
import { connectionOf, filterMessages, holdReading, resumeReading } from "./pg_internals.ts";

const DATA_ROW = 0x44;
const COPY_DATA = 0x64;
/** The bytes of a message's code and length. */
const HEADER = 5;
/** The bytes that are kept of an error or a notice that is too long. */
const MAX_KEPT = 1 << 20;
const NONE: Buffer = Buffer.alloc(0);

/**
 * Keeps messages that are too long away from `pg`'s parser: it makes a string of each value, a JavaScript string ends
 * at 512 MB, and an error in the parser would end the process. A row that is too long fails its own query and is not
 * collected in memory. An error or a notice is cut.
 *
 * @param client A client that has not connected.
 * @param longest The largest length of a message, in bytes.
 */
export function guardLongMessages(client: object, longest: number = constants.MAX_STRING_LENGTH): void {
  filterMessages(client, (pass) => {
    const onLongRow = (length: number) => connectionOf(client).emit("dataRow", longRow(length));
    const reader = new MessageReader(longest, { pass, onLongRow });
    return (bytes) => reader.push(bytes);
  });
}

/** Makes a row that lets the query fail once it reads the values. */
function longRow(length: number): { name: string; length: number; fields: never } {
  return {
    name: "dataRow",
    length,
    get fields(): never {
      const size = Math.round(length / 1e6).toLocaleString("en");
      throw new LakebaseError(
        "QUERY_FAILED",
        `Cannot read the result: a row has ${size} MB, and a string in JavaScript has at most 512 MB; read it with ` +
          ".columns() or .pull(), or select a part of it, for example with substr(value, 1, 1000000)",
      );
    },
  };
}

/** Receives what a {@linkcode MessageReader} finds. */
interface MessageReceiver {
  /** Takes whole messages, or the parts of one message in their order. */
  pass: (bytes: Buffer) => void;
  /** Called for a row that is too long, in its place between the other messages. */
  onLongRow: (length: number) => void;
}

/** Finds the messages in the bytes of a socket, and shortens those that are too long. */
export class MessageReader {
  readonly #longest: number;
  readonly #receiver: MessageReceiver;
  /** The beginning of a header whose rest has not arrived. */
  #partialHeader: Buffer = NONE;
  /** The bytes of the current message that are still to be passed on, and then those to be skipped. */
  #toPass = 0;
  #toSkip = 0;
  /** The bytes that complete a message that was cut. */
  #ending: Buffer | undefined;

  /** Makes a reader for messages of at most `longest` bytes. */
  constructor(longest: number, receiver: MessageReceiver) {
    this.#longest = longest;
    this.#receiver = receiver;
  }

  /** Takes the next bytes. */
  push(bytes: Buffer): void {
    const chunk = this.#partialHeader.length === 0 ? bytes : Buffer.concat([this.#partialHeader, bytes]);
    this.#partialHeader = NONE;
    let from = 0; // the bytes from here to `at` are still to be passed on
    let at = 0;
    while (at < chunk.length) {
      if (this.#toPass > 0) {
        const part = Math.min(this.#toPass, chunk.length - at);
        this.#toPass -= part;
        at += part;
        if (this.#toPass === 0 && this.#toSkip > 0) {
          this.#pass(chunk, from, at);
          from = at;
        }
      } else if (this.#toSkip > 0) {
        const part = Math.min(this.#toSkip, chunk.length - at);
        this.#toSkip -= part;
        from = at += part;
        if (this.#toSkip === 0) this.#end();
      } else if (chunk.length - at < HEADER) {
        this.#partialHeader = chunk.subarray(at);
        break;
      } else {
        const size = 1 + chunk.readUInt32BE(at + 1);
        if (size <= this.#longest || chunk[at] === COPY_DATA) this.#toPass = size;
        else from = at = this.#shorten(chunk, from, at, size);
      }
    }
    this.#pass(chunk, from, chunk.length - this.#partialHeader.length);
  }

  #pass(chunk: Buffer, from: number, to: number): void {
    if (from === 0 && to === chunk.length) this.#receiver.pass(chunk);
    else if (to > from) this.#receiver.pass(chunk.subarray(from, to));
  }

  #end(): void {
    if (this.#ending !== undefined) this.#receiver.pass(this.#ending);
    this.#ending = undefined;
  }

  /** Begins a message that is too long, and returns the index after its header. */
  #shorten(chunk: Buffer, from: number, at: number, size: number): number {
    this.#pass(chunk, from, at);
    if (chunk[at] === DATA_ROW) {
      this.#receiver.onLongRow(size);
      this.#toSkip = size - HEADER;
      return at + HEADER;
    }
    const kept = Math.min(MAX_KEPT, this.#longest >> 1);
    const header = Buffer.from(chunk.subarray(at, at + HEADER));
    header.writeUInt32BE(4 + kept + 2, 1);
    this.#receiver.pass(header);
    this.#toPass = kept;
    this.#toSkip = size - HEADER - kept;
    this.#ending = Buffer.alloc(2); // the ends of the text that was cut, and of the message
    return at + HEADER;
  }
}

/** The bytes that are read in one turn of the event loop. Making objects of their rows takes about 10 ms. */
const MAX_BYTES_PER_TURN = 262_144;

/**
 * Lets other work run while many rows arrive. If the server is fast, Deno reads a socket many times within one turn of
 * the event loop, so timers, Stop and other cells would wait for more than a megabyte of rows each time.
 *
 * @param client A client that has not connected.
 */
export function shareThread(client: object): void {
  filterMessages(client, (pass) => {
    let read = 0;
    return (bytes) => {
      pass(bytes);
      read += bytes.length;
      if (read < MAX_BYTES_PER_TURN) return;
      read = 0;
      const { stream } = connectionOf(client);
      holdReading(stream);
      giveTurn().then(() => resumeReading(stream));
    };
  });
}

import { Buffer, constants } from "node:buffer";
import { EventEmitter } from "node:events";
import type net from "node:net";
import { LakebaseError } from "../core/errors.ts";

/** What is used of `pg`'s connection. */
interface Connection extends EventEmitter {
  attachListeners(stream: EventEmitter): void;
}

const DATA_ROW = 0x44;
const COPY_DATA = 0x64;
/** Bytes of a code and a length. */
const HEADER = 5;
/** Bytes that are kept of an error or a notice that is too long. */
const KEPT = 1 << 20;

/**
 * Keeps messages from `pg`'s parser that it can't read: it makes a text of each value, which JavaScript ends at 512 MB, and
 * an error that the parser throws would end the process. A row that is too long fails its own query and is not gathered in
 * memory; an error or a notice is cut.
 *
 * @param client A client that has not connected.
 * @param longest Bytes of a message at most.
 */
export function guardLongMessages(client: object, longest: number = constants.MAX_STRING_LENGTH): void {
  const { connection } = client as { connection: Connection };
  const attach = connection.attachListeners;
  connection.attachListeners = (stream) => {
    const parser = new EventEmitter(); // `pg` listens to it in place of the socket
    attach.call(connection, parser);
    const reader = new MessageReader(longest, {
      pass: (bytes) => parser.emit("data", bytes),
      onLongRow: (length) => connection.emit("dataRow", longRow(length)),
    });
    stream.on("data", (bytes: Buffer) => reader.push(bytes));
    (stream as net.Socket).once("end", () => parser.emit("end"));
  };
}

/** A row for whoever runs the query: reading its values fails, inside of what waits for them. */
function longRow(length: number): { name: string; length: number; fields: never } {
  return {
    ...{ name: "dataRow", length },
    get fields(): never {
      const size = Math.round(length / 1e6).toLocaleString("en");
      throw new LakebaseError(
        "QUERY_FAILED",
        `Cannot read the result: a row has ${size} MB, and a text in JavaScript has 512 MB at most; read it with ` +
          ".columns() or .pull(), or select a part of it, as substr(value, 1, 1000000) does",
      );
    },
  };
}

/** Where the messages go. */
export interface Messages {
  /** Takes whole messages, or parts of one in their order. */
  pass: (bytes: Buffer) => void;
  /** Told of a row that is too long, in its place between the others. */
  onLongRow: (length: number) => void;
}

/** Finds the messages in what a socket brings. */
export class MessageReader {
  readonly #longest: number;
  readonly #to: Messages;
  /** The beginning of a header. */
  #begun: Buffer = Buffer.alloc(0);
  /** Bytes of a message that are still to pass, and behind them to leave out. */
  #passing = 0;
  #leftOut = 0;
  /** What stands for what is left out. */
  #end: Buffer | undefined;

  /** Made with what a message may have at most. */
  constructor(longest: number, to: Messages) {
    this.#longest = longest;
    this.#to = to;
  }

  /** Takes what comes. */
  push(bytes: Buffer): void {
    const chunk = this.#begun.length === 0 ? bytes : Buffer.concat([this.#begun, bytes]);
    this.#begun = chunk.subarray(0, 0);
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#passing > 0) {
        const part = Math.min(this.#passing, chunk.length - at);
        this.#passing -= part;
        at += part;
        if (this.#passing === 0 && this.#leftOut > 0) {
          this.#pass(chunk, from, at);
          from = at;
        }
      } else if (this.#leftOut > 0) {
        const part = Math.min(this.#leftOut, chunk.length - at);
        this.#leftOut -= part;
        from = at += part;
        if (this.#leftOut === 0 && this.#end !== undefined) this.#to.pass(this.#end);
        if (this.#leftOut === 0) this.#end = undefined;
      } else if (chunk.length - at < HEADER) {
        this.#begun = chunk.subarray(at);
        break;
      } else {
        const size = 1 + chunk.readUInt32BE(at + 1);
        if (size <= this.#longest || chunk[at] === COPY_DATA) this.#passing = size;
        else from = at = this.#shorten(chunk, from, at, size);
      }
    }
    this.#pass(chunk, from, chunk.length - this.#begun.length);
  }

  #pass(chunk: Buffer, from: number, to: number): void {
    if (to > from) this.#to.pass(chunk.subarray(from, to));
  }

  /** Begins a message that is too long; its header is done with. */
  #shorten(chunk: Buffer, from: number, at: number, size: number): number {
    this.#pass(chunk, from, at);
    if (chunk[at] === DATA_ROW) {
      this.#to.onLongRow(size);
      this.#leftOut = size - HEADER;
      return at + HEADER;
    }
    const kept = Math.min(KEPT, this.#longest >> 1);
    const header = Buffer.from(chunk.subarray(at, at + HEADER));
    header.writeUInt32BE(4 + kept + 2, 1);
    this.#to.pass(header);
    this.#passing = kept;
    this.#leftOut = size - HEADER - kept;
    this.#end = Buffer.alloc(2); // of the text that was cut, and of the message
    return at + HEADER;
  }
}

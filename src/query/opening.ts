import { Buffer } from "node:buffer";
import type { Statement } from "./fragment.ts";
import type { WireValue } from "./parameter.ts";
import type { Wire } from "./protocol.ts";

/** How a statement is begun. */
export interface Opening extends Pick<Statement, "text" | "values"> {
  /** The portal's name. @default {the unnamed one} */
  portal?: string;
  /** Rows at most; 0 for all. */
  rows: number;
  /** What follows: `Sync` ends it, `Flush` leaves it open. */
  last: "sync" | "flush";
}

/** PostgreSQL's protocol, section "Message Formats". */
const CODES = { parse: 0x50, bind: 0x42, describe: 0x44, execute: 0x45, sync: 0x53, flush: 0x48 } as const;
const PORTAL = 0x50;
const TEXT = 0;
const BINARY = 1;

/**
 * Binds a statement to a portal and asks for rows, in one write. By `pg`'s own methods each message is a buffer and a write
 * of its own, which costs more than all else that is done here for a small query.
 */
export function sendOpening({ stream }: Wire, opening: Opening): void {
  const messages = openingMessages(opening);
  if (stream.writable) stream.write(messages);
}

/** `Parse`, `Bind`, `Describe`, `Execute` and what follows them. */
export function openingMessages({ text, values, portal = "", rows, last }: Opening): Buffer {
  const name = portal.length + 1;
  const parse = 4 + 1 + Buffer.byteLength(text) + 1 + 2;
  const bind = 4 + name + 1 + 2 + 2 * values.length + 2 + sizeOf(values) + 2 + 2;
  const describe = 4 + 1 + name;
  const execute = 4 + name + 4;
  const out = new MessageWriter(parse + bind + describe + execute + 4 + 5); // the codes are not in the lengths
  out.begin(CODES.parse, parse).text("").text(text).int16(0);
  out.begin(CODES.bind, bind).text(portal).text("").int16(values.length);
  for (const value of values) out.int16(value instanceof Uint8Array ? BINARY : TEXT);
  out.int16(values.length);
  for (const value of values) out.value(value);
  out.int16(1).int16(TEXT);
  out.begin(CODES.describe, describe).byte(PORTAL).text(portal);
  out.begin(CODES.execute, execute).text(portal).int32(rows);
  return out.begin(CODES[last], 4).bytes;
}

/** Bytes of all values with their lengths. */
function sizeOf(values: readonly WireValue[]): number {
  let size = 0;
  for (const value of values) size += 4 + (value === null ? 0 : Buffer.byteLength(value));
  return size;
}

/** A text of so many letters is written faster here than by a call out of JavaScript. */
const SHORT = 200;

class MessageWriter {
  readonly bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafe(size);
  }

  begin(code: number, length: number): this {
    return this.byte(code).int32(length);
  }

  byte(value: number): this {
    this.bytes[this.#at++] = value;
    return this;
  }

  int16(value: number): this {
    return this.byte(value >>> 8).byte(value);
  }

  int32(value: number): this {
    return this.byte(value >>> 24).byte(value >>> 16).byte(value >>> 8).byte(value);
  }

  text(value: string): this {
    this.#write(value);
    return this.byte(0);
  }

  value(value: WireValue): void {
    const at = this.#at;
    this.int32(-1);
    if (value === null) return;
    if (typeof value === "string") this.#write(value);
    else {
      this.bytes.set(value, this.#at);
      this.#at += value.length;
    }
    this.bytes.writeInt32BE(this.#at - at - 4, at);
  }

  #write(value: string): void {
    const { bytes } = this;
    const at = this.#at;
    const short = value.length <= SHORT ? value.length : 0;
    for (let index = 0; index < short; index++) {
      const code = value.charCodeAt(index);
      if (code > 127) break;
      bytes[this.#at++] = code;
    }
    if (this.#at - at < value.length) this.#at = at + bytes.write(value, at);
  }
}

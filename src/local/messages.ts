import { concatBytes } from "../core/bytes.ts";

/** One whole message of the protocol, with its type byte and length. */
export type Frame = Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A message of the given type around the given content. */
export function frame(type: string, ...parts: Uint8Array[]): Frame {
  const body = concatBytes(parts);
  const header = new Uint8Array(5);
  header[0] = type.charCodeAt(0);
  new DataView(header.buffer).setInt32(1, body.length + 4);
  return concatBytes([header, body]);
}

/** A text that ends with a zero byte. */
export function cstring(text: string): Uint8Array {
  return encoder.encode(`${text}\0`);
}

/** A 32-bit signed integer in network order. */
export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value);
  return bytes;
}

/** A simple query. */
export function query(sql: string): Frame {
  return frame("Q", cstring(sql));
}

/** ParameterStatus. */
export function parameterStatus(name: string, value: string): Frame {
  return frame("S", cstring(name), cstring(value));
}

/** An Authentication request of the given kind. */
export function authentication(kind: number, data: Uint8Array = new Uint8Array()): Frame {
  return frame("R", int32(kind), data);
}

/** The fields of an error that a client receives. */
export interface Failure {
  /** The five characters of the SQLSTATE. */
  sqlstate: string;
  /** The message. */
  message: string;
  /** Additional information. */
  detail?: string | undefined;
  /** A suggestion for the client. */
  hint?: string | undefined;
}

/** ErrorResponse. */
export function errorResponse(failure: Failure, severity: "FATAL" | "ERROR" = "ERROR"): Frame {
  const { sqlstate, message, detail, hint } = failure;
  const fields = { S: severity, V: severity, C: sqlstate, M: message, D: detail, H: hint };
  const texts = Object.entries(fields).flatMap(([code, text]) => text ? [cstring(code + text)] : []);
  return frame("E", ...texts, new Uint8Array(1));
}

/** ReadyForQuery outside of a transaction. */
export function ready(): Frame {
  return frame("Z", encoder.encode("I"));
}

/** The type letter of a message. */
export function type(message: Frame): string {
  return String.fromCharCode(message[0] ?? 0);
}

/** The size of the message at `at`, including its type byte; undefined if its length word has not arrived. */
export function messageSize(bytes: Uint8Array, at = 0): number | undefined {
  if (bytes.length - at < 5) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset + at, 5).getInt32(1) + 1;
}

/** The zero-terminated text at `offset`, and the offset of the byte after it. */
export function readCString(message: Frame, offset: number): { text: string; next: number } {
  const end = message.indexOf(0, offset);
  const stop = end < 0 ? message.length : end;
  return { text: decoder.decode(message.subarray(offset, stop)), next: stop + 1 };
}

/** The fields of an ErrorResponse or NoticeResponse, by their letter. */
export function readFields(message: Frame): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let at = 5; message[at];) {
    const { text, next } = readCString(message, at);
    fields[text.slice(0, 1)] = text.slice(1);
    at = next;
  }
  return fields;
}

/** The columns of a DataRow as texts; null for NULL. */
export function readRow(message: Frame): (string | null)[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const columns: (string | null)[] = [];
  let at = 7;
  for (let i = view.getInt16(5); i > 0; i--) {
    const size = view.getInt32(at);
    at += 4;
    columns.push(size < 0 ? null : decoder.decode(message.subarray(at, at + size)));
    at += Math.max(size, 0);
  }
  return columns;
}

/** The largest message that Postgres accepts. */
const MAX_MESSAGE = 0x3fffffff;

/** Cuts a stream of bytes into whole messages. */
export class Framer {
  #chunks: Uint8Array[] = [];
  #size = 0;

  /** Number of bytes that belong to an incomplete message. */
  get buffered(): number {
    return this.#size;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /**
   * The next whole message, or undefined if its end has not arrived.
   *
   * @throws {RangeError} If its length word is impossible.
   */
  next(): Frame | undefined {
    if (this.#size < 5) return undefined;
    const size = messageSize(this.#contiguous(5)) ?? 0;
    if (size < 5 || size > MAX_MESSAGE) throw new RangeError(`Cannot read message: its length is ${size - 1}`);
    if (this.#size < size) return undefined;
    const whole = this.#contiguous(size);
    this.#size -= size;
    if (whole.length === size) this.#chunks.shift();
    else this.#chunks[0] = whole.subarray(size);
    return whole.subarray(0, size);
  }

  // Joins chunks only when a whole message has arrived, so that a large message in many chunks is copied once.
  #contiguous(size: number): Uint8Array {
    while ((this.#chunks[0]?.length ?? 0) < size) {
      let count = 0;
      for (let sum = 0; sum < size; count++) sum += this.#chunks[count]?.length ?? 0;
      this.#chunks.splice(0, count, concatBytes(this.#chunks.slice(0, count)));
    }
    return this.#chunks[0] as Uint8Array;
  }
}

/** Ends a login or a session with a FATAL error, whose fields are `failure`. */
export class Refused extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.name = "Refused";
    this.failure = failure;
  }
}

/** What a client is told of an error. @param otherwise The message for what is no `Error`. */
export function failureOf(error: unknown, otherwise: string): Failure {
  if (error instanceof Refused) return error.failure;
  return { sqlstate: "XX000", message: error instanceof Error ? error.message : otherwise };
}

/** The error that sessions receive when the server is shut down. */
export const SHUTDOWN: Failure = {
  sqlstate: "57P01",
  message: "terminating connection due to administrator command",
};

/** The code of a cancel request, which stands in the place of a startup packet's protocol version. */
export const CANCEL_REQUEST = 80877102;

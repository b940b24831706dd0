/**
 * ZMTP 3.0 with the NULL mechanism, as bytes: the greeting, commands and frames that Jupyter's sockets speak.
 * The specification is rfc.zeromq.org/spec/23.
 *
 * @module
 */

import { joinBytes } from "../core/bytes.ts";

/** A message as its bytes on the wire. */
export interface Message {
  /** All bytes, including frame headers, to forward the message unchanged. */
  raw: Uint8Array<ArrayBuffer>;
  /** The bodies of the frames, as views of `raw`. */
  frames: Uint8Array<ArrayBuffer>[];
  /** Whether it is a command for the connection, such as READY or SUBSCRIBE. */
  command: boolean;
}

/** The socket types of a kernel and of its frontends. */
export type SocketType = "ROUTER" | "DEALER" | "PUB" | "SUB";

/** The length of a greeting, in bytes. */
export const GREETING_BYTES = 64;
/** The maximum length of a frame. A longer one is an attack, or means that the stream is out of sync. */
export const MAX_FRAME_BYTES = 1 << 30;

/** The flags of a frame: another frame follows (MORE), the length has eight bytes (LONG), or it is a command. */
export const MORE = 1;
export const LONG = 2;
export const COMMAND = 4;
/** All flags together; a larger byte is invalid. */
export const MAX_FLAGS = 7;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The first 64 bytes of a connection. Every frontend accepts ZMTP 3.0, because Deno's own kernel also speaks it. */
export function greeting(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(GREETING_BYTES);
  bytes[0] = 0xff;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes.set(encoder.encode("NULL"), 12);
  return bytes;
}

/** The problem with a peer's greeting; `undefined` when there is none. */
export function greetingError(bytes: Uint8Array): string | undefined {
  if (bytes[0] !== 0xff || ((bytes[9] ?? 0) & 1) === 0) return "it does not speak ZMTP";
  if ((bytes[10] ?? 0) < 3) return `it speaks ZMTP ${bytes[10]}; expected ZMTP 3`;
  const mechanism = decoder.decode(bytes.subarray(12, 32)).replace(/\0+$/, "");
  return mechanism === "NULL"
    ? undefined
    : `it asks for the mechanism ${JSON.stringify(mechanism)}; only NULL is supported`;
}

/** A READY command with the socket type and, for a DEALER, the identity. */
export function ready(socket: SocketType, identity?: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const properties = [property("Socket-Type", encoder.encode(socket))];
  if (identity !== undefined) properties.push(property("Identity", identity));
  return frame(joinBytes([Uint8Array.of(5), encoder.encode("READY"), ...properties]), COMMAND);
}

function property(name: string, value: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, value.length);
  return joinBytes([Uint8Array.of(name.length), encoder.encode(name), length, value]);
}

/** Reads a command's name and data; `undefined` when it is malformed. */
export function readCommand(
  body: Uint8Array<ArrayBuffer>,
): { name: string; data: Uint8Array<ArrayBuffer> } | undefined {
  const length = body[0] ?? 0;
  if (length === 0 || body.length < 1 + length) return undefined;
  return { name: decoder.decode(body.subarray(1, 1 + length)), data: body.subarray(1 + length) };
}

/** Reads the properties of a READY command; `undefined` when they are malformed. */
export function readProperties(data: Uint8Array): Map<string, Uint8Array> | undefined {
  const properties = new Map<string, Uint8Array>();
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  for (let at = 0; at < data.length;) {
    const name = at + 1;
    const value = name + data[at]! + 4;
    if (value > data.length) return undefined;
    const end = value + view.getUint32(value - 4);
    if (end > data.length) return undefined;
    properties.set(decoder.decode(data.subarray(name, value - 4)).toLowerCase(), data.subarray(value, end));
    at = end;
  }
  return properties;
}

/** Reads a subscription of ZMTP 3.0 (a message) or 3.1 (a command); `undefined` for anything else. */
export function readSubscription(message: Message): { topic: Uint8Array; on: boolean } | undefined {
  const [body] = message.frames;
  if (body === undefined) return undefined;
  if (!message.command) {
    return body[0] === 0 || body[0] === 1 ? { topic: body.subarray(1), on: body[0] === 1 } : undefined;
  }
  const command = readCommand(body);
  if (command?.name === "SUBSCRIBE") return { topic: command.data, on: true };
  if (command?.name === "CANCEL") return { topic: command.data, on: false };
  return undefined;
}

/** The PONG that answers a ZMTP 3.1 peer's PING; `undefined` for anything else. */
export function pong(message: Message): Uint8Array<ArrayBuffer> | undefined {
  const command = message.command ? readCommand(message.frames[0]!) : undefined;
  if (command?.name !== "PING") return undefined;
  return frame(joinBytes([Uint8Array.of(4), encoder.encode("PONG"), command.data.subarray(2)]), COMMAND);
}

/** Encodes frames as one message. */
export function encodeMessage(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(frames.reduce((length, body) => length + headerSize(body.length) + body.length, 0));
  let at = 0;
  frames.forEach((body, index) => {
    at += writeHeader(bytes, at, body.length, index < frames.length - 1 ? MORE : 0);
    bytes.set(body, at);
    at += body.length;
  });
  return bytes;
}

function frame(body: Uint8Array<ArrayBuffer>, flags: number): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(headerSize(body.length));
  writeHeader(header, 0, body.length, flags);
  return joinBytes([header, body]);
}

function headerSize(length: number): number {
  return length < 256 ? 2 : 9;
}

function writeHeader(bytes: Uint8Array, at: number, length: number, flags: number): number {
  const size = headerSize(length);
  if (size === 2) {
    bytes[at] = flags;
    bytes[at + 1] = length;
  } else {
    bytes[at] = flags | LONG;
    new DataView(bytes.buffer, bytes.byteOffset + at, size).setBigUint64(1, BigInt(length));
  }
  return size;
}

/** The header of a frame. */
interface FrameHeader {
  /** The bytes of the header: 2 or 9. */
  size: number;
  /** The bytes of the body. */
  length: number;
  more: boolean;
  command: boolean;
}

/**
 * Reads the header of a frame.
 *
 * @returns The header; `undefined` while it is incomplete.
 * @throws {Error} When the flags are invalid, or the frame is longer than {@linkcode MAX_FRAME_BYTES}.
 */
export function readFrameHeader(bytes: Uint8Array): FrameHeader | undefined {
  const flags = bytes[0];
  if (flags === undefined) return undefined;
  if (flags > MAX_FLAGS) throw new Error(`Cannot read a ZMTP frame: its flags are 0x${flags.toString(16)}`);
  const size = flags & LONG ? 9 : 2;
  if (bytes.length < size) return undefined;
  const length = flags & LONG ? Number(new DataView(bytes.buffer, bytes.byteOffset, 9).getBigUint64(1)) : bytes[1]!;
  if (length > MAX_FRAME_BYTES) {
    throw new Error(`Cannot read a ZMTP frame: its length is ${length} bytes; the maximum is ${MAX_FRAME_BYTES}`);
  }
  return { size, length, more: (flags & MORE) !== 0, command: (flags & COMMAND) !== 0 };
}

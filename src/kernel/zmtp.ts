/**
 * ZMTP 3.0 with the NULL mechanism, as bytes: the greeting, commands and frames that Jupyter's sockets speak.
 * The specification is rfc.zeromq.org/spec/23.
 *
 * @module
 */

/** A message in the form that it has on the wire. */
export interface Message {
  /** Every byte of it, frame headers included: what to send on when nothing was changed. */
  raw: Uint8Array<ArrayBuffer>;
  /** Its frames, as views of `raw`. */
  frames: Uint8Array<ArrayBuffer>[];
  /** A command is for the connection itself, such as READY or SUBSCRIBE, and no message. */
  command: boolean;
}

/** The sockets of a kernel and of its frontends. */
export type SocketType = "ROUTER" | "DEALER" | "PUB" | "SUB";

/** The length of a greeting. */
export const GREETING_BYTES = 64;
/** A frame longer than this is taken for a stream that has lost its place, or for an attack. */
export const MAX_FRAME_BYTES = 1 << 30;

/** The flags of a frame: another one follows; its length takes eight bytes; it is a command. */
export const MORE = 1;
export const LONG = 2;
export const COMMAND = 4;
/** All of them; a byte above is none. */
export const MAX_FLAGS = 7;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The first 64 bytes of a connection. The kernel that this one stands for speaks 3.0 too, so every peer does. */
export function greeting(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(GREETING_BYTES);
  bytes[0] = 0xff;
  bytes[9] = 0x7f;
  bytes[10] = 3;
  bytes.set(encoder.encode("NULL"), 12);
  return bytes;
}

/** Why a peer's greeting can't be used, or `undefined` where it can. */
export function greetingError(bytes: Uint8Array): string | undefined {
  if (bytes[0] !== 0xff || ((bytes[9] ?? 0) & 1) === 0) return "it does not speak ZMTP";
  if ((bytes[10] ?? 0) < 3) return `it speaks ZMTP ${bytes[10]}; 3 is wanted`;
  const mechanism = decoder.decode(bytes.subarray(12, 32)).replace(/\0+$/, "");
  return mechanism === "NULL" ? undefined : `it wants the mechanism ${JSON.stringify(mechanism)}; only NULL is known`;
}

/** A READY command: what kind of socket this is and, for a DEALER, who. */
export function ready(socket: SocketType, identity?: Uint8Array): Uint8Array<ArrayBuffer> {
  const properties = [property("Socket-Type", encoder.encode(socket))];
  if (identity !== undefined) properties.push(property("Identity", identity));
  return frame(joined([Uint8Array.of(5), encoder.encode("READY"), ...properties]), COMMAND);
}

function property(name: string, value: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, value.length);
  return joined([Uint8Array.of(name.length), encoder.encode(name), length, value]);
}

/** What a command is called and carries; `undefined` where it is malformed. */
export function readCommand(body: Uint8Array): { name: string; data: Uint8Array } | undefined {
  const length = body[0] ?? 0;
  if (length === 0 || body.length < 1 + length) return undefined;
  return { name: decoder.decode(body.subarray(1, 1 + length)), data: body.subarray(1 + length) };
}

/** The properties of a READY command; `undefined` where they are malformed. */
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

/** What a subscriber asks for, in the words of 3.0 (a message) and of 3.1 (a command); `undefined` for anything else. */
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

/** The answer to a 3.1 peer's PING; `undefined` for anything else. */
export function pong(message: Message): Uint8Array<ArrayBuffer> | undefined {
  const command = message.command ? readCommand(message.frames[0]!) : undefined;
  if (command?.name !== "PING") return undefined;
  return frame(joined([Uint8Array.of(4), encoder.encode("PONG"), command.data.subarray(2)]), COMMAND);
}

/** Frames as one message. */
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

function frame(body: Uint8Array, flags: number): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(headerSize(body.length));
  writeHeader(header, 0, body.length, flags);
  return joined([header, body]);
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

/** Bytes one behind the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** What the header of a frame says. */
export interface FrameHeader {
  /** Bytes of the header itself: 2 or 9. */
  size: number;
  /** Bytes of the body. */
  length: number;
  more: boolean;
  command: boolean;
}

/**
 * The header of a frame.
 *
 * @returns `undefined` while bytes of it are still missing.
 * @throws {Error} When it is no such header, or the frame would be longer than is sane.
 */
export function readFrameHeader(bytes: Uint8Array): FrameHeader | undefined {
  const flags = bytes[0];
  if (flags === undefined) return undefined;
  if (flags > MAX_FLAGS) throw new Error(`Cannot read a ZMTP frame: its flags are 0x${flags.toString(16)}`);
  const size = flags & LONG ? 9 : 2;
  if (bytes.length < size) return undefined;
  const length = flags & LONG ? Number(new DataView(bytes.buffer, bytes.byteOffset, 9).getBigUint64(1)) : bytes[1]!;
  if (length > MAX_FRAME_BYTES) {
    throw new Error(`Cannot read a ZMTP frame: it says that it has ${length} bytes; ${MAX_FRAME_BYTES} are the most`);
  }
  return { size, length, more: (flags & MORE) !== 0, command: (flags & COMMAND) !== 0 };
}

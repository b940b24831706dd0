import { createHmac, timingSafeEqual } from "node:crypto";
import { encodeMessage, type Message } from "./zmtp.ts";

/**
 * Jupyter's messages as ZMTP frames: identities, a delimiter, a signature, and the four JSON parts that are signed.
 *
 * @module
 */

/** The `header` or `parent_header` of a message. A `parent_header` may be empty. */
export interface Header {
  msg_id?: string;
  msg_type?: string;
  [field: string]: unknown;
}

/** A message split into its parts, which stay bytes. */
export interface Envelope {
  /** The whole message as it arrived. */
  raw: Uint8Array<ArrayBuffer>;
  /** The routing identities; empty on every socket of this kernel. */
  identities: Uint8Array[];
  signature: Uint8Array;
  /** `header`, `parent_header`, `metadata` and `content`, as JSON. */
  parts: [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  buffers: Uint8Array[];
  header: Header;
  parent: Header;
}

/** The parts of a message to replace. */
interface Edit {
  parent?: Header;
  content?: unknown;
}

const DELIMITER = new TextEncoder().encode("<IDS|MSG>");
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Splits a message into its parts.
 *
 * @returns `undefined` when it is not a Jupyter message.
 */
export function openMessage({ raw, frames }: Message): Envelope | undefined {
  const delimiter = frames.findIndex(isDelimiter);
  const [signature, header, parent, metadata, content, ...buffers] = delimiter < 0 ? [] : frames.slice(delimiter + 1);
  if (!signature || !header || !parent || !metadata || !content) return undefined;
  try {
    return {
      raw,
      identities: frames.slice(0, delimiter),
      signature,
      parts: [header, parent, metadata, content],
      buffers,
      header: parseObject(header),
      parent: parseObject(parent),
    };
  } catch {
    return undefined;
  }
}

/** The content of a message; empty when it is not JSON. */
export function contentOf(envelope: Envelope): Record<string, unknown> {
  try {
    return parseObject(envelope.parts[3]);
  } catch {
    return {};
  }
}

/** The metadata of a message; empty when it is not JSON. */
export function metadataOf(envelope: Envelope): Record<string, unknown> {
  try {
    return parseObject(envelope.parts[2]);
  } catch {
    return {};
  }
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  const value: unknown = JSON.parse(decoder.decode(bytes));
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

/** Signs and verifies the messages of one kernel. With an empty key nothing is signed, as Jupyter's protocol says. */
export class Signer {
  readonly #key: string;
  /** The session ID in the headers of this process's own messages. */
  readonly #session = crypto.randomUUID();

  constructor(key: string) {
    this.#key = key;
  }

  /** Whether the message was signed with the key. */
  verifies({ signature, parts }: Envelope): boolean {
    if (this.#key === "") return true;
    const expected = encoder.encode(this.#sign(parts));
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  }

  /** Replaces parts of a message and signs it again; the other parts keep their bytes. */
  edit(envelope: Envelope, { parent, content }: Edit): Uint8Array<ArrayBuffer> {
    const [header, oldParent, metadata, oldContent] = envelope.parts;
    const parts = [
      header,
      parent === undefined ? oldParent : toJson(parent),
      metadata,
      content === undefined ? oldContent : toJson(content),
    ];
    return encodeMessage([...envelope.identities, DELIMITER, ...this.#signed(parts), ...envelope.buffers]);
  }

  /** Makes a message of this kernel. */
  make(
    type: string,
    content: unknown,
    parent: Header = {},
    id: string = crypto.randomUUID(),
  ): Uint8Array<ArrayBuffer> {
    const header = {
      msg_id: id,
      session: this.#session,
      date: new Date().toISOString(),
      username: "kernel",
      msg_type: type,
      version: "5.3",
    };
    return encodeMessage([DELIMITER, ...this.#signed([toJson(header), toJson(parent), toJson({}), toJson(content)])]);
  }

  #signed(parts: Uint8Array[]): Uint8Array[] {
    return [encoder.encode(this.#key === "" ? "" : this.#sign(parts)), ...parts];
  }

  /** Signing is synchronous, unlike in Web Crypto, because messages must be sent in order. */
  #sign(parts: readonly Uint8Array[]): string {
    const hmac = createHmac("sha256", this.#key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("hex");
  }
}

function toJson(value: unknown): Uint8Array<ArrayBuffer> {
  return encoder.encode(JSON.stringify(value));
}

function isDelimiter(frame: Uint8Array): boolean {
  return frame.length === DELIMITER.length && DELIMITER.every((byte, index) => byte === frame[index]);
}

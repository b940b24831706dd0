import { Buffer } from "node:buffer";
import { Exchange, type ReadOptions, type Wire } from "./exchange.ts";
import type { Statement } from "./fragment.ts";
import { badParameter, type WireValue } from "./parameter.ts";
import type { WireField } from "./result.ts";
import { DEFAULT_TYPES } from "./types.ts";

/** How a statement runs. */
interface ExecutionOptions extends ReadOptions {
  /** Refuses a text of several statements before any of them runs. */
  single?: boolean | undefined;
}

/** Runs a statement to its end in one exchange. */
export class Execution extends Exchange {
  readonly #statement: Statement;
  readonly #simple: boolean;

  /** Creates an exchange for a statement; `pg` submits it. */
  constructor(statement: Statement, options: ExecutionOptions) {
    super(options);
    this.#statement = statement;
    this.#simple = statement.values.length === 0 && !options.single;
  }

  /** The text of the statement. */
  get text(): string {
    return this.#statement.text;
  }

  protected override send(wire: Wire): void {
    const { text, values, prefix = "" } = this.#statement;
    if (this.#simple) {
      if (text.length > MAX_MESSAGE_BYTES / 3) checkLength(Buffer.byteLength(prefix + text)); // a character has up to three bytes
      return wire.query(prefix + text);
    }
    sendOpening(wire, { text: prefix + text, values, rows: 0, last: "sync" });
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (!this.#simple) this.wire.sync(); // the server ignores a Sync that comes during a copy-in
  }
}

/** A column as the server describes it. */
export interface DescribedField extends WireField {
  /** The type modifier, which encodes the `(10, 2)` of `numeric(10, 2)`; -1 if the type has none. */
  dataTypeModifier: number;
}

/** Asks the server for the types of a statement's parameters and for its columns, without running it. */
export class Description extends Exchange {
  /** The oids of the parameters' types. */
  parameters: number[] = [];
  readonly #text: string;
  readonly #onParameters = ({ dataTypeIDs }: { dataTypeIDs: number[] }) => this.parameters = dataTypeIDs;

  /** Creates an exchange for the text of a statement; `pg` submits it. */
  constructor(text: string) {
    super({ types: DEFAULT_TYPES });
    this.#text = text;
  }

  /** The columns of the statement's rows. */
  get columns(): DescribedField[] {
    return this.wireFields as DescribedField[];
  }

  protected override send(wire: Wire): void {
    wire.once("parameterDescription", this.#onParameters);
    wire.stream.cork?.();
    wire.parse({ text: this.#text });
    wire.describe({ type: "S", name: "" });
    wire.sync();
    wire.stream.uncork?.();
  }

  protected override finish(): void {
    this.wire.removeListener("parameterDescription", this.#onParameters);
    super.finish();
  }
}

/** The first messages of a statement. */
export interface Opening extends Pick<Statement, "text" | "values"> {
  /** The portal's name. @default {the unnamed one} */
  portal?: string;
  /** The most rows to return; 0 for all. */
  rows: number;
  /** The last message: `Sync` ends the exchange, `Flush` leaves it open. Without either, the server may delay its answer. */
  last?: "sync" | "flush";
}

/** The codes of the messages; see "Message Formats" in PostgreSQL's manual. */
const CODES = { parse: 0x50, bind: 0x42, describe: 0x44, execute: 0x45, close: 0x43, sync: 0x53, flush: 0x48 } as const;
const PORTAL = 0x50;
const TEXT = 0;
const BINARY = 1;

/**
 * Binds a statement to a portal and asks for rows, in one write. `pg`'s own methods make a buffer and a write for each
 * message, which would cost more than the rest of a small query.
 */
export function sendOpening({ stream }: Wire, opening: Opening): void {
  const messages = openingMessages(opening);
  if (stream.writable) stream.write(messages);
}

/** Sends several openings in one write. The server sends the answers to all of them together, after the last one. */
export function sendOpenings({ stream }: Wire, openings: readonly Opening[]): void {
  const messages = Buffer.concat(openings.map(openingMessages));
  if (stream.writable) stream.write(messages);
}

/** Closes a portal and ends the exchange, in one write. */
export function sendClose({ stream }: Wire, portal: string): void {
  const close = 4 + 1 + portal.length + 1;
  const out = new MessageWriter(1 + close + 5);
  const messages = out.begin(CODES.close, close).byte(PORTAL).text(portal).begin(CODES.sync, 4).bytes;
  if (stream.writable) stream.write(messages);
}

/** Encodes `Parse`, `Bind`, `Describe`, `Execute`, and `Sync` or `Flush`. */
export function openingMessages({ text, values, portal = "", rows, last }: Opening): Buffer {
  const portalLength = portal.length + 1;
  const parse = 4 + 1 + Buffer.byteLength(text) + 1 + 2;
  const bind = 4 + portalLength + 1 + 2 + 2 * values.length + 2 + valuesLength(values) + 2 + 2;
  const describe = 4 + 1 + portalLength;
  const execute = 4 + portalLength + 4;
  checkLength(Math.max(parse, bind));
  // The lengths exclude the codes of the four messages; the last message takes five bytes.
  const out = new MessageWriter(parse + bind + describe + execute + 4 + (last === undefined ? 0 : 5));
  out.begin(CODES.parse, parse).text("").text(text).int16(0);
  out.begin(CODES.bind, bind).text(portal).text("").int16(values.length);
  for (const value of values) out.int16(value instanceof Uint8Array ? BINARY : TEXT);
  out.int16(values.length);
  for (const value of values) out.value(value);
  out.int16(1).int16(TEXT);
  out.begin(CODES.describe, describe).byte(PORTAL).text(portal);
  out.begin(CODES.execute, execute).text(portal).int32(rows);
  return last === undefined ? out.bytes : out.begin(CODES[last], 4).bytes;
}

/** The longest message that Postgres reads, in bytes; see `PQ_LARGE_MESSAGE_LIMIT`. A longer one ends the session. */
const MAX_MESSAGE_BYTES = 0x3fff_ffff;

/** Refuses a message that the server would not read, before any of it is sent. */
function checkLength(bytes: number): void {
  if (bytes <= MAX_MESSAGE_BYTES) return;
  const size = Math.round(bytes / 1e6).toLocaleString("en");
  throw badParameter(
    `its text or its values have ${size} MB, and Postgres reads at most 1,073 MB; send them in parts, or use .load()`,
  );
}

/** Counts the bytes of all values and of their length fields. */
function valuesLength(values: readonly WireValue[]): number {
  let size = 0;
  for (const value of values) size += 4 + (value === null ? 0 : Buffer.byteLength(value));
  return size;
}

/** Texts up to this length are written faster in JavaScript than by a native call. */
const MAX_SHORT_TEXT = 200;

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
    const short = value.length <= MAX_SHORT_TEXT ? value.length : 0;
    for (let index = 0; index < short; index++) {
      const code = value.charCodeAt(index);
      if (code > 127) break;
      bytes[this.#at++] = code;
    }
    if (this.#at - at < value.length) this.#at = at + bytes.write(value, at);
  }
}

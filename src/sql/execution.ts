import { Buffer } from "node:buffer";
import { Exchange, type Reading, type Wire } from "./exchange.ts";
import type { Statement } from "./fragment.ts";
import { badParameter, type WireValue } from "./parameter.ts";
import type { WireField, WireRow } from "./result.ts";

/** How a statement runs. */
interface ExecutionOptions extends Reading {
  /** Refuses a text of several statements before any of them runs. */
  single?: boolean | undefined;
}

/** Runs a statement in one exchange. */
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
      if (text.length > LONGEST_MESSAGE / 3) checkLength(Buffer.byteLength(prefix + text)); // a character has up to three bytes
      return wire.query(prefix + text);
    }
    sendOpening(wire, { text: prefix + text, values, rows: 0, last: "sync" });
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (!this.#simple) this.wire.sync(); // the server ignored the first one, as it does during a copy-in
  }
}

/** How a statement begins. */
export interface Opening extends Pick<Statement, "text" | "values"> {
  /** The portal's name. @default {the unnamed one} */
  portal?: string;
  /** The most rows to return; 0 for all. */
  rows: number;
  /** The last message: `Sync` ends the exchange, `Flush` leaves it open. Without one, the server may keep its answer. */
  last?: "sync" | "flush";
}

/** The codes of messages; see "Message Formats" in PostgreSQL's manual. */
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
  const name = portal.length + 1;
  const parse = 4 + 1 + Buffer.byteLength(text) + 1 + 2;
  const bind = 4 + name + 1 + 2 + 2 * values.length + 2 + sizeOf(values) + 2 + 2;
  const describe = 4 + 1 + name;
  const execute = 4 + name + 4;
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

/** The longest message that Postgres reads, in bytes; see `PQ_LARGE_MESSAGE_LIMIT`. It ends the session for a longer one. */
const LONGEST_MESSAGE = 0x3fff_ffff;

/** Refuses a message that the server would not read, before any of it is sent. */
function checkLength(bytes: number): void {
  if (bytes <= LONGEST_MESSAGE) return;
  const size = Math.round(bytes / 1e6).toLocaleString("en");
  throw badParameter(
    `its text or its values have ${size} MB, and Postgres reads at most 1,073 MB; send them in parts, or use .load()`,
  );
}

/** Returns the bytes of all values and their length fields. */
function sizeOf(values: readonly WireValue[]): number {
  let size = 0;
  for (const value of values) size += 4 + (value === null ? 0 : Buffer.byteLength(value));
  return size;
}

/** Texts up to this length are written faster in JavaScript than by a native call. */
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

/** How a portal is read. */
interface PortalOptions extends Reading {
  /**
   * Whether a transaction holds the portal open. Then every batch is a separate exchange, and other statements may run in
   * between; otherwise one exchange lasts until the last batch.
   */
  held: boolean;
}

let lastPortal = 0;

/** The answer to a statement that ran between two batches: its columns and rows. */
interface Question {
  names: string[];
  rows: Record<string, unknown>[];
}

/** A statement whose rows are read in batches. */
export class Portal extends Exchange {
  readonly #statement: Statement;
  readonly #held: boolean;
  readonly #name: string;
  #state: "new" | "open" | "closing" | "closed" = "new";
  #rows = 1;
  #question: Question | undefined;

  /** Creates an exchange for a statement; `pg` submits it. */
  constructor(statement: Statement, options: PortalOptions) {
    super(options);
    this.#statement = statement;
    this.#held = options.held;
    this.#name = `lakebase_${++lastPortal}`; // statements between two batches use the unnamed one
  }

  /** The text of the statement. */
  get text(): string {
    return this.#statement.text;
  }

  /** Whether the portal must still be closed. */
  get open(): boolean {
    return this.#state === "open";
  }

  /**
   * Prepares the next batch.
   *
   * @param rows The most rows to return.
   * @returns Whether the batch must be submitted; otherwise it has been sent, or the connection is lost.
   */
  next(rows: number): boolean {
    this.renew();
    this.#rows = rows;
    this.rows = [];
    this.bytes = 0;
    if (this.lost) return false;
    if (this.#state === "new" || this.#held) return true;
    this.#execute(this.wire);
    return false;
  }

  /** Runs another statement while the server waits between two batches, and returns its rows. */
  async ask(text: string, values: Statement["values"]): Promise<Record<string, unknown>[]> {
    const question: Question = this.#question = { names: [], rows: [] };
    this.renew();
    this.more = true;
    sendOpening(this.wire, { text, values, rows: 0, last: "flush" });
    try {
      await this.done;
      return question.rows;
    } finally {
      this.#question = undefined;
    }
  }

  /** Prepares the end of the statement; returns what {@linkcode next} returns. */
  close(): boolean {
    this.renew();
    this.#state = "closing";
    if (this.lost) return false;
    if (this.#held) return true;
    sendClose(this.wire, this.#name);
    return false;
  }

  protected override get owesSync(): boolean {
    return !this.#held && this.#state === "open";
  }

  protected override send(wire: Wire): void {
    if (this.#state === "closing") return sendClose(wire, this.#name);
    if (this.#state !== "new") return this.#execute(wire);
    const { text, values } = this.#statement;
    sendOpening(wire, { text, values, portal: this.#name, rows: this.#rows, last: this.#held ? "sync" : "flush" });
    this.#state = "open";
  }

  override handleRowDescription(message: { fields: WireField[] }): void {
    if (this.#question === undefined) super.handleRowDescription(message);
    else this.#question.names = message.fields.map(({ name }) => name);
  }

  override handleDataRow(message: { readonly fields: WireRow; length: number }): void {
    if (this.#question === undefined) return super.handleDataRow(message);
    const { names, rows } = this.#question;
    rows.push(Object.fromEntries(names.map((name, index) => [name, message.fields[index]])));
  }

  override handlePortalSuspended(): void {
    super.handlePortalSuspended();
    if (!this.#held) this.pause();
  }

  override handleCommandComplete(message: { text: string }): void {
    if (this.#question !== undefined) return this.pause();
    super.handleCommandComplete(message);
    this.#complete();
  }

  override handleEmptyQuery(): void {
    this.#complete();
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (this.#held) this.wire.sync(); // the server ignored the first one, as it does during a copy-in
  }

  override handleError(error: unknown, wire?: Wire): void {
    super.handleError(error, wire);
    this.#state = "closed";
  }

  #complete(): void {
    if (!this.#held && this.#state !== "closing") this.wire.sync();
    this.#state = "closed";
  }

  #execute(wire: Wire): void {
    wire.execute({ portal: this.#name, rows: this.#rows });
    if (this.#held) wire.sync();
    else wire.flush();
  }
}

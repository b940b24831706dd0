import { concatBytes } from "../core/bytes.ts";

/** A whole message of Postgres's protocol, with its type byte and its length. */
export type Frame = Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Makes a message from its type letter and its body. */
export function frame(type: string, ...parts: Uint8Array[]): Frame {
  const body = concatBytes(parts);
  const header = new Uint8Array(5);
  header[0] = type.charCodeAt(0);
  new DataView(header.buffer).setInt32(1, body.length + 4);
  return concatBytes([header, body]);
}

/** A text in UTF-8 that ends with a zero byte. */
export function cstring(text: string): Uint8Array {
  return encoder.encode(`${text}\0`);
}

/** A 32-bit signed integer in network order. */
export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value);
  return bytes;
}

/** Query: SQL for the simple protocol. */
export function query(sql: string): Frame {
  return frame("Q", cstring(sql));
}

/** ParameterStatus. */
export function parameterStatus(name: string, value: string): Frame {
  return frame("S", cstring(name), cstring(value));
}

/** Authentication: a request of this kind, or 0 for AuthenticationOk. */
export function authentication(kind: number, data: Uint8Array = new Uint8Array()): Frame {
  return frame("R", int32(kind), data);
}

/** The fields of an error that a Postgres client receives. */
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
export function readyForQuery(): Frame {
  return frame("Z", encoder.encode("I"));
}

/** The type letter of a message. */
export function messageType(message: Frame): string {
  return String.fromCharCode(message[0] ?? 0);
}

/** The size of the message at this position, with its type byte; undefined if its length word has not arrived. */
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

/** Splits a stream of bytes into messages. */
export class Framer {
  #chunks: Uint8Array[] = [];
  #size = 0;

  /** Number of bytes that have not been returned as part of a message. */
  get buffered(): number {
    return this.#size;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /**
   * The next message; undefined if its end has not arrived.
   *
   * @throws {RangeError} If its length word is not valid.
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

  /** The first chunk, joined with as many others as `size` needs. A large message in many chunks is copied only once. */
  #contiguous(size: number): Uint8Array {
    while ((this.#chunks[0]?.length ?? 0) < size) {
      let count = 0;
      for (let sum = 0; sum < size; count++) sum += this.#chunks[count]?.length ?? 0;
      this.#chunks.splice(0, count, concatBytes(this.#chunks.slice(0, count)));
    }
    return this.#chunks[0] as Uint8Array;
  }
}

/** An error of the local Postgres, which its client receives. It ends a login or a session with FATAL. */
export class PostgresError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.name = "PostgresError";
    this.failure = failure;
  }
}

/** The fields of the error that a client receives. `fallback` is the message for a value that is not an `Error`. */
export function failureFields(error: unknown, fallback: string): Failure {
  if (error instanceof PostgresError) return error.failure;
  return { sqlstate: "XX000", message: error instanceof Error ? error.message : fallback };
}

/** The error that sessions receive when the server is shut down. */
export const SHUTDOWN: Failure = {
  sqlstate: "57P01",
  message: "terminating connection due to administrator command",
};

/** The code of a cancel request, in the place of a startup packet's protocol version. */
export const CANCEL_REQUEST = 80877102;

/** The effects of a batch of requests, without its answers. */
export interface Outcome {
  /**
   * The transaction status in the last ReadyForQuery: idle, in a transaction, or in a failed one; `undefined` if there was
   * no ReadyForQuery.
   */
  status: "I" | "T" | "E" | undefined;
  /** The tags of the commands that changed the session, such as `SET`. */
  tags: Set<string>;
  notifications: Frame[];
  /**
   * The last ReadyForQuery, if it was held back: where settings may have changed, their new values must be sent first.
   */
  ready: Frame | undefined;
}

const SESSION_COMMANDS = new Set(["SET", "RESET", "DISCARD ALL", "DEALLOCATE ALL", "LISTEN", "UNLISTEN"]);

const SETTING_COMMANDS = ["SET", "RESET", "DISCARD ALL"];

/** Records the effects of a batch, and adapts Postgres's answers to the session, mostly without copying them. */
export class ResponseScanner {
  readonly outcome: Outcome = { status: undefined, tags: new Set(), notifications: [], ready: undefined };
  readonly #prefix: string;
  readonly #channels: ReadonlySet<string>;
  readonly #settingsMayChange: boolean;
  /** The start of a watched message whose end has not arrived. */
  #incomplete: Uint8Array = new Uint8Array();
  /** Number of bytes to come of a message whose start was passed on. */
  #remaining = 0;
  /** Whether the last request belongs to the extended protocol and gets no ReadyForQuery. */
  #extended = false;
  /** Whether a COPY FROM STDIN runs. Until it ends, Postgres ignores a Sync. */
  #copying = false;

  /**
   * @param prefix The prefix of this session's statement names. It is removed from error messages.
   * @param channels The channels to which this session listens. Other notifications are dropped.
   * @param settingsMayChange Whether settings may change without SET or RESET, for example through `set_config()`.
   */
  constructor(prefix = "", channels: ReadonlySet<string> = new Set(), settingsMayChange = false) {
    this.#prefix = prefix;
    this.#channels = channels;
    this.#settingsMayChange = settingsMayChange;
  }

  /**
   * Receives the type of the request that Postgres reads next. PGlite sends ReadyForQuery after every error, but in the
   * extended protocol it must follow only Sync.
   */
  request(type: number): void {
    if (!this.#copying && !COPY_MESSAGES.has(type)) this.#extended = !READY_REQUESTS.has(type);
  }

  /** The bytes to send to the client, in order. Most are views of `bytes`. */
  scan(bytes: Uint8Array): Uint8Array[] {
    const input = this.#incomplete.length ? concatBytes([this.#incomplete, bytes]) : bytes;
    const parts: Uint8Array[] = this.outcome.ready ? [this.outcome.ready] : [];
    this.outcome.ready = undefined;
    let at = Math.min(this.#remaining, input.length);
    let start = 0;
    this.#remaining -= at;
    while (at < input.length) {
      const size = messageSize(input, at);
      const watched = size === undefined || WATCHED.has(input[at] as number);
      if (watched && (size === undefined || at + size > input.length)) break;
      const end = Math.min(at + (size ?? 0), input.length);
      this.#remaining = at + (size ?? 0) - end;
      if (watched) {
        const replaced = this.#watch(input.subarray(at, end), end === input.length);
        if (replaced) {
          parts.push(input.subarray(start, at), ...replaced);
          start = end;
        }
      }
      at = end;
    }
    parts.push(input.subarray(start, at));
    this.#incomplete = input.slice(at);
    return parts.filter((part) => part.length);
  }

  /** Records a message. Returns the messages that replace it; `undefined` if it stays. */
  #watch(message: Frame, last: boolean): Frame[] | undefined {
    switch (message[0]) {
      case READY:
        if (this.#extended) return [];
        this.outcome.status = String.fromCharCode(message[5] ?? 0) as Outcome["status"];
        if (!last || !this.#settingsMayChange && !SETTING_COMMANDS.some((tag) => this.outcome.tags.has(tag))) {
          return undefined;
        }
        this.outcome.ready = message.slice();
        return [];
      case COPY_IN:
        this.#copying = true;
        return undefined;
      case COMPLETE: {
        this.#copying = false;
        const { text } = readCString(message, 5);
        if (SESSION_COMMANDS.has(text)) this.outcome.tags.add(text);
        return undefined;
      }
      case NOTIFICATION:
        this.outcome.notifications.push(message.slice());
        return this.#channels.has(readCString(message, 9).text) ? undefined : [];
      default:
        this.#copying = false;
        return this.#prefix ? [withoutPrefix(message, this.#prefix)] : undefined;
    }
  }
}

const [READY, COMPLETE, NOTIFICATION, FAILURE, COPY_IN] = typeBytes("ZCAEG");
const WATCHED = new Set([READY, COMPLETE, NOTIFICATION, FAILURE, COPY_IN]);
/** The requests to which Postgres answers with ReadyForQuery: Query, FunctionCall and Sync. */
const READY_REQUESTS = new Set(typeBytes("QFS"));
/** CopyData, CopyDone and CopyFail. */
const COPY_MESSAGES = new Set(typeBytes("dcf"));

function typeBytes(letters: string): number[] {
  return [...letters].map((letter) => letter.charCodeAt(0));
}

function withoutPrefix(message: Frame, prefix: string): Frame {
  const texts: Uint8Array[] = [];
  for (let at = 5; message[at];) {
    const { text, next } = readCString(message, at);
    texts.push(cstring(text.replaceAll(`"${prefix}`, '"')));
    at = next;
  }
  return frame("E", ...texts, new Uint8Array(1));
}

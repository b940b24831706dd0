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

/** The error fields for a client. @param otherwise The message for a value that is not an `Error`. */
export function failureOf(error: unknown, otherwise: string): Failure {
  if (error instanceof Refused) return error.failure;
  return { sqlstate: "XX000", message: error instanceof Error ? error.message : otherwise };
}

/** The error that sessions receive when the server is shut down. */
export const SHUTDOWN: Failure = {
  sqlstate: "57P01",
  message: "terminating connection due to administrator command",
};

/** The code of a cancel request, which stands where a startup packet has its protocol version. */
export const CANCEL_REQUEST = 80877102;

/** The effects of a batch of requests, without its answers. */
export interface Outcome {
  /**
   * The status in the last ReadyForQuery: idle, in a transaction, or in a failed transaction; `undefined` if there was
   * no ReadyForQuery.
   */
  status: "I" | "T" | "E" | undefined;
  /** Tags of commands that change the session. */
  tags: Set<string>;
  notifications: Frame[];
  /**
   * The last ReadyForQuery. It is held back if settings may have changed, because their new values must be sent before
   * it.
   */
  ready: Frame | undefined;
}

const SESSION_COMMANDS = new Set(["SET", "RESET", "DISCARD ALL", "DEALLOCATE ALL", "LISTEN", "UNLISTEN"]);

const SETTING_COMMANDS = ["SET", "RESET", "DISCARD ALL"];

/** Reads the answers of Postgres on their way to the client, without copying them. */
export class ResponseScanner {
  readonly outcome: Outcome = { status: undefined, tags: new Set(), notifications: [], ready: undefined };
  readonly #prefix: string;
  readonly #channels: ReadonlySet<string>;
  readonly #maySet: boolean;
  /** The start of a message whose end has not arrived. */
  #held: Uint8Array = new Uint8Array();
  /** Number of bytes that still belong to a message whose start was passed on. */
  #passing = 0;
  /** Whether the last request is one of the extended protocol, which is not answered with ReadyForQuery. */
  #extended = false;
  /** Whether all requests, including Sync, are input of a COPY. */
  #copying = false;

  /**
   * @param prefix The prefix of this session's statement names. It is removed from errors.
   * @param channels The channels of this session's LISTEN. Notifications of other channels are not passed on.
   * @param maySet Whether settings may change without a command that says so, such as by set_config().
   */
  constructor(prefix = "", channels: ReadonlySet<string> = new Set(), maySet = false) {
    this.#prefix = prefix;
    this.#channels = channels;
    this.#maySet = maySet;
  }

  /**
   * Takes the type of the message that Postgres reads next.
   *
   * PGlite sends ReadyForQuery after every error. In the extended protocol only Sync gets this answer.
   */
  request(type: number): void {
    if (!this.#copying && !COPY.has(type)) this.#extended = !ANSWERED.has(type);
  }

  /** The parts to send to the client, in order; most are views of `bytes`. */
  scan(bytes: Uint8Array): Uint8Array[] {
    const input = this.#held.length ? concatBytes([this.#held, bytes]) : bytes;
    const parts: Uint8Array[] = this.outcome.ready ? [this.outcome.ready] : [];
    this.outcome.ready = undefined;
    let at = Math.min(this.#passing, input.length);
    let start = 0;
    this.#passing -= at;
    while (at < input.length) {
      const size = messageSize(input, at);
      const watched = size === undefined || WATCHED.has(input[at] as number);
      if (watched && (size === undefined || at + size > input.length)) break;
      const end = Math.min(at + (size ?? 0), input.length);
      this.#passing = at + (size ?? 0) - end;
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
    this.#held = input.slice(at);
    return parts.filter((part) => part.length);
  }

  /** Records a message. Returns the messages to send in its place, or undefined to send it unchanged. */
  #watch(message: Frame, last: boolean): Frame[] | undefined {
    switch (message[0]) {
      case READY:
        if (this.#extended) return [];
        this.outcome.status = String.fromCharCode(message[5] ?? 0) as Outcome["status"];
        if (!last || !this.#maySet && !SETTING_COMMANDS.some((tag) => this.outcome.tags.has(tag))) return undefined;
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

const [READY, COMPLETE, NOTIFICATION, FAILURE, COPY_IN] = codes("ZCAEG");
const WATCHED = new Set([READY, COMPLETE, NOTIFICATION, FAILURE, COPY_IN]);
/** Requests that are answered with ReadyForQuery. */
const ANSWERED = new Set(codes("QFS"));
/** Requests with input of a COPY. */
const COPY = new Set(codes("dcf"));

function codes(letters: string): number[] {
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

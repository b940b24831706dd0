import { concatBytes } from "../core/bytes.ts";
import { cstring, type Frame, frame, messageSize, readCString } from "./messages.ts";

/** The effects of a batch of requests, apart from its answers. */
export interface Outcome {
  /** Status in the last ReadyForQuery: idle, in a transaction, or in a failed one. Undefined if there was none. */
  status: "I" | "T" | "E" | undefined;
  /** Tags of commands that change the session. */
  tags: Set<string>;
  notifications: Frame[];
  /** The last ReadyForQuery, held back if settings may have changed: their new values must be sent before it. */
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
   * @param channels The channels of this session's LISTEN. Other notifications are not passed on.
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
   * PGlite sends ReadyForQuery after every error. In the extended protocol only Sync has this answer.
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

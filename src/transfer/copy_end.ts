import { Buffer } from "node:buffer";

/** What came of a COPY that another one was sent behind. */
export type CopyOutcome =
  /** It ended, and these are the first bytes of what answers the next one. */
  | { next: Buffer }
  /** It failed, and so did the next one; the error, and the bytes from the server's last `ReadyForQuery` on. */
  | { rest: Buffer };

/** PostgreSQL's protocol, section "Message Formats". */
const HEADER = 5;
const [ERROR, READY, SEVERITY] = ["E", "Z", "V"].map((letter) => letter.charCodeAt(0));

/**
 * Reads what stands between the rows of two COPYs that were sent one behind the other. Where the first one fails its
 * transaction takes no more, so the second one's answer is an error that says just that: it is passed over, and `pg`, which
 * knows of one query, hears of one end.
 */
export class CopyEnd {
  #bytes: Buffer = Buffer.alloc(0);
  #error: Buffer | undefined;
  #readies = 0;

  /**
   * Takes bytes, the first of which begin with the message behind the last row.
   *
   * @returns What came of it, once that is known.
   */
  push(bytes: Buffer): CopyOutcome | undefined {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const message = this.#message();
      if (message === undefined) return undefined;
      if (message[0] === READY && (this.#error === undefined || ++this.#readies === 2)) break;
      if (message[0] === ERROR) {
        if (!isOrdinary(message)) return { rest: this.#bytes }; // nothing follows: the server ends the connection
        this.#error ??= Buffer.from(message);
      }
      this.#bytes = this.#bytes.subarray(message.length);
    }
    if (this.#error !== undefined) return { rest: Buffer.concat([this.#error, this.#bytes]) };
    return { next: this.#bytes.subarray(HEADER + 1) };
  }

  /** The first message, where it is whole. */
  #message(): Buffer | undefined {
    if (this.#bytes.length < HEADER) return undefined;
    const length = this.#bytes.readInt32BE(1) + 1;
    return this.#bytes.length < length ? undefined : this.#bytes.subarray(0, length);
  }
}

/** After an `ERROR` the connection goes on; after anything else it does not. */
function isOrdinary(error: Buffer): boolean {
  for (let at = HEADER; error[at] !== undefined && error[at] !== 0;) {
    const end = error.indexOf(0, at);
    if (error[at] === SEVERITY) return error.toString("latin1", at + 1, end) === "ERROR";
    at = end + 1;
  }
  return false;
}

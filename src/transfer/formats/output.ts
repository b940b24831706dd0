import { joinBytes } from "../join_bytes.ts";

/** Bytes that go to a file at once, about; a longer piece goes as it is. */
const OUTPUT_BYTES = 1_048_576;

/** Pieces of a file on their way there: short ones are joined. */
export class Output {
  /** Bytes put so far. */
  offset = 0;
  #waiting = 0;
  #pieces: Uint8Array[] = [];

  /** Whether it is time to take. */
  get isFull(): boolean {
    return this.#waiting >= OUTPUT_BYTES;
  }

  /** Adds bytes, which must stay as they are. */
  put(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.offset += bytes.length;
    this.#waiting += bytes.length;
  }

  /** What was put since the last time. */
  *take(): Generator<Uint8Array, void, void> {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#waiting = 0;
    let short: Uint8Array[] = [];
    for (const piece of pieces) {
      if (piece.length < OUTPUT_BYTES) {
        short.push(piece);
        continue;
      }
      if (short.length > 0) yield joinBytes(short);
      yield piece;
      short = [];
    }
    if (short.length > 0) yield joinBytes(short);
  }
}

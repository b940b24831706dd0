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
      if (short.length > 0) yield concat(short);
      yield piece;
      short = [];
    }
    if (short.length > 0) yield concat(short);
  }
}

/** The pieces as one. */
export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

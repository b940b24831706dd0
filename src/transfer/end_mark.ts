const QUOTE = 0x22;
const LINE_FEED = 10;
const RETURN = 13;
const POINT = 0x2e;
const BACKSLASH = 0x5c;

/**
 * Looks for a line of `\.` in bytes that go by: PostgreSQL takes it for the end of the data and drops the rest without a
 * word: before version 18 in CSV too, where it may well be a value.
 */
export class EndMark {
  /** Lines that have ended; a line end inside of quotes ends none. */
  lines = 0;
  readonly #quotes: boolean;
  #quoted = 0;
  /** Where it stands in `LINE_FEED BACKSLASH POINT`. */
  #seen = 1;
  #ended = false;

  /** @param quotes Whether values may stand in quotes, as in CSV. */
  constructor(quotes: boolean) {
    this.#quotes = quotes;
  }

  /** Takes the next bytes: the line's number, from 1, where data would be dropped because of it. */
  push(chunk: Uint8Array): number | undefined {
    if (this.#ended) return chunk.some(isNoLineEnd) ? this.lines : undefined;
    let seen = this.#seen;
    let quoted = this.#quoted;
    const quote = this.#quotes ? QUOTE : -1;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === LINE_FEED || byte === RETURN) {
        if (quoted === 1) continue;
        if (byte === LINE_FEED) this.lines++;
        if (seen === 3 && this.#marked(chunk, at)) return Math.max(1, this.lines + (byte === RETURN ? 1 : 0));
        seen = 1;
      } else if (seen !== 0) seen = next(seen, byte);
      if (byte === quote) quoted ^= 1;
    }
    this.#seen = seen;
    this.#quoted = quoted;
    return undefined;
  }

  /** Says that nothing follows: as {@linkcode push}. */
  end(): number | undefined {
    return this.#quotes && this.#seen === 3 ? this.lines + 1 : undefined;
  }

  /** In CSV it would be a value that is lost; in the text format it is what ends the data, where nothing follows. */
  #marked(chunk: Uint8Array, at: number): boolean {
    if (this.#quotes) return true;
    this.#ended = true;
    return chunk.subarray(at).some(isNoLineEnd);
  }
}

function isNoLineEnd(byte: number): boolean {
  return byte !== LINE_FEED && byte !== RETURN;
}

function next(seen: number, byte: number): number {
  if (seen === 1) return byte === BACKSLASH ? 2 : 0;
  return seen === 2 && byte === POINT ? 3 : 0;
}

/** Extra bytes of the buffer for the row that exceeds its size; a longer row makes the buffer grow. */
export const SPARE = 16_384;

/** Makes the error for a value that can't be written. Rows count from 1, columns from 0. */
export type RefuseCell = (row: number, column: number, state: string) => Error;

/** A buffer that takes the rows of a COPY, and grows with them. */
export abstract class RowBuffer {
  /** The rows so far. */
  rows = 0;
  /** The rows since the last {@linkcode take}, up to {@linkcode at}. */
  protected buffer: Uint8Array<ArrayBuffer>;
  /** The same bytes, for numbers. */
  protected view: DataView;
  /** Where the next byte goes. */
  protected at = 0;
  /** The number of values in the current row so far. */
  protected column = 0;
  protected readonly refuse: RefuseCell;
  readonly #size: number;

  /** @param size About how many bytes are taken at once. */
  constructor(refuse: RefuseCell, size: number) {
    this.refuse = refuse;
    this.#size = size;
    this.buffer = new Uint8Array(size + SPARE);
    this.view = new DataView(this.buffer.buffer);
  }

  /** Whether there are enough bytes to take. */
  get full(): boolean {
    return this.at >= this.#size;
  }

  /** Gives the rows since the last call. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.buffer.subarray(0, this.at);
    this.#replace(new Uint8Array(this.#size + SPARE)); // the caller still uses the old bytes
    this.at = 0;
    return taken;
  }

  /** Makes room for bytes. */
  protected reserve(length: number): void {
    if (this.at + length <= this.buffer.length) return;
    const larger = new Uint8Array(this.at + length + Math.max(SPARE, this.at));
    larger.set(this.buffer.subarray(0, this.at));
    this.#replace(larger);
  }

  /** Makes the error for a zero character in the last value. */
  protected zeroCharacter(): Error {
    return this.refuse(this.rows + 1, this.column - 1, "has a zero character, which Postgres can't store in text");
  }

  #replace(buffer: Uint8Array<ArrayBuffer>): void {
    this.buffer = buffer;
    this.view = new DataView(buffer.buffer);
  }
}

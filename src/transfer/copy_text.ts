/** Characters that are encoded at once. */
const BATCH = 65_536;

const SPECIAL = /[\\\t\n\r]/;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const encoder = new TextEncoder();

/** Says where something is that can't be written: a row's number, from 1, and a column's, from 0. */
export type RefuseCell = (row: number, column: number, state: string) => Error;

/** Writes rows in COPY's text format: PostgreSQL's documentation, COPY, "Text Format". */
export class CopyTextWriter {
  /** Rows so far. */
  rows = 0;
  #text = "";
  #first = true;
  #taken = 0;
  readonly #refuse: RefuseCell;

  constructor(refuse: RefuseCell) {
    this.#refuse = refuse;
  }

  /** The row's next value, as the server would read its text; `null` for NULL. */
  add(text: string | null): void {
    const cell = text === null ? "\\N" : SPECIAL.test(text) ? escape(text) : text;
    this.#text += this.#first ? cell : "\t" + cell;
    this.#first = false;
  }

  /** Ends the row. */
  endRow(): void {
    this.#text += "\n";
    this.#first = true;
    this.rows++;
  }

  /** Whether it is time to take what there is. */
  get full(): boolean {
    return this.#text.length >= BATCH;
  }

  /** The rows since they were last taken, in UTF-8. @throws For text that UTF-8, or Postgres, has no form of. */
  take(): Uint8Array<ArrayBuffer> {
    const text = this.#text;
    if (!text.isWellFormed() || text.includes("\0")) throw this.#fault(text);
    this.#text = "";
    this.#taken = this.rows;
    return encoder.encode(text);
  }

  /** Looked for in what is written already: a look at each value would cost as much as writing it. */
  #fault(text: string): Error {
    const isBad = (part: string) => !part.isWellFormed() || part.includes("\0");
    const lines = text.split("\n");
    const line = lines.findIndex(isBad);
    const cells = lines[line]!.split("\t");
    const column = cells.findIndex(isBad);
    const what = cells[column]!.includes("\0")
      ? "has a zero character, which Postgres can't store in text"
      : "has half of a surrogate pair, which UTF-8 has no form of";
    return this.#refuse(this.#taken + line + 1, column, what);
  }
}

function escape(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (special) => ESCAPES[special]!);
}

import { setImmediate } from "node:timers";
import type { Meter } from "../progress.ts";
import type { FileType } from "./dataset_columns.ts";
import type { Dialect, DialectGuess } from "./dialect.ts";
import type { Refuse } from "./options.ts";
import type { LoadColumn, LoadTable } from "./table.ts";

/** Rows on their way into a table, from whatever they come. Disposing of it closes what was opened for it. */
export interface Incoming extends AsyncDisposable {
  /** What an error calls it: `trips.csv`, `the rows`. */
  readonly name: string;
  /** Its bytes, where that is known. */
  readonly size: number | undefined;
  /** What its columns are called, in their order; `undefined` where it does not say. */
  readonly names: readonly string[] | undefined;
  /** The columns that a table for it would have, with their types. */
  newColumns(): Map<string, string> | Promise<Map<string, string>>;
  /** What is known of its columns' types, to find those that fit other files too. */
  types(): Map<string, FileType>;
  /** Whether those types were found by looking at the first rows; else it brings its own. */
  readonly sampled: boolean;
  /** What was found by looking at the file, because nobody said it. */
  readonly guess?: DialectGuess | undefined;
  /** An error for what it holds: a file's own fault is no wrong use. */
  readonly refuse: Refuse;
  /** What is sent to the server; `undefined` where nothing is, not even a row. */
  copy(table: LoadTable): IncomingCopy | undefined;
  /** The files of a dataset, in their order; each is closed when the next one is asked for. */
  parts?(table: LoadTable): AsyncIterable<CopyPart>;
  /** Their paths. */
  readonly paths?: readonly string[];
}

/** The bytes of a COPY. */
export interface IncomingCopy {
  /** The columns that they are for, in their order. */
  columns: readonly LoadColumn[];
  /** COPY's own options. */
  options: string;
  /** How the values stand in the bytes. @default {COPY's text format} */
  layout?: Dialect;
  /**
   * The bytes; once.
   *
   * @param follows Whether they follow those of another file in one COPY, so that a header is left out.
   */
  bytes(follows: boolean): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /**
   * The lines that the server counts in the bytes, after the last of them; `undefined` where another file can't follow them
   * in one COPY. Absent where no file can follow, whatever the bytes are.
   */
  lines?: () => number | undefined;
  /** How many rows of it have been made; for the progress. */
  rows?: () => number;
  /** Where a line of the bytes came from: `line 3`, `row 3`. */
  place(line: number): string;
}

/** What is copied of one file. */
export interface CopyPart {
  /** What an error calls the file. */
  name: string;
  /** Its bytes. */
  copy: IncomingCopy;
}

const LINE_FEED = 10;
const ONE_LINE_FEED = Uint8Array.of(LINE_FEED);

/**
 * What is sent to the server of a file, or of what else is loaded.
 *
 * @returns `undefined` where nothing is, not even a row.
 */
export function copyOf(incoming: Incoming, table: LoadTable): IncomingCopy | undefined {
  const copy = incoming.copy(table);
  // Without a list of columns COPY takes all of them, and a line without any value for an empty text.
  if (copy?.columns.length !== 0 || table.columns.length === 0) return copy;
  throw incoming.refuse(`no column of ${incoming.name} goes into ${table.quoted}, which has some`);
}

/** The rows of one COPY: those of a file, or of several that agree in their columns and in COPY's options. */
export class CopyRun {
  /** The columns. */
  readonly columns: readonly LoadColumn[];
  /** COPY's options. */
  readonly options: string;
  readonly #first: CopyPart;
  readonly #advance: () => Promise<CopyPart | undefined>;
  /** The files so far, with the lines of the COPY before each. */
  readonly #parts: { part: CopyPart; before: number }[] = [];
  /** The rows of the files that are read. */
  #rows = 0;
  #current: IncomingCopy | undefined;

  /** @param advance Gives the next file, if its rows can follow. */
  constructor(first: CopyPart, advance: () => Promise<CopyPart | undefined>) {
    this.columns = first.copy.columns;
    this.options = first.copy.options;
    this.#first = first;
    this.#advance = advance;
  }

  /** The bytes; once. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    let before = 0;
    for (let part: CopyPart | undefined = this.#first; part !== undefined;) {
      this.#parts.push({ part, before });
      this.#current = part.copy;
      let last = LINE_FEED;
      for await (const chunk of part.copy.bytes(part !== this.#first)) {
        last = chunk.at(-1) ?? last;
        yield chunk;
      }
      const lines = part.copy.lines?.();
      this.#rows += part.copy.rows?.() ?? 0;
      this.#current = undefined;
      if (lines === undefined) return;
      before += lines;
      part = await this.#advance();
      if (part !== undefined && last !== LINE_FEED) {
        before++;
        yield ONE_LINE_FEED;
      }
    }
  }

  /** How many rows have been made. */
  rows(): number {
    return this.#rows + (this.#current?.rows?.() ?? 0);
  }

  /** Where a line of the COPY came from. */
  locate(line: number): { name: string; place: string } {
    const { part, before } = this.#parts.findLast(({ before }) => before < line) ?? { part: this.#first, before: 0 };
    return { name: part.name, place: part.copy.place(line - before) };
  }
}

/** Joins consecutive files that agree: a COPY for each of many small files would spend its time waiting for the server. */
export async function* copyRuns(parts: AsyncIterable<CopyPart>): AsyncGenerator<CopyRun, void, void> {
  const iterator = parts[Symbol.asyncIterator]();
  const ask = async () => (await iterator.next() as IteratorResult<CopyPart, undefined>).value;
  try {
    for (let first = await ask(); first !== undefined;) {
      const { copy } = first;
      let next: { part: CopyPart | undefined } | undefined;
      yield new CopyRun(first, async () => {
        const part = await ask();
        if (part !== undefined && canFollow(part.copy, copy)) return part;
        next = { part };
        return undefined;
      });
      first = next === undefined ? await ask() : next.part;
    }
  } finally {
    await iterator.return?.();
  }
}

function canFollow(copy: IncomingCopy, first: IncomingCopy): boolean {
  const names = ({ columns }: IncomingCopy) => columns.map(({ name }) => name);
  return copy.lines !== undefined && copy.options === first.options && copy.columns.length === first.columns.length &&
    names(copy).every((name, at) => name === first.columns[at]!.name);
}

/** How long a load may keep the event loop to itself. */
const BREATH_MS = 10;

/** Bytes on their way, counted; what their source throws is kept as it is. */
export class CountedBytes {
  /** How many. */
  sent = 0;
  /** What their source threw. */
  failure: { error: unknown } | undefined;
  readonly #run: CopyRun;
  readonly #meter: Meter;
  #rows = 0;
  #breathed = performance.now();

  /** Made with the COPY that they are for, and who is told. */
  constructor(run: CopyRun, meter: Meter) {
    this.#run = run;
    this.#meter = meter;
  }

  /** The bytes; once. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of this.#run.bytes()) {
        yield chunk;
        this.#count(chunk.length);
        await this.#breathe();
      }
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }

  /**
   * A socket that takes everything at once, and a source that waits for nothing, would never let a timer, a signal or the
   * server's answer have its turn.
   */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#breathed < BREATH_MS) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#breathed = performance.now();
  }

  #count(bytes: number): void {
    const rows = this.#run.rows();
    this.sent += bytes;
    this.#meter.add(rows - this.#rows, bytes);
    this.#rows = rows;
  }
}

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
  /** The files that it is; each is copied by itself, one after the other, and closed by who gives it. */
  parts?(): AsyncIterable<Incoming>;
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
  /** The bytes, with how many rows they are where that is counted. */
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** How many rows of it have been made; for the progress. */
  rows?: () => number;
  /** Where a line of the bytes came from: `line 3`, `row 3`. */
  place(line: number): string;
}

/** How long a load may keep the event loop to itself. */
const BREATH_MS = 10;

/** Bytes on their way, counted; what their source throws is kept as it is. */
export class CountedBytes {
  /** How many. */
  sent = 0;
  /** What their source threw. */
  failure: { error: unknown } | undefined;
  readonly #copy: IncomingCopy;
  readonly #meter: Meter;
  #rows = 0;
  #breathed = performance.now();

  /** Made with the copy that they are for, and who is told. */
  constructor(copy: IncomingCopy, meter: Meter) {
    this.#copy = copy;
    this.#meter = meter;
  }

  /** The bytes; once. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of this.#copy.bytes) {
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
    const rows = this.#copy.rows?.() ?? 0;
    this.sent += bytes;
    this.#meter.add(rows - this.#rows, bytes);
    this.#rows = rows;
  }
}

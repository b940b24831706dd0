import { countText } from "../../core/text.ts";
import { type Bundle, DRAW, SelfDrawn } from "../../draw/notebook.ts";
import { originText, type ResultOrigin } from "../../draw/result.ts";
import { renderCommand } from "../../draw/table.ts";
import type { DialectGuess } from "./dialect.ts";

/** The facts that a {@linkcode LoadResult} reports. */
export type LoadFacts = Pick<LoadResult, "table" | "rows" | "bytes" | "elapsed" | "created" | "files" | "guess"> & {
  origin: ResultOrigin;
};

/**
 * The result of a load, which is displayed as one line.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const loaded = await db.load("zones", [{ id: 1, name: "Harlem" }], { create: true });
 * assert.deepEqual([loaded.table, loaded.rows, loaded.created], ["public.zones", 1, true]);
 * assert.match(String(loaded), /^1 row into the new table public.zones, /);
 * ```
 */
export class LoadResult extends SelfDrawn {
  /** The table's name with its schema, in SQL: `public.trips`. */
  readonly table: string;
  /** The number of rows that were loaded. */
  readonly rows: number;
  /** The number of bytes that were sent to the server. */
  readonly bytes: number;
  /** The duration of the load in milliseconds. */
  readonly elapsed: number;
  /** Whether the load created the table. */
  readonly created: boolean;

  /** The number of files that were read; 0 if the rows came from a program or a stream. */
  readonly files: number;
  /** The detected parts of a CSV or TSV file's dialect and encoding; `undefined` if nothing was detected. */
  readonly guess: DialectGuess | undefined;
  readonly #origin: ResultOrigin;

  /** Created by `load`. */
  constructor({ table, rows, bytes, elapsed, created, files, guess, origin }: LoadFacts) {
    super();
    this.table = table;
    this.rows = rows;
    this.bytes = bytes;
    this.elapsed = elapsed;
    this.created = created;
    this.files = files;
    this.guess = guess;
    this.#origin = origin;
  }

  /** The result as one line. */
  override toString(): string {
    return this[DRAW]()["text/plain"]!;
  }

  /** @internal */
  override [DRAW](): Bundle {
    const guessed = Object.entries(this.guess ?? {}).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
    const found = guessed.length === 0 ? "" : ` (found: ${guessed.join(", ")})`;
    const from = this.files > 1 ? ` of ${countText(this.files, "file")}` : "";
    const tag = `${countText(this.rows, "row")}${from} into ${
      this.created ? "the new table " : ""
    }${this.table}${found}${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}

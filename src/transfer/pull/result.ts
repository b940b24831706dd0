import { countText, sizeText } from "../../core/text.ts";
import { type Bundle, DISPLAY, holdIdle } from "../../draw/notebook.ts";
import { type Origin, originText } from "../../draw/result.ts";
import { renderCommand } from "../../draw/table.ts";

/** What a {@linkcode PullResult} says. */
export type PullFacts = Pick<PullResult, "rows" | "bytes" | "paths" | "elapsed"> & { to: string; origin?: Origin };

/**
 * What a pull did; it draws itself as one line.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const file = `${await Deno.makeTempDir()}/n.csv`;
 * const pulled = await db.sql`SELECT n FROM generate_series(1, 3) AS n`.pull(file);
 * assert.deepEqual([pulled.rows, pulled.bytes, pulled.path], [3, "n\n1\n2\n3\n".length, file]);
 * console.log(`${pulled}`, pulled.elapsed); // 3 rows to ... (8 bytes), ..., and the milliseconds
 * ```
 */
export class PullResult {
  /** Rows that were written. */
  readonly rows: number;
  /** Bytes that were written. */
  readonly bytes: number;
  /** The files; none where it was a stream. */
  readonly paths: readonly string[];
  /** Milliseconds that it took. */
  readonly elapsed: number;
  readonly #to: string;
  readonly #origin: Origin;

  /** Made by `pull`. */
  constructor({ rows, bytes, paths, elapsed, to, origin = {} }: PullFacts) {
    this.rows = rows;
    this.bytes = bytes;
    this.paths = paths;
    this.elapsed = elapsed;
    this.#to = to;
    this.#origin = origin;
  }

  /** The file; `undefined` where it was a stream, or several files. */
  get path(): string | undefined {
    return this.paths.length === 1 ? this.paths[0] : undefined;
  }

  /** The line. */
  toString(): string {
    return this.#line()["text/plain"]!;
  }

  /** How a notebook draws it. */
  [DISPLAY](): Bundle {
    return holdIdle(this.#line());
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  #line(): Bundle {
    const tag = `${countText(this.rows, "row")} to ${this.#to} (${sizeText(this.bytes)})${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}

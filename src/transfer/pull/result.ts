import { countText, sizeText } from "../../core/text.ts";
import { type Bundle, DISPLAY, holdIdle } from "../../draw/notebook.ts";
import { type Origin, originText } from "../../draw/result.ts";
import { renderCommand } from "../../draw/table.ts";

/** The facts of a {@linkcode PullResult}. */
export type PullFacts = Pick<PullResult, "rows" | "bytes" | "paths" | "elapsed"> & { to: string; origin?: Origin };

/**
 * The result of a pull, which draws itself as one line.
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
  /** The number of rows that were written. */
  readonly rows: number;
  /** The number of bytes that were written. */
  readonly bytes: number;
  /** The paths of the files; none for a stream. */
  readonly paths: readonly string[];
  /** The milliseconds that the pull took. */
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

  /** The path of the file; `undefined` for a stream, or for several files. */
  get path(): string | undefined {
    return this.paths.length === 1 ? this.paths[0] : undefined;
  }

  /** The result as one line. */
  toString(): string {
    return this.#line()["text/plain"]!;
  }

  /** Draws the result in a notebook. */
  [DISPLAY](): Bundle {
    return holdIdle(this.#line());
  }

  /** Prints the result with `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  #line(): Bundle {
    const tag = `${countText(this.rows, "row")} to ${this.#to} (${sizeText(this.bytes)})${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}

import { countText, sizeText } from "../../core/text.ts";
import { type Bundle, DRAW, SelfDrawn } from "../../draw/notebook.ts";
import { originText, type ResultOrigin } from "../../draw/result.ts";
import { renderCommand } from "../../draw/table.ts";

/** The facts of a {@linkcode PullResult}. */
export type PullFacts = Pick<PullResult, "rows" | "bytes" | "paths" | "elapsed"> & {
  to: string;
  origin?: ResultOrigin;
};

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
export class PullResult extends SelfDrawn {
  /** The number of rows that were written. */
  readonly rows: number;
  /** The number of bytes that were written. */
  readonly bytes: number;
  /** The paths of the files; none for a stream. */
  readonly paths: readonly string[];
  /** The milliseconds that the pull took. */
  readonly elapsed: number;
  readonly #to: string;
  readonly #origin: ResultOrigin;

  /** Made by `pull`. */
  constructor({ rows, bytes, paths, elapsed, to, origin = {} }: PullFacts) {
    super();
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
  override toString(): string {
    return this[DRAW]()["text/plain"]!;
  }

  /** @internal */
  override [DRAW](): Bundle {
    const tag = `${countText(this.rows, "row")} to ${this.#to} (${sizeText(this.bytes)})${originText(this.#origin)}`;
    return { ...renderCommand({ tag, elapsed: this.elapsed }) };
  }
}

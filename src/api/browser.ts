import { renderBrowse } from "../draw/browse.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { drawResult, originText } from "../draw/result.ts";
import type { Result } from "./result.ts";

/** The number of rows that are fetched. */
export const BROWSED_ROWS = 1000;

/**
 * The first rows of a query, as a table to page, sort and search in.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const browser = await db.sql`SELECT n FROM generate_series(1, 5000) AS n`.browse();
 * assert.equal(browser.rows.length, 1000);
 * ```
 */
export class Browser {
  /** The rows. */
  readonly rows: Result<unknown>;

  /** Made by `browse()`. */
  constructor(rows: Result<unknown>) {
    this.rows = rows;
  }

  /** How a notebook draws it. */
  [DISPLAY](): Bundle {
    const { rows } = this;
    if (rows.fields.length === 0) return holdIdle(drawResult(rows));
    const more = rows.more || rows.length > BROWSED_ROWS;
    const { fields, elapsed } = rows;
    const shown = rows.slice(0, BROWSED_ROWS);
    return holdIdle(renderBrowse({ fields, rows: shown, more, elapsed, origin: originText(rows) }));
  }

  /** How `console.log` prints it. */
  [Symbol.for("Deno.customInspect")](): string {
    return drawResult(this.rows)["text/plain"]!;
  }
}

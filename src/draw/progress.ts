/**
 * The progress of a transfer, in words.
 *
 * @module
 */

import { countText, sizeText } from "../core/text.ts";
import { escapeHtml, visible } from "./escape.ts";
import type { Bundle } from "./notebook.ts";
import { elapsedText } from "./table.ts";

/** The progress of a pull or a load. */
export interface Progress {
  /** The rows so far. */
  rows: number;
  /** The bytes so far. */
  bytes: number;
  /** The milliseconds since the beginning. */
  elapsed: number;
  /** The rows per second, on average. */
  rowsPerSecond: number;
  /** The bytes per second, on average. */
  bytesPerSecond: number;
  /** The number of all rows, estimated by the server's planner; missing until the estimate is known. */
  totalRows?: number;
  /** The number of all bytes; missing if it is not known. */
  totalBytes?: number;
  /** Whether this is the last report: the transfer is complete. */
  done: boolean;
}

/** The name of a transfer in its progress. */
export interface ProgressTitle {
  /** The kind of transfer. */
  action: "Pulling" | "Loading";
  /** The name of the table or of the file. */
  name: string;
}

/**
 * Draws a progress bar for a notebook.
 *
 * @param line The progress in words.
 * @param fraction The fraction that is done, from 0 to 1; `undefined` if it is not known.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(renderProgress("Pulling trips: 10 rows", undefined)["text/plain"], "Pulling trips: 10 rows");
 * assert.match(renderProgress("a < b", 0.5)["text/html"]!, /value="0.5".*a &lt; b/);
 * ```
 */
export function renderProgress(line: string, fraction: number | undefined): Bundle {
  const value = fraction === undefined ? "" : ` value="${Number(fraction.toFixed(3))}"`;
  const bar = `<progress max="1"${value} aria-label="progress" style="width:14em;vertical-align:middle"></progress>`;
  return { "text/html": `<div>${bar} ${escapeHtml(line)}</div>`, "text/plain": line };
}

/** Draws the outcome, which replaces {@linkcode renderProgress}. */
export function renderOutcome(line: string): Bundle {
  return { "text/html": `<div>${escapeHtml(line)}</div>`, "text/plain": line };
}

/**
 * The fraction that is done, from 0 to 1; `undefined` if it is not known. An estimate that was exceeded is ignored.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const progress = { rows: 25, bytes: 100, elapsed: 1000, rowsPerSecond: 25, bytesPerSecond: 100, done: false };
 * assert.equal(fractionDone({ ...progress, totalRows: 100 }), 0.25);
 * assert.equal(fractionDone({ ...progress, totalRows: 24 }), undefined);
 * ```
 */
export function fractionDone({ rows, bytes, totalRows, totalBytes, done }: Progress): number | undefined {
  if (done) return 1;
  if (totalBytes !== undefined && totalBytes > 0) return Math.min(1, bytes / totalBytes);
  return totalRows !== undefined && totalRows >= rows && totalRows > 0 ? rows / totalRows : undefined;
}

/**
 * A line for a transfer that is running.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(
 *   progressText({ action: "Pulling", name: "trips" }, {
 *     rows: 1_200_000,
 *     bytes: 80 * 1024 ** 2,
 *     elapsed: 4000,
 *     rowsPerSecond: 300_000,
 *     bytesPerSecond: 20 * 1024 ** 2,
 *     totalRows: 4_800_000,
 *     done: false,
 *   }),
 *   "Pulling trips: 25 %, 1,200,000 of about 4,800,000 rows, 80 MB, 4 s, 300,000 rows/s, 20 MB/s, about 12 s left",
 * );
 * ```
 */
export function progressText({ action, name }: ProgressTitle, progress: Progress): string {
  const { rows, elapsed } = progress;
  const fraction = fractionDone(progress);
  const remaining = fraction === undefined || fraction === 0 || fraction === 1
    ? undefined
    : elapsed * (1 - fraction) / fraction;
  return `${action} ${visible(name)}: ` + [
    ...(fraction === undefined ? [] : [`${Math.floor(fraction * 100)} %`]),
    rowsText(progress),
    bytesText(progress),
    wholeSeconds(elapsed),
    ...(rows === 0 ? [] : [rates(progress)]),
    ...(remaining === undefined ? [] : [`about ${wholeSeconds(remaining)} left`]),
  ].join(", ");
}

/** A line for a transfer that has ended, complete or not. */
export function outcomeText({ action, name }: ProgressTitle, progress: Progress): string {
  const { rows, bytes, elapsed, done } = progress;
  const verb = done ? action.replace(/ing$/, "ed") : `Stopped ${action.toLowerCase()}`;
  const amount = `${countText(rows, "row")}, ${sizeText(bytes)} in ${elapsedText(elapsed)}`;
  return `${verb} ${visible(name)}: ${amount}${done && rows > 0 ? ` (${rates(progress)})` : ""}`;
}

function rowsText({ rows, totalRows }: Progress): string {
  if (totalRows === undefined || totalRows < rows) return countText(rows, "row");
  return `${rows.toLocaleString("en-US")} of about ${countText(totalRows, "row")}`;
}

function bytesText({ bytes, totalBytes }: Progress): string {
  return totalBytes === undefined ? sizeText(bytes) : `${sizeText(bytes)} of ${sizeText(totalBytes)}`;
}

function rates({ rowsPerSecond, bytesPerSecond }: Progress): string {
  return `${Math.round(rowsPerSecond).toLocaleString("en-US")} rows/s, ${sizeText(bytesPerSecond)}/s`;
}

/** A duration in whole seconds, because a number that changes all the time needs no decimals. */
function wholeSeconds(milliseconds: number): string {
  return elapsedText(Math.max(1, Math.round(milliseconds / 1000)) * 1000);
}

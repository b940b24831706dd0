import { LakebaseError, optionText } from "../../core/errors.ts";
import { countText } from "../../core/text.ts";
import { visible } from "../../draw/escape.ts";
import { type Bundle, DRAW, SelfDrawn } from "../../draw/notebook.ts";
import { originText, renderCommand, type ResultOrigin } from "../../draw/table.ts";
import { withoutFrames } from "../../sql/failure.ts";
import type { DialectGuess } from "./dialect.ts";
import type { Incoming } from "./incoming.ts";
import type { LoadColumn, LoadTable } from "./table.ts";

/** The facts that a {@linkcode LoadResult} reports. */
type LoadFacts = Pick<LoadResult, "table" | "rows" | "bytes" | "elapsed" | "created" | "files" | "guess"> & {
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

/** The context of a failed COPY. */
export interface FailedCopy {
  /** The table. */
  table: LoadTable;
  /** The columns that were sent. */
  columns: readonly LoadColumn[];
  /** The name of the source that a line of the COPY came from, and the place in it. */
  locate(line: number): { name: string; place: string };
  /** Whether the source is text in some encoding, not Arrow or Parquet. */
  encoded: boolean;
  /** Where the type of a new column came from; `undefined` if the caller chose it or the table existed. */
  typeFrom(column: string): "sample" | "file" | undefined;
}

/** The place in the COPY that the server reported. */
interface Place {
  line: number;
  column?: string | undefined;
  value?: string | undefined;
}

interface ServerError extends Error {
  code?: string;
  severity?: string;
  detail?: string;
  hint?: string;
  where?: string;
}

/** The most characters of a value or a line that an error shows. */
const MOST_SHOWN = 200;

/**
 * Turns the server's error about a row into an error that says where the row is in the source.
 *
 * @returns `undefined` for an error that is not about a row.
 */
export function rowError(error: unknown, failure: FailedCopy): LakebaseError | undefined {
  if (error instanceof LakebaseError || !(error instanceof Error)) return undefined;
  const { code: sqlstate, severity, message, detail, hint, where = "" } = error as ServerError;
  const place = severity === "ERROR" ? placeOf(where, failure) : undefined;
  if (place === undefined || sqlstate === undefined) return undefined;
  const { table } = failure;
  const { line, column, value } = place;
  const { name, place: from } = failure.locate(line);
  const at = [from, ...(column === undefined ? [] : [`column ${visible(column)}`])].join(", ");
  const hints = [hint, ...rowTips(sqlstate, message, place, failure)].filter((text) =>
    text !== undefined && text !== ""
  );
  const lines = [
    `Cannot load ${name} into ${table.quoted}: ${at}: ${visible(message)} (SQLSTATE ${sqlstate})`,
    ...(value === undefined || message.includes(value)
      ? []
      : [`${column === undefined ? "LINE" : "VALUE"}: ${shown(value)}`]),
    ...(detail ? [`DETAIL: ${visible(detail)}`] : []),
    ...hints.map((text) => `HINT: ${visible(text!)}`),
    "Nothing was loaded.",
  ];
  return new LakebaseError("QUERY_FAILED", lines.join("\n"), { cause: withoutFrames(error), sqlstate });
}

/** Parses `COPY trips, line 3, column fare: "abc"`. Names and values may contain the same punctuation and words. */
function placeOf(where: string, { table, columns }: FailedCopy): Place | undefined {
  const start = `COPY ${table.name}, line `;
  const at = where.startsWith(start) ? 0 : where.indexOf(`\n${start}`) + 1;
  if (at === 0 && !where.startsWith(start)) return undefined;
  const rest = where.slice(at + start.length);
  const line = parseInt(rest);
  const after = rest.slice(String(line).length);
  const column = columns
    .map(({ name }) => name)
    .filter((name) => isFollowed(after, `, column ${name}`))
    .sort((a, b) => b.length - a.length)[0];
  const said = after.slice(column === undefined ? 0 : `, column ${column}`.length);
  const value = said.startsWith(': "') ? said.slice(3).replace(/"$/, "") : undefined;
  return Number.isNaN(line) ? undefined : { line, column, value };
}

/** In binary, no value follows the name of the column. */
function isFollowed(text: string, start: string): boolean {
  return text.startsWith(start) && (text.length === start.length || /[:\n]/.test(text[start.length]!));
}

/** Hints for errors with a known remedy. */
function rowTips(
  sqlstate: string,
  message: string,
  { column, value }: Place,
  { typeFrom, columns, encoded }: FailedCopy,
): string[] {
  if (/unquoted carriage return|unquoted newline/.test(message)) {
    return [`the lines of one file must all end alike; ${optionText({ skipBlankLines: true })} reads any line ends`];
  }
  if (sqlstate === "22021") return [encodingTip(message, column, encoded)];
  if (/^missing data for column/.test(message) && value?.trim() === "") {
    return [`the line is blank; ${optionText({ skipBlankLines: true })} leaves such lines out`];
  }
  if (column === undefined || !sqlstate.startsWith("22")) return [];
  const type = columns.find(({ name }) => name === column)?.type;
  if (/malformed record literal/.test(message)) {
    return [`Postgres can't read the type ${type} from JSON; load CSV, TSV, Arrow or Parquet, or its text`];
  }
  const from = typeFrom(column);
  if (from === undefined) return [];
  const types = optionText({ types: { [column]: "text" } });
  const found = from === "sample" ? "was found by looking at the first rows" : "is the file's own";
  return [`the column's type ${found}; use ${types}, or create the table yourself`];
}

function encodingTip(message: string, column: string | undefined, encoded: boolean): string {
  if (message.endsWith(": 0x00")) return "Postgres can't store a zero character in text; remove it from the file first";
  if (encoded) return `say which encoding the file is in: ${optionText({ encoding: "windows-1252" })}`;
  return `these bytes are not text in UTF-8; load them into a column of type bytea: ${
    optionText({ types: { [column ?? "c"]: "bytea" } })
  }`;
}

function shown(text: string): string {
  return visible(text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text);
}

/** The context of a load that failed. */
interface FailedLoad {
  /** The table's name, as the caller gave it. */
  name: string;
  /** The source. */
  incoming: Pick<Incoming, "name">;
  /** Whether all rows were sent, so that the transaction may have been committed. */
  done?: true;
}

/** The server's error for a TRUNCATE of a table that others refer to. */
const FEATURE_NOT_SUPPORTED = "0A000";
/** The server's errors for constraints that are checked at the end, such as foreign keys. */
const INTEGRITY = /^23/;

/**
 * Turns an error that is not about a single row into an error that says whether anything was loaded.
 *
 * @returns The same error, if it already says so or comes from the caller.
 */
export function failedLoad(error: unknown, { name, incoming, done }: FailedLoad): unknown {
  if (!(error instanceof LakebaseError) || error.message.startsWith("Cannot load")) return error;
  const { code, sqlstate, cause } = error;
  const begin = `Cannot load ${incoming.name} into ${name}`;
  if (code === "CONNECTION_LOST") {
    const reason = visible(cause instanceof Error ? cause.message : error.message);
    const state = done
      ? "Whether its rows are there is not known, since all of them were sent: look before you load them again."
      : "Nothing was loaded.";
    return new LakebaseError(code, `${begin}: the connection is lost: ${reason}\n${state}`, { cause, sqlstate });
  }
  if (code !== "QUERY_FAILED" || sqlstate === undefined) return error;
  const tip = loadTip(sqlstate, error.message, incoming.name);
  const lines = error.message.split("\n").filter((line) => tip === undefined || !line.startsWith("HINT: "));
  const hints = tip === undefined ? [] : [`HINT: ${tip}`];
  const message = [`${begin}: ${lines.join("\n")}`, ...hints, "Nothing was loaded."].join("\n");
  return new LakebaseError(code, message, { cause, sqlstate });
}

function loadTip(sqlstate: string, message: string, source: string): string | undefined {
  if (sqlstate === FEATURE_NOT_SUPPORTED && message.startsWith("cannot truncate")) {
    return "rows of another table refer to it; in a transaction, empty both yourself, then load without a mode: " +
      "db.transaction(async (tx) => { await tx.sql`TRUNCATE ...`; await tx.load(...) })";
  }
  if (!INTEGRITY.test(sqlstate)) return undefined;
  return `the server looks at this after the last row and does not say which it was: look for the value in ${source}`;
}

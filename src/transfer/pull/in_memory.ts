import { optionName } from "../../core/errors.ts";
import { suggestName } from "../../core/closest.ts";
import { quoteElement } from "../../core/sql_text.ts";
import type { FindSession } from "../../sql/run.ts";
import { stoppable, until } from "../../sql/stop.ts";
import { BUILT_IN } from "../../core/type_names.ts";
import { type Batch, type BatchColumn, type ColumnData, isSet } from "../columns/batch.ts";
import { exactTextReader } from "../columns/copy_cells.ts";
import { ENCODERS } from "../formats/file_format.ts";
import { startMeter } from "../progress.ts";
import { type FindVolumes, Stores, volumesOfSession } from "../stores.ts";
import { badPullOption, checkFormatOptions, checkPullOptions, type PullOptions, PullResult } from "./options.ts";
import { gzip, isTerminal, openSinks, planTarget, type PullTarget, type TargetPlan } from "./target.ts";

/** The approximate number of characters that are encoded at once. */
const BLOCK_LENGTH = 65_536;

/** The most rows of a row group of Parquet, or of a record batch of Arrow. */
const BATCH_ROWS = 131_072;

/** The options that need a COPY of the server. */
const SERVER_OPTIONS = ["parallel", "rowsPerFile", "partitionBy", "replace"] as const;

/** Rows column by column. They can be read once. */
interface BatchRows {
  /** The columns. */
  columns: readonly BatchColumn[];
  /** The rows. If the pull fails early, it reads none of them. */
  batches: AsyncIterable<Batch>;
  /** The number of rows, which the progress shows; `undefined` if unknown. */
  rows?: number | undefined;
}

/**
 * Writes rows in memory as `pull` writes rows of the server. Does not use the server.
 *
 * @param read Gives the rows; called after the options were checked.
 * @param find Finds the session of the rows, for a target in its workspace.
 */
export function pullFromMemory(
  columns: readonly BatchColumn[],
  read: () => Batch,
  target: PullTarget,
  options: PullOptions = {},
  find?: FindSession,
): Promise<PullResult> {
  const open = () => {
    const batch = read();
    const batches = (async function* () {
      yield await Promise.resolve(batch);
    })();
    return { columns, batches, rows: batch.rows };
  };
  return pullBatches("rows in memory", open, target, options, find && volumesOfSession(find));
}

/**
 * Writes rows that do not come from a COPY as `pull` writes the rows of a COPY.
 *
 * @param what The name of the rows in errors, such as "rows in memory".
 * @param open Gives the rows; called after the options were checked and the target was opened.
 * @param volumes Finds the Volumes of the rows' workspace.
 */
export async function pullBatches(
  what: string,
  open: (signal: AbortSignal | undefined) => BatchRows | Promise<BatchRows>,
  target: PullTarget,
  options: PullOptions = {},
  volumes?: FindVolumes,
): Promise<PullResult> {
  const started = performance.now();
  const checked = checkPullOptions(options);
  const plan = planBatches(what, target, checked);
  using stop = stoppable(checked, "the pull");
  const sinks = await openSinks(plan, checked, stop.signal, new Stores(volumes, stop.signal));
  const sink = sinks.all[0]!;
  const written = { rows: 0, bytes: 0 };
  try {
    const source = await open(stop.signal);
    const show = (checked.progress ?? true) && !isTerminal(plan.target);
    await using meter = startMeter({
      action: "Pulling",
      name: sink.name,
      totalRows: source.rows,
      onProgress: checked.onProgress,
      show,
    });
    const count = (rows: number) => {
      written.rows += rows;
      meter.add(rows, 0);
    };
    const encoded = await encode(source, plan, checked, count);
    for await (const bytes of plan.gzip ? gzip(encoded) : encoded) {
      await until(sink.write(bytes), stop.signal);
      stop.signal?.throwIfAborted();
      written.bytes += bytes.length;
      meter.add(0, bytes.length);
    }
    await until(sinks.flush(), stop.signal);
    await until(meter.complete(), stop.signal);
    await sinks.commit(stop.signal);
  } catch (error) {
    await sinks.abort(error, stop.signal);
    throw error;
  }
  return new PullResult({ ...written, paths: sinks.paths, to: sinks.name, elapsed: performance.now() - started });
}

/** Plans how rows are written that no COPY reads. Refuses options and targets that need a COPY. */
function planBatches(what: string, target: PullTarget, options: PullOptions): TargetPlan {
  const serverOption = SERVER_OPTIONS.find((name) => options[name] !== undefined);
  if (serverOption !== undefined) {
    throw badPullOption(`${optionName(serverOption)} is for rows that a COPY reads, and these are ${what}`);
  }
  const plan = planTarget(target, options);
  if (plan.folder) throw badPullOption(`${what} go into a file; a folder is for a table or a query of Postgres`);
  checkFormatOptions(options, plan.format);
  return plan;
}

/** A column that is written, and its position in the batches. */
interface ChosenColumn {
  index: number;
  column: BatchColumn;
}

function chooseColumns(columns: readonly BatchColumn[], names: readonly string[] | undefined): ChosenColumn[] {
  const keys = columns.map(({ name }) => name);
  return (names ?? keys).map((name) => {
    const index = keys.indexOf(name);
    if (index !== -1) return { index, column: columns[index]! };
    throw badPullOption(
      `${optionName("columns")} has "${name}", which is not a column; ${suggestName(name, keys, "columns")}`,
    );
  });
}

async function encode(
  source: BatchRows,
  { format }: TargetPlan,
  options: PullOptions,
  count: (rows: number) => void,
): Promise<AsyncIterable<Uint8Array>> {
  const chosen = chooseColumns(source.columns, options.columns);
  const columns = chosen.map(({ column }) => column);
  const batches = withColumns(source.batches, chosen, count);
  if (format !== "arrow" && format !== "parquet") return encodeText(batches, columns, format, options);
  const { compression, rowGroupSize } = options;
  const sized = (async function* () {
    for await (const batch of batches) yield* slices(batch, rowGroupSize ?? BATCH_ROWS);
  })();
  return (await ENCODERS[format]())((async function* () {})(), {
    columns,
    batches: sized,
    options: { compression, rowGroupSize },
  });
}

/** Gives the batches with the chosen columns only. Counts the rows of a batch after it has been written. */
async function* withColumns(
  batches: AsyncIterable<Batch>,
  chosen: readonly ChosenColumn[],
  count: (rows: number) => void,
): AsyncGenerator<Batch, void, void> {
  for await (const { rows, columns } of batches) {
    yield { rows, columns: chosen.map(({ index, column: { name } }) => ({ ...columns[index]!, name })) };
    count(rows);
  }
}

async function* encodeText(
  batches: AsyncIterable<Batch>,
  columns: readonly BatchColumn[],
  format: "csv" | "tsv" | "ndjson",
  options: PullOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const encoder = new TextEncoder();
  let text = format === "ndjson" ? "" : header(columns, format, options);
  for await (const batch of batches) {
    const line = format === "ndjson" ? ndjsonRows(batch, columns) : delimitedRows(batch, format, options);
    for (let row = 0; row < batch.rows; row++) {
      text += line(row);
      if (text.length < BLOCK_LENGTH) continue;
      yield encoder.encode(text);
      text = "";
      await new Promise<void>((resolve) => setTimeout(resolve)); // lets Stop and timers run
    }
  }
  yield encoder.encode(text);
}

/** Writes a row as a line. */
type Line = (row: number) => string;

function header(columns: readonly BatchColumn[], format: "csv" | "tsv", options: PullOptions): string {
  const { write, delimiter } = delimitedForm(columns.length, format, options);
  return options.header ?? true ? `${columns.map(({ name }) => write(name)).join(delimiter)}\n` : "";
}

/** Decides how values are written in CSV or TSV. */
function delimitedForm(columns: number, format: "csv" | "tsv", options: PullOptions) {
  const csv = format === "csv";
  const { delimiter = csv ? "," : "\t", nullText = csv ? "" : "\\N" } = options;
  const write = csv
    ? (text: string) => csvValue(text, delimiter, nullText, columns)
    : (text: string) => escaped(text, delimiter);
  return { write, delimiter, nullText };
}

function delimitedRows({ columns }: Batch, format: "csv" | "tsv", options: PullOptions): Line {
  const { write, delimiter, nullText } = delimitedForm(columns.length, format, options);
  const cells = columns.map((column) => serverText(column));
  return (row) => {
    const values = cells.map((cell) => {
      const text = cell(row);
      return text === null ? nullText : write(text);
    });
    return `${values.join(delimiter)}\n`;
  };
}

/**
 * Reads a column's values as the texts that the server writes. A boolean is one letter, and an array quotes only special
 * elements.
 */
export function serverText(column: ColumnData): (row: number) => string | null {
  const read = exactTextReader(column);
  const { offsets, child } = column;
  if (column.type.kind === "list") {
    const item = serverText(child!);
    return (row) => {
      if (read(row) === null) return null;
      const from = offsets![row]!;
      const items = Array.from({ length: offsets![row + 1]! - from }, (_, at) => item(from + at));
      return `{${items.map((text) => text === null ? "NULL" : arrayItem(text)).join(",")}}`;
    };
  }
  return column.type.kind === "bool" ? (row) => read(row)?.[0] ?? null : read;
}

function arrayItem(text: string): string {
  return /^(null)?$|[{}",\\\s]/i.test(text) ? quoteElement(text) : text;
}

/** Quotes a value as COPY does if a reader would take it for NULL, for the end of a value, or for the end of the data. */
function csvValue(text: string, delimiter: string, nullText: string, columns: number): string {
  const special = text === nullText || text.includes(delimiter) || /["\r\n]/.test(text) ||
    columns === 1 && text === "\\.";
  return special ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The escapes of COPY's text format. */
const ESCAPES: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

function escaped(text: string, delimiter: string): string {
  const plain = text.replace(/[\\\b\f\n\r\t\v]/g, (special) => ESCAPES[special]!);
  return delimiter === "\t" ? plain : plain.replaceAll(delimiter, `\\${delimiter}`);
}

function ndjsonRows(batch: Batch, columns: readonly BatchColumn[]): Line {
  const cells = batch.columns.map((column, index) => ({
    key: JSON.stringify(column.name),
    write: jsonCell(column, columns[index]!.oid),
  }));
  return (row) => `{${cells.map(({ key, write }) => `${key}:${write(row)}`).join(",")}}\n`;
}

/** Writes a value as `row_to_json` does. */
function jsonCell(column: ColumnData, oid: number): (row: number) => string {
  const read = exactTextReader(column);
  const { type, offsets, child } = column;
  const numeric = oid === BUILT_IN["numeric"]![0] || oid === BUILT_IN["numeric"]![1];
  switch (type.kind) {
    case "list": {
      const item = jsonCell(child!, oid);
      return (row) => {
        if (read(row) === null) return "null";
        const from = offsets![row]!;
        return `[${Array.from({ length: offsets![row + 1]! - from }, (_, at) => item(from + at)).join(",")}]`;
      };
    }
    case "bool":
    case "json":
      return (row) => read(row)?.replace(/[\r\n]/g, " ") ?? "null";
    case "timestamp":
      return (row) => textJson(read(row)?.replace(" ", "T").replace(/\+00$/, "+00:00") ?? null);
    case "text":
      return numeric ? (row) => numberJson(read(row)) : (row) => textJson(read(row));
    default: {
      const isNumber = ["int16", "int32", "int64", "uint32", "float32", "float64", "decimal"].includes(type.kind);
      return isNumber ? (row) => numberJson(read(row)) : (row) => textJson(read(row));
    }
  }
}

function textJson(text: string | null): string {
  return text === null ? "null" : JSON.stringify(text);
}

/** NaN and the infinities become strings, because JSON has no such numbers. */
function numberJson(text: string | null): string {
  return text === null || /\d/.test(text) ? text ?? "null" : JSON.stringify(text);
}

/** Divides a batch into batches of at most `maxRows` rows. */
function* slices(batch: Batch, maxRows: number): Generator<Batch, void, void> {
  if (batch.rows > 0 && batch.rows <= maxRows) return yield batch;
  for (let from = 0; from < batch.rows; from += maxRows) {
    const to = Math.min(batch.rows, from + maxRows);
    yield { rows: to - from, columns: batch.columns.map((column) => slice(column, from, to)) };
  }
}

function slice(column: ColumnData, from: number, to: number): ColumnData {
  const { type, nullBitmap, offsets, values, child } = column;
  const nulls = nullBitmap === undefined ? {} : { nullBitmap: bits(nullBitmap, from, to) };
  const nullCount = nulls.nullBitmap === undefined ? 0 : countClear(nulls.nullBitmap, to - from);
  const sliced = { ...column, ...nulls, nullCount, length: to - from };
  if (offsets !== undefined) {
    const [start, end] = [offsets[from]!, offsets[to]!];
    const moved = offsets.slice(from, to + 1).map((offset) => offset - start);
    return child === undefined
      ? { ...sliced, offsets: moved, values: values.subarray(start, end) }
      : { ...sliced, offsets: moved, child: slice(child, start, end) };
  }
  if (type.kind === "bool") return { ...sliced, values: bits(values as Uint8Array, from, to) };
  const width = type.kind === "uuid" ? 16 : type.kind === "decimal" ? 4 : 1;
  return { ...sliced, values: values.subarray(from * width, to * width) };
}

function bits(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (from % 8 === 0) return bytes.slice(from / 8, Math.ceil(to / 8));
  const out = new Uint8Array(Math.ceil((to - from) / 8));
  for (let at = from; at < to; at++) if (isSet(bytes, at)) out[(at - from) >> 3]! |= 1 << ((at - from) & 7);
  return out;
}

function countClear(bitmap: Uint8Array, length: number): number {
  let count = 0;
  for (let at = 0; at < length; at++) if (!isSet(bitmap, at)) count++;
  return count;
}

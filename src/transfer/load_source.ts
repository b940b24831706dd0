import { fileURLToPath } from "node:url";
import { closest } from "../closest.ts";
import { exactRows, Query } from "../query/query.ts";
import { Columns } from "./columns.ts";
import { isGlob } from "./glob.ts";
import { EXTENSIONS, FILE_FORMATS, type LoadFormat } from "./file_format.ts";
import type { Incoming } from "./incoming.ts";
import { type LoadBytes, openPath, openStream } from "./load_bytes.ts";
import { openDelimited } from "./load_delimited.ts";
import { bad, checkFormatOptions, type LoadOptions, type SourceOptions } from "./load_options.ts";
import { openRows } from "./load_rows.ts";
import { openNdjson } from "./ndjson_rows.ts";
import { peek } from "./peek.ts";

/** What can be loaded, rows and bytes alike; see `Queryable.load`. */
export type LoadSource = string | URL | Columns | Iterable<object | string> | AsyncIterable<object | string>;

/**
 * Opens what is to be loaded and looks at its beginning.
 *
 * @throws {LakebaseError} `BAD_FILE` for a file that can't be read, `BAD_PARAMETER` for what is no source.
 */
export async function openSource(
  source: unknown,
  options: LoadOptions,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  if (isPlace(source)) {
    const path = pathOf(source);
    return await isDataset(path) ? await openFiles([path], options, signal) : await openNamed(path, options);
  }
  if (Array.isArray(source) && source.length > 0 && source.every(isPlace)) {
    return await openFiles(source.map(pathOf), options, signal);
  }
  expectDataset(options);
  const { format } = options;
  const isSource = typeof source === "object" && source !== null;
  if (source instanceof Columns) return await openColumns(source, options);
  if (source instanceof Query) return await openQuery(source, options, signal);
  if (isSource && (Symbol.asyncIterator in source || Symbol.iterator in source)) {
    const iterable = source as AsyncIterable<unknown> | Iterable<unknown>;
    checkFormatOptions(options, format);
    if (format !== undefined) return await openStreamAs(format, iterable, options);
    if (source instanceof ReadableStream) return await openUnnamed(source, options);
    return await openRows(iterable, options);
  }
  const found = source === null ? "null" : isSource ? "an object" : `a ${typeof source}`;
  throw bad(`the source is ${found}; it must be rows, a file's path, or a stream of bytes with { format }`);
}

async function openColumns(columns: Columns, options: LoadOptions): Promise<Incoming> {
  checkFormatOptions(options, undefined);
  if (options.format !== undefined) throw bad("format is for files and streams of bytes; columns are none");
  const { columnsIncoming } = await import("./load_columnar.ts");
  return columnsIncoming(columns, options);
}

/**
 * All rows are read first: to read and write side by side would wait for itself in a transaction, on a pool's last connection,
 * and where the rows of the table that is read are replaced.
 */
async function openQuery(query: Query, options: LoadOptions, signal: AbortSignal | undefined): Promise<Incoming> {
  checkFormatOptions(options, undefined);
  if (options.format !== undefined) throw bad("format is for files and streams of bytes; a query is none");
  return await openRows(await exactRows(query, signal), options);
}

function isPlace(source: unknown): source is string | URL {
  return typeof source === "string" || source instanceof URL;
}

function pathOf(place: string | URL): string {
  if (typeof place === "string") return place;
  if (place.protocol === "file:") return fileURLToPath(place);
  throw bad(`the source is a URL of ${place.protocol}; fetch it: (await fetch(url)).body`);
}

/** Whether a path stands for several files: a folder, or a glob that is no file's own name. */
async function isDataset(path: string): Promise<boolean> {
  if (path === "-") return false;
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    return error instanceof Deno.errors.NotFound && (path.endsWith("/") || isGlob(path)); // else opening it says it
  }
}

async function openFiles(
  places: readonly string[],
  options: LoadOptions,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  const { listName, openDataset } = await import("./dataset.ts");
  return await openDataset(places, listName(places), options, { formatOf, open: openPart }, signal);
}

/** Spark writes an empty file for a part without rows. */
async function openPart(path: string, format: LoadFormat, options: SourceOptions): Promise<Incoming | undefined> {
  checkFormatOptions(options, format);
  if (format === "arrow" || format === "parquet") {
    const { openColumnar } = await import("./load_columnar.ts");
    return await openColumnar(path, format, options);
  }
  const bytes = await openPath(path);
  const peeked = await peek(bytes.chunks, (chunk) => chunk.length === 0);
  if (peeked.whole && peeked.head.every(({ length }) => length === 0)) return void await bytes[Symbol.asyncDispose]();
  return await openText(format, { ...bytes, chunks: peeked.rest() as AsyncIterable<Uint8Array> }, options);
}

function expectDataset({ partitions }: LoadOptions): void {
  if (partitions !== undefined) throw bad("partitions is for the files of a folder, a glob or a list");
}

async function openNamed(path: string, options: LoadOptions): Promise<Incoming> {
  expectDataset(options);
  const format = options.format ?? formatOf(path);
  checkFormatOptions(options, format);
  if (format === "arrow" || format === "parquet") {
    const { openColumnar } = await import("./load_columnar.ts");
    return await openColumnar(path, format, options);
  }
  return await openText(format, await openPath(path), options);
}

async function openStreamAs(
  format: LoadFormat,
  source: AsyncIterable<unknown> | Iterable<unknown>,
  options: LoadOptions,
): Promise<Incoming> {
  if (format === "parquet") {
    throw bad("a Parquet file is read from its end, so it can't be a stream; write it to a file first");
  }
  const bytes = await openStream(source);
  if (format !== "arrow") return await openText(format, bytes, options);
  const { openColumnar } = await import("./load_columnar.ts");
  return await openColumnar(bytes, format, options);
}

/** A stream of rows is as good as any other source of rows. */
async function openUnnamed(source: ReadableStream, options: LoadOptions): Promise<Incoming> {
  const rows = async function* () {
    for await (const chunk of source) {
      if (typeof chunk === "string" || chunk instanceof Uint8Array) {
        throw bad(
          `the stream gives bytes; say what they are: { format: "csv" } or another of ${FILE_FORMATS.join(", ")}`,
        );
      }
      yield chunk;
    }
  };
  return await openRows(rows(), options);
}

async function openText(format: LoadFormat, bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  try {
    if (format === "ndjson") return await openNdjson(bytes, options);
    return await openDelimited(bytes, options, format === "csv");
  } catch (error) {
    await bytes[Symbol.asyncDispose]();
    throw error;
  }
}

const READABLE: ReadonlyMap<string, LoadFormat> = new Map([...EXTENSIONS, ["feather", "arrow"]]);

function formatOf(path: string): LoadFormat {
  if (path === "-") throw bad('standard input has no extension; say what it is: { format: "csv" }');
  const name = path.split(/[/\\]/).at(-1)!.toLowerCase();
  const packed = name.endsWith(".gz");
  const extension = /\.([^.]+)$/.exec(packed ? name.slice(0, -".gz".length) : name)?.[1];
  const format = READABLE.get(extension ?? "");
  if (format !== undefined) return format;
  const near = extension === undefined ? undefined : closest(extension, READABLE.keys());
  const found = extension === undefined ? "it has no extension" : `its extension is .${extension}`;
  const hint = near === undefined
    ? `say what it is: { format: "csv" } or another of ${FILE_FORMATS.join(", ")}`
    : `did you mean .${near}?`;
  throw bad(`${path}: ${found}; ${hint}`);
}

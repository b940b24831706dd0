import { loadModule } from "../../core/lazy_import.ts";
import { type LakebaseError, optionText } from "../../core/errors.ts";
import { fileURLToPath } from "node:url";
import { closest } from "../../core/closest.ts";
import type { StoredRanges } from "../../core/file_store.ts";
import { typeText } from "../../core/text.ts";
import { ArrowRows, EXACT_ROWS, isRunnable, type RunnableFragment } from "../../sql/fragment.ts";
import { Columns } from "../columns/columns.ts";
import {
  type FileSignature,
  LOAD_EXTENSIONS,
  LOAD_FORMATS,
  type LoadFormat,
  SIGNATURE_BYTES,
  signatureOf,
} from "../formats/file_format.ts";
import type { ReadableFiles, Stores } from "../stores.ts";
import { badFile, type LoadBytes, openPath, openStandardInput, openStream, peek, unsupportedFile } from "./bytes.ts";
import type { openColumnar as OpenColumnar } from "./columnar.ts";
import type { FileOpener } from "./dataset.ts";
import { openDelimited } from "./delimited.ts";
import type { Incoming } from "./incoming.ts";
import { openJson, openNdjson } from "./json.ts";
import { badLoadOption, checkFormatOptions, type LoadOptions, type SourceOptions } from "./options.ts";
import { unreadableFile } from "../formats/file_rows.ts";
import { openRowObjects } from "./rows.ts";

/** A source of rows or bytes to load; see `Queryable.load`. */
export type LoadSource = string | URL | Columns | Iterable<object | string> | AsyncIterable<object | string>;

/**
 * Opens a source and reads its beginning.
 *
 * @param stores Finds the store of each file.
 * @throws {LakebaseError} `BAD_FILE` for a file that can't be read, `BAD_PARAMETER` for anything that is not a source.
 */
export async function openSource(
  source: unknown,
  options: LoadOptions,
  stores: Stores,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  if (isPath(source)) {
    const path = pathOf(source);
    if (path === "-") return await openInput(options);
    const files = await stores.files(path);
    return await isDataset(path, files)
      ? await openFiles([path], options, stores, signal)
      : await openSingleFile(path, files, options);
  }
  if (Array.isArray(source) && source.length > 0 && source.every(isPath)) {
    return await openFiles(source.map(pathOf), options, stores, signal);
  }
  refusePartitions(options);
  const { format } = options;
  const isSource = typeof source === "object" && source !== null;
  if (source instanceof Columns) return await openColumns(source, options);
  if (isRunnable(source)) return await openQuery(source, options, signal);
  if (isSource && (Symbol.asyncIterator in source || Symbol.iterator in source)) {
    const iterable = source as AsyncIterable<unknown> | Iterable<unknown>;
    checkFormatOptions(options, format);
    if (format !== undefined) return await openStreamAs(format, iterable, options);
    if (source instanceof ReadableStream) return await openRowStream(source, options);
    return await openRowObjects(iterable, options);
  }
  throw badLoadOption(
    `the source is ${typeText(source)}; it must be rows, a file's path, or a stream of bytes with { format }`,
  );
}

async function openColumns(columns: Columns, options: LoadOptions): Promise<Incoming> {
  checkFormatOptions(options, undefined);
  if (options.format !== undefined) throw badLoadOption("format is for files and streams of bytes, not for columns");
  const { openResultColumns } = await loadModule(() => import("./columnar.ts"));
  return openResultColumns(columns, options);
}

/**
 * Reads all rows of a Postgres query before any is written. Reading while writing would deadlock in a transaction, on a pool's
 * last connection, and in a load that replaces the rows of the table that it reads.
 */
async function openQuery(
  query: RunnableFragment,
  options: LoadOptions,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  checkFormatOptions(options, undefined);
  if (options.format !== undefined) throw badLoadOption("format is for files and streams of bytes, not for a query");
  const rows = await query[EXACT_ROWS](signal);
  if (!(rows instanceof ArrowRows)) return await openRowObjects(rows, options, "text");
  const { openArrowRows } = await loadModule(() => import("./columnar.ts")); // a SQL warehouse runs it, so it can be read while Postgres writes
  return await openArrowRows(rows, options);
}

function isPath(source: unknown): source is string | URL {
  return typeof source === "string" || source instanceof URL;
}

function pathOf(path: string | URL): string {
  if (typeof path === "string") return path;
  if (path.protocol === "file:") return fileURLToPath(path);
  throw badLoadOption(`the source is a URL of ${path.protocol}; fetch it: (await fetch(url)).body`);
}

/**
 * Whether a path stands for several files: a folder, or a glob that is not the name of a file. A path that does not exist counts
 * too, because the error of the search for files suggests a similar name.
 */
async function isDataset(path: string, files: ReadableFiles): Promise<boolean> {
  return (await files.stat(path))?.isFolder ?? true;
}

async function openFiles(
  paths: readonly string[],
  options: LoadOptions,
  stores: Stores,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  const { listName, openDataset } = await loadModule(() => import("./dataset.ts"));
  const opener: FileOpener = {
    filesOf: (path) => stores.files(path),
    formatOf: async (path) => await formatOf(path, await stores.files(path)),
    open: async (path, format, options) => await openDatasetFile(path, await stores.files(path), format, options),
  };
  return await openDataset(paths, listName(paths), options, opener, signal);
}

/** Opens a file of a dataset; `undefined` for an empty text file, which Spark writes for a part without rows. */
async function openDatasetFile(
  path: string,
  files: ReadableFiles,
  format: LoadFormat,
  options: SourceOptions,
): Promise<Incoming | undefined> {
  checkFormatOptions(options, format);
  if (isColumnar(format)) return await openColumnarFile(path, files, format, options);
  const bytes = await openPath(path, files, options.name);
  const peeked = await peek(bytes.chunks, (chunk) => chunk.length === 0);
  if (peeked.whole && peeked.head.every(({ length }) => length === 0)) return void await bytes[Symbol.asyncDispose]();
  return await openTextFormat(format, { ...bytes, chunks: peeked.all() as AsyncIterable<Uint8Array> }, options);
}

/** Refuses the option `partitions` for a source that has no folders. */
function refusePartitions({ partitions }: LoadOptions): void {
  if (partitions !== undefined) throw badLoadOption("partitions is for the files of a folder, a glob or a list");
}

async function openSingleFile(path: string, files: ReadableFiles, options: LoadOptions): Promise<Incoming> {
  refusePartitions(options);
  const format = options.format ?? await formatOf(path, files);
  checkFormatOptions(options, format);
  if (isColumnar(format)) return await openColumnarFile(path, files, format, options);
  return await openTextFormat(format, await openPath(path, files), options);
}

async function openInput(options: LoadOptions): Promise<Incoming> {
  refusePartitions(options);
  const { format } = options;
  if (format === undefined) {
    throw badLoadOption(`standard input has no extension; name its format: ${optionText({ format: "csv" })}`);
  }
  checkFormatOptions(options, format);
  if (format === "parquet") throw unseekableParquet("-", "write it to a file first");
  const bytes = await openStandardInput();
  if (format !== "arrow") return await openTextFormat(format, bytes, options);
  return await openColumnarAs(bytes, format, options);
}

function isColumnar(format: LoadFormat): format is "arrow" | "parquet" {
  return format === "arrow" || format === "parquet";
}

/**
 * Opens a file for readers that read parts of it, by its path or by ranges of a store. Packed Arrow is read as a
 * stream.
 */
async function openColumnarFile(
  path: string,
  files: ReadableFiles,
  format: "arrow" | "parquet",
  options: SourceOptions,
): Promise<Incoming> {
  if (files.isLocal && await isPipe(path)) return await openColumnarAs(path, format, options);
  const ranges = await files.openRanges(path);
  let isKept = false;
  try {
    const signature = await signatureIn(ranges);
    if (signature === "gzip" || signature === "zstd") {
      if (format === "parquet") throw unseekableParquet(path, `unpack it first, with ${UNPACKERS[signature]}`);
      return await openColumnarAs(await openPath(path, files, options.name), format, options);
    }
    const error = unsupportedFile(path, signature) ?? otherFormat(path, format, signature);
    if (error !== undefined) throw error;
    if (files.isLocal) return await openColumnarAs(path, format, options);
    isKept = true;
    return await openColumnarAs({ name: path, ranges }, format, options);
  } finally {
    if (!isKept) await ranges.close();
  }
}

async function openColumnarAs(...args: Parameters<typeof OpenColumnar>): Promise<Incoming> {
  const { openColumnar } = await loadModule(() => import("./columnar.ts"));
  return await openColumnar(...args);
}

function unseekableParquet(path: string, instead: string): LakebaseError {
  return badLoadOption(`a Parquet file is read from its end, so it can't be read from ${path}; ${instead}`);
}

const UNPACKERS = { gzip: "gunzip", zstd: "unzstd" } as const;

/** The file type that the first bytes show; `undefined` for a pipe, because its bytes can be read only once. */
async function readSignature(path: string, files: ReadableFiles): Promise<FileSignature | "json" | undefined> {
  if (files.isLocal && await isPipe(path)) return undefined;
  const ranges = await files.openRanges(path);
  try {
    return await signatureIn(ranges);
  } finally {
    await ranges.close();
  }
}

async function signatureIn(ranges: StoredRanges): Promise<FileSignature | "json" | undefined> {
  const start = await ranges.read(0, SIGNATURE_BYTES);
  return signatureOf(start) ?? (/^\s*[{[]/.test(new TextDecoder().decode(start)) ? "json" : undefined);
}

async function isPipe(path: string): Promise<boolean> {
  const { isFile, isDirectory } = await Deno.stat(path).catch((cause) => {
    throw unreadableFile(path, cause);
  });
  return !isFile && !isDirectory;
}

function formatByContent(path: string, signature: FileSignature | "json" | undefined): LoadFormat {
  if (signature === "parquet" || signature === "arrow" || signature === "json") return signature;
  throw unsupportedFile(path, signature) ?? unknownFormat(path);
}

async function openStreamAs(
  format: LoadFormat,
  source: AsyncIterable<unknown> | Iterable<unknown>,
  options: LoadOptions,
): Promise<Incoming> {
  if (format === "parquet") {
    throw badLoadOption("a Parquet file is read from its end, so it can't be a stream; write it to a file first");
  }
  const bytes = await openStream(source);
  if (format !== "arrow") return await openTextFormat(format, bytes, options);
  return await openColumnarAs(bytes, format, options);
}

/** Opens a stream of rows. Refuses a stream of bytes, whose format is unknown. */
async function openRowStream(source: ReadableStream, options: LoadOptions): Promise<Incoming> {
  const rows = async function* () {
    for await (const chunk of source) {
      if (typeof chunk === "string" || chunk instanceof Uint8Array) {
        throw badLoadOption(
          `the stream gives bytes; name their format: ${optionText({ format: "csv" })} or another of ${
            LOAD_FORMATS.join(", ")
          }`,
        );
      }
      yield chunk;
    }
  };
  return await openRowObjects(rows(), options);
}

async function openTextFormat(format: LoadFormat, bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  try {
    const error = otherFormat(bytes.name, format, bytes.signature);
    if (error !== undefined) throw error;
    if (format === "ndjson") return await openNdjson(bytes, options);
    if (format === "json") return await openJson(bytes, options);
    return await openDelimited(bytes, options, format === "csv");
  } catch (error) {
    await bytes[Symbol.asyncDispose]();
    throw error;
  }
}

/** The error for an Arrow or Parquet file that is to be read in another format. */
function otherFormat(
  name: string,
  format: LoadFormat,
  signature: FileSignature | "json" | undefined,
): LakebaseError | undefined {
  if (signature !== "parquet" && signature !== "arrow" || signature === format) return undefined;
  return badFile(
    `Cannot load ${name} as ${format}: it is a file of format "${signature}"; use ${optionText({ format: signature })}`,
  );
}

/** The extensions of packed files, which say nothing about the format. */
const PACKED = /\.(?:gz|gzip|zst|zstd)$/;

/** The format of a file, by its extension or else by its first bytes. */
async function formatOf(path: string, files: ReadableFiles): Promise<LoadFormat> {
  return LOAD_EXTENSIONS.get(extensionOf(path) ?? "") ?? formatByContent(path, await readSignature(path, files));
}

function extensionOf(path: string): string | undefined {
  const name = path.split(/[/\\]/).at(-1)!.toLowerCase().replace(PACKED, "");
  return /\.([^.]+)$/.exec(name)?.[1];
}

function unknownFormat(path: string): LakebaseError {
  const extension = extensionOf(path);
  const similar = extension === undefined ? undefined : closest(extension, LOAD_EXTENSIONS.keys());
  const problem = extension === undefined ? "it has no extension" : `its extension is .${extension}`;
  const hint = similar === undefined
    ? `name its format: ${optionText({ format: "csv" })} or another of ${LOAD_FORMATS.join(", ")}`
    : `did you mean .${similar}?`;
  return badLoadOption(`${path}: ${problem}; ${hint}`);
}

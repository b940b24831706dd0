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
import type { Readable, Stores } from "../stores.ts";
import { badFile, foreignFile, type LoadBytes, openPath, openStandardInput, openStream, peek } from "./bytes.ts";
import type { openColumnar as OpenColumnar } from "./columnar.ts";
import type { OpenFiles } from "./dataset.ts";
import { openDelimited } from "./delimited.ts";
import type { Incoming } from "./incoming.ts";
import { openJson, openNdjson } from "./json.ts";
import { badLoadOption, checkFormatOptions, type LoadOptions, type SourceOptions } from "./options.ts";
import { unreadableFile } from "../formats/file_rows.ts";
import { openRows } from "./rows.ts";

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
  if (isPlace(source)) {
    const path = pathOf(source);
    if (path === "-") return await openInput(options);
    const files = await stores.files(path);
    return await isDataset(path, files)
      ? await openFiles([path], options, stores, signal)
      : await openNamed(path, files, options);
  }
  if (Array.isArray(source) && source.length > 0 && source.every(isPlace)) {
    return await openFiles(source.map(pathOf), options, stores, signal);
  }
  expectDataset(options);
  const { format } = options;
  const isSource = typeof source === "object" && source !== null;
  if (source instanceof Columns) return await openColumns(source, options);
  if (isRunnable(source)) return await openQuery(source, options, signal);
  if (isSource && (Symbol.asyncIterator in source || Symbol.iterator in source)) {
    const iterable = source as AsyncIterable<unknown> | Iterable<unknown>;
    checkFormatOptions(options, format);
    if (format !== undefined) return await openStreamAs(format, iterable, options);
    if (source instanceof ReadableStream) return await openUnnamed(source, options);
    return await openRows(iterable, options);
  }
  throw badLoadOption(
    `the source is ${typeText(source)}; it must be rows, a file's path, or a stream of bytes with { format }`,
  );
}

async function openColumns(columns: Columns, options: LoadOptions): Promise<Incoming> {
  checkFormatOptions(options, undefined);
  if (options.format !== undefined) throw badLoadOption("format is for files and streams of bytes; columns are none");
  const { columnsIncoming } = await import("./columnar.ts");
  return columnsIncoming(columns, options);
}

/**
 * Reads all rows of a Postgres query before it writes. Reading while writing would deadlock in three cases: in a
 * transaction, on a pool's last connection, and in a load that replaces the rows of the table that it reads.
 */
async function openQuery(
  query: RunnableFragment,
  options: LoadOptions,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  checkFormatOptions(options, undefined);
  if (options.format !== undefined) throw badLoadOption("format is for files and streams of bytes; a query is none");
  const rows = await query[EXACT_ROWS](signal);
  if (!(rows instanceof ArrowRows)) return await openRows(rows, options, "text");
  const { openArrowRows } = await import("./columnar.ts"); // a warehouse runs it, so reading can't wait for writing
  return await openArrowRows(rows, options);
}

function isPlace(source: unknown): source is string | URL {
  return typeof source === "string" || source instanceof URL;
}

function pathOf(place: string | URL): string {
  if (typeof place === "string") return place;
  if (place.protocol === "file:") return fileURLToPath(place);
  throw badLoadOption(`the source is a URL of ${place.protocol}; fetch it: (await fetch(url)).body`);
}

/**
 * Whether a path stands for several files: a folder, or a glob that is not the name of a file. What does not exist counts as well,
 * since the search for files names what is near.
 */
async function isDataset(path: string, files: Readable): Promise<boolean> {
  return (await files.stat(path))?.isFolder ?? true;
}

async function openFiles(
  places: readonly string[],
  options: LoadOptions,
  stores: Stores,
  signal: AbortSignal | undefined,
): Promise<Incoming> {
  const { listName, openDataset } = await import("./dataset.ts");
  const opening: OpenFiles = {
    filesOf: (path) => stores.files(path),
    formatOf: async (path) => await formatOf(path, await stores.files(path)),
    open: async (path, format, options) => await openPart(path, await stores.files(path), format, options),
  };
  return await openDataset(places, listName(places), options, opening, signal);
}

/** Opens a file of a dataset; `undefined` for an empty text file, which Spark writes for a part without rows. */
async function openPart(
  path: string,
  files: Readable,
  format: LoadFormat,
  options: SourceOptions,
): Promise<Incoming | undefined> {
  checkFormatOptions(options, format);
  if (isColumnar(format)) return await openColumnarFile(path, files, format, options);
  const bytes = await openPath(path, files);
  const peeked = await peek(bytes.chunks, (chunk) => chunk.length === 0);
  if (peeked.whole && peeked.head.every(({ length }) => length === 0)) return void await bytes[Symbol.asyncDispose]();
  return await openText(format, { ...bytes, chunks: peeked.rest() as AsyncIterable<Uint8Array> }, options);
}

function expectDataset({ partitions }: LoadOptions): void {
  if (partitions !== undefined) throw badLoadOption("partitions is for the files of a folder, a glob or a list");
}

async function openNamed(path: string, files: Readable, options: LoadOptions): Promise<Incoming> {
  expectDataset(options);
  const format = options.format ?? await formatOf(path, files);
  checkFormatOptions(options, format);
  if (isColumnar(format)) return await openColumnarFile(path, files, format, options);
  return await openText(format, await openPath(path, files), options);
}

async function openInput(options: LoadOptions): Promise<Incoming> {
  expectDataset(options);
  const { format } = options;
  if (format === undefined) {
    throw badLoadOption(`standard input has no extension; name its format: ${optionText({ format: "csv" })}`);
  }
  checkFormatOptions(options, format);
  if (format === "parquet") throw unseekable("-", "write it to a file first");
  const bytes = await openStandardInput();
  if (format !== "arrow") return await openText(format, bytes, options);
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
  files: Readable,
  format: "arrow" | "parquet",
  options: SourceOptions,
): Promise<Incoming> {
  if (files.here && await isPipe(path)) return await openColumnarAs(path, format, options);
  const ranges = await files.openRanges(path);
  let kept = false;
  try {
    const signature = await signatureIn(ranges);
    if (signature === "gzip" || signature === "zstd") {
      if (format === "parquet") throw unseekable(path, `unpack it first, with ${UNPACKERS[signature]}`);
      return await openColumnarAs(await openPath(path, files), format, options);
    }
    const foreign = foreignFile(path, signature) ?? otherFormat(path, format, signature);
    if (foreign !== undefined) throw foreign;
    if (files.here) return await openColumnarAs(path, format, options);
    kept = true;
    return await openColumnarAs({ name: path, ranges }, format, options);
  } finally {
    if (!kept) await ranges.close();
  }
}

async function openColumnarAs(...how: Parameters<typeof OpenColumnar>): Promise<Incoming> {
  const { openColumnar } = await import("./columnar.ts");
  return await openColumnar(...how);
}

function unseekable(path: string, instead: string): LakebaseError {
  return badLoadOption(`a Parquet file is read from its end, so it can't be read from ${path}; ${instead}`);
}

const UNPACKERS = { gzip: "gunzip", zstd: "unzstd" } as const;

/** The file type that the first bytes show; `undefined` for a pipe, whose bytes can be read only once. */
async function readSignature(path: string, files: Readable): Promise<FileSignature | "json" | undefined> {
  if (files.here && await isPipe(path)) return undefined;
  const ranges = await files.openRanges(path);
  try {
    return await signatureIn(ranges);
  } finally {
    await ranges.close();
  }
}

async function signatureIn(ranges: StoredRanges): Promise<FileSignature | "json" | undefined> {
  const found = await ranges.read(0, SIGNATURE_BYTES);
  return signatureOf(found) ?? (/^\s*[{[]/.test(new TextDecoder().decode(found)) ? "json" : undefined);
}

async function isPipe(path: string): Promise<boolean> {
  const { isFile, isDirectory } = await Deno.stat(path).catch((cause) => {
    throw unreadableFile(path, cause);
  });
  return !isFile && !isDirectory;
}

function formatByContent(path: string, signature: FileSignature | "json" | undefined): LoadFormat {
  if (signature === "parquet" || signature === "arrow" || signature === "json") return signature;
  throw foreignFile(path, signature) ?? unknownFormat(path);
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
  if (format !== "arrow") return await openText(format, bytes, options);
  return await openColumnarAs(bytes, format, options);
}

/** Opens a stream of rows, and refuses bytes, whose format is unknown. */
async function openUnnamed(source: ReadableStream, options: LoadOptions): Promise<Incoming> {
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
  return await openRows(rows(), options);
}

async function openText(format: LoadFormat, bytes: LoadBytes, options: SourceOptions): Promise<Incoming> {
  try {
    const other = otherFormat(bytes.name, format, bytes.signature);
    if (other !== undefined) throw other;
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

/** Extensions for a file's compression, not its format. */
const PACKED = /\.(?:gz|gzip|zst|zstd)$/;

/** The format of a file, by its extension or else by its first bytes. */
async function formatOf(path: string, files: Readable): Promise<LoadFormat> {
  return LOAD_EXTENSIONS.get(extensionOf(path) ?? "") ?? formatByContent(path, await readSignature(path, files));
}

function extensionOf(path: string): string | undefined {
  const name = path.split(/[/\\]/).at(-1)!.toLowerCase().replace(PACKED, "");
  return /\.([^.]+)$/.exec(name)?.[1];
}

function unknownFormat(path: string): LakebaseError {
  const extension = extensionOf(path);
  const near = extension === undefined ? undefined : closest(extension, LOAD_EXTENSIONS.keys());
  const found = extension === undefined ? "it has no extension" : `its extension is .${extension}`;
  const hint = near === undefined
    ? `name its format: ${optionText({ format: "csv" })} or another of ${LOAD_FORMATS.join(", ")}`
    : `did you mean .${near}?`;
  return badLoadOption(`${path}: ${found}; ${hint}`);
}

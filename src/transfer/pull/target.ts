import { basename, dirname, extname } from "node:path";
import { fileURLToPath } from "node:url";
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { closest } from "../../core/closest.ts";
import { optionText } from "../../core/errors.ts";
import type { FileStore } from "../../core/file_store.ts";
import { typeText } from "../../core/text.ts";
import { until } from "../../sql/stop.ts";
import { EXTENSIONS, FILE_FORMATS, type PullFormat } from "../formats/file_format.ts";
import { Stores } from "../stores.ts";
import { badTarget, openFileTarget, writeAll } from "./file_target.ts";
import { PullFolder } from "./folder.ts";
import { badPullOption, checkFolderOptions, MAX_PARALLEL, type PullOptions } from "./options.ts";

/** The target of a pull: the path or URL of a file, a stream, or `-` for standard output. */
export type PullTarget = string | URL | WritableStream<Uint8Array>;

/** An open target. */
export interface Sink {
  /** The name of the target in a message. */
  readonly name: string;
  /** The path, for a file. */
  readonly path?: string;
  /** What happened to the written bytes after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** Writes bytes, and waits until the target can take more, which may never happen. */
  write(bytes: Uint8Array): Promise<void>;
  /** Syncs the written bytes, so that afterwards little can fail. */
  flush?(): Promise<void>;
  /**
   * Completes the target after the last byte. If this fails, the caller calls `abort`.
   *
   * @param signal Ends the wait for the reader of a stream. Replacing a file can't be stopped.
   */
  commit(signal: AbortSignal | undefined): Promise<void>;
  /**
   * Removes the written bytes after a failure.
   *
   * @param signal Ends the wait for a stream.
   */
  abort(reason: unknown, signal: AbortSignal | undefined): Promise<void>;
}

/** The target of a pull, and how it is written. */
export interface TargetPlan {
  /** A path, a stream, or standard output. */
  target: string | WritableStream<Uint8Array>;
  /** The format. */
  format: PullFormat;
  /** Whether the bytes are compressed with gzip. */
  gzip: boolean;
  /** Whether the target is a folder of several files. */
  folder: boolean;
}

/**
 * Finds out how a target is written.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value that is not a target or has no format.
 */
export function planTarget(target: PullTarget, options: PullOptions): TargetPlan {
  const path = target instanceof URL ? pathOf(target) : target;
  if (typeof path !== "string" && !(path instanceof WritableStream)) {
    throw badPullOption(`the target is ${typeText(path)}; it must be a path, a WritableStream or "-"`);
  }
  if (typeof path === "string" && (path === "" || path.includes("\0"))) {
    throw badPullOption(`the target is ${JSON.stringify(path)}, which is not a path`);
  }
  const folder = typeof path === "string" && path.endsWith("/");
  checkFolderOptions(options, path, folder);
  if (folder) return { target: path, format: options.format ?? "parquet", gzip: options.gzip ?? false, folder };
  const filePath = typeof path === "string" && path !== "-" ? path : undefined;
  const endsInGz = filePath !== undefined && /\.gz$/i.test(filePath);
  const format = options.format ?? formatOf(filePath, endsInGz);
  const isText = format !== "arrow" && format !== "parquet";
  if (endsInGz && !isText) throw badPullOption(`${format} is not compressed as a whole; leave out .gz`);
  return { target: path, format, gzip: options.gzip ?? endsInGz, folder };
}

/**
 * Opens a target.
 *
 * @param store The store of a path; `undefined` for this machine.
 * @throws {LakebaseError} `BAD_FILE` for a file that can't be written.
 */
export async function openTarget(
  target: TargetPlan["target"],
  signal: AbortSignal | undefined,
  store?: FileStore,
): Promise<Sink> {
  if (isStandardOutput(target)) return STANDARD_OUTPUT;
  if (typeof target !== "string") return streamSink(target);
  return store === undefined ? await openFileTarget(target, signal) : await openStoredFile(store, target);
}

/**
 * Opens a file of a store for writing. Until the file is complete, the store shows the old file of that name, if there is
 * one.
 *
 * @throws {LakebaseError} `BAD_FILE` for a folder, and for a Volume that does not exist.
 */
async function openStoredFile(store: FileStore, path: string): Promise<Sink> {
  const entry = await store.stat(path);
  if (entry?.isFolder) {
    throw badTarget(
      path,
      `it is a folder; name a file in it, or write several files with ${JSON.stringify(`${path}/`)}`,
    );
  }
  const writer = store.create(path, entry);
  return {
    name: basename(path),
    path,
    outcome: `they were removed, and ${path} is as it was`,
    write: (bytes) => writer.write(bytes),
    commit: (signal) => until(writer.close(), signal),
    abort: async () => void await writer.abort(),
  };
}

/** Whether the rows appear on a terminal, where the progress line would mix with them. */
export function isTerminal(target: TargetPlan["target"]): boolean {
  return isStandardOutput(target) && Deno.stdout.isTerminal();
}

function isStandardOutput(target: TargetPlan["target"]): boolean {
  return target === "-" || target === Deno.stdout.writable;
}

/** Standard output belongs to the program, so it stays open. */
const STANDARD_OUTPUT: Sink = {
  name: "standard output",
  outcome: "standard output got only a part of them",
  write: (bytes) => writeAll(Deno.stdout, bytes, "standard output"),
  commit: () => Promise.resolve(),
  abort: () => Promise.resolve(),
};

function streamSink(stream: WritableStream<Uint8Array>): Sink {
  if (stream.locked) throw badPullOption("the stream is locked: something else writes to it");
  const writer = stream.getWriter();
  return {
    name: "the stream",
    outcome: "the stream was aborted",
    write: async (bytes) => {
      await writer.ready;
      await writer.write(bytes);
    },
    commit: (signal) => until(writer.close(), signal),
    abort: (reason, signal) => until(writer.abort(reason), signal).catch(() => {}), // the stream may have failed before
  };
}

/** Finds the format of a path by its extension. */
function formatOf(path: string | undefined, endsInGz: boolean): PullFormat {
  const formats = FILE_FORMATS.join(", ");
  if (path === undefined) {
    throw badPullOption(
      `the target has no name that shows the format; give ${optionText({ format: "csv" })} or another of ${formats}`,
    );
  }
  const extension = extname(endsInGz ? path.slice(0, -3) : path).slice(1);
  const format = EXTENSIONS.get(extension.toLowerCase());
  if (format !== undefined) return format;
  const similar = closest(extension, EXTENSIONS.keys());
  const hint = similar === undefined
    ? `use one of ${formats}, or give ${optionText({ format: "csv" })}`
    : `did you mean .${similar}?`;
  throw badPullOption(
    `${path} ends in ${extension === "" ? "no extension" : `.${extension}`}, which is not a known format; ${hint}`,
  );
}

function pathOf(url: URL): string {
  if (url.protocol !== "file:") {
    throw badPullOption(`the target is a URL of ${url.protocol}; give a path or a file: URL`);
  }
  return fileURLToPath(url);
}

/** Stands for the number of a file in the name of several files. */
const NUMBER = "{n}";

/** The open targets of a pull: a single one, or one for each connection. */
export interface Sinks {
  /** All targets; empty for a folder. */
  readonly all: readonly Sink[];
  /** The folder, if the target is one. */
  readonly folder?: PullFolder;
  /** The name of the targets in a result. */
  readonly name: string;
  /** Whether there may be several files. */
  readonly severalFiles: boolean;
  /** What happened to the written bytes after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** The paths of the files. */
  readonly paths: readonly string[];
  /** Syncs the written bytes of all targets. */
  flush(): Promise<void>;
  /** Completes all targets after they were flushed; see {@linkcode Sink.commit}. */
  commit(signal: AbortSignal | undefined): Promise<void>;
  /** Removes the written bytes after a failure. */
  abort(reason: unknown, signal: AbortSignal | undefined): Promise<void>;
}

/**
 * Opens the targets of a pull.
 *
 * @throws {LakebaseError} `BAD_FILE` if one of them can't be written, `BAD_PARAMETER` for `{n}` without `parallel`.
 */
export async function openSinks(
  { target, format, gzip, folder }: TargetPlan,
  { parallel, partitionBy = [], replace = false }: PullOptions,
  signal: AbortSignal | undefined,
  stores: Stores = new Stores(undefined, signal),
): Promise<Sinks> {
  const store = typeof target === "string" ? await stores.of(target) : undefined;
  if (folder) {
    const options = { format, gzip, partitionBy, replace };
    return folderSinks(await PullFolder.open(target as string, options, store), parallel);
  }
  if (typeof target !== "string" || !target.includes(NUMBER)) {
    return fileSinks([await openTarget(target, signal, store)]);
  }
  if (parallel === undefined) {
    throw badPullOption(`${target} means several files; give their number with ${optionText({ parallel: 2 })}`);
  }
  await refuseLeftovers(target, parallel, store);
  const sinks: Sink[] = [];
  try {
    for (let n = 1; n <= parallel; n++) sinks.push(await openTarget(numbered(target, n), signal, store));
  } catch (error) {
    await fileSinks(sinks, target).abort(error, signal);
    throw error;
  }
  return fileSinks(sinks, target);
}

function folderSinks(folder: PullFolder, parallel = 1): Sinks {
  return {
    all: [],
    folder,
    name: folder.name,
    severalFiles: parallel > 1,
    get outcome() {
      return folder.outcome;
    },
    paths: folder.paths,
    flush: () => Promise.resolve(), // each file was synced when it was written
    commit: () => folder.commit(),
    abort: () => folder.abort(),
  };
}

function numbered(pattern: string, n: number): string {
  return pattern.replaceAll(NUMBER, String(n));
}

/** Refuses leftover files: a reader of `trips-*.parquet` would also read files of an earlier pull on more connections. */
async function refuseLeftovers(pattern: string, parallel: number, store: FileStore | undefined): Promise<void> {
  const entries = store === undefined ? undefined : await store.list(dirname(pattern));
  const names = entries && new Set(entries.map(({ name }) => name));
  for (let n = parallel + 1; n <= MAX_PARALLEL; n++) {
    const leftover = numbered(pattern, n);
    const exists = names?.has(basename(leftover)) ?? await Deno.lstat(leftover).then(() => true, () => false);
    if (!exists) continue;
    const files = parallel === 1 ? "1 file" : `${parallel} files`;
    throw badTarget(
      pattern,
      `the pull writes ${files}, and ${leftover} exists, which a reader of all files would read ` +
        "too; delete it, or choose another name",
    );
  }
}

function fileSinks(all: readonly Sink[], pattern?: string): Sinks {
  let committed = 0;
  return {
    all,
    severalFiles: pattern !== undefined,
    get outcome() {
      if (pattern === undefined) return all[0]!.outcome;
      if (committed === 0) return "they were removed, and no file was replaced";
      return `${committed} of ${all.length} files are complete, and the others were removed`;
    },
    name: pattern === undefined ? all[0]!.name : basename(pattern),
    paths: all.flatMap(({ path }) => path ?? []),
    flush: async () => {
      for (const sink of all) await sink.flush?.(); // no file is replaced before all of them are complete
    },
    commit: async (signal) => {
      for (const sink of all) {
        await sink.commit(signal);
        committed++;
      }
    },
    abort: async (reason, signal) => {
      await Promise.all(all.map((sink) => sink.abort(reason, signal)));
    },
  };
}

/** This level makes tables as small as the default level 6 does, in less than half the time. */
const GZIP_LEVEL = 4;
const CHUNK_BYTES = 131_072;

/** Compresses bytes with gzip. */
export async function* gzip(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const compressor = createGzip({ level: GZIP_LEVEL, chunkSize: CHUNK_BYTES });
  pipeline(Readable.from(source, { objectMode: false }), compressor, () => {}); // the compressor passes the error on
  yield* compressor as AsyncIterable<Uint8Array>;
}

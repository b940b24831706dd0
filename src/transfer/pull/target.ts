import { basename, extname } from "node:path";
import { fileURLToPath } from "node:url";
import { pipeline, Readable } from "node:stream";
import { createGzip } from "node:zlib";
import { closest } from "../../core/closest.ts";
import { LakebaseError, optionText } from "../../core/errors.ts";
import { until } from "../../sql/stop.ts";
import { EXTENSIONS, FILE_FORMATS, type PullFormat } from "../formats/file_format.ts";
import { openFileTarget, writeAll } from "./file_target.ts";
import { PullFolder } from "./folder.ts";
import { bad, checkFolderOptions, MOST_PARALLEL, type PullOptions } from "./options.ts";

/** Where a pull writes: a file's path or URL, a stream, or `-` for standard output. */
export type PullTarget = string | URL | WritableStream<Uint8Array>;

/** A target that is open. */
export interface Sink {
  /** What an error calls it. */
  readonly name: string;
  /** Its path, where it is a file. */
  readonly path?: string;
  /** What becomes of what was written after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** Takes bytes, and waits until it can take more, which may be never. */
  write(bytes: Uint8Array): Promise<void>;
  /** Makes sure that what was written is kept, so that little can fail after it. */
  flush?(): Promise<void>;
  /**
   * All has been written; who calls it, calls `abort` should it fail.
   *
   * @param signal Ends the wait for who has to take the end. What can't be taken back once it is under way does not heed it.
   */
  commit(signal: AbortSignal | undefined): Promise<void>;
  /**
   * It failed: what was written is removed.
   *
   * @param signal Ends the wait for that.
   */
  abort(reason: unknown, signal: AbortSignal | undefined): Promise<void>;
}

/** What will be written, and how. */
export interface TargetPlan {
  /** A path, a stream, or standard output. */
  target: string | WritableStream<Uint8Array>;
  /** The format. */
  format: PullFormat;
  /** Whether it is packed. */
  gzip: boolean;
  /** Whether it is a folder of several files. */
  folder: boolean;
}

/**
 * How a target will be written.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for what is no target, or has no format.
 */
export function planTarget(target: PullTarget, options: PullOptions): TargetPlan {
  const place = target instanceof URL ? pathOf(target) : target;
  if (typeof place !== "string" && !(place instanceof WritableStream)) {
    throw bad(
      `the target is ${
        place === null || place === undefined ? String(place) : `a ${typeof place}`
      }; it must be a path, a WritableStream or "-"`,
    );
  }
  if (typeof place === "string" && (place === "" || place.includes("\0"))) {
    throw bad(`the target is ${JSON.stringify(place)}, which is no path`);
  }
  const folder = typeof place === "string" && place.endsWith("/");
  checkFolderOptions(options, place, folder);
  if (folder) return { target: place, format: options.format ?? "parquet", gzip: options.gzip ?? false, folder };
  const named = typeof place === "string" && place !== "-" ? place : undefined;
  const packed = named !== undefined && /\.gz$/i.test(named);
  const format = options.format ?? formatOf(named, packed);
  const text = format !== "arrow" && format !== "parquet";
  if (packed && !text) throw bad(`${format} is not packed as a whole; leave out .gz`);
  return { target: place, format, gzip: options.gzip ?? packed, folder };
}

/**
 * Opens a target.
 *
 * @throws {LakebaseError} `BAD_FILE` where it can't be written.
 */
export async function openTarget(target: TargetPlan["target"], signal: AbortSignal | undefined): Promise<Sink> {
  if (isStandardOutput(target)) return STANDARD_OUTPUT;
  return typeof target === "string" ? await openFileTarget(target, signal) : streamSink(target);
}

/** Whether the rows appear on a terminal, where a line about them would stand among them. */
export function isTerminal(target: TargetPlan["target"]): boolean {
  return isStandardOutput(target) && Deno.stdout.isTerminal();
}

function isStandardOutput(target: TargetPlan["target"]): boolean {
  return target === "-" || target === Deno.stdout.writable;
}

/** It is the program's, so it stays open. */
const STANDARD_OUTPUT: Sink = {
  name: "standard output",
  outcome: "what is on standard output is not whole",
  write: (bytes) => writeAll(Deno.stdout, bytes, "standard output"),
  commit: () => Promise.resolve(),
  abort: () => Promise.resolve(),
};

function streamSink(stream: WritableStream<Uint8Array>): Sink {
  if (stream.locked) throw bad("the stream is locked: something else writes to it");
  const writer = stream.getWriter();
  return {
    name: "the stream",
    outcome: "the stream was aborted",
    write: async (bytes) => {
      await writer.ready;
      await writer.write(bytes);
    },
    commit: (signal) => until(writer.close(), signal),
    abort: (reason, signal) => until(writer.abort(reason), signal).catch(() => {}), // it may have failed by itself
  };
}

function formatOf(path: string | undefined, packed: boolean): PullFormat {
  const formats = FILE_FORMATS.join(", ");
  if (path === undefined) {
    throw bad(
      `the target has no name to tell the format by; give ${optionText({ format: "csv" })} or another of ${formats}`,
    );
  }
  const ending = extname(packed ? path.slice(0, -3) : path).slice(1);
  const known = EXTENSIONS.get(ending.toLowerCase());
  if (known !== undefined) return known;
  const near = closest(ending, EXTENSIONS.keys());
  const hint = near === undefined
    ? `use one of ${formats}, or give ${optionText({ format: "csv" })}`
    : `did you mean .${near}?`;
  throw bad(`${path} ends in ${ending === "" ? "no extension" : `.${ending}`}, which is no known format; ${hint}`);
}

function pathOf(url: URL): string {
  if (url.protocol !== "file:") throw bad(`the target is a URL of ${url.protocol}; a file: URL or a path is wanted`);
  return fileURLToPath(url);
}

/** Stands for the file's number in the name of several. */
const NUMBER = "{n}";

/** The targets of a pull: one, or one for each connection. */
export interface Sinks {
  /** They all; none for a folder. */
  readonly all: readonly Sink[];
  /** The folder, where that is the target. */
  readonly folder?: PullFolder;
  /** What a result calls them. */
  readonly name: string;
  /** Whether the name was that of several. */
  readonly several: boolean;
  /** What becomes of them after a failure, as the end of a sentence. */
  readonly outcome: string;
  /** The paths of those that are files. */
  readonly paths: readonly string[];
  /** All has been written to all of them: makes sure that it is kept. */
  flush(): Promise<void>;
  /** They take their places, once they were flushed; `signal` as for a {@linkcode Sink}. */
  commit(signal: AbortSignal | undefined): Promise<void>;
  /** It failed: what was written is removed. */
  abort(reason: unknown, signal: AbortSignal | undefined): Promise<void>;
}

/**
 * Opens what a pull writes to.
 *
 * @throws {LakebaseError} `BAD_FILE` where one of them can't be written, `BAD_PARAMETER`.
 */
export async function openSinks(
  { target, format, gzip, folder }: TargetPlan,
  { parallel, partitionBy = [], replace = false }: PullOptions,
  signal: AbortSignal | undefined,
): Promise<Sinks> {
  if (folder) {
    return folderSinks(await PullFolder.open(target as string, { format, gzip, partitionBy, replace }), parallel);
  }
  if (typeof target !== "string" || !target.includes(NUMBER)) return fileSinks([await openTarget(target, signal)]);
  if (parallel === undefined) {
    throw bad(`${target} stands for several files; say how many with ${optionText({ parallel: 2 })}`);
  }
  await refuseLeftovers(target, parallel);
  const sinks: Sink[] = [];
  try {
    for (let n = 1; n <= parallel; n++) sinks.push(await openTarget(numbered(target, n), signal));
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
    several: parallel > 1,
    outcome: folder.outcome,
    paths: folder.paths,
    flush: () => Promise.resolve(), // each file was
    commit: () => folder.commit(),
    abort: () => folder.abort(),
  };
}

function numbered(pattern: string, n: number): string {
  return pattern.replaceAll(NUMBER, String(n));
}

/** Whoever reads `trips-*.parquet` would read the files of an earlier pull, with more connections, among those of this one. */
async function refuseLeftovers(pattern: string, parallel: number): Promise<void> {
  for (let n = parallel + 1; n <= MOST_PARALLEL; n++) {
    const left = numbered(pattern, n);
    const found = await Deno.lstat(left).then(() => true, () => false);
    if (!found) continue;
    const files = parallel === 1 ? "1 file" : `${parallel} files`;
    throw new LakebaseError(
      "BAD_FILE",
      `Cannot write ${pattern}: it is to be ${files}, and ${left} is there too, which who reads all of them would take for ` +
        "one; delete it, or choose another name",
    );
  }
}

function fileSinks(all: readonly Sink[], pattern?: string): Sinks {
  let placed = 0;
  return {
    all,
    several: pattern !== undefined,
    get outcome() {
      if (pattern === undefined) return all[0]!.outcome;
      if (placed === 0) return "they were removed, and no file was replaced";
      return `${placed} of ${all.length} files are in their places, whole, and the others were removed`;
    },
    name: pattern === undefined ? all[0]!.name : basename(pattern),
    paths: all.flatMap(({ path }) => path ?? []),
    flush: async () => {
      for (const sink of all) await sink.flush?.(); // none takes its place before all of them are whole
    },
    commit: async (signal) => {
      for (const sink of all) {
        await sink.commit(signal);
        placed++;
      }
    },
    abort: async (reason, signal) => {
      await Promise.all(all.map((sink) => sink.abort(reason, signal)));
    },
  };
}

/** As small as the usual level 6 on tables, in less than half of its time. */
const LEVEL = 4;
const CHUNK_BYTES = 131_072;

/** The bytes, packed. */
export async function* gzip(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const packer = createGzip({ level: LEVEL, chunkSize: CHUNK_BYTES });
  pipeline(Readable.from(source, { objectMode: false }), packer, () => {}); // its error comes out of the packer
  yield* packer as AsyncIterable<Uint8Array>;
}

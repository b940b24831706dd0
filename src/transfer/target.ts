import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { closest } from "../closest.ts";
import { until } from "../query/cancel.ts";
import { EXTENSIONS, FILE_FORMATS, type PullFormat } from "./file_format.ts";
import { openFileTarget, writeAll } from "./file_target.ts";
import { bad, checkFolderOptions, type PullOptions } from "./pull_options.ts";

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
export interface Plan {
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
export function planTarget(target: PullTarget, options: PullOptions): Plan {
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
export async function openTarget(target: Plan["target"], signal: AbortSignal | undefined): Promise<Sink> {
  if (isStandardOutput(target)) return STANDARD_OUTPUT;
  return typeof target === "string" ? await openFileTarget(target, signal) : streamSink(target);
}

/** Whether the rows appear on a terminal, where a line about them would stand among them. */
export function isTerminal(target: Plan["target"]): boolean {
  return isStandardOutput(target) && Deno.stdout.isTerminal();
}

function isStandardOutput(target: Plan["target"]): boolean {
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
    throw bad(`the target has no name to tell the format by; give { format: "csv" } or another of ${formats}`);
  }
  const ending = extname(packed ? path.slice(0, -3) : path).slice(1);
  const known = EXTENSIONS.get(ending.toLowerCase());
  if (known !== undefined) return known;
  const near = closest(ending, EXTENSIONS.keys());
  const hint = near === undefined ? `use one of ${formats}, or give { format: "csv" }` : `did you mean .${near}?`;
  throw bad(`${path} ends in ${ending === "" ? "no extension" : `.${ending}`}, which is no known format; ${hint}`);
}

function pathOf(url: URL): string {
  if (url.protocol !== "file:") throw bad(`the target is a URL of ${url.protocol}; a file: URL or a path is wanted`);
  return fileURLToPath(url);
}

import type { Batch } from "../batch.ts";
import type { FileColumn } from "./file_rows.ts";

/** What the worker that reads files of columns is told. */
export type ToReader =
  /** Open a file, or the bytes that it may ask for. */
  | { kind: "open"; format: "arrow" | "parquet"; path: string | undefined }
  /** Give the next rows. */
  | { kind: "next" }
  /** The next of those bytes; none after the last. */
  | { kind: "bytes"; bytes: Uint8Array | undefined };

/** What it says. */
export type FromReader =
  /** It is open. */
  | { kind: "opened"; columns: readonly FileColumn[] }
  /** The next rows; none after the last. */
  | { kind: "batch"; batch: Batch | undefined }
  /** It needs more bytes. */
  | { kind: "more" }
  /** It can't, and why. */
  | { kind: "failed"; message: string };

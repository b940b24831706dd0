import { lazyImport, loadModule } from "../../core/lazy_import.ts";
import { giveTurn } from "../../core/pause.ts";
import type { Batch, BatchColumn } from "../columns/batch.ts";
import type { Chunk } from "../copy/messages.ts";

/** The formats that a pull writes. */
export type PullFormat = "csv" | "tsv" | "ndjson" | "arrow" | "parquet";

/** The formats that a load reads: those of a pull, and JSON, which is an array of objects or a sequence of objects. */
export type LoadFormat = PullFormat | "json";

/** The names of the formats that a pull writes. */
export const FILE_FORMATS: readonly PullFormat[] = ["csv", "tsv", "ndjson", "arrow", "parquet"];

/** The names of the formats that a load reads. */
export const LOAD_FORMATS: readonly LoadFormat[] = ["csv", "tsv", "ndjson", "json", "arrow", "parquet"];

/** The format for each file extension that a pull accepts. */
export const EXTENSIONS: ReadonlyMap<string, PullFormat> = new Map<string, PullFormat>([
  ...FILE_FORMATS.map((format) => [format, format] as const),
  ["jsonl", "ndjson"],
]);

/** The format for each file extension that a load accepts. */
export const LOAD_EXTENSIONS: ReadonlyMap<string, LoadFormat> = new Map<string, LoadFormat>([
  ...EXTENSIONS,
  ["json", "json"],
  ["parq", "parquet"],
  ["pq", "parquet"],
  ["arrows", "arrow"],
  ["feather", "arrow"],
  ["ipc", "arrow"],
]);

/** The value of a hive partition that means NULL. */
export const HIVE_NULL = "__HIVE_DEFAULT_PARTITION__";

/** The kinds of files that a signature identifies. */
export type FileSignature = "gzip" | "zstd" | "zip" | "bzip2" | "xz" | "7z" | "parquet" | "arrow" | "feather v1";

const SIGNATURES: readonly (readonly [FileSignature, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["zip", [0x50, 0x4b, 0x03, 0x04]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["7z", [0x37, 0x7a, 0xbc, 0xaf]],
  ["parquet", [0x50, 0x41, 0x52, 0x31]],
  ["parquet", [0x50, 0x41, 0x52, 0x45]], // with an encrypted footer
  ["arrow", [0x41, 0x52, 0x52, 0x4f, 0x57, 0x31]],
  ["arrow", [0xff, 0xff, 0xff, 0xff]], // a stream
  ["feather v1", [0x46, 0x45, 0x41, 0x31]],
];

/** The length of the longest signature in bytes. */
export const SIGNATURE_BYTES = 6;

/** Identifies a file by its first bytes. Returns `undefined` for a text file or an unknown kind. */
export function signatureOf(head: Uint8Array): FileSignature | undefined {
  return SIGNATURES.find(([, bytes]) => bytes.every((byte, index) => head[index] === byte))?.[0];
}

/** The check of a delimiter that both the CSV and the text format of COPY accept. */
export const DELIMITER = [
  (value: unknown) => typeof value === "string" && /^[\t\x20-\x7e]$/.test(value) && !/[a-z0-9."'\\]/i.test(value),
  "one ASCII character that is not a quote, letter, digit, point, backslash or line end",
] as const;

/** The check of a quote or an escape. */
export const QUOTE = [
  (value: unknown) => typeof value === "string" && /^[\x21-\x7e]$/.test(value) && !/[a-z0-9]/i.test(value),
  "one ASCII character that is not a letter, digit, space or line end",
] as const;

/** The check of the text that stands for NULL. */
export const NULL_TEXT = [
  (value: unknown) => typeof value === "string" && value.isWellFormed() && !/["\r\n\0]/.test(value),
  "a text without quotes and line ends",
] as const;

/** The compression of the pages of a Parquet file. */
export type ParquetCompression = "zstd" | "gzip" | "none";

/** The context of an encoder: columns and options. */
export interface EncodeContext {
  /** The columns of the COPY. */
  columns: readonly BatchColumn[];
  /** The rows, if they are already columnar. By default the encoder reads the rows of the COPY. */
  batches?: AsyncIterable<Batch>;
  /** Options of the pull. */
  options: { compression?: ParquetCompression | undefined; rowGroupSize?: number | undefined };
}

/** Converts the rows of a COPY to the bytes of a file. */
export type Encode = (chunks: AsyncIterable<Chunk>, context: EncodeContext) => AsyncIterable<Uint8Array>;

/** The encoder for each format, loaded on first use. */
export const ENCODERS: Readonly<Record<PullFormat, () => Promise<Encode>>> = {
  csv: () => Promise.resolve(encodeCsv),
  tsv: () => Promise.resolve(encodeCsv),
  ndjson: async () => (await loadModule(() => import("./ndjson.ts"))).encodeNdjson,
  arrow: async () => {
    await loadArrow();
    return (await lazyImport<typeof import("./arrow/write.ts")>(import.meta.resolve("./arrow/write.ts"))).encodeArrow;
  },
  parquet: async () => {
    await lazyImport("npm:flatbuffers@25.9.23");
    const writer = import.meta.resolve("./parquet/write/write.ts");
    return (await lazyImport<typeof import("./parquet/write/write.ts")>(writer)).encodeParquet;
  },
};

/** Parts of apache-arrow. Each part needs some of the parts before it. */
const ARROW_PARTS = ["type", "ipc/metadata/message", "table", "ipc/writer"];

/** Loads apache-arrow in parts. Modules that are imported together run without a pause, and would hold the thread too long. */
export async function loadArrow(): Promise<void> {
  await lazyImport("npm:flatbuffers@25.9.23");
  for (const part of ARROW_PARTS) {
    await giveTurn();
    await lazyImport(`npm:apache-arrow@21.2.0/${part}`);
  }
  await giveTurn();
}

/** Writes CSV or TSV exactly as the server sends it. */
const encodeCsv: Encode = async function* (chunks) {
  for await (const { bytes } of chunks) yield bytes;
};

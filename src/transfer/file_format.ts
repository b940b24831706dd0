/** What a pull can write. */
export type PullFormat = "csv" | "tsv" | "ndjson" | "arrow" | "parquet";

/** What a file to load may be: whatever a pull writes. */
export type LoadFormat = PullFormat;

/** The formats, as words. */
export const FILE_FORMATS: readonly PullFormat[] = ["csv", "tsv", "ndjson", "arrow", "parquet"];

/** The formats by the ends of files' names. */
export const EXTENSIONS: ReadonlyMap<string, PullFormat> = new Map<string, PullFormat>([
  ...FILE_FORMATS.map((format) => [format, format] as const),
  ["jsonl", "ndjson"],
]);

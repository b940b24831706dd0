import type { Frame } from "../messages.ts";
import type { WarehouseType } from "./types.ts";
import { type Bytes, forEachValue, textOf } from "./values.ts";

/** `format` of a statement. */
export type Format = "JSON_ARRAY" | "ARROW_STREAM" | "CSV";

/** Encodes rows in chunks. */
export interface ChunkEncoder {
  append(row: Bytes): void;
  /** Ends a chunk: returns the rows since the last call, of which there are `rows`. */
  take(rows: number): Uint8Array;
}

/** A part of a result. */
export interface Chunk {
  /** Number of rows. */
  rows: number;
  /** Index of its first row in the result. */
  offset: number;
  /** Size in bytes. */
  size: number;
  /** The rows of an inline result. */
  inline?: (string | null)[][];
  /** The file with the rows of an external result. */
  path?: string;
}

/** Limits of a result. */
export interface ResultLimits {
  /** Rows after which the result is truncated. */
  rows: number;
  /** Bytes after which the result is truncated. */
  bytes: number;
  /** Bytes after which the statement fails. */
  inlineBytes: number;
  /** Rows after which a chunk ends. */
  chunkRows: number;
  /** Bytes, before encoding, after which a chunk ends. */
  chunkBytes: number;
}

/** The error for an inline result that is too large. */
export class InlineLimitExceeded extends Error {}

/** Collects the rows of a statement in chunks. */
export class ResultCollector {
  readonly chunks: Chunk[] = [];
  /** Whether a limit has truncated the result. */
  truncated = false;
  #rows = 0;
  #bytes = 0;
  #chunkRows = 0;
  #chunkBytes = 0;
  readonly #limits: ResultLimits;
  readonly #append: (row: Bytes) => void;
  readonly #endChunk: (chunk: Pick<Chunk, "rows" | "offset">) => Promise<Chunk>;

  /**
   * @param append Receives each row.
   * @param endChunk Ends a chunk, which has the rows since the previous chunk.
   */
  constructor(
    limits: ResultLimits,
    append: (row: Bytes) => void,
    endChunk: (chunk: Pick<Chunk, "rows" | "offset">) => Promise<Chunk>,
  ) {
    this.#limits = limits;
    this.#append = append;
    this.#endChunk = endChunk;
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.chunks.reduce((size, chunk) => size + chunk.size, 0);
  }

  /** Adds a DataRow. Returns false if the result is complete. */
  add(row: Frame): boolean | Promise<boolean> {
    const { rows, bytes, inlineBytes, chunkRows, chunkBytes } = this.#limits;
    const size = row.length - 7;
    if (this.#rows >= rows || this.#bytes + size > bytes) {
      this.truncated = true;
      return false;
    }
    if (this.#bytes + size > inlineBytes) throw new InlineLimitExceeded();
    this.#append({ bytes: row, view: new DataView(row.buffer, row.byteOffset, row.byteLength) });
    this.#rows++;
    this.#bytes += size;
    this.#chunkRows++;
    this.#chunkBytes += size;
    if (this.#chunkRows < chunkRows && this.#chunkBytes < chunkBytes) return true;
    return this.finish().then(() => true);
  }

  /** Ends the last chunk. */
  async finish(): Promise<void> {
    if (this.#chunkRows === 0) return;
    const chunk = { rows: this.#chunkRows, offset: this.#rows - this.#chunkRows };
    this.#chunkRows = this.#chunkBytes = 0;
    this.chunks.push(await this.#endChunk(chunk));
  }
}

/** The values of a row as texts; null for NULL. */
export function rowTexts(row: Bytes, types: readonly WarehouseType[]): (string | null)[] {
  const texts: (string | null)[] = [];
  forEachValue(row, (column, at, length) => {
    const type = types[column]!;
    texts.push(length < 0 || type.kind === "void" ? null : textOf(row, at, length, type));
  });
  return texts;
}

/** Makes an encoder whose chunks are JSON, without spaces. */
export function jsonEncoder(types: readonly WarehouseType[]): ChunkEncoder {
  let rows: string[] = [];
  return {
    append: (row) => rows.push(JSON.stringify(rowTexts(row, types))),
    take: () => {
      const text = `[${rows.join(",")}]`;
      rows = [];
      return new TextEncoder().encode(text);
    },
  };
}

/** Makes an encoder whose chunks are CSV (RFC 4180). The first chunk begins with the names of the columns. */
export function csvEncoder(names: readonly string[], types: readonly WarehouseType[]): ChunkEncoder {
  const line = (fields: readonly string[]) => `${fields.map(csvField).join(",")}\r\n`;
  let lines = [line(names)];
  return {
    append: (row) => lines.push(line(rowTexts(row, types).map((text) => text ?? "null"))),
    take: () => {
      const text = lines.join("");
      lines = [];
      return new TextEncoder().encode(text);
    },
  };
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

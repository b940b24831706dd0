import zlib from "node:zlib";
import type { ColumnMetaData, CompressionCodec, PageHeader } from "npm:hyparquet@1.33.0";
import { parquetHeader } from "npm:hyparquet@1.33.0/src/column.js";
import { compressors } from "npm:hyparquet-compressors@1.1.2";
import { type RandomAccess, UnsupportedFeature } from "../../file_rows.ts";
import { HybridReader, PackedReader } from "./hybrid_reader.ts";
import {
  countOf,
  MAX_PAGE_BYTES,
  type PageValueReader,
  pageValueReader,
  type PageValues,
  type PhysicalStorage,
} from "./page_values.ts";

/** The number of bytes to read for a page's header. It is doubled until the header fits. */
const HEADER_BYTES = 16_384;

/**
 * The most values of a page with lists. Such a page is read at once, because only the start of the next row shows where
 * a row ends.
 */
const MAX_LIST_VALUES = 2 ** 25;

/** A column as the file stores it. */
export interface StoredColumn extends PhysicalStorage {
  /** The column's name in error messages. */
  name: string;
  /** The definition level of a value that is not NULL. */
  definition: number;
  /** The number of lists around the value. */
  repetition: number;
}

/** Some levels of a column, with the values that are not NULL. */
export interface Levels {
  /** The number of levels. */
  count: number;
  /** 0 at the start of a row, else the depth of the list that continues; absent without lists. */
  repetition?: Uint8Array;
  /** How much of the path to the value is present; absent if no value is NULL. */
  definition?: Uint8Array;
  /** The values that are not NULL. */
  values: PageValues;
}

/** A page after its header was read. */
interface Page {
  /** The number of levels that are not read yet. */
  left: number;
  repetition: HybridReader | PackedReader | undefined;
  definition: HybridReader | PackedReader | undefined;
  values: PageValueReader;
}

/** Reads a column of a row group page by page, with only one page in memory. */
export class ChunkReader {
  readonly #file: RandomAccess;
  readonly #column: StoredColumn;
  readonly #codec: CompressionCodec;
  /** The position of the next page. */
  #pageAt: number;
  /** The number of levels in the pages that are not read yet. */
  #left: number;
  #page: Page | undefined;
  #dictionary: PageValues | undefined;
  /** The bytes of the last read, and their position. */
  #lastRead = { at: 0, bytes: new Uint8Array() };

  /** @param chunk The column's metadata in the footer. */
  constructor(file: RandomAccess, column: StoredColumn, chunk: ColumnMetaData) {
    this.#file = file;
    this.#column = column;
    this.#codec = chunk.codec;
    this.#left = footerNumber(chunk.num_values);
    const [data, dictionary] = [footerNumber(chunk.data_page_offset), footerNumber(chunk.dictionary_page_offset ?? 0n)];
    // Without a dictionary, some writers give 0 as its position, and others a position after the values.
    this.#pageAt = dictionary > 0 && dictionary < data ? dictionary : data;
  }

  /** Returns up to `most` levels, or with lists the rest of the page; `undefined` at the end of the column. */
  async next(most: number): Promise<Levels | undefined> {
    while (this.#page === undefined || this.#page.left === 0) {
      if (this.#left <= 0) return undefined;
      this.#page = await this.#readPage();
    }
    const page = this.#page;
    const count = this.#column.repetition > 0 ? page.left : Math.min(most, page.left);
    page.left -= count;
    const repetition = readLevels(page.repetition, count);
    const definition = readLevels(page.definition, count, this.#column.definition);
    const valueCount = definition === undefined ? count : countEqual(definition, this.#column.definition);
    return {
      count,
      ...(repetition === undefined ? {} : { repetition }),
      ...(definition === undefined ? {} : { definition }),
      values: page.values.read(valueCount),
    };
  }

  async #readPage(): Promise<Page | undefined> {
    const { header, length } = await this.#readHeader();
    const size = header.compressed_page_size;
    // A damaged header may lack fields that the library's types require.
    if (!(size >= 0) || header.type === undefined) throw new Error("it has a page without a size or a kind");
    const bytes = await this.#read(this.#pageAt + length, size);
    this.#pageAt += length + size;
    // If the writer added a checksum, it reveals a damaged page before the page is decoded.
    if (header.crc !== undefined && zlib.crc32(bytes) !== header.crc >>> 0) {
      throw new Error("the checksum of a page is wrong");
    }
    const { dictionary_page_header, data_page_header, data_page_header_v2 } = header;
    if (data_page_header !== undefined) return this.#dataPage(bytes, header, data_page_header);
    if (data_page_header_v2 !== undefined) return this.#dataPage2(bytes, header, data_page_header_v2);
    if (dictionary_page_header === undefined) return undefined; // a page of an index
    const { num_values } = dictionary_page_header;
    const plainBytes = this.#decompress(bytes, header.uncompressed_page_size);
    const values = pageValueReader("PLAIN", this.#column, plainBytes, 0, undefined);
    this.#dictionary = values.read(num_values);
    if (countOf(this.#dictionary) !== num_values) throw new Error(`it has a dictionary of ${num_values} values`);
    return undefined;
  }

  #dataPage(compressed: Uint8Array, header: PageHeader, page: NonNullable<PageHeader["data_page_header"]>): Page {
    const bytes = this.#decompress(compressed, header.uncompressed_page_size);
    const count = this.#count(page.num_values);
    let at = 0;
    const levelsReader = (highest: number, encoding: string): Page["definition"] => {
      if (highest === 0) return undefined;
      const width = widthOf(highest);
      if (encoding === "BIT_PACKED") {
        const length = Math.ceil(count * width / 8);
        at += length;
        return new PackedReader(this.#inside(bytes, at - length, length), width);
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const length = view.getUint32(at, true);
      at += 4 + length;
      return new HybridReader(this.#inside(bytes, at - length, length), width);
    };
    const repetition = levelsReader(this.#column.repetition, page.repetition_level_encoding);
    const definition = levelsReader(this.#column.definition, page.definition_level_encoding);
    const values = pageValueReader(page.encoding, this.#column, bytes.subarray(at), count, this.#dictionary);
    return { left: count, repetition, definition, values };
  }

  #dataPage2(bytes: Uint8Array, header: PageHeader, page: NonNullable<PageHeader["data_page_header_v2"]>): Page {
    const count = this.#count(page.num_values);
    const [repetitionBytes, definitionBytes] = [page.repetition_levels_byte_length, page.definition_levels_byte_length];
    const levelsReader = (highest: number, from: number, length: number) =>
      highest === 0 ? undefined : new HybridReader(this.#inside(bytes, from, length), widthOf(highest));
    const repetition = levelsReader(this.#column.repetition, 0, repetitionBytes);
    const definition = levelsReader(this.#column.definition, repetitionBytes, definitionBytes);
    const levelBytes = repetitionBytes + definitionBytes;
    const stored = this.#inside(bytes, levelBytes, bytes.length - levelBytes);
    const size = header.uncompressed_page_size - levelBytes;
    // Some writers do not compress an empty page. Old Arrow writers mark compressed pages as uncompressed, so the size
    // decides.
    const isCompressed = stored.length > 0 && (page.is_compressed !== false || stored.length !== size);
    const plainBytes = isCompressed ? this.#decompress(stored, size) : stored;
    const values = pageValueReader(page.encoding, this.#column, plainBytes, count, this.#dictionary);
    return { left: count, repetition, definition, values };
  }

  /** Checks the number of levels of a page, and subtracts it from those that are left. */
  #count(count: number): number {
    if (!(count >= 0 && count <= this.#left)) {
      throw new Error(`it has a page of ${count} values where ${this.#left} are left`);
    }
    this.#left -= count;
    if (this.#column.repetition === 0 || count <= MAX_LIST_VALUES) return count;
    throw new UnsupportedFeature(
      `it has a page of ${count} values; pages of up to ${MAX_LIST_VALUES} can be read here`,
    );
  }

  /** Returns a part of the bytes, after a check that it is in them. */
  #inside(bytes: Uint8Array, from: number, length: number): Uint8Array {
    if (!(from >= 0 && length >= 0 && from + length <= bytes.length)) {
      throw new Error("it breaks off within its levels");
    }
    return bytes.subarray(from, from + length);
  }

  #decompress(bytes: Uint8Array, size: number): Uint8Array {
    if (size < 0 || size > MAX_PAGE_BYTES) {
      const found = size < 0 ? "more than 2 GB" : `${(size / 1e9).toFixed(1)} GB`;
      throw new UnsupportedFeature(`it has a page of ${found}; pages of up to 1 GB can be read here`);
    }
    const decompressed = plain(decompress(this.#codec, bytes, size));
    if (decompressed.length === size) return decompressed;
    throw new Error(`it has a page of ${decompressed.length} bytes where its header has ${size}`);
  }

  async #readHeader(): Promise<{ header: PageHeader; length: number }> {
    const most = this.#file.size - this.#pageAt;
    if (most <= 0) throw new Error("it points beyond the file's end");
    for (let size = Math.min(most, HEADER_BYTES);; size = Math.min(most, size * 2)) {
      const bytes = await this.#read(this.#pageAt, size);
      const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
      try {
        return { header: parquetHeader(reader), length: reader.offset };
      } catch (error) {
        if (size === most) throw error;
      }
    }
  }

  /** Returns bytes of the file. Uses those of the last read if possible. */
  async #read(at: number, length: number): Promise<Uint8Array> {
    const from = at - this.#lastRead.at;
    if (from < 0 || from + length > this.#lastRead.bytes.length) {
      this.#lastRead = { at, bytes: await this.#file.read(at, length) };
      return this.#lastRead.bytes;
    }
    return this.#lastRead.bytes.subarray(from, from + length);
  }
}

/** Reads the next levels. Returns `undefined` if there are none, or if all of them are `highest`. */
function readLevels(reader: Page["definition"], count: number, highest?: number): Uint8Array | undefined {
  if (reader === undefined || count === 0) return undefined;
  const constant = reader.constant(count);
  if (constant !== undefined && constant === highest) return undefined;
  const levels = new Uint8Array(count);
  if (constant === undefined) reader.fill(levels);
  else levels.fill(constant);
  return levels;
}

/** Converts a number of the footer. In a damaged footer, the number may be negative or missing. */
function footerNumber(value: bigint | undefined): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new Error("its footer does not tell where it is");
}

function countEqual(levels: Uint8Array, level: number): number {
  let count = 0;
  for (let at = 0; at < levels.length; at++) if (levels[at] === level) count++;
  return count;
}

/** The bits of a level. */
function widthOf(highest: number): number {
  return 32 - Math.clz32(highest);
}

/** Wraps a Node buffer as a plain `Uint8Array`, because the `slice` of a Node buffer does not copy. */
function plain({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function decompress(codec: CompressionCodec, bytes: Uint8Array, size: number): Uint8Array {
  const limit = { maxOutputLength: Math.max(1, size) };
  switch (codec) {
    case "UNCOMPRESSED":
      return bytes;
    case "GZIP":
      return zlib.unzipSync(bytes, limit);
    case "BROTLI":
      return zlib.brotliDecompressSync(bytes, limit);
    case "ZSTD":
      return zlib.zstdDecompressSync(bytes, limit);
    case "SNAPPY":
    case "LZ4":
    case "LZ4_RAW":
      return compressors[codec]!(bytes, size);
    default:
      throw new UnsupportedFeature(
        `it is compressed with ${codec ?? "an unknown compression"}, which can't be read here`,
      );
  }
}

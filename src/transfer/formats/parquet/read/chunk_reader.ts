import zlib from "node:zlib";
import type { ColumnMetaData, CompressionCodec, PageHeader } from "npm:hyparquet@1.33.0";
import { parquetHeader } from "npm:hyparquet@1.33.0/src/column.js";
import { compressors } from "npm:hyparquet-compressors@1.1.2";
import { type RandomAccess, UnsupportedFeature } from "../../file_rows.ts";
import { HybridReader, PackedReader } from "./hybrid_reader.ts";
import {
  countOf,
  MOST_BYTES,
  type PageValueReader,
  pageValueReader,
  type PageValues,
  type PhysicalStorage,
} from "./page_values.ts";

/** The number of bytes to read for a page's header; doubled until the header fits. */
const HEAD_BYTES = 16_384;

/**
 * The most values of a page with lists. Such a page is read at once, because only the start of the next row shows where
 * a row ends.
 */
const MOST_LISTED = 2 ** 25;

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
  /** The number of levels left to read. */
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
  #at: number;
  /** The number of levels in the pages that are not read yet. */
  #left: number;
  #page: Page | undefined;
  #dictionary: PageValues | undefined;
  #window = { at: 0, bytes: new Uint8Array() };

  /** Takes the column's metadata from the footer. */
  constructor(file: RandomAccess, column: StoredColumn, chunk: ColumnMetaData) {
    this.#file = file;
    this.#column = column;
    this.#codec = chunk.codec;
    this.#left = whole(chunk.num_values);
    const [data, dictionary] = [whole(chunk.data_page_offset), whole(chunk.dictionary_page_offset ?? 0n)];
    // Without a dictionary, some writers give 0 as its position, and others a position after the values.
    this.#at = dictionary > 0 && dictionary < data ? dictionary : data;
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
    const repetition = levels(page.repetition, count);
    const definition = levels(page.definition, count, this.#column.definition);
    const there = definition === undefined ? count : countEqual(definition, this.#column.definition);
    return {
      count,
      ...(repetition === undefined ? {} : { repetition }),
      ...(definition === undefined ? {} : { definition }),
      values: page.values.read(there),
    };
  }

  async #readPage(): Promise<Page | undefined> {
    const { header, length } = await this.#header();
    const size = header.compressed_page_size;
    // A damaged header may lack fields that the library's types require.
    if (!(size >= 0) || header.type === undefined) throw new Error("it has a page without a size or a kind");
    const bytes = await this.#bytes(this.#at + length, size);
    this.#at += length + size;
    // If the writer added a checksum, it reveals a damaged page before the page is decoded.
    if (header.crc !== undefined && zlib.crc32(bytes) !== header.crc >>> 0) {
      throw new Error("the sum of a page is wrong");
    }
    const { dictionary_page_header, data_page_header, data_page_header_v2 } = header;
    if (data_page_header !== undefined) return this.#dataPage(bytes, header, data_page_header);
    if (data_page_header_v2 !== undefined) return this.#dataPage2(bytes, header, data_page_header_v2);
    if (dictionary_page_header === undefined) return undefined; // a page with an index
    const { num_values } = dictionary_page_header;
    const values = pageValueReader(
      "PLAIN",
      this.#column,
      this.#unpack(bytes, header.uncompressed_page_size),
      0,
      undefined,
    );
    this.#dictionary = values.read(num_values);
    if (countOf(this.#dictionary) !== num_values) throw new Error(`it has a dictionary of ${num_values} values`);
    return undefined;
  }

  #dataPage(packed: Uint8Array, header: PageHeader, page: NonNullable<PageHeader["data_page_header"]>): Page {
    const bytes = this.#unpack(packed, header.uncompressed_page_size);
    const count = this.#count(page.num_values);
    let at = 0;
    const take = (highest: number, encoding: string): Page["definition"] => {
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
    const repetition = take(this.#column.repetition, page.repetition_level_encoding);
    const definition = take(this.#column.definition, page.definition_level_encoding);
    const values = pageValueReader(page.encoding, this.#column, bytes.subarray(at), count, this.#dictionary);
    return { left: count, repetition, definition, values };
  }

  #dataPage2(bytes: Uint8Array, header: PageHeader, page: NonNullable<PageHeader["data_page_header_v2"]>): Page {
    const count = this.#count(page.num_values);
    const [repeated, defined] = [page.repetition_levels_byte_length, page.definition_levels_byte_length];
    const take = (highest: number, from: number, length: number) =>
      highest === 0 ? undefined : new HybridReader(this.#inside(bytes, from, length), widthOf(highest));
    const repetition = take(this.#column.repetition, 0, repeated);
    const definition = take(this.#column.definition, repeated, defined);
    const packed = this.#inside(bytes, repeated + defined, bytes.length - repeated - defined);
    const size = header.uncompressed_page_size - repeated - defined;
    // Some writers do not compress an empty page. Old Arrow writers mark compressed pages as uncompressed, so the size
    // decides.
    const isPacked = packed.length > 0 && (page.is_compressed !== false || packed.length !== size);
    const unpacked = isPacked ? this.#unpack(packed, size) : packed;
    const values = pageValueReader(page.encoding, this.#column, unpacked, count, this.#dictionary);
    return { left: count, repetition, definition, values };
  }

  #count(count: number): number {
    if (!(count >= 0 && count <= this.#left)) {
      throw new Error(`it has a page of ${count} values where ${this.#left} are left`);
    }
    this.#left -= count;
    return this.#column.repetition > 0 ? this.#countListed(count) : count;
  }

  #countListed(count: number): number {
    if (count <= MOST_LISTED) return count;
    throw new UnsupportedFeature(`it has a page of ${count} values; pages of up to ${MOST_LISTED} can be read here`);
  }

  #inside(bytes: Uint8Array, from: number, length: number): Uint8Array {
    if (!(from >= 0 && length >= 0 && from + length <= bytes.length)) {
      throw new Error("it breaks off within its levels");
    }
    return bytes.subarray(from, from + length);
  }

  #unpack(bytes: Uint8Array, size: number): Uint8Array {
    if (size < 0 || size > MOST_BYTES) {
      const found = size < 0 ? "more than 2 GB" : `${(size / 1e9).toFixed(1)} GB`;
      throw new UnsupportedFeature(`it has a page of ${found}; pages of up to 1 GB can be read here`);
    }
    const unpacked = plain(unpack(this.#codec, bytes, size));
    if (unpacked.length !== size) throw new Error(`it has a page of ${unpacked.length} bytes that should be ${size}`);
    return unpacked;
  }

  async #header(): Promise<{ header: PageHeader; length: number }> {
    const most = this.#file.size - this.#at;
    if (most <= 0) throw new Error("it points beyond the file's end");
    for (let size = Math.min(most, HEAD_BYTES);; size = Math.min(most, size * 2)) {
      const bytes = await this.#bytes(this.#at, size);
      const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
      try {
        return { header: parquetHeader(reader), length: reader.offset };
      } catch (error) {
        if (size === most) throw error;
      }
    }
  }

  /** Returns bytes of the file, from the last read if it has them. */
  async #bytes(at: number, length: number): Promise<Uint8Array> {
    const from = at - this.#window.at;
    if (from < 0 || from + length > this.#window.bytes.length) {
      this.#window = { at, bytes: await this.#file.read(at, length) };
      return this.#window.bytes;
    }
    return this.#window.bytes.subarray(from, from + length);
  }
}

/** Reads the next levels. Returns `undefined` if there are none, or if all of them are `highest`. */
function levels(from: Page["definition"], count: number, highest?: number): Uint8Array | undefined {
  if (from === undefined || count === 0) return undefined;
  const constant = from.constant(count);
  if (constant !== undefined && constant === highest) return undefined;
  const read = new Uint8Array(count);
  if (constant === undefined) from.fill(read);
  else read.fill(constant);
  return read;
}

/** Converts a number of the footer. In a damaged footer it may be negative or missing. */
function whole(value: bigint | undefined): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new Error("its footer does not tell where it is");
}

function countEqual(levels: Uint8Array, wanted: number): number {
  let count = 0;
  for (let at = 0; at < levels.length; at++) if (levels[at] === wanted) count++;
  return count;
}

function widthOf(highest: number): number {
  return 32 - Math.clz32(highest);
}

/** Wraps a Node buffer as a plain `Uint8Array`, because the `slice` of a Node buffer does not copy. */
function plain({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function unpack(codec: CompressionCodec, bytes: Uint8Array, size: number): Uint8Array {
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
      throw new UnsupportedFeature(`it is packed with ${codec ?? "an unknown compression"}, which can't be read here`);
  }
}

import { innermostMessage, sendAndRead } from "../auth/http.ts";
import type { LakebaseError } from "../core/errors.ts";
import { backoff, pause } from "../core/pause.ts";
import { isLoopback } from "../settings/server.ts";
import { unreadableAnswer } from "./answer.ts";
import { BrokenBody, wholeBody } from "./body.ts";

/** The presigned address of a chunk. It is secret: anybody who has it can read the rows. */
export interface ChunkLink {
  /** The number of the chunk, from 0. */
  chunk_index: number;
  /** The address. */
  external_link: string;
  /** When the address expires, in ISO 8601. */
  expiration?: string;
  /** The headers that the storage needs, such as a key for decryption. */
  http_headers?: Record<string, string>;
}

/** The manifest's description of a chunk. */
export interface ManifestChunk {
  /** The number of the chunk, from 0. */
  chunk_index: number;
  /** The number of its rows. */
  row_count?: number;
  /** The approximate number of its bytes. */
  byte_count?: number;
}

/** What is known of a result's chunks, and the function that requests their links. */
export interface ChunkSource {
  /** The number of chunks. */
  count: number;
  /** The number of rows in all chunks; `undefined` if it is not known. */
  rows?: number | undefined;
  /** The chunks, as far as the manifest describes them. */
  chunks: readonly ManifestChunk[];
  /** The links that came with the answer. */
  links: readonly ChunkLink[];
  /** Requests the link of a chunk. The answer may have further links. */
  requestLinks: (index: number, signal: AbortSignal) => Promise<readonly ChunkLink[]>;
  /** Ends the reading. */
  signal?: AbortSignal | undefined;
}

/** The maximum number of chunks that are fetched at the same time. */
const MAX_CHUNKS_AHEAD = 3;
/** The approximate maximum bytes that are fetched ahead. A single chunk may have more. */
const MAX_BYTES_AHEAD = 40 * 1024 * 1024;
/** The maximum number of attempts to read a chunk. */
const MAX_ATTEMPTS = 5;
/** A link that expires within this many milliseconds is requested anew. */
const EXPIRY_MARGIN_MS = 10_000;
/** The milliseconds after which a link that does not answer is given up. */
const ANSWER_LIMIT_MS = 30_000;
/** The maximum bytes of a chunk. */
const MAX_CHUNK_BYTES = 2 ** 31;

/**
 * Reads the chunks of a result in order. Each chunk is a separate stream in Arrow's IPC format, which is checked for
 * completeness. Several chunks are fetched ahead. A broken chunk is fetched again with a new link, because reading changes
 * nothing. The bytes belong to the caller.
 *
 * @throws {LakebaseError} `WORKSPACE_UNAVAILABLE` if a chunk can't be read.
 */
export async function* arrowChunks(source: ChunkSource): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  let schema: Uint8Array | undefined;
  let rows = 0;
  for await (const chunk of inOrder(source)) {
    if (schema !== undefined && !sameBytes(schema, chunk.schema)) {
      throw unreadableAnswer("its chunks have different columns");
    }
    schema ??= chunk.schema;
    rows += chunk.rows;
    yield chunk.bytes;
  }
  if (source.rows !== undefined && source.rows !== rows) {
    throw unreadableAnswer(`its chunks have ${rows} rows, and the workspace says that it has ${source.rows}`);
  }
}

async function* inOrder(source: ChunkSource): AsyncGenerator<ArrowChunk, void, void> {
  const abandoned = new AbortController();
  const signal = source.signal === undefined ? abandoned.signal : AbortSignal.any([abandoned.signal, source.signal]);
  const links = new Links(source);
  const ahead: { chunk: Promise<ArrowChunk>; bytes: number }[] = [];
  let next = 0;
  const start = () => {
    const index = next++;
    const chunk = fetchChunk(source, links, index, signal);
    chunk.catch(() => {}); // the error is thrown when the chunk's turn comes
    ahead.push({ chunk, bytes: source.chunks.find(({ chunk_index }) => chunk_index === index)?.byte_count ?? 0 });
  };
  const hasRoom = () => {
    const bytes = ahead.reduce((sum, chunk) => sum + chunk.bytes, 0);
    return next < source.count && ahead.length < MAX_CHUNKS_AHEAD && (ahead.length === 0 || bytes < MAX_BYTES_AHEAD);
  };
  try {
    for (;;) {
      while (hasRoom()) start();
      const first = ahead[0];
      if (first === undefined) return;
      const chunk = await first.chunk;
      ahead.shift();
      source.signal?.throwIfAborted();
      yield chunk;
    }
  } finally {
    abandoned.abort(); // ends the downloads that nobody will read
  }
}

/** The links of a result. Each link is requested once, and again after it has expired or failed. */
class Links {
  readonly #source: ChunkSource;
  readonly #links = new Map<number, ChunkLink>();
  /** Whether a chunk had the size in the manifest, so that a different size is a mistake. */
  #areSizesExact = false;
  /** The index of the first chunk whose size differed twice. */
  #suspect: number | undefined;

  constructor(source: ChunkSource) {
    this.#source = source;
    this.#add(source.links);
  }

  async get(index: number, signal: AbortSignal): Promise<ChunkLink> {
    const known = this.#links.get(index);
    if (known !== undefined && !expires(known)) return known;
    this.#add(await this.#source.requestLinks(index, signal));
    const link = this.#links.get(index);
    if (link === undefined) throw new BrokenChunk("the workspace gives no link to it");
    return link;
  }

  /**
   * Compares the size of a complete chunk with the manifest, to notice a wrong chunk that has the same number of rows. The
   * API does not promise that the manifest has the size of the stored bytes: if no chunk of a result has the size in the
   * manifest, the sizes mean nothing.
   *
   * @param described The size in the manifest.
   * @param attempt The number of earlier attempts to read the chunk.
   * @throws {BrokenChunk} If the chunk may be the wrong one.
   * @throws {LakebaseError} If an earlier chunk was the wrong one.
   */
  checkSize(index: number, described: number | undefined, size: number, attempt: number): void {
    if (described === undefined) return;
    if (described === size) {
      this.#areSizesExact = true;
      if (this.#suspect === undefined) return;
      throw unreadableChunk(this.#source, this.#suspect, "its size differs from the result's description");
    } else if (this.#areSizesExact || attempt === 0 && this.#suspect === undefined) {
      throw new BrokenChunk(`it has ${size} bytes, and the result's description says ${described}`);
    } else this.#suspect ??= index;
  }

  forget(index: number): void {
    this.#links.delete(index);
  }

  #add(links: readonly ChunkLink[]): void {
    for (const link of links) this.#links.set(link.chunk_index, link);
  }
}

function expires({ expiration }: ChunkLink): boolean {
  return expiration !== undefined && Date.parse(expiration) - Date.now() < EXPIRY_MARGIN_MS;
}

async function fetchChunk(source: ChunkSource, links: Links, index: number, signal: AbortSignal): Promise<ArrowChunk> {
  const { row_count: rows, byte_count: size } = source.chunks.find(({ chunk_index }) => chunk_index === index) ?? {};
  for (let attempt = 0;; attempt++) {
    try {
      const bytes = await download(await links.get(index, signal), signal);
      const chunk = readChunk(bytes);
      if (rows !== undefined && chunk.rows !== rows) {
        throw new BrokenChunk(`it has ${chunk.rows} rows, and the result's description says ${rows}`);
      }
      links.checkSize(index, size, bytes.length, attempt);
      return chunk;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof BrokenChunk)) throw error;
      links.forget(index);
      if (attempt + 1 === MAX_ATTEMPTS) throw unreadableChunk(source, index, error.message);
      await pause(attempt === 0 ? 0 : backoff(attempt - 1, { first: 250, most: 4000 }), signal);
    }
  }
}

function unreadableChunk({ count }: ChunkSource, index: number, state: string): LakebaseError {
  return unreadableAnswer(state, `chunk ${index + 1} of ${count} of the result`);
}

/** Fetches a chunk. The request has no login, because the storage does not belong to the workspace. */
async function download(link: ChunkLink, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const url = URL.parse(link.external_link);
  if (url === null || url.protocol !== "https:" && !isLoopback(url.hostname)) {
    throw new BrokenChunk("its link is not an https address");
  }
  const headers = headersOf(link);
  const unanswered = new AbortController();
  const timer = setTimeout(() => unanswered.abort(), ANSWER_LIMIT_MS);
  const either = AbortSignal.any([signal, unanswered.signal]);
  try {
    return await sendAndRead(url, { headers, signal: either }, async (response) => {
      clearTimeout(timer);
      if (response.ok) return await wholeBody(response, MAX_CHUNK_BYTES);
      await response.body?.cancel();
      throw new BrokenChunk(`its link answered ${response.status}`);
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BrokenChunk) throw error;
    if (error instanceof BrokenBody) throw new BrokenChunk(error.message);
    if (unanswered.signal.aborted) {
      throw new BrokenChunk(`its link does not answer within ${ANSWER_LIMIT_MS / 1000} s`);
    }
    throw new BrokenChunk(`its link failed: ${withoutAddresses(innermostMessage(error))}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Makes the headers of a request. Replaces the error of `Headers`, which shows a header's value, which may be a key. */
function headersOf({ http_headers: headers = {} }: ChunkLink): Headers {
  try {
    return new Headers(headers);
  } catch {
    throw new BrokenChunk("its link has headers that can't be sent");
  }
}

/** Removes the addresses from an error of `fetch`. */
function withoutAddresses(text: string): string {
  return text.replace(/\s*(?:for url )?\(?\bhttps?:\/\/\S+/g, "");
}

/** A chunk can't be used. Another attempt may help. The message never contains the chunk's address. */
class BrokenChunk extends Error {}

/** A chunk: a stream in Arrow's IPC format. */
interface ArrowChunk {
  /** All bytes of the chunk. */
  bytes: Uint8Array<ArrayBuffer>;
  /** A copy of the message with the schema. */
  schema: Uint8Array;
  /** The number of rows. */
  rows: number;
}

/** The mark at the start of each message. Messages from before 2019 start with their length instead. */
const CONTINUATION = -1;
/** Values of `MessageHeader` (Message.fbs). */
const IS_SCHEMA = 1;
const IS_RECORD_BATCH = 3;
/** The entries of fields in the vtable (Message.fbs), each of two bytes. */
const HEADER_TYPE = 6;
const HEADER = 8;
const BODY_LENGTH = 10;
const BATCH_LENGTH = 4;

/**
 * Finds the messages of a chunk, and checks that the chunk is complete.
 *
 * @throws {BrokenChunk} If the bytes are not Arrow, or are cut off.
 */
function readChunk(bytes: Uint8Array<ArrayBuffer>): ArrowChunk {
  try {
    return readMessages(bytes);
  } catch (error) {
    throw error instanceof RangeError ? new BrokenChunk("it is damaged") : error; // an offset points outside the bytes
  }
}

function readMessages(bytes: Uint8Array<ArrayBuffer>): ArrowChunk {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let schemaEnd = 0;
  let rows = 0;
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw cutOff(bytes, at);
    const first = view.getInt32(at, true);
    const start = at + (first === CONTINUATION ? 8 : 4);
    const length = first === CONTINUATION ? view.getInt32(at + 4, true) : first;
    if (length === 0) break;
    if (length < 0 || at === 0 && start + length > bytes.length) throw new BrokenChunk(notArrow(bytes));
    const message = start + length > bytes.length ? undefined : readMessage(view, start);
    const end = message === undefined ? Infinity : start + length + message.bodyLength;
    if (message === undefined || end > bytes.length) throw cutOff(bytes, at);
    if (at === 0) {
      if (message.type !== IS_SCHEMA) throw new BrokenChunk("it does not begin with a schema");
      schemaEnd = end;
    }
    rows += message.rows;
    at = end;
  }
  if (schemaEnd === 0) throw new BrokenChunk(bytes.length === 0 ? "it is empty" : notArrow(bytes));
  return { bytes, schema: bytes.slice(0, schemaEnd), rows };
}

function cutOff(bytes: Uint8Array, at: number): BrokenChunk {
  return new BrokenChunk(`it is cut off: it has ${bytes.length} bytes, and the message at byte ${at} goes on`);
}

function notArrow(bytes: Uint8Array): string {
  return /^\s*</.test(new TextDecoder("latin1").decode(bytes.subarray(0, 100)))
    ? "it is a web page"
    : "it is not Arrow";
}

/** Reads the metadata of a message, which is a table of FlatBuffers. */
function readMessage(view: DataView, start: number): { type: number; bodyLength: number; rows: number } {
  const field = (table: number, entry: number): number | undefined => {
    const vtable = table - view.getInt32(table, true);
    const offset = entry < view.getUint16(vtable, true) ? view.getUint16(vtable + entry, true) : 0;
    return offset === 0 ? undefined : table + offset;
  };
  const long = (at: number | undefined) => at === undefined ? 0 : Number(view.getBigInt64(at, true));
  const root = start + view.getUint32(start, true);
  const typeAt = field(root, HEADER_TYPE);
  const type = typeAt === undefined ? 0 : view.getUint8(typeAt);
  const bodyLength = long(field(root, BODY_LENGTH));
  if (bodyLength < 0) throw new BrokenChunk("it is damaged");
  const header = field(root, HEADER);
  const isBatch = type === IS_RECORD_BATCH && header !== undefined;
  const rows = isBatch ? long(field(header + view.getUint32(header, true), BATCH_LENGTH)) : 0;
  return { type, bodyLength, rows };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

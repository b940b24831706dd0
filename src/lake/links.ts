import { deepest, sendAndRead } from "../auth/http.ts";
import { backoff, pause } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import { isLoopback } from "../settings/server.ts";
import { BrokenBody, wholeBody } from "./body.ts";

/** A presigned address of a chunk. It is secret, because whoever has it can read the rows. */
export interface ChunkLink {
  /** The number of the chunk, from 0. */
  chunk_index: number;
  /** The address. */
  external_link: string;
  /** When it expires, in ISO 8601. */
  expiration?: string;
  /** Headers that the storage needs, such as a key for decryption. */
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

/** The source of a result's chunks. */
export interface ChunkSource {
  /** The number of chunks. */
  count: number;
  /** The number of rows in all of them; `undefined` if it is not known. */
  rows?: number | undefined;
  /** The chunks, as far as the manifest describes them. */
  chunks: readonly ManifestChunk[];
  /** The links that came with the answer. */
  links: readonly ChunkLink[];
  /** Asks for the link of a chunk. The answer may have further links. */
  ask: (index: number, signal: AbortSignal) => Promise<readonly ChunkLink[]>;
  /** Stops the reading. */
  signal?: AbortSignal | undefined;
}

/** The most chunks that are fetched at the same time. */
const MOST_AHEAD = 3;
/** The approximate number of bytes that may wait to be read. A single chunk may have more. */
const BYTES_AHEAD = 40 * 1024 * 1024;
/** The number of attempts to read a chunk, after which the result counts as unreadable. */
const TRIES = 5;
/** The milliseconds before its expiry within which a link is requested anew. */
const MARGIN_MS = 10_000;
/** The milliseconds after which a link that does not answer is given up. */
const UNANSWERED_MS = 30_000;
/** The most bytes of a chunk. */
const LONGEST_CHUNK = 2 ** 31;

/**
 * Reads the chunks of a result in order. Each chunk is a separate stream in Arrow's IPC format, and is checked for
 * completeness. Several chunks are fetched ahead. A broken chunk is read again with a new link, because reading changes
 * nothing. The caller owns the bytes.
 *
 * @throws {LakebaseError} `WORKSPACE_UNAVAILABLE` if a chunk can't be read.
 */
export async function* arrowChunks(source: ChunkSource): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  let schema: Uint8Array | undefined;
  let rows = 0;
  for await (const chunk of inOrder(source)) {
    if (schema !== undefined && !sameBytes(schema, chunk.schema)) {
      throw unreadable(source, -1, "its chunks have different columns");
    }
    schema ??= chunk.schema;
    rows += chunk.rows;
    yield chunk.bytes;
  }
  if (source.rows !== undefined && source.rows !== rows) {
    throw unreadable(source, -1, `its chunks have ${rows} rows, and the workspace says that it has ${source.rows}`);
  }
}

async function* inOrder(source: ChunkSource): AsyncGenerator<ArrowChunk, void, void> {
  const left = new AbortController();
  const signal = source.signal === undefined ? left.signal : AbortSignal.any([left.signal, source.signal]);
  const links = new Links(source);
  const ahead: { chunk: Promise<ArrowChunk>; bytes: number }[] = [];
  let next = 0;
  const start = () => {
    const index = next++;
    const chunk = fetchChunk(source, links, index, signal);
    chunk.catch(() => {}); // the error is reported when its turn comes
    ahead.push({ chunk, bytes: source.chunks.find(({ chunk_index }) => chunk_index === index)?.byte_count ?? 0 });
  };
  const hasRoom = () => {
    const bytes = ahead.reduce((sum, chunk) => sum + chunk.bytes, 0);
    return next < source.count && ahead.length < MOST_AHEAD && (ahead.length === 0 || bytes < BYTES_AHEAD);
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
    left.abort(); // ends the downloads that nobody will read
  }
}

/** The links of a result. Each link is requested once, and again after it has expired or failed. */
class Links {
  readonly #source: ChunkSource;
  readonly #known = new Map<number, ChunkLink>();
  /** Whether some chunk had the size that the manifest says. */
  #sizesTell = false;
  /** The first chunk whose size differed twice. */
  #doubted: number | undefined;

  constructor(source: ChunkSource) {
    this.#source = source;
    this.#add(source.links);
  }

  async get(index: number, signal: AbortSignal): Promise<ChunkLink> {
    const known = this.#known.get(index);
    if (known !== undefined && !expires(known)) return known;
    this.#add(await this.#source.ask(index, signal));
    const link = this.#known.get(index);
    if (link === undefined) throw new BrokenChunk("the workspace gives no link to it");
    return link;
  }

  /**
   * Compares the size of a complete chunk with the manifest, in order to notice a wrong chunk with the same number of
   * rows. The API does not promise that the manifest has the size of the stored bytes. So if no chunk has the size in
   * the manifest, the sizes of this result mean nothing.
   *
   * @throws {BrokenChunk} If the chunk may be the wrong one.
   * @throws {LakebaseError} If an earlier chunk was the wrong one.
   */
  checkSize(index: number, said: number | undefined, found: number, attempt: number): void {
    if (said === undefined) return;
    if (said === found) {
      this.#sizesTell = true;
      if (this.#doubted === undefined) return;
      throw unreadable(this.#source, this.#doubted, "its size differs from the result's description");
    } else if (this.#sizesTell || attempt === 0 && this.#doubted === undefined) {
      throw new BrokenChunk(`it has ${found} bytes, and the result says ${said}`);
    } else this.#doubted ??= index;
  }

  forget(index: number): void {
    this.#known.delete(index);
  }

  #add(links: readonly ChunkLink[]): void {
    for (const link of links) this.#known.set(link.chunk_index, link);
  }
}

function expires({ expiration }: ChunkLink): boolean {
  return expiration !== undefined && Date.parse(expiration) - Date.now() < MARGIN_MS;
}

async function fetchChunk(source: ChunkSource, links: Links, index: number, signal: AbortSignal): Promise<ArrowChunk> {
  const about = source.chunks.find(({ chunk_index }) => chunk_index === index);
  for (let attempt = 0;; attempt++) {
    try {
      const bytes = await download(await links.get(index, signal), signal);
      const chunk = readChunk(bytes);
      if (about?.row_count !== undefined && chunk.rows !== about.row_count) {
        throw new BrokenChunk(`it has ${chunk.rows} rows, and the result says ${about.row_count}`);
      }
      links.checkSize(index, about?.byte_count, bytes.length, attempt);
      return chunk;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof BrokenChunk)) throw error;
      links.forget(index);
      if (attempt + 1 === TRIES) throw unreadable(source, index, error.message);
      await pause(attempt === 0 ? 0 : backoff(attempt - 1, { first: 250, most: 4000 }), signal);
    }
  }
}

function unreadable({ count }: ChunkSource, index: number, state: string): LakebaseError {
  const which = index < 0 ? "the result" : `chunk ${index + 1} of ${count} of the result`;
  return new LakebaseError(
    "WORKSPACE_UNAVAILABLE",
    `Cannot read ${which}: ${state}. The statement itself ran to its end; only its rows could not be fetched`,
  );
}

/** Fetches a chunk. The storage does not belong to the workspace, so it does not get the login. */
async function download(link: ChunkLink, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const url = URL.parse(link.external_link);
  if (url === null || url.protocol !== "https:" && !isLoopback(url.hostname)) {
    throw new BrokenChunk("its link is not an https address");
  }
  const headers = headersOf(link);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), UNANSWERED_MS);
  const both = AbortSignal.any([signal, late.signal]);
  try {
    return await sendAndRead(url, { headers, signal: both }, async (response) => {
      clearTimeout(timer);
      if (response.ok) return await wholeBody(response, LONGEST_CHUNK);
      await response.body?.cancel();
      throw new BrokenChunk(`its link answered ${response.status}`);
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BrokenChunk) throw error;
    if (error instanceof BrokenBody) throw new BrokenChunk(error.message);
    if (late.signal.aborted) throw new BrokenChunk(`its link does not answer within ${UNANSWERED_MS / 1000} s`);
    throw new BrokenChunk(`its link failed: ${withoutAddresses(deepest(error))}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Makes the headers of a request. The error of `Headers` shows a value, which may be a key, so it is replaced. */
function headersOf({ http_headers: given = {} }: ChunkLink): Headers {
  try {
    return new Headers(given);
  } catch {
    throw new BrokenChunk("its link has headers that can't be sent");
  }
}

/** Hides the addresses in an error of `fetch`. */
function withoutAddresses(text: string): string {
  return text.replace(/\s*(?:for url )?\(?\bhttps?:\/\/\S+/g, "");
}

/** A chunk that can't be used. Reading it again may help. The message never contains the chunk's address. */
class BrokenChunk extends Error {}

/** A chunk: a stream in Arrow's IPC format. */
interface ArrowChunk {
  /** All bytes of the chunk. */
  bytes: Uint8Array<ArrayBuffer>;
  /** A copy of the message that has the schema. */
  schema: Uint8Array;
  /** The number of rows. */
  rows: number;
}

/** The mark at the start of each message. Messages from before 2019 start with their length instead. */
const CONTINUATION = -1;
/** Values of `MessageHeader` (Message.fbs). */
const IS_SCHEMA = 1;
const IS_RECORD_BATCH = 3;
/** Vtable offsets of fields in Message.fbs. Each entry takes two bytes. */
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
    if (length < 0 || at === 0 && start + length > bytes.length) throw new BrokenChunk(noArrow(bytes));
    const message = start + length > bytes.length ? undefined : readMessage(view, start);
    const end = message === undefined ? Infinity : start + length + message.body;
    if (message === undefined || end > bytes.length) throw cutOff(bytes, at);
    if (at === 0) {
      if (message.type !== IS_SCHEMA) throw new BrokenChunk("it does not begin with a schema");
      schemaEnd = end;
    }
    rows += message.rows;
    at = end;
  }
  if (schemaEnd === 0) throw new BrokenChunk(bytes.length === 0 ? "it is empty" : noArrow(bytes));
  return { bytes, schema: bytes.slice(0, schemaEnd), rows };
}

function cutOff(bytes: Uint8Array, at: number): BrokenChunk {
  return new BrokenChunk(`it is cut off: ${bytes.length} bytes, and the message at byte ${at} goes on`);
}

function noArrow(bytes: Uint8Array): string {
  return /^\s*</.test(new TextDecoder("latin1").decode(bytes.subarray(0, 100)))
    ? "it is a web page"
    : "it is not Arrow";
}

/** Reads the metadata of a message, which is a table of FlatBuffers. */
function readMessage(view: DataView, start: number): { type: number; body: number; rows: number } {
  const field = (table: number, place: number): number | undefined => {
    const vtable = table - view.getInt32(table, true);
    const offset = place < view.getUint16(vtable, true) ? view.getUint16(vtable + place, true) : 0;
    return offset === 0 ? undefined : table + offset;
  };
  const long = (at: number | undefined) => at === undefined ? 0 : Number(view.getBigInt64(at, true));
  const root = start + view.getUint32(start, true);
  const typeAt = field(root, HEADER_TYPE);
  const type = typeAt === undefined ? 0 : view.getUint8(typeAt);
  const body = long(field(root, BODY_LENGTH));
  if (body < 0) throw new BrokenChunk("it is damaged");
  const header = field(root, HEADER);
  const isBatch = type === IS_RECORD_BATCH && header !== undefined;
  return { type, body, rows: isBatch ? long(field(header + view.getUint32(header, true), BATCH_LENGTH)) : 0 };
}

/** Whether two pieces have the same bytes. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

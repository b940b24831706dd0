import { joinBytes } from "../core/bytes.ts";

/** The body of an answer broke off or stalled. Another attempt may help. */
export class BrokenBody extends Error {}

/** The milliseconds for which a body may send nothing. */
const STALLED_MS = 30_000;

/**
 * Reads a body as its bytes arrive.
 *
 * @throws {BrokenBody} If the body sends nothing for 30 seconds. Also throws the error of `fetch` if the connection
 * breaks.
 */
export async function* bodyChunks({ body }: Response): AsyncGenerator<Uint8Array, void, void> {
  if (body === null) return;
  const reader = body.getReader();
  using stall = new StallTimer(reader);
  try {
    for (;;) {
      const { value, done } = await stall.watch(() => reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // the body has failed already
  }
}

/**
 * Reads a whole body.
 *
 * @param limit The maximum number of bytes.
 * @throws {BrokenBody} If the body does not have the length that its header states, is longer than the limit, or sends
 * nothing for 30 seconds. Also throws the error of `fetch` if the connection breaks.
 */
export async function wholeBody(response: Response, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const { headers, body } = response;
  const length = headers.has("content-encoding") ? NaN : Number(headers.get("content-length") ?? NaN);
  if (body === null) return new Uint8Array();
  if (length > limit) throw new BrokenBody(`it has ${length} bytes, more than ${limit}`);
  if (Number.isSafeInteger(length)) return await readIntoBuffer(body, length);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of bodyChunks(response)) {
    size += chunk.length;
    if (size > limit) throw new BrokenBody(`it has more than ${limit} bytes`);
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
  }
  return joinBytes(chunks);
}

/**
 * Reads a body of a known length into one buffer. Separate chunks would leave as much garbage, which V8 removes late, because
 * the memory is outside of its heap.
 */
async function readIntoBuffer(body: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader({ mode: "byob" });
  using stall = new StallTimer(reader);
  try {
    let buffer = new ArrayBuffer(length);
    for (let size = 0; size < length;) {
      const { value, done } = await stall.watch(() => reader.read(new Uint8Array(buffer, size)));
      if (done) throw new BrokenBody(`it ended after ${size} of ${length} bytes`);
      buffer = value.buffer; // reading moves the bytes into a new buffer of the same memory
      size += value.length;
    }
    const { done } = await stall.watch(() => reader.read(new Uint8Array(1)));
    if (!done) throw new BrokenBody(`it has more than the ${length} bytes that its header says`);
    return new Uint8Array(buffer);
  } finally {
    reader.cancel().catch(() => {}); // the body has failed already
  }
}

/** Cancels a body that sends nothing for 30 seconds. */
class StallTimer implements Disposable {
  readonly #reader: { cancel(): Promise<void> };
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the wait for the next chunk began; `undefined` while nobody waits. */
  #waitingSince: number | undefined;
  #stalled = false;

  constructor(reader: { cancel(): Promise<void> }) {
    this.#reader = reader;
    this.#checkForStall(STALLED_MS);
  }

  /** Waits for a chunk. The time before the caller reads the next one does not count. */
  async watch<T>(read: () => Promise<T>): Promise<T> {
    this.#waitingSince = performance.now();
    const chunk = await read();
    this.#waitingSince = undefined;
    if (this.#stalled) throw new BrokenBody(`no byte came for ${STALLED_MS / 1000} s`);
    return chunk;
  }

  /** One timer checks from time to time. Setting a timer for each chunk would take longer than reading the chunk. */
  #checkForStall(after: number): void {
    this.#timer = setTimeout(() => {
      const waited = this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince;
      if (waited < STALLED_MS) return this.#checkForStall(STALLED_MS - waited);
      this.#stalled = true;
      this.#reader.cancel().catch(() => {}); // the body has failed already
    }, after);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

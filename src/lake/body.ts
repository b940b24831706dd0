import { joinBytes } from "../core/bytes.ts";

/** An answer's body that broke off or stalled. Reading it again may help. */
export class BrokenBody extends Error {}

/** Milliseconds for which a body may send nothing. */
const STALLED_MS = 30_000;

/**
 * Reads a body as its bytes arrive.
 *
 * @throws {BrokenBody} If the body sends nothing for 30 seconds. Also throws the error of `fetch` if the connection
 * breaks.
 */
export async function* bodyPieces({ body }: Response): AsyncGenerator<Uint8Array, void, void> {
  if (body === null) return;
  const reader = body.getReader();
  using stall = new StallTimer(reader);
  try {
    for (;;) {
      const { value, done } = await stall.watched(() => reader.read());
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
 * @param most The largest number of bytes.
 * @throws {BrokenBody} If the body has fewer bytes than it says, has too many, or sends nothing for 30 seconds. Also
 * throws the error of `fetch` if the connection breaks.
 */
export async function wholeBody(response: Response, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const { headers, body } = response;
  const said = headers.has("content-encoding") ? NaN : Number(headers.get("content-length") ?? NaN);
  if (body === null) return new Uint8Array();
  if (said > most) throw new BrokenBody(`it has ${said} bytes, more than ${most}`);
  if (Number.isSafeInteger(said)) return await readIntoBuffer(body, said);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const piece of bodyPieces(response)) {
    size += piece.length;
    if (size > most) throw new BrokenBody(`it has more than ${most} bytes`);
    pieces.push(piece as Uint8Array<ArrayBuffer>);
  }
  return joinBytes(pieces);
}

/**
 * Reads a body of a known length into one buffer. Separate pieces would be garbage of the same size, which V8 removes
 * late, because most of their memory is outside its heap.
 */
async function readIntoBuffer(body: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader({ mode: "byob" });
  using stall = new StallTimer(reader);
  try {
    let buffer = new ArrayBuffer(length);
    for (let size = 0; size < length;) {
      const { value, done } = await stall.watched(() => reader.read(new Uint8Array(buffer, size)));
      if (done) throw new BrokenBody(`it ended after ${size} of ${length} bytes`);
      buffer = value.buffer; // reading moves the bytes into a new buffer of the same memory
      size += value.length;
    }
    const { done } = await stall.watched(() => reader.read(new Uint8Array(1)));
    if (!done) throw new BrokenBody(`it has more than the ${length} bytes that it says`);
    return new Uint8Array(buffer);
  } finally {
    reader.cancel().catch(() => {}); // the body has failed already
  }
}

/** Cancels a body that has sent nothing for a while. */
class StallTimer implements Disposable {
  readonly #reader: { cancel(): Promise<void> };
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the wait for the current piece began; `undefined` while nobody waits. */
  #waitingSince: number | undefined;
  #stalled = false;

  constructor(reader: { cancel(): Promise<void> }) {
    this.#reader = reader;
    this.#checkForStall(STALLED_MS);
  }

  /** Waits for a piece. The time until the caller asks for the next one does not count. */
  async watched<T>(read: () => Promise<T>): Promise<T> {
    this.#waitingSince = performance.now();
    const piece = await read();
    this.#waitingSince = undefined;
    if (this.#stalled) throw new BrokenBody(`no byte came for ${STALLED_MS / 1000} s`);
    return piece;
  }

  /** One timer checks from time to time, because a timer for each piece takes longer than reading the piece. */
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

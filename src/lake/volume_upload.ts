import type { Workspace } from "../auth/workspace.ts";
import { joinBytes } from "../core/bytes.ts";
import { LakebaseError } from "../core/errors.ts";
import type { FileWriter, StoredEntry } from "../core/file_store.ts";
import { badPath, refusing, tooLarge } from "./files_api.ts";

/** The maximum bytes of a file that the Files API accepts in one request. */
export const MAX_FILE_BYTES = 5 * 1024 ** 3;

/** The milliseconds for which the workspace may take no bytes. */
const STALLED_MS = 120_000;
/** The milliseconds in which the workspace must complete a file after its last byte. */
const COMPLETED_MS = 600_000;
/** An upload of up to this many bytes can be sent again, because they are kept. Most refusals come at the beginning. */
const MAX_KEPT_BYTES = 8 * 1024 ** 2;
/** The minimum bytes of a piece, except for the last one. Each piece passes through several threads and two programs. */
const MIN_PIECE_BYTES = 512 * 1024;
const CONFLICT = 409;

/** The parts that an upload is made from. */
interface UploadParts {
  /** The workspace. */
  workspace: Workspace;
  /** The path of the file. */
  path: string;
  /** The address of the file in the Files API. */
  address: string;
  /** The file to replace; `undefined` if there must be no file. */
  old: StoredEntry | undefined;
  /** The maximum bytes of the file. */
  limit: number;
  /** Describes the file; `undefined` if there is none. */
  stat(): Promise<StoredEntry | undefined>;
  /** Removes the file. */
  remove(): Promise<void>;
}

/**
 * Writes a file of a Volume with one request, whose body has the bytes as they arrive. The file becomes visible after the
 * request has ended, so a request that is cut off leaves nothing behind. The request begins with the first bytes, because
 * networks close a silent connection. A request that fails early is sent again.
 */
export class VolumeUpload implements FileWriter {
  readonly #parts: UploadParts;
  readonly #aborting = new AbortController();
  /** All pieces so far; `undefined` if they are too large to keep. */
  #keptPieces: Uint8Array[] | undefined = [];
  /** Passes bytes to the request; `undefined` while there is no request that takes bytes. */
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** Resolves when all attempts have ended. */
  #answer: Promise<void> | undefined;
  /** Resolves when the request takes more bytes, or has ended. */
  #room = Promise.withResolvers<void>();
  /** The bytes that are not sent yet, because they are too few for a piece. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** The number of bytes that were written so far. */
  #size = 0;
  /** Whether the last byte was written. */
  #ended = false;
  /** Whether the file is complete in the Volume. */
  #complete = false;
  #attempts = 0;
  /** The status with which the workspace refused the last attempt; `undefined` if it did not refuse it. */
  #refusal: number | undefined;
  #failure: { error: unknown } | undefined;

  constructor(parts: UploadParts) {
    this.#parts = parts;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { path, limit } = this.#parts;
    this.#size += bytes.length;
    if (this.#size > limit) throw tooLarge(path, limit);
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= MIN_PIECE_BYTES) await this.#sendPiece();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async close(): Promise<void> {
    if (this.#waitingBytes > 0) await this.#sendPiece();
    if (this.#failure === undefined) {
      this.#ended = true;
      this.#body?.close();
      this.#answer ??= this.#send();
      await withLimit(this.#answer, COMPLETED_MS, () => this.#stalled("the workspace does not complete the file"));
    }
    if (this.#failure !== undefined) await this.#settle(this.#failure.error);
    this.#complete = true;
    this.#keptPieces = undefined;
  }

  async abort(): Promise<boolean> {
    this.#aborting.abort();
    if (this.#answer === undefined || this.#complete) return true;
    await this.#answer;
    if (this.#refusal !== undefined && this.#attempts === 1) return true; // no bytes of this upload arrived
    if (this.#refusal === CONFLICT) return !this.#ended; // the file belongs to another program, or to an earlier attempt
    const { old, remove, stat } = this.#parts;
    try {
      if (old === undefined) await remove();
      else if (this.#ended) return isSame(await stat(), old);
      return true;
    } catch {
      return false;
    }
  }

  /** Passes the waiting bytes to the request once it takes more. */
  async #sendPiece(): Promise<void> {
    this.#answer ??= this.#send();
    while (this.#failure === undefined && (this.#body?.desiredSize ?? 0) <= 0) await this.#untilRoom();
    if (this.#failure !== undefined) return;
    const piece = joinBytes(this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#body!.enqueue(piece);
    if (this.#size > MAX_KEPT_BYTES) this.#keptPieces = undefined;
    else this.#keptPieces?.push(piece);
  }

  /** Makes the body of an attempt. It begins with the bytes of the previous attempts. */
  #makeBody(): ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> {
    this.#attempts++;
    this.#refusal = undefined;
    if (this.#ended && this.#size === 0) return new Uint8Array();
    let body: ReadableStreamDefaultController<Uint8Array>;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        body = controller;
        for (const piece of this.#keptPieces ?? []) body.enqueue(piece);
        if (this.#ended) body.close();
        else this.#body = body;
      },
      pull: () => this.#room.resolve(),
      cancel: () => void (this.#body = this.#body === body ? undefined : this.#body),
    }, { highWaterMark: 2 });
  }

  /** Takes no bytes until the next attempt. Returns whether another attempt is possible. */
  #rewind(): boolean {
    if (this.#keptPieces === undefined) return false;
    this.#body = undefined;
    return true;
  }

  /** Sends the request. Never rejects: the next call of `write` or `close` throws the failure. */
  async #send(): Promise<void> {
    const { workspace, path, address, old } = this.#parts;
    try {
      await workspace.transfer({
        method: "PUT",
        path: address,
        query: { overwrite: String(old !== undefined) },
        headers: { "content-type": "application/octet-stream" },
        body: () => this.#makeBody(),
        again: () => this.#rewind(),
        refused: (refusal) => {
          this.#refusal = refusal.status;
          return refusing("write", path)(refusal);
        },
      }, this.#aborting.signal);
      if (!this.#ended) this.#failure = { error: badPath("write", path, "the workspace answered too early") };
    } catch (error) {
      this.#failure ??= { error: this.#refusal === undefined ? uploadError(path, error) : error };
    }
    this.#room.resolve();
  }

  async #untilRoom(): Promise<void> {
    await withLimit(this.#room.promise, STALLED_MS, () => this.#stalled("the workspace takes no more bytes"));
    this.#room = Promise.withResolvers();
  }

  #stalled(state: string): void {
    this.#failure ??= {
      error: new LakebaseError("WORKSPACE_UNAVAILABLE", `Cannot write ${this.#parts.path}: ${state}`),
    };
    this.#aborting.abort();
  }

  /**
   * Finds out whether the file was written, after a connection that broke after the last byte, or an earlier attempt that may
   * have written the file. Throws the error if the file was not written.
   */
  async #settle(error: unknown): Promise<void> {
    const { path, old } = this.#parts;
    const mayBeWritten = this.#refusal === undefined ||
      this.#refusal === CONFLICT && this.#attempts > 1 && old === undefined;
    if (!mayBeWritten || !this.#ended) throw error;
    const now = await this.#parts.stat().catch(() => undefined);
    if (now?.size === this.#size && (old === undefined || !isSame(now, old))) return;
    if (old === undefined || isSame(now, old)) throw error;
    throw new LakebaseError(
      "WORKSPACE_UNAVAILABLE",
      `${(error as Error).message}. Whether ${path} was replaced is not known: look at it before you write it again`,
      { cause: error },
    );
  }
}

function isSame(now: StoredEntry | undefined, old: StoredEntry): boolean {
  return now !== undefined && now.size === old.size && now.written === old.written;
}

function uploadError(path: string, cause: unknown): LakebaseError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return cause instanceof LakebaseError
    ? new LakebaseError(cause.code, `Cannot write ${path}: ${reason}`, { cause })
    : new LakebaseError("WORKSPACE_UNAVAILABLE", `Cannot write ${path}: the workspace's answer broke off: ${reason}`, {
      cause,
    });
}

/** Waits for a promise. After a time limit, calls `onTimeout`, which must make the promise settle. */
async function withLimit(promise: Promise<void>, ms: number, onTimeout: () => void): Promise<void> {
  const timer = setTimeout(onTimeout, ms);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}

import type { Workspace } from "../auth/workspace.ts";
import { LakebaseError } from "../core/errors.ts";
import type { FileWriter, StoredEntry } from "../core/file_store.ts";
import { badPath, refusing, tooLarge } from "./volume_errors.ts";

/** The most bytes of a file that the Files API takes in one request. */
export const LARGEST_FILE = 5 * 1024 ** 3;

/** How long the workspace may take no bytes, and how long it may take to complete a file. */
const STALLED_MS = 120_000;
const COMPLETED_MS = 600_000;

/** What an upload is made of. */
export interface UploadParts {
  /** The workspace. */
  workspace: Workspace;
  /** The path of the file. */
  path: string;
  /** The address of the file in the Files API. */
  address: string;
  /** The file that is replaced; `undefined` where there is none, and must be none. */
  old: StoredEntry | undefined;
  /** The most bytes. */
  limit: number;
  /** Looks at the file. */
  look(): Promise<StoredEntry | undefined>;
  /** Removes the file. */
  remove(): Promise<void>;
}

/**
 * Writes a file of a Volume with one request, whose body is the bytes as they come. The Files API makes the file visible when
 * the request has ended, so a request that is cut off leaves nothing. The request begins with the first bytes, because networks
 * close a connection on which nothing moves.
 */
export class VolumeUpload implements FileWriter {
  readonly #parts: UploadParts;
  readonly #aborting = new AbortController();
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  #answer: Promise<void> | undefined;
  /** Resolves when the request takes more bytes, or has ended. */
  #room = Promise.withResolvers<void>();
  #sent = 0;
  /** Whether all bytes were sent. */
  #ended = false;
  #complete = false;
  #failure: { error: unknown; refused: boolean } | undefined;

  constructor(parts: UploadParts) {
    this.#parts = parts;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { path, limit } = this.#parts;
    if (this.#sent + bytes.length > limit) throw tooLarge(path, limit);
    if (bytes.length === 0) return;
    const body = this.#body ?? this.#begin();
    if ((body.desiredSize ?? 0) <= 0) await this.#untilRoom();
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#room = Promise.withResolvers();
    body.enqueue(bytes);
    this.#sent += bytes.length;
  }

  async close(): Promise<void> {
    if (this.#failure === undefined) {
      this.#ended = true;
      if (this.#body === undefined) this.#answer = this.#send(undefined);
      else this.#body.close();
      await limited(this.#answer!, COMPLETED_MS, () => this.#stalled("the workspace does not complete the file"));
    }
    if (this.#failure !== undefined) await this.#settle(this.#failure);
    this.#complete = true;
  }

  async abort(): Promise<boolean> {
    this.#aborting.abort();
    if (this.#answer === undefined || this.#complete) return true;
    await this.#answer;
    if (this.#failure?.refused) return true; // what is there now is not from here
    try {
      if (this.#parts.old === undefined) await this.#parts.remove();
      else if (this.#ended) return isSame(await this.#parts.look(), this.#parts.old);
      return true;
    } catch {
      return false;
    }
  }

  #begin(): ReadableStreamDefaultController<Uint8Array> {
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#body = controller),
      pull: () => this.#room.resolve(),
    }, { highWaterMark: 2 });
    this.#answer = this.#send(stream);
    return this.#body!;
  }

  /** Never rejects: the failure is thrown by what comes next. */
  async #send(body: ReadableStream<Uint8Array> | undefined): Promise<void> {
    const { workspace, path, address, old } = this.#parts;
    let refused = false;
    try {
      const { response, close } = await workspace.transfer({
        method: "PUT",
        path: address,
        query: { overwrite: String(old !== undefined) },
        headers: { "content-type": "application/octet-stream" },
        body: body ?? new Uint8Array(),
        again: false,
        refused: (refusal) => {
          refused = true;
          return refusing("write", path)(refusal);
        },
      }, this.#aborting.signal);
      try {
        await response.arrayBuffer(); // an answer that breaks off is none
      } finally {
        close();
      }
      if (!this.#ended) this.#failure = { error: badPath("write", path, "the workspace answered too early"), refused };
    } catch (error) {
      this.#failure ??= { error: refused ? error : broken(path, error), refused };
    }
    this.#room.resolve();
  }

  async #untilRoom(): Promise<void> {
    await limited(this.#room.promise, STALLED_MS, () => this.#stalled("the workspace takes no more bytes"));
  }

  #stalled(state: string): void {
    this.#failure ??= {
      error: new LakebaseError("WORKSPACE_UNAVAILABLE", `Cannot write ${this.#parts.path}: ${state}`),
      refused: false,
    };
    this.#aborting.abort();
  }

  /** Finds out what became of the file, where the connection broke after the last byte. */
  async #settle({ error, refused }: { error: unknown; refused: boolean }): Promise<void> {
    if (refused || !this.#ended) throw error;
    const { path, old } = this.#parts;
    const now = await this.#parts.look().catch(() => undefined);
    if (now?.size === this.#sent && (old === undefined || !isSame(now, old))) return;
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

function broken(path: string, cause: unknown): LakebaseError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return cause instanceof LakebaseError
    ? new LakebaseError(cause.code, `Cannot write ${path}: ${said}`, { cause })
    : new LakebaseError("WORKSPACE_UNAVAILABLE", `Cannot write ${path}: the workspace's answer broke off: ${said}`, {
      cause,
    });
}

/** Waits; after a time it calls `late`, which makes the promise settle. */
async function limited(promise: Promise<void>, ms: number, late: () => void): Promise<void> {
  const timer = setTimeout(late, ms);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}

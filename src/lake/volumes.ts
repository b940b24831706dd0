import type { OpenAnswer } from "../auth/http.ts";
import type { Workspace } from "../auth/workspace.ts";
import { LakebaseError } from "../core/errors.ts";
import type { FileStore, FileWriter, StoredBytes, StoredEntry, StoredRanges } from "../core/file_store.ts";
import { backoff, pause } from "../core/pause.ts";
import { bodyChunks, wholeBody } from "./body.ts";
import { addressOf, badPath, CLEANUP_MS, discard, FilesApi, parsePath } from "./files_api.ts";
import { MAX_FILE_BYTES, VolumeUpload } from "./volume_upload.ts";

/** The maximum number of consecutive broken connections without a byte in between, after which reading continues. */
const MAX_RESUMES = 4;
/** The maximum number of pages of a folder's list. A page has a thousand entries. */
const MAX_PAGES = 10_000;
const PARTIAL_CONTENT = 206;

/** Options for the Volumes of a workspace. */
export interface VolumesOptions {
  /** Ends all reading. */
  signal?: AbortSignal | undefined;
  /** The maximum bytes of a file to write. @default {5 GiB} */
  limit?: number;
}

/** The files in the Volumes of a workspace, through its Files API. */
export class Volumes implements FileStore {
  readonly #workspace: Workspace;
  readonly #api: FilesApi;
  readonly #signal: AbortSignal | undefined;
  readonly #limit: number;

  /** Sends no request. */
  constructor(workspace: Workspace, { signal, limit = MAX_FILE_BYTES }: VolumesOptions = {}) {
    this.#workspace = workspace;
    this.#api = new FilesApi(workspace, signal);
    this.#signal = signal;
    this.#limit = limit;
  }

  async stat(path: string): Promise<StoredEntry | undefined> {
    return await this.#stat(path, this.#signal);
  }

  async #stat(path: string, signal: AbortSignal | undefined): Promise<StoredEntry | undefined> {
    const { names, volume } = parsePath(path);
    const name = names.at(-1) ?? volume;
    if (names.length > 0 && !path.endsWith("/")) {
      const file = await this.#api.head("files", path, signal);
      if (file !== undefined) return { name, isFolder: false, size: sizeOf(file) ?? 0, written: writtenOf(file) };
    }
    const folder = await this.#api.head("directories", path, signal);
    if (folder === undefined) await this.#api.expectVolume(path, signal);
    return folder !== undefined || names.length === 0 ? { name, isFolder: true, size: 0, written: 0 } : undefined;
  }

  async list(folder: string): Promise<StoredEntry[]> {
    const entries: StoredEntry[] = [];
    const readTokens = new Set<string>();
    for (let token: string | undefined = ""; token !== undefined;) {
      const page = await this.#api.listPage(folder, token);
      if (page === undefined) return [];
      for (const entry of page.entries) entries.push(entry); // a spread of a long page would overflow the stack
      readTokens.add(token);
      token = page.next;
      if (token !== undefined && (readTokens.has(token) || readTokens.size >= MAX_PAGES)) {
        throw badPath(
          "read",
          folder,
          `the workspace's list of this folder does not end: ${readTokens.size} pages so far`,
        );
      }
    }
    return entries;
  }

  async open(path: string): Promise<StoredBytes> {
    const answer = await this.#api.get(path);
    const version = versionOf(answer.response.headers);
    const chunks = this.#readAll(path, answer, version);
    return {
      size: version.size,
      chunks,
      close: async () => {
        await chunks.return();
        await discard(answer);
      },
    };
  }

  /** Reads the bytes of a file. After a broken connection, reading continues at the next byte. */
  async *#readAll(path: string, first: OpenAnswer, version: Version): AsyncGenerator<Uint8Array, void, void> {
    let at = 0;
    let failures = 0;
    for (let answer = first;;) {
      try {
        for await (const chunk of bodyChunks(answer.response)) {
          at += chunk.length;
          failures = 0;
          yield chunk;
        }
        if (version.size === undefined || at === version.size) return;
        throw new Error(`it ended after ${at} of ${version.size} bytes`);
      } catch (error) {
        await this.#beforeRetry(path, error, failures++);
      } finally {
        await discard(answer);
      }
      answer = await this.#api.get(path, `bytes=${at}-`);
      try {
        expectRange(path, answer.response, at, version);
      } catch (error) {
        await discard(answer);
        throw error;
      }
    }
  }

  async openRanges(path: string): Promise<StoredRanges> {
    const headers = await this.#api.head("files", path);
    if (headers === undefined) {
      await this.#api.expectVolume(path);
      throw badPath("read", path, "there is no such file");
    }
    const version = versionOf(headers);
    const { size } = version;
    if (size === undefined) throw badPath("read", path, "the workspace does not give its size");
    return {
      size,
      read: async (from, length) => {
        const end = Math.min(size, from + length);
        return end <= from ? new Uint8Array() : await this.#readRange(path, from, end, version);
      },
      close: () => Promise.resolve(),
    };
  }

  async #readRange(path: string, from: number, end: number, version: Version): Promise<Uint8Array<ArrayBuffer>> {
    for (let failures = 0;; failures++) {
      const answer = await this.#api.get(path, `bytes=${from}-${end - 1}`);
      try {
        expectRange(path, answer.response, from, version);
        const bytes = await wholeBody(answer.response, end - from);
        if (bytes.length === end - from) return bytes;
        throw new Error(`${bytes.length} of ${end - from} bytes came`);
      } catch (error) {
        await this.#beforeRetry(path, error, failures);
      } finally {
        await discard(answer);
      }
    }
  }

  /** Waits before the next attempt to read. Throws the error if there is none. */
  async #beforeRetry(path: string, error: unknown, failures: number): Promise<void> {
    this.#signal?.throwIfAborted();
    if (error instanceof LakebaseError) throw error;
    if (failures < MAX_RESUMES) return await pause(backoff(failures), this.#signal);
    const reason = error instanceof Error ? error.message : String(error);
    throw new LakebaseError(
      "WORKSPACE_UNAVAILABLE",
      `Cannot read ${path}: the connection to the workspace keeps breaking: ${reason}`,
      { cause: error },
    );
  }

  create(path: string, old: StoredEntry | undefined): FileWriter {
    return new VolumeUpload({
      workspace: this.#workspace,
      path,
      address: addressOf("files", path),
      old,
      limit: this.#limit,
      stat: () => this.#stat(path, AbortSignal.timeout(CLEANUP_MS)),
      remove: () => this.remove(path),
    });
  }

  async remove(path: string): Promise<void> {
    await this.#api.remove("files", path);
  }

  async makeFolder(path: string): Promise<void> {
    await this.#api.makeFolder(path);
  }

  async removeFolder(path: string): Promise<void> {
    await this.#api.remove("directories", path);
  }
}

/** The properties that distinguish two versions of a file. */
interface Version {
  size: number | undefined;
  /** The header `last-modified`. */
  written: string | null;
}

function versionOf(headers: Headers): Version {
  return { size: sizeOf(headers), written: headers.get("last-modified") };
}

/** Throws if a range does not begin at a position, or belongs to another version of the file. */
function expectRange(path: string, { status, headers }: Response, from: number, { size, written }: Version): void {
  if (status !== PARTIAL_CONTENT) throw badPath("read", path, "the workspace does not answer with a part of the file");
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  const hasSize = total === "*" || size === undefined || Number(total) === size;
  if (Number(start) === from && hasSize && headers.get("last-modified") === written) return;
  throw badPath("read", path, "it changed while it was read; read it when nothing writes to it");
}

function sizeOf(headers: Headers): number | undefined {
  const size = Number(headers.get("content-length") ?? NaN);
  return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

function writtenOf(headers: Headers): number {
  const written = Date.parse(headers.get("last-modified") ?? "");
  return Number.isFinite(written) ? written : 0;
}

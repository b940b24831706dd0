import type { OpenAnswer } from "../auth/http.ts";
import type { ByteRequest } from "../auth/workspace_request.ts";
import type { Workspace } from "../auth/workspace.ts";
import { backoff, pause } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import {
  type FileStore,
  type FileWriter,
  readVolumePath,
  type StoredBytes,
  type StoredEntry,
  type StoredRanges,
  type VolumePath,
} from "../core/file_store.ts";
import { jsonText, withoutEndSlashes } from "../core/text.ts";
import { bodyPieces, wholeBody } from "./body.ts";
import { badPath, refusing, type VolumeWork } from "./volume_errors.ts";
import { LARGEST_FILE, VolumeUpload } from "./volume_upload.ts";

/** The number of times in a row that reading continues after a broken connection without any byte in between. */
const MOST_RESUMES = 4;
/** The milliseconds that the cleanup after a failure may take. */
const CLEANUP_MS = 20_000;
/** The most simultaneous requests, besides those that carry the bytes of files. The Files API accepts ten. */
const AT_ONCE = 5;
/** The most pages of a folder, with a thousand entries each. */
const MOST_PAGES = 10_000;
const NOT_FOUND = 404;
const PARTIAL = 206;

/** Options for the Volumes of a workspace. */
export interface VolumesOptions {
  /** Ends all reading. */
  signal?: AbortSignal | undefined;
  /** The most bytes of a file to write. @default {5 GiB} */
  limit?: number;
}

/** The files in the Volumes of a workspace, through its Files API. */
export class Volumes implements FileStore {
  readonly #workspace: Workspace;
  readonly #signal: AbortSignal | undefined;
  readonly #limit: number;
  /** The Volumes that are known to exist. */
  readonly #known = new Set<string>();
  #busy = 0;
  /** The requests that wait for their turn. */
  readonly #waiting: (() => void)[] = [];

  /** Makes the Volumes of a workspace; sends no request. */
  constructor(workspace: Workspace, { signal, limit = LARGEST_FILE }: VolumesOptions = {}) {
    this.#workspace = workspace;
    this.#signal = signal;
    this.#limit = limit;
  }

  async stat(path: string): Promise<StoredEntry | undefined> {
    return await this.#findEntry(path, this.#signal);
  }

  async list(folder: string): Promise<StoredEntry[]> {
    const place = placeOf(folder);
    const entries: StoredEntry[] = [];
    const seen = new Set<string>();
    for (let token: string | undefined = ""; token !== undefined;) {
      const page = await this.#inTurn(() => this.#page(place, folder, token!));
      if (page === undefined) return [];
      for (const entry of page.entries) entries.push(entry); // a spread of a long page would overflow the stack
      seen.add(token);
      token = page.next;
      if (token === undefined) break;
      if (seen.has(token) || seen.size >= MOST_PAGES) {
        throw badPath("read", folder, `the workspace's list of this folder does not end: ${seen.size} pages so far`);
      }
    }
    return entries;
  }

  async open(path: string): Promise<StoredBytes> {
    const place = placeOf(path);
    const first = await this.#get(place, path, {});
    const { headers } = first.response;
    const version = { size: sizeOf(headers), written: headers.get("last-modified") };
    const reading = this.#resumed(place, path, first, version);
    return {
      size: version.size,
      chunks: reading,
      close: async () => {
        await reading.return();
        await discard(first);
      },
    };
  }

  async openRanges(path: string): Promise<StoredRanges> {
    const place = placeOf(path);
    const headers = await this.#head("files", place, path, this.#signal);
    if (headers === undefined) {
      await this.#expectVolume(place, path, this.#signal);
      throw badPath("read", path, "there is no such file");
    }
    const version = { size: sizeOf(headers), written: headers.get("last-modified") };
    const { size } = version;
    if (size === undefined) throw badPath("read", path, "the workspace does not give its size");
    return {
      size,
      read: async (from, length) => {
        const end = Math.min(size, from + length);
        return end <= from ? new Uint8Array() : await this.#range(place, path, from, end, version);
      },
      close: () => Promise.resolve(),
    };
  }

  async #range(
    place: VolumePath,
    path: string,
    from: number,
    end: number,
    version: Version,
  ): Promise<Uint8Array<ArrayBuffer>> {
    for (let failed = 0;; failed++) {
      const answer = await this.#get(place, path, { range: `bytes=${from}-${end - 1}` });
      try {
        expectPart(path, answer.response, from, version);
        const bytes = await wholeBody(answer.response, end - from);
        if (bytes.length === end - from) return bytes;
        throw new Error(`${bytes.length} of ${end - from} bytes came`);
      } catch (error) {
        await this.#beforeResume(path, error, failed);
      } finally {
        await discard(answer);
      }
    }
  }

  create(path: string, old: StoredEntry | undefined): FileWriter {
    const place = placeOf(path);
    return new VolumeUpload({
      workspace: this.#workspace,
      path,
      address: address("files", place),
      old,
      limit: this.#limit,
      look: () => this.#findEntry(path, AbortSignal.timeout(CLEANUP_MS)),
      remove: () => this.remove(path),
    });
  }

  async remove(path: string): Promise<void> {
    await this.#change("DELETE", "files", path, "remove", [NOT_FOUND]);
  }

  async makeFolder(path: string): Promise<void> {
    await this.#change("PUT", "directories", path, "write", []);
  }

  async removeFolder(path: string): Promise<void> {
    await this.#change("DELETE", "directories", path, "remove", [NOT_FOUND]);
  }

  async #findEntry(path: string, signal: AbortSignal | undefined): Promise<StoredEntry | undefined> {
    const place = placeOf(path);
    const { names } = place;
    const name = names.at(-1) ?? place.volume;
    if (names.length > 0 && !path.endsWith("/")) {
      const file = await this.#head("files", place, path, signal);
      if (file !== undefined) return { name, isFolder: false, size: sizeOf(file) ?? 0, written: writtenOf(file) };
    }
    const folder = await this.#head("directories", place, path, signal);
    if (folder === undefined) await this.#expectVolume(place, path, signal);
    return folder !== undefined || names.length === 0 ? { name, isFolder: true, size: 0, written: 0 } : undefined;
  }

  async #head(
    kind: "files" | "directories",
    place: VolumePath,
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<Headers | undefined> {
    const answer = await this.#inTurn(() =>
      this.#workspace.transfer({
        method: "HEAD",
        path: address(kind, place),
        again: true,
        answers: [NOT_FOUND],
        refused: refusing("read", path),
      }, signal)
    );
    await discard(answer);
    const { response: { ok, headers } } = answer;
    if (ok) this.#known.add(place.volume);
    return ok ? headers : undefined;
  }

  /**
   * Asks Unity Catalog whether a Volume exists, because the Files API also answers 404 for an empty Volume.
   *
   * @throws {LakebaseError} `BAD_FILE` where there is none.
   */
  async #expectVolume({ volume }: VolumePath, path: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#known.has(volume)) return;
    try {
      await this.#workspace.request(
        { method: "GET", path: `/api/2.1/unity-catalog/volumes/${encodeURIComponent(volume)}` },
        signal,
      );
    } catch (error) {
      if (!(error instanceof LakebaseError)) throw error;
      if (error.code === "ENDPOINT_NOT_FOUND") throw noVolume(volume, path, error);
      if (error.code !== "WORKSPACE_REFUSED" && error.code !== "WORKSPACE_AUTH") throw error;
      return; // a login may be allowed to use the files but not to see the Volume
    }
    this.#known.add(volume);
  }

  async #page(
    place: VolumePath,
    folder: string,
    token: string,
  ): Promise<{ entries: StoredEntry[]; next: string | undefined } | undefined> {
    const answer = await this.#workspace.transfer({
      method: "GET",
      path: address("directories", place),
      query: token === "" ? {} : { page_token: token },
      again: true,
      answers: [NOT_FOUND],
      refused: refusing("read", folder),
    }, this.#signal);
    try {
      if (answer.response.status === NOT_FOUND) return void await this.#expectVolume(place, folder, this.#signal);
      const body = JSON.parse(new TextDecoder().decode(await wholeBody(answer.response, LONGEST_PAGE)));
      return readPage(body);
    } catch (error) {
      this.#signal?.throwIfAborted();
      if (error instanceof LakebaseError) throw error;
      throw badPath("read", folder, "the workspace's list of this folder can't be understood", error);
    } finally {
      await discard(answer);
    }
  }

  async #get(
    place: VolumePath,
    path: string,
    headers: Record<string, string>,
  ): Promise<OpenAnswer> {
    return await this.#workspace.transfer({
      method: "GET",
      path: address("files", place),
      // A file that is compressed in transit would have another length and other ranges.
      headers: { accept: "application/octet-stream", "accept-encoding": "identity", ...headers },
      again: true,
      refused: refusing("read", path),
    }, this.#signal);
  }

  /** Reads the bytes of a file. After a broken connection, reading continues where it stopped. */
  async *#resumed(
    place: VolumePath,
    path: string,
    first: OpenAnswer,
    version: Version,
  ): AsyncGenerator<Uint8Array, void, void> {
    let at = 0;
    let failed = 0;
    for (let answer = first;;) {
      try {
        for await (const chunk of bodyPieces(answer.response)) {
          at += chunk.length;
          failed = 0;
          yield chunk;
        }
        if (version.size === undefined || at === version.size) return;
        throw new Error(`it ended after ${at} of ${version.size} bytes`);
      } catch (error) {
        await this.#beforeResume(path, error, failed++);
      } finally {
        await discard(answer);
      }
      answer = await this.#get(place, path, { range: `bytes=${at}-` });
      try {
        expectPart(path, answer.response, at, version);
      } catch (error) {
        await discard(answer);
        throw error;
      }
    }
  }

  /** Waits before reading continues. Throws the error if reading can't continue. */
  async #beforeResume(path: string, error: unknown, failed: number): Promise<void> {
    this.#signal?.throwIfAborted();
    if (error instanceof LakebaseError) throw error;
    if (failed < MOST_RESUMES) return await pause(backoff(failed), this.#signal);
    const said = error instanceof Error ? error.message : String(error);
    throw new LakebaseError(
      "WORKSPACE_UNAVAILABLE",
      `Cannot read ${path}: the connection to the workspace keeps breaking: ${said}`,
      { cause: error },
    );
  }

  /** Changes a file or a folder. The signal does not end this request, because it may be the cleanup after Stop. */
  async #change(
    method: "PUT" | "DELETE",
    kind: "files" | "directories",
    path: string,
    work: VolumeWork,
    answers: readonly number[],
  ): Promise<void> {
    const request: ByteRequest = {
      method,
      path: address(kind, placeOf(path)),
      again: true, // a second time, it changes nothing
      answers,
      refused: refusing(work, path),
    };
    const send = () => this.#workspace.transfer(request, AbortSignal.timeout(CLEANUP_MS));
    await discard(await this.#inTurn(send));
  }

  async #inTurn<T>(send: () => Promise<T>): Promise<T> {
    if (this.#busy >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#busy++;
    try {
      return await send();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy--;
      else next();
    }
  }
}

/** The properties that distinguish two versions of a file. */
interface Version {
  size: number | undefined;
  /** The header `last-modified`. */
  written: string | null;
}

/** Throws if a part belongs to another version of the file than the earlier parts. */
function expectPart(path: string, { status, headers }: Response, from: number, { size, written }: Version): void {
  if (status !== PARTIAL) throw badPath("read", path, "the workspace does not answer with a part of the file");
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  const same = total === "*" || size === undefined || Number(total) === size;
  if (Number(start) === from && same && headers.get("last-modified") === written) return;
  throw badPath("read", path, "it changed while it was read; read it when nothing writes to it");
}

/** The longest page of a list, in bytes. */
const LONGEST_PAGE = 64 * 1024 ** 2;

function placeOf(path: string): VolumePath {
  const place = readVolumePath(path);
  if (typeof place === "string") throw badPath("open", path, place);
  return place;
}

function address(kind: "files" | "directories", { root, names }: VolumePath): string {
  const parts = [...root.split("/").slice(1), ...names];
  return `/api/2.0/fs/${kind}/${parts.map(encodeURIComponent).join("/")}`;
}

function noVolume(volume: string, path: string, cause: LakebaseError): LakebaseError {
  return badPath(
    "open",
    path,
    `there is no Volume ${volume}, or this login may not see it. In SQL: CREATE VOLUME ${volume}`,
    cause,
  );
}

function sizeOf(headers: Headers): number | undefined {
  const size = Number(headers.get("content-length") ?? NaN);
  return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

function writtenOf(headers: Headers): number {
  const written = Date.parse(headers.get("last-modified") ?? "");
  return Number.isFinite(written) ? written : 0;
}

function readPage(body: unknown): { entries: StoredEntry[]; next: string | undefined } {
  const { contents = [], next_page_token: next } = body as { contents?: unknown; next_page_token?: unknown };
  if (!Array.isArray(contents)) throw new TypeError("contents is no list");
  return { entries: contents.flatMap(readEntry), next: typeof next === "string" && next !== "" ? next : undefined };
}

function readEntry(entry: Record<string, unknown>): StoredEntry[] {
  const { path = "", is_directory = false, file_size = 0, last_modified = 0 } = entry;
  const name = typeof entry["name"] === "string" ? entry["name"] : withoutEndSlashes(jsonText(path)).split("/").at(-1)!;
  if (name === "" || name === "." || name === ".." || name.includes("/")) return []; // not the name of a file
  const isFolder = is_directory === true;
  const written = Math.floor((Number(last_modified) || 0) / 1000) * 1000; // the header last-modified has whole seconds
  return [{ name, isFolder, size: isFolder ? 0 : Number(file_size) || 0, written }];
}

async function discard({ response, close }: OpenAnswer): Promise<void> {
  if (response.body !== null && !response.body.locked) await response.body.cancel().catch(() => {}); // it failed already
  close();
}

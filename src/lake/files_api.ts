import type { OpenAnswer } from "../auth/http.ts";
import type { Workspace } from "../auth/workspace.ts";
import type { RefusedRequest } from "../auth/workspace_request.ts";
import { LakebaseError, optionName } from "../core/errors.ts";
import { readVolumePath, type StoredEntry, type VolumePath } from "../core/file_store.ts";
import { jsonText, withoutEndSlashes } from "../core/text.ts";
import { wholeBody } from "./body.ts";

/** The milliseconds that a change may take. It may be the cleanup after a failure. */
export const CLEANUP_MS = 20_000;
/** The maximum number of simultaneous requests, besides those for the bytes of files. The Files API accepts ten. */
const MAX_REQUESTS = 5;
/** The maximum bytes of a page of a folder's list. */
const MAX_PAGE_BYTES = 64 * 1024 ** 2;
const NOT_FOUND = 404;

/** Whether a path is that of a file or of a folder. The API has a different address for each. */
type EntryKind = "files" | "directories";

/** A page of a folder's list. */
interface FolderPage {
  entries: StoredEntry[];
  /** The token of the next page; `undefined` for the last page. */
  next: string | undefined;
}

/**
 * The requests of a workspace's Files API, for paths in Volumes.
 *
 * @throws {LakebaseError} From each method: `BAD_FILE` for a path that is in no Volume, or that the workspace refuses; or the
 * error of a request to the workspace.
 */
export class FilesApi {
  readonly #workspace: Workspace;
  readonly #signal: AbortSignal | undefined;
  /** The Volumes that are known to exist. */
  readonly #knownVolumes = new Set<string>();
  #running = 0;
  /** Starts each request that waits for its turn. */
  readonly #waiting: (() => void)[] = [];

  /** Sends no request. @param signal Ends all reading. */
  constructor(workspace: Workspace, signal: AbortSignal | undefined) {
    this.#workspace = workspace;
    this.#signal = signal;
  }

  /** Asks for the headers of a file or a folder; `undefined` if there is none. */
  async head(kind: EntryKind, path: string, signal = this.#signal): Promise<Headers | undefined> {
    const answer = await this.#inTurn(() =>
      this.#workspace.transfer({
        method: "HEAD",
        path: addressOf(kind, path),
        again: true,
        answers: [NOT_FOUND],
        refused: refusing("read", path),
      }, signal)
    );
    await discard(answer);
    const { response: { ok, headers } } = answer;
    if (ok) this.#knownVolumes.add(parsePath(path).volume);
    return ok ? headers : undefined;
  }

  /** Asks for the bytes of a file, or for a range such as `bytes=100-`. The caller gives the answer to {@linkcode discard}. */
  async get(path: string, range?: string): Promise<OpenAnswer> {
    return await this.#workspace.transfer({
      method: "GET",
      path: addressOf("files", path),
      headers: {
        accept: "application/octet-stream",
        "accept-encoding": "identity", // a file that is compressed in transit would have another length and other ranges
        ...(range === undefined ? {} : { range }),
      },
      again: true,
      refused: refusing("read", path),
    }, this.#signal);
  }

  /** Asks for a page of a folder's list; `undefined` if there is no such folder. @param token `""` for the first page. */
  async listPage(folder: string, token: string): Promise<FolderPage | undefined> {
    return await this.#inTurn(async () => {
      const answer = await this.#workspace.transfer({
        method: "GET",
        path: addressOf("directories", folder),
        query: token === "" ? {} : { page_token: token },
        again: true,
        answers: [NOT_FOUND],
        refused: refusing("read", folder),
      }, this.#signal);
      try {
        if (answer.response.status === NOT_FOUND) return void await this.expectVolume(folder);
        return readPage(JSON.parse(new TextDecoder().decode(await wholeBody(answer.response, MAX_PAGE_BYTES))));
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (error instanceof LakebaseError) throw error;
        throw badPath("read", folder, "the workspace's list of this folder can't be understood", error);
      } finally {
        await discard(answer);
      }
    });
  }

  /** Makes a folder and its parents, which may exist already. */
  async makeFolder(folder: string): Promise<void> {
    await this.#change("PUT", "directories", folder);
  }

  /** Removes a file or an empty folder, which may be gone already. */
  async remove(kind: EntryKind, path: string): Promise<void> {
    await this.#change("DELETE", kind, path);
  }

  /** Sends a request that may run twice. The signal does not end it, because it may be the cleanup after Stop. */
  async #change(method: "PUT" | "DELETE", kind: EntryKind, path: string): Promise<void> {
    const [work, answers] = method === "PUT" ? ["write", []] as const : ["remove", [NOT_FOUND]] as const;
    const request = { method, path: addressOf(kind, path), again: true, answers, refused: refusing(work, path) };
    await discard(await this.#inTurn(() => this.#workspace.transfer(request, AbortSignal.timeout(CLEANUP_MS))));
  }

  /**
   * Asks Unity Catalog whether the Volume of a path exists, because the Files API also answers 404 for an empty Volume.
   *
   * @throws {LakebaseError} `BAD_FILE` if there is no such Volume.
   */
  async expectVolume(path: string, signal = this.#signal): Promise<void> {
    const { volume } = parsePath(path);
    if (this.#knownVolumes.has(volume)) return;
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
    this.#knownVolumes.add(volume);
  }

  async #inTurn<T>(send: () => Promise<T>): Promise<T> {
    if (this.#running >= MAX_REQUESTS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await send();
    } finally {
      const startNext = this.#waiting.shift();
      if (startNext === undefined) this.#running--;
      else startNext();
    }
  }
}

/** Ends an answer, and cancels the rest of its body. */
export async function discard({ response, close }: OpenAnswer): Promise<void> {
  if (response.body !== null && !response.body.locked) await response.body.cancel().catch(() => {}); // it failed already
  close();
}

/** Reads a path in a Volume. @throws {LakebaseError} `BAD_FILE` for any other path. */
export function parsePath(path: string): VolumePath {
  const parts = readVolumePath(path);
  if (typeof parts === "string") throw badPath("open", path, parts);
  return parts;
}

/** The path of a file or a folder in the API. */
export function addressOf(kind: EntryKind, path: string): string {
  const { root, names } = parsePath(path);
  return `/api/2.0/fs/${kind}/${[...root.split("/").slice(1), ...names].map(encodeURIComponent).join("/")}`;
}

function readPage(body: unknown): FolderPage {
  const { contents = [], next_page_token: next } = body as { contents?: unknown; next_page_token?: unknown };
  if (!Array.isArray(contents)) throw new TypeError("contents is not a list");
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

/** The kind of work on a file or a folder of a Volume. */
type VolumeWork = "open" | "read" | "write" | "remove";

/** Makes the error for a path in a Volume. */
export function badPath(work: VolumeWork, path: string, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot ${work} ${path}: ${state}`, { cause });
}

function noVolume(volume: string, path: string, cause: LakebaseError): LakebaseError {
  return badPath(
    "open",
    path,
    `there is no Volume ${volume}, or this login may not see it. In SQL: CREATE VOLUME ${volume}`,
    cause,
  );
}

/** The privilege of Unity Catalog that each kind of work needs. */
const PRIVILEGES: Readonly<Record<VolumeWork, string>> = {
  open: "READ VOLUME",
  read: "READ VOLUME",
  write: "WRITE VOLUME",
  remove: "WRITE VOLUME",
};

/** Makes the function that turns a refusal of the Files API into an error. */
export function refusing(work: VolumeWork, path: string): (refusal: RefusedRequest) => LakebaseError {
  return ({ status, message }) => {
    const quoted = message === undefined ? "" : `: "${message}"`;
    if (status === 429 || (status >= 500 && status !== 507)) {
      const state = status === 429 ? "the workspace gets too many requests; try again later" : "the workspace failed";
      return new LakebaseError(
        "WORKSPACE_UNAVAILABLE",
        `Cannot ${work} ${path}: ${state} (it answered ${status}${quoted})`,
      );
    }
    if (status === NOT_FOUND && work !== "write") return badPath(work, path, "there is no such file");
    return badPath(work, path, `${refusalText(status, work)}${quoted}`);
  };
}

function refusalText(status: number, work: VolumeWork): string {
  switch (status) {
    case 403:
      return `this login may not ${work} it; it needs the privilege ${PRIVILEGES[work]}, and USE of the catalog and ` +
        "of the schema. The workspace says";
    case NOT_FOUND:
      return "there is no such Volume. The workspace says";
    case 409:
      return "a file of that name exists now; it was not replaced. The workspace says";
    case 412:
    case 416:
      return "it changed while it was read; read it when nothing writes to it. The workspace says";
    case 413:
      return `a file of a Volume is smaller than that; ${SEVERAL_FILES}. The workspace says`;
    case 507:
      return "the storage of the Volume is full. The workspace says";
    default:
      return `the workspace answered ${status}`;
  }
}

/** Makes the error for a file that is larger than the Files API takes. */
export function tooLarge(path: string, limit: number): LakebaseError {
  return badPath(
    "write",
    path,
    `it would have more bytes than a file of a Volume may have, ${limit / 1024 ** 3} GiB; ${SEVERAL_FILES}`,
  );
}

const SEVERAL_FILES =
  `write several files: into a folder with ${optionName("rowsPerFile")}, or with {n} in the name and ` +
  optionName("parallel");

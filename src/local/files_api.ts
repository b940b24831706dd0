import { withoutEndSlashes } from "../core/text.ts";
import { ApiError, invalid, notFound, page } from "./api_json.ts";

/** Options of the Files API. */
interface FilesApiOptions {
  /** The folder of the Volumes; `undefined` for a temporary one, which is created for the first file. */
  folder: string | undefined;
  /** The full names of the Volumes. A Volume whose folder exists need not be among them. */
  volumes: readonly string[];
  /** Limit of a file's size in bytes. */
  fileLimit: number;
}

/** A path below `/Volumes`. */
interface Place {
  /** The path in the API's form. */
  path: string;
  /** Catalog, schema and Volume. */
  volume: string[];
  /** The names below the Volume. */
  names: string[];
}

const FILES = "/api/2.0/fs/files";
const DIRECTORIES = "/api/2.0/fs/directories";
const VOLUMES = "/api/2.1/unity-catalog/volumes";
/** Limit of the entries in a page of a list. */
const PAGE_SIZE = 1000;

/**
 * The Files API of a workspace, for the files of Volumes, which are in a folder on this machine. A file becomes visible
 * when it is complete.
 *
 * Like the real API, it creates the folders of a file, answers 404 to `HEAD` of an empty Volume, and does not remove a folder
 * that has files.
 */
export class FilesApi {
  readonly #options: FilesApiOptions;
  #temporary: string | undefined;
  readonly #onUnload = () => this.close();

  constructor(options: FilesApiOptions) {
    this.#options = options;
  }

  /** Removes the files if their folder is temporary. */
  close(): void {
    globalThis.removeEventListener("unload", this.#onUnload);
    const folder = this.#temporary;
    this.#temporary = undefined;
    if (folder !== undefined) Deno.removeSync(folder, { recursive: true });
  }

  /**
   * Answers a call.
   *
   * @param path The path of the call, decoded.
   * @returns `undefined` for a call that belongs to another API.
   * @throws {ApiError} If the call is refused.
   */
  async answer(request: Request, path: string): Promise<Response | undefined> {
    const query = new URL(request.url).searchParams;
    if (request.method === "GET" && path.startsWith(`${VOLUMES}/`)) return this.#volume(path.slice(VOLUMES.length + 1));
    if (!/^\/api\/2\.0\/fs\/(?:files|directories)\//.test(path)) return undefined;
    const isFile = path.startsWith(`${FILES}/`);
    const place = placeOf(path.slice((isFile ? FILES : DIRECTORIES).length));
    this.#expectVolume(place);
    try {
      return await (isFile ? this.#file(request, place, query) : this.#directory(request, place, query));
    } catch (error) {
      throw asApiError(error, place.path);
    }
  }

  async #file(request: Request, place: Place, query: URLSearchParams): Promise<Response> {
    switch (request.method) {
      case "PUT":
        return await this.#upload(request, place, query.get("overwrite") !== "false");
      case "GET":
      case "HEAD":
        return await this.#download(request, place);
      case "DELETE":
        await this.#expectFile(place);
        await Deno.remove(this.#onDisk(place));
        return new Response(null, { status: 204 });
      default:
        throw notFound(`No API found for '${request.method} ${place.path}'`);
    }
  }

  async #upload(request: Request, place: Place, overwrite: boolean): Promise<Response> {
    const { fileLimit } = this.#options;
    if (place.names.length === 0) throw invalid("The path is that of a Volume, not of a file in it");
    if (Number(request.headers.get("content-length") ?? 0) > fileLimit) throw tooLarge(fileLimit);
    await this.#expectFree(place, overwrite);
    const folder = this.#root();
    const part = `${folder}/.uploads/${crypto.randomUUID()}`;
    await Deno.mkdir(`${folder}/.uploads`, { recursive: true });
    try {
      await receive(request, part, fileLimit);
      await this.#expectFree(place, overwrite); // another upload may have ended meanwhile
      const target = this.#onDisk(place);
      await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
      await Deno.rename(part, target);
    } catch (error) {
      await Deno.remove(part).catch(() => {}); // the file was not created yet
      throw error;
    }
    return new Response(null, { status: 204 });
  }

  async #expectFree(place: Place, overwrite: boolean): Promise<void> {
    const found = await this.#stat(place);
    if (found?.isDirectory) throw alreadyExists(`A directory exists at ${place.path}`);
    if (found !== undefined && !overwrite) throw alreadyExists(`A file exists at ${place.path}`);
  }

  async #download(request: Request, place: Place): Promise<Response> {
    const { size, mtime } = await this.#expectFile(place);
    const written = mtime!.toUTCString();
    const since = Date.parse(request.headers.get("if-unmodified-since") ?? "");
    if (Date.parse(written) > since) throw new ApiError(412, "PRECONDITION_FAILED", `${place.path} was modified`);
    const { from, to, status } = rangeOf(request.headers.get("range"), size);
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(to - from),
      "last-modified": written,
      "accept-ranges": "bytes",
      ...(status === 206 ? { "content-range": `bytes ${from}-${to - 1}/${size}` } : {}),
    };
    if (request.method === "HEAD") return new Response(null, { headers });
    return new Response(partOf(await Deno.open(this.#onDisk(place)), from, to), { status, headers });
  }

  async #directory(request: Request, place: Place, query: URLSearchParams): Promise<Response> {
    const found = await this.#stat(place);
    const isRoot = place.names.length === 0;
    switch (request.method) {
      case "PUT":
        if (found?.isFile) throw alreadyExists(`A file exists at ${place.path}`);
        await Deno.mkdir(this.#onDisk(place), { recursive: true });
        return new Response(null, { status: 204 });
      case "HEAD":
        // The real API finds a folder by the files in its storage, and an empty Volume has no files.
        if (!found?.isDirectory || isRoot && await this.#isEmpty(place)) {
          throw notFound(`No directory at ${place.path}`);
        }
        return new Response(null, { status: 200 });
      case "GET":
        if (!found?.isDirectory && !isRoot) throw notFound(`No directory at ${place.path}`);
        return Response.json(await this.#list(place, query));
      case "DELETE":
        if (!found?.isDirectory) throw notFound(`No directory at ${place.path}`);
        if (isRoot) throw invalid("A Volume is removed with the Volumes API");
        if (!await this.#isEmpty(place)) throw notEmpty(place);
        await Deno.remove(this.#onDisk(place));
        return new Response(null, { status: 204 });
      default:
        throw notFound(`No API found for '${request.method} ${place.path}'`);
    }
  }

  async #list(place: Place, query: URLSearchParams): Promise<Record<string, unknown>> {
    const folder = this.#onDisk(place);
    const names: string[] = [];
    if (await this.#stat(place) !== undefined) {
      for await (const { name } of Deno.readDir(folder)) names.push(name);
    }
    const { contents = [], ...rest } = page("contents", names.sort(), query, PAGE_SIZE);
    return { contents: await Promise.all((contents as string[]).map((name) => entryOf(folder, place, name))), ...rest };
  }

  async #isEmpty(place: Place): Promise<boolean> {
    for await (const _ of Deno.readDir(this.#onDisk(place))) return false;
    return true;
  }

  async #expectFile(place: Place): Promise<Deno.FileInfo> {
    const found = await this.#stat(place);
    if (found?.isFile) return found;
    throw notFound(`The file ${place.path} does not exist`);
  }

  async #stat(place: Place): Promise<Deno.FileInfo | undefined> {
    if (this.#folder === undefined) return undefined;
    return await Deno.stat(this.#onDisk(place)).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    });
  }

  #volume(name: string): Response {
    const parts = name.split(".");
    this.#expectVolume({ path: name, volume: parts, names: [] });
    const [catalog_name, schema_name, volume] = parts;
    return Response.json({ catalog_name, schema_name, name: volume, full_name: name, volume_type: "MANAGED" });
  }

  #expectVolume({ volume }: Place): void {
    const name = volume.join(".");
    if (this.#options.volumes.includes(name)) return;
    const folder = this.#folder;
    const exists = folder !== undefined && volume.length === 3 && !volume.some(isUnsafe) &&
      isDirectory(`${folder}/${volume.join("/")}`);
    if (!exists) throw notFound(`Volume '${name}' does not exist.`);
  }

  #onDisk({ volume, names }: Place): string {
    return [this.#root(), ...volume, ...names].join("/");
  }

  get #folder(): string | undefined {
    return this.#options.folder ?? this.#temporary;
  }

  #root(): string {
    const folder = this.#folder;
    if (folder !== undefined) return folder;
    globalThis.addEventListener("unload", this.#onUnload); // a notebook's process may end without close()
    return this.#temporary = Deno.makeTempDirSync({ prefix: "lakebase-volumes-" });
  }
}

function placeOf(path: string): Place {
  const [, first, ...parts] = withoutEndSlashes(path).split("/");
  const volume = parts.slice(0, 3);
  if (first !== "Volumes" || volume.length < 3) throw invalid(`Path ${path} is not in a Volume`);
  if (parts.some(isUnsafe)) throw invalid(`Path ${path} has a name that is not allowed`);
  return { path, volume, names: parts.slice(3) };
}

function isUnsafe(name: string): boolean {
  return name === "" || name === "." || name === ".." || /[/\0]/.test(name);
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/**
 * The size of a write, in bytes. Writes are synchronous: the page cache takes one in a millisecond. An asynchronous
 * write costs several times as much processor time, because Deno's event loop runs while it waits.
 */
const WRITE_BYTES = 1_048_576;

/** Writes the body of a request to a file. */
async function receive(request: Request, path: string, limit: number): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const buffer = new Uint8Array(WRITE_BYTES);
  let filled = 0;
  let length = 0;
  const flush = () => {
    for (let at = 0; at < filled;) at += file.writeSync(buffer.subarray(at, filled));
    filled = 0;
  };
  for await (const chunk of request.body === null ? [] : piecesOf(request.body)) {
    length += chunk.length;
    if (length > limit) throw tooLarge(limit);
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + buffer.length - filled);
      buffer.set(piece, filled);
      filled += piece.length;
      at += piece.length;
      if (filled === buffer.length) flush();
    }
  }
  flush();
}

/** The size of a read, in bytes. The server never has as much at once. */
const READ_BYTES = 131_072;

/**
 * The pieces of a body. Each is valid until the next one. A separate buffer for each would be garbage, whose collection
 * takes longer than the reading.
 */
async function* piecesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const reader = byteReader(body);
  if (reader === undefined) return yield* body;
  try {
    for (let buffer = new ArrayBuffer(READ_BYTES);;) {
      const { value, done } = await reader.read(new Uint8Array(buffer));
      if (done) return;
      yield value;
      buffer = value.buffer;
    }
  } finally {
    reader.cancel().catch(() => {}); // the body has failed already
  }
}

/** A reader that fills our own buffers; `undefined` for a short body, which Deno has already read. */
function byteReader(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return undefined;
  }
}

/** The bytes of a file from position `from` up to, but not including, `to`. */
function partOf(file: Deno.FsFile, from: number, to: number): ReadableStream<Uint8Array> {
  let at = from;
  file.seekSync(from, Deno.SeekMode.Start);
  return new ReadableStream({
    pull(stream) {
      const buffer = new Uint8Array(Math.min(262_144, to - at));
      const read = buffer.length === 0 ? null : file.readSync(buffer);
      if (read === null) {
        file.close();
        return stream.close();
      }
      at += read;
      stream.enqueue(buffer.subarray(0, read));
    },
    cancel: () => file.close(),
  }, { highWaterMark: 0 });
}

/** The range in a request's `Range` header. Without the header, the whole file. */
function rangeOf(header: string | null, size: number): { from: number; to: number; status: 200 | 206 } {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return { from: 0, to: size, status: 200 };
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (from < to) return { from, to, status: 206 };
  throw new ApiError(416, "INVALID_PARAMETER_VALUE", `Range ${header} is outside the file, which has ${size} bytes`);
}

async function entryOf(folder: string, { path }: Place, name: string): Promise<Record<string, unknown>> {
  const { isDirectory, size, mtime } = await Deno.stat(`${folder}/${name}`);
  return {
    path: `${path}/${name}`,
    name,
    is_directory: isDirectory,
    last_modified: mtime?.getTime(),
    ...(isDirectory ? {} : { file_size: size }),
  };
}

function alreadyExists(message: string): ApiError {
  return new ApiError(409, "ALREADY_EXISTS", message);
}

function tooLarge(limit: number): ApiError {
  return new ApiError(413, "REQUEST_LIMIT_EXCEEDED", `A file has at most ${limit} bytes`);
}

function notEmpty({ path }: Place): ApiError {
  const details = [{
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    reason: "FILES_API_DIRECTORY_IS_NOT_EMPTY",
    domain: "filesystem.databricks.com",
  }];
  return new ApiError(400, "INVALID_PARAMETER_VALUE", `The directory ${path} is not empty`, details);
}

/** The API's error for an error of the file system. */
function asApiError(error: unknown, path: string): unknown {
  const { code } = error as { code?: string };
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new ApiError(507, "INSUFFICIENT_STORAGE", `No space is left for ${path}`);
  }
  if (code === "ENOTDIR" || code === "EEXIST" || error instanceof Deno.errors.NotADirectory) {
    return alreadyExists(`A file exists where ${path} needs a directory`);
  }
  if (code === "ENAMETOOLONG") return invalid(`A name in ${path} is too long`);
  if (error instanceof Deno.errors.PermissionDenied) {
    return new ApiError(403, "PERMISSION_DENIED", `No permission for ${path}`);
  }
  return error;
}

import { withoutEndSlashes } from "../core/text.ts";
import { ApiError, invalid, notFound, page } from "./api_json.ts";

/** Options of the Files API. */
interface FilesApiOptions {
  /** The folder of the Volumes; `undefined` for a temporary one, which the first upload creates. */
  folder: string | undefined;
  /** The full names of the Volumes. A Volume whose folder exists can be omitted. */
  volumes: readonly string[];
  /** Limit of a file's size in bytes. */
  fileLimit: number;
}

/** A path in a Volume. */
interface VolumePath {
  /** The whole path, `/Volumes/...`. */
  path: string;
  /** The names of the catalog, the schema and the Volume. */
  volume: string[];
  /** The names of the folders and the file below the Volume. */
  names: string[];
}

const FILES = "/api/2.0/fs/files";
const DIRECTORIES = "/api/2.0/fs/directories";
const VOLUMES = "/api/2.1/unity-catalog/volumes";
/** Limit of the entries of a page. */
const PAGE_SIZE = 1000;

/**
 * The Files API of a workspace. It keeps the files of Volumes in a folder on this machine. A file becomes visible when
 * it is complete.
 *
 * Like the real API, it creates the folders of a file, answers `HEAD` of an empty Volume with 404, and does not remove a
 * folder that has files.
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
   * @returns `undefined` for a call of another API.
   * @throws {ApiError} If the call is refused.
   */
  async answer(request: Request, path: string): Promise<Response | undefined> {
    const query = new URL(request.url).searchParams;
    if (request.method === "GET" && path.startsWith(`${VOLUMES}/`)) {
      return this.#describeVolume(path.slice(VOLUMES.length + 1));
    }
    if (!/^\/api\/2\.0\/fs\/(?:files|directories)\//.test(path)) return undefined;
    const isFile = path.startsWith(`${FILES}/`);
    const target = parseVolumePath(path.slice((isFile ? FILES : DIRECTORIES).length));
    this.#expectVolume(target);
    try {
      return await (isFile ? this.#file(request, target, query) : this.#directory(request, target, query));
    } catch (error) {
      throw asApiError(error, target.path);
    }
  }

  async #file(request: Request, target: VolumePath, query: URLSearchParams): Promise<Response> {
    switch (request.method) {
      case "PUT":
        return await this.#upload(request, target, query.get("overwrite") !== "false");
      case "GET":
      case "HEAD":
        return await this.#download(request, target);
      case "DELETE":
        await this.#expectFile(target);
        await Deno.remove(this.#onDisk(target));
        return new Response(null, { status: 204 });
      default:
        throw notFound(`No API found for '${request.method} ${target.path}'`);
    }
  }

  async #upload(request: Request, target: VolumePath, overwrite: boolean): Promise<Response> {
    const { fileLimit } = this.#options;
    if (target.names.length === 0) throw invalid("The path is that of a Volume, not of a file in it");
    if (Number(request.headers.get("content-length") ?? 0) > fileLimit) throw tooLarge(fileLimit);
    await this.#expectFree(target, overwrite);
    const folder = this.#root();
    const upload = `${folder}/.uploads/${crypto.randomUUID()}`;
    await Deno.mkdir(`${folder}/.uploads`, { recursive: true });
    try {
      await receive(request, upload, fileLimit);
      await this.#expectFree(target, overwrite); // another upload may have ended by now
      const file = this.#onDisk(target);
      await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      await Deno.rename(upload, file);
    } catch (error) {
      await Deno.remove(upload).catch(() => {}); // it does not exist if its creation failed
      throw error;
    }
    return new Response(null, { status: 204 });
  }

  /** Refuses an upload to a folder, or to a file that may not be overwritten. */
  async #expectFree(target: VolumePath, overwrite: boolean): Promise<void> {
    const info = await this.#stat(target);
    if (info?.isDirectory) throw alreadyExists(`A directory exists at ${target.path}`);
    if (info !== undefined && !overwrite) throw alreadyExists(`A file exists at ${target.path}`);
  }

  async #download(request: Request, target: VolumePath): Promise<Response> {
    const { size, mtime } = await this.#expectFile(target);
    const lastModified = mtime!.toUTCString();
    const since = Date.parse(request.headers.get("if-unmodified-since") ?? "");
    if (Date.parse(lastModified) > since) throw new ApiError(412, "PRECONDITION_FAILED", `${target.path} was modified`);
    const { from, to, status } = parseRange(request.headers.get("range"), size);
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(to - from),
      "last-modified": lastModified,
      "accept-ranges": "bytes",
      ...(status === 206 ? { "content-range": `bytes ${from}-${to - 1}/${size}` } : {}),
    };
    if (request.method === "HEAD") return new Response(null, { headers });
    return new Response(readRange(await Deno.open(this.#onDisk(target)), from, to), { status, headers });
  }

  async #directory(request: Request, target: VolumePath, query: URLSearchParams): Promise<Response> {
    const info = await this.#stat(target);
    const isRoot = target.names.length === 0;
    switch (request.method) {
      case "PUT":
        if (info?.isFile) throw alreadyExists(`A file exists at ${target.path}`);
        await Deno.mkdir(this.#onDisk(target), { recursive: true });
        return new Response(null, { status: 204 });
      case "HEAD":
        // In the real API's storage, only files make a folder exist, and an empty Volume has none.
        if (!info?.isDirectory || isRoot && await this.#isEmpty(target)) {
          throw notFound(`No directory at ${target.path}`);
        }
        return new Response(null, { status: 200 });
      case "GET":
        if (!info?.isDirectory && !isRoot) throw notFound(`No directory at ${target.path}`);
        return Response.json(await this.#list(target, query));
      case "DELETE":
        if (!info?.isDirectory) throw notFound(`No directory at ${target.path}`);
        if (isRoot) throw invalid("A Volume is removed with the Volumes API");
        if (!await this.#isEmpty(target)) throw notEmpty(target);
        await Deno.remove(this.#onDisk(target));
        return new Response(null, { status: 204 });
      default:
        throw notFound(`No API found for '${request.method} ${target.path}'`);
    }
  }

  async #list(target: VolumePath, query: URLSearchParams): Promise<Record<string, unknown>> {
    const folder = this.#onDisk(target);
    const names: string[] = [];
    if (await this.#stat(target) !== undefined) {
      for await (const { name } of Deno.readDir(folder)) names.push(name);
    }
    const { contents = [], ...rest } = page("contents", names.sort(), query, PAGE_SIZE);
    return {
      contents: await Promise.all((contents as string[]).map((name) => describeEntry(folder, target, name))),
      ...rest,
    };
  }

  async #isEmpty(target: VolumePath): Promise<boolean> {
    for await (const _ of Deno.readDir(this.#onDisk(target))) return false;
    return true;
  }

  async #expectFile(target: VolumePath): Promise<Deno.FileInfo> {
    const info = await this.#stat(target);
    if (info?.isFile) return info;
    throw notFound(`The file ${target.path} does not exist`);
  }

  async #stat(target: VolumePath): Promise<Deno.FileInfo | undefined> {
    if (this.#folder === undefined) return undefined;
    return await Deno.stat(this.#onDisk(target)).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    });
  }

  #describeVolume(name: string): Response {
    const volume = name.split(".");
    this.#expectVolume({ path: name, volume, names: [] });
    const [catalog_name, schema_name, volume_name] = volume;
    return Response.json({ catalog_name, schema_name, name: volume_name, full_name: name, volume_type: "MANAGED" });
  }

  #expectVolume({ volume }: VolumePath): void {
    const name = volume.join(".");
    if (this.#options.volumes.includes(name)) return;
    const folder = this.#folder;
    const exists = folder !== undefined && volume.length === 3 && !volume.some(isUnsafe) &&
      isDirectory(`${folder}/${volume.join("/")}`);
    if (!exists) throw notFound(`Volume '${name}' does not exist.`);
  }

  #onDisk({ volume, names }: VolumePath): string {
    return [this.#root(), ...volume, ...names].join("/");
  }

  get #folder(): string | undefined {
    return this.#options.folder ?? this.#temporary;
  }

  /** The folder of the Volumes, which is created if necessary. */
  #root(): string {
    const folder = this.#folder;
    if (folder !== undefined) return folder;
    globalThis.addEventListener("unload", this.#onUnload); // for a process that ends without close()
    return this.#temporary = Deno.makeTempDirSync({ prefix: "lakebase-volumes-" });
  }
}

function parseVolumePath(path: string): VolumePath {
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
 * The size of a write, in bytes. Writes are synchronous, because one takes only a millisecond. An asynchronous write takes
 * several times as much processor time, because Deno's event loop runs meanwhile.
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
  for await (const chunk of request.body === null ? [] : readChunks(request.body)) {
    length += chunk.length;
    if (length > limit) throw tooLarge(limit);
    for (let at = 0; at < chunk.length;) {
      const bytes = chunk.subarray(at, at + buffer.length - filled);
      buffer.set(bytes, filled);
      filled += bytes.length;
      at += bytes.length;
      if (filled === buffer.length) flush();
    }
  }
  flush();
}

/** The size of a read, in bytes. The server never has more at once. */
const READ_BYTES = 131_072;

/** Reads a body in chunks that share a buffer, because collecting a buffer for each chunk takes longer than reading. */
async function* readChunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
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

/** A reader into the caller's buffers; `undefined` for a short body, which Deno has read already. */
function byteReader(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return undefined;
  }
}

/** Reads a file from position `from` to before position `to`, and closes it. */
function readRange(file: Deno.FsFile, from: number, to: number): ReadableStream<Uint8Array> {
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

/** Parses a `Range` header. Without the header, the range is the whole file. */
function parseRange(header: string | null, size: number): { from: number; to: number; status: 200 | 206 } {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return { from: 0, to: size, status: 200 };
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (from < to) return { from, to, status: 206 };
  throw new ApiError(416, "INVALID_PARAMETER_VALUE", `Range ${header} is outside the file, which has ${size} bytes`);
}

async function describeEntry(folder: string, { path }: VolumePath, name: string): Promise<Record<string, unknown>> {
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

function notEmpty({ path }: VolumePath): ApiError {
  const details = [{
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    reason: "FILES_API_DIRECTORY_IS_NOT_EMPTY",
    domain: "filesystem.databricks.com",
  }];
  return new ApiError(400, "INVALID_PARAMETER_VALUE", `The directory ${path} is not empty`, details);
}

/** Converts an error of the file system to an error of the API. Other errors stay as they are. */
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

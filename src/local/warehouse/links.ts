import { createHash, randomBytes } from "node:crypto";
import { droppedAnswer } from "../faults.ts";
import type { LinkFault, WarehouseFaults } from "./faults.ts";
import type { Chunk } from "./result.ts";

/** Milliseconds for which a link is valid. */
const LIFETIME = 15 * 60_000;

/** Options of {@linkcode ResultLinks}. */
interface ResultLinksOptions {
  faults: WarehouseFaults;
  now(): Date;
  /** The chunks of a statement; `undefined` if it has no result. */
  chunks(statement: string): readonly Chunk[] | undefined;
}

/**
 * Keeps the chunks of external results in files, and serves them under external links. Like a cloud's storage, it has a
 * port of its own, and refuses the workspace's login.
 */
export class ResultLinks {
  readonly #options: ResultLinksOptions;
  readonly #closing = new AbortController();
  readonly #key = randomBytes(32);
  readonly #secret = randomBytes(16).toString("hex");
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #folder: string | undefined;
  #files = 0;
  #unreferenced = false;
  readonly #onUnload = () => this.remove();

  constructor(options: ResultLinksOptions) {
    this.#options = options;
  }

  /** Makes a link to a chunk, with the headers that its request must have. */
  link(statement: string, index: number): { external_link: string; expiration: string; http_headers: object } {
    const mintedAt = this.#options.now().getTime();
    const expiresAt = mintedAt + (this.#options.faults.linkLifetime ?? LIFETIME);
    const parameters = new URLSearchParams({
      "X-Amz-Date": String(mintedAt),
      "X-Amz-Expires": String(expiresAt),
      "X-Amz-Signature": this.#signature(statement, index, mintedAt, expiresAt),
    });
    return {
      external_link: `http://localhost:${this.#port()}/results/${statement}/${index}?${parameters}`,
      expiration: new Date(expiresAt).toISOString(),
      http_headers: this.#headers(),
    };
  }

  /** Writes the bytes of a chunk to a file, and returns its path. */
  async store(bytes: Uint8Array): Promise<string> {
    const path = `${this.#ensureFolder()}/${this.#files++}`;
    await Deno.writeFile(path, bytes);
    return path;
  }

  unref(): void {
    this.#unreferenced = true;
    this.#server?.unref();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#server?.finished;
  }

  /** Removes the files of all chunks. */
  remove(): void {
    globalThis.removeEventListener("unload", this.#onUnload);
    if (this.#folder !== undefined) Deno.removeSync(this.#folder, { recursive: true });
    this.#folder = undefined;
  }

  /** The folder of the files, which is created for the first file. */
  #ensureFolder(): string {
    if (this.#folder === undefined) {
      this.#folder = Deno.makeTempDirSync({ prefix: "lakebase-results-" });
      globalThis.addEventListener("unload", this.#onUnload); // for a script that ends without close()
    }
    return this.#folder;
  }

  /** The port, which is opened for the first link. */
  #port(): number {
    if (this.#server === undefined) {
      const { signal } = this.#closing;
      const options = { hostname: "127.0.0.1", port: 0, signal, onListen: () => {} };
      this.#server = Deno.serve(options, (request) => this.#serve(request));
      if (this.#unreferenced) this.#server.unref();
    }
    return this.#server.addr.port;
  }

  /** The headers that a cloud's storage requires for a file that is encrypted with the customer's key. */
  #headers(): Record<string, string> {
    return {
      "x-amz-server-side-encryption-customer-algorithm": "AES256",
      "x-amz-server-side-encryption-customer-key": this.#key.toString("base64"),
      "x-amz-server-side-encryption-customer-key-MD5": createHash("md5").update(this.#key).digest("base64"),
    };
  }

  #signature(statement: string, index: number, mintedAt: number, expiresAt: number): string {
    const text = [this.#secret, statement, index, mintedAt, expiresAt].join("\n");
    return createHash("sha256").update(text).digest("hex");
  }

  async #serve(request: Request): Promise<Response> {
    const url = URL.parse(request.url);
    // Deno makes the URL from the Host header.
    if (url === null) return xml(400, "InvalidURI", "Couldn't parse the specified URI.");
    const [, statement = "", number = ""] = /^\/results\/([\w-]+)\/(\d+)$/.exec(url.pathname) ?? [];
    const index = Number(number);
    const fault = this.#options.faults.takeLink(index);
    const refusal = faultAnswer(fault) ?? this.#refuse(request, url.searchParams, statement, index);
    if (refusal !== undefined) return refusal;
    if (fault?.answer === "never") {
      await new Promise((resolve) => this.#closing.signal.addEventListener("abort", resolve));
    }
    const chunks = this.#options.chunks(statement) ?? [];
    const chunk = chunks[fault?.answer === "other-chunk" ? (index + 1) % chunks.length : index];
    const answer = chunk?.path === undefined ? undefined : await fileAnswer(chunk.path, fault).catch(() => undefined);
    return answer ?? xml(404, "NoSuchKey", "The specified key does not exist."); // the statement may have been closed
  }

  /** Refuses a request if its link or headers are wrong, or its link has expired. */
  #refuse(request: Request, parameters: URLSearchParams, statement: string, index: number): Response | undefined {
    if (request.headers.has("authorization")) {
      return xml(
        400,
        "InvalidArgument",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or " +
          "the Authorization header should be specified",
      );
    }
    const [mintedAt, expiresAt] = [Number(parameters.get("X-Amz-Date")), Number(parameters.get("X-Amz-Expires"))];
    if (parameters.get("X-Amz-Signature") !== this.#signature(statement, index, mintedAt, expiresAt)) {
      return xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.");
    }
    if (expiresAt <= this.#options.now().getTime() || this.#options.faults.linkExpired(mintedAt)) {
      return xml(403, "AccessDenied", "Request has expired");
    }
    const missing = Object.entries(this.#headers()).some(([name, value]) => request.headers.get(name) !== value);
    if (!missing) return undefined;
    return xml(
      400,
      "InvalidRequest",
      "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve " +
        "the object.",
    );
  }
}

function xml(status: number, code: string, message: string): Response {
  const body =
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return new Response(body, { status, headers: { "content-type": "application/xml" } });
}

/** The answer of a fault that does not need the chunk. */
function faultAnswer(fault: LinkFault | undefined): Response | undefined {
  switch (fault?.answer) {
    case "expired":
      return xml(403, "AccessDenied", "Request has expired");
    case "forbidden":
      return xml(403, "AccessDenied", "Access Denied");
    case "unavailable":
      return xml(503, "SlowDown", "Please reduce your request rate.");
    case "html":
      return new Response("<html><body>Sign in to the network</body></html>", {
        headers: { "content-type": "text/html" },
      });
    case "reset":
      return droppedAnswer();
  }
  return undefined;
}

/** The answer with a file, or with half of it. */
async function fileAnswer(path: string, fault: LinkFault | undefined): Promise<Response> {
  const { size } = await Deno.stat(path);
  const headers = { "content-type": "binary/octet-stream", "content-length": String(size) };
  if (fault?.answer !== "cut" && fault?.answer !== "truncated") {
    return new Response((await Deno.open(path)).readable, { headers });
  }
  const half = (await Deno.readFile(path)).subarray(0, size / 2);
  if (fault.answer === "truncated") {
    return new Response(half, { headers: { ...headers, "content-length": String(half.length) } });
  }
  return droppedAnswer(ReadableStream.from([half]), { headers });
}

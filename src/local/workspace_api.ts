import type { LocalInstance } from "../core/local_options.ts";
import {
  ApiError,
  areReadOnly,
  bodyText,
  errorAnswer,
  invalid,
  notFound,
  page,
  readCredentialRequest,
  readObject,
  type Resource,
  timestamp,
} from "./api_json.ts";
import type { Branches } from "./branches.ts";
import { delay, droppedAnswer, faultAnswer, type Faults, firstBytes, halfAnswer, isCarriedOut } from "./faults.ts";
import type { FilesApi } from "./files_api.ts";
import { type CredentialIssuer, discoveryDocument, type Identities, type Principal, scimResource } from "./tokens.ts";
import type { WarehouseApi } from "./warehouse/api.ts";
import { Branch, Endpoint, type Workspace } from "./workspace.ts";

/** One call of the workspace API. */
export interface WorkspaceRequest {
  /** The HTTP method. */
  method: string;
  /** The path with its query string. */
  path: string;
  /** HTTP status of the answer; 0 if there was none. */
  status: number;
}

/** The parts of the local Lakebase that the workspace API needs. */
interface WorkspaceApiOptions {
  port: number;
  workspace: Workspace;
  branches: Branches;
  identities: Identities;
  credentials: CredentialIssuer;
  faults: Faults;
  groups: string[];
  warehouses: WarehouseApi;
  files: FilesApi;
  /** The time on the service's clock. */
  now(): Date;
  /** The workspace id that requests must name; undefined if the host serves one workspace. */
  workspaceId?: string | undefined;
}

/** A call whose caller is known. */
interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  principal: Principal;
  /** Reads the body as JSON. `limit` is in bytes. @default {1_000_000} */
  body(limit?: number): Promise<unknown>;
}

/** Number of calls in {@linkcode WorkspaceApi.requests}. */
const MAX_REQUESTS = 10_000;

/** Milliseconds for which a credential of a Provisioned instance is valid. */
const CREDENTIAL_LIFETIME = 3_600_000;

/** The REST API of a Databricks workspace, over plain HTTP on the loopback address. */
export class WorkspaceApi {
  /** The last 10,000 calls. */
  readonly requests: WorkspaceRequest[] = [];
  readonly #options: WorkspaceApiOptions;
  readonly #closing = new AbortController();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(options: WorkspaceApiOptions) {
    this.#options = options;
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port: options.port,
      signal: this.#closing.signal,
      onListen: () => {},
    }, (request) => this.#serve(request));
  }

  get port(): number {
    return this.#server.addr.port;
  }

  /** The workspace's address. */
  get origin(): string {
    return `http://localhost:${this.port}`;
  }

  /** Lets the process end while the API listens. */
  unref(): void {
    this.#server.unref();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#server.finished;
  }

  /** Records a call, and answers it or lets it fail. */
  async #serve(request: Request): Promise<Response> {
    const url = URL.parse(request.url);
    // Deno makes the URL from the Host header.
    if (url === null) return errorAnswer(400, "BAD_REQUEST", "The Host header is not a valid host");
    const { pathname, search } = url;
    const entry: WorkspaceRequest = { method: request.method, path: pathname + search, status: 0 };
    this.requests.push(entry);
    if (this.requests.length > MAX_REQUESTS) this.requests.splice(0, this.requests.length - MAX_REQUESTS);
    const { faults } = this.#options;
    if (faults.latency > 0) await delay(faults.latency, this.#closing.signal);
    const fault = faults.takeWorkspaceFault(request.method, pathname);
    if (fault?.delay !== undefined) await delay(fault.delay, this.#closing.signal);
    if (fault?.after !== undefined) return await this.#cutOff(request, fault.after);
    const carriesOut = fault === undefined || isCarriedOut(fault);
    let response = carriesOut ? await this.#answer(request) : await faultAnswer(fault, this.#closing.signal);
    if (fault?.answer === "lost") response = droppedAnswer();
    entry.status = response.status;
    response.headers.set("Date", this.#options.now().toUTCString());
    return fault?.answer === "truncated" ? await halfAnswer(response) : response;
  }

  /** Drops the connection after this number of bytes of the request's body, or of the answer if there is no body. */
  async #cutOff(request: Request, after: number): Promise<Response> {
    if (request.body !== null) {
      await firstBytes(request.body, after).pipeTo(new WritableStream());
      return droppedAnswer();
    }
    const answer = await this.#answer(request);
    return answer.body === null ? droppedAnswer() : droppedAnswer(firstBytes(answer.body, after), answer);
  }

  async #answer(request: Request): Promise<Response> {
    try {
      const publicAnswer = await this.#answerPublic(request);
      if (publicAnswer !== undefined) return publicAnswer;
      const call = this.#call(request);
      return await this.#options.files.answer(request, call.path) ?? Response.json(await this.#route(call));
    } catch (error) {
      if (error instanceof ApiError) return errorAnswer(error.status, error.errorCode, error.message, error.details);
      return errorAnswer(500, "INTERNAL_ERROR", "The local workspace failed");
    }
  }

  /** Answers requests that need no token; `undefined` for other requests. */
  async #answerPublic(request: Request): Promise<Response | undefined> {
    const { pathname, origin } = new URL(request.url);
    if (pathname === "/.well-known/databricks-config") {
      return Response.json({
        oidc_endpoint: `${origin}/oidc`,
        workspace_id: this.#options.workspaceId ?? "1234567890123456",
      });
    }
    if (/^\/oidc\/\.well-known\/(oauth-authorization-server|openid-configuration)$/.test(pathname)) {
      return Response.json(discoveryDocument(origin));
    }
    if (pathname !== "/oidc/v1/token" || request.method !== "POST") return undefined;
    return await this.#options.identities.grant(request, this.#options.now().getTime());
  }

  /**
   * Authenticates the caller.
   *
   * @throws {ApiError} If the caller is unknown, or the workspace id is wrong.
   */
  #call(request: Request): Call {
    const { pathname, searchParams } = new URL(request.url);
    checkWorkspaceId(request.headers, this.#options.workspaceId);
    const principal = this.#options.identities.authenticate(
      request.headers.get("authorization"),
      this.#options.now().getTime(),
    );
    return {
      method: request.method,
      path: decodePath(pathname),
      query: searchParams,
      principal,
      body: (limit) => jsonBody(request, limit),
    };
  }

  async #route(call: Call): Promise<unknown> {
    const { method, path, principal } = call;
    if (method === "GET" && path === "/api/2.0/preview/scim/v2/Me") return scimResource(principal);
    if (method === "POST" && path === "/api/2.0/postgres/credentials") return this.#postgresCredential(call);
    if (method === "POST" && path === "/api/2.0/database/credentials") return this.#databaseCredential(call);
    const answer = await this.#options.warehouses.answer({ ...call, userName: principal.userName });
    if (answer !== undefined) return answer;
    const [, api, name] = /^\/api\/2\.0\/(postgres|database)\/(.+)$/.exec(path) ?? [];
    if (!name) throw notFound(`No API found for '${method} ${path}'`);
    const { branches } = this.#options;
    branches.expire();
    const branchAnswer = api === "postgres" ? branches.answer({ ...call, name }) : undefined;
    if (branchAnswer !== undefined) return branchAnswer;
    if (method !== "GET") {
      throw new ApiError(501, "NOT_IMPLEMENTED", `Cannot ${method} ${path}: the local workspace can't do that`);
    }
    return api === "postgres" ? this.#resource(name, call.query) : this.#instance(name, call.query);
  }

  async #postgresCredential({ principal, body }: Call): Promise<unknown> {
    const now = this.#options.now().getTime();
    const { endpoint, groupName, readOnly, expiresAt } = readCredentialRequest(await body(), now);
    const resource = this.#find(endpoint);
    if (!(resource instanceof Endpoint)) throw notFound();
    if (resource.branch.deleted) throw notFound("branch id not found");
    const role = this.#role(principal, groupName);
    const token = await this.#options.credentials.mint({
      role,
      endpoints: [endpoint],
      readOnly,
      issuedAt: now,
      expiresAt,
    });
    return { token, expire_time: timestamp(new Date(expiresAt)), ...this.#options.faults.credential };
  }

  async #databaseCredential({ principal, body }: Call): Promise<unknown> {
    const fields = readObject(await body());
    const names = fields["instance_names"] ?? [];
    if (!Array.isArray(names)) throw invalid("Field 'instance_names' must be a list");
    if (!names.length && !fields["claims"]) throw invalid("At least one of 'instance_names' and 'claims' is required");
    const endpoints = names.map((name) => `instances/${this.#findInstance(String(name)).name}`);
    const issuedAt = this.#options.now().getTime();
    const expiresAt = issuedAt + CREDENTIAL_LIFETIME;
    const readOnly = areReadOnly(fields["claims"]);
    const claims = { role: principal.userName, endpoints, readOnly, issuedAt, expiresAt };
    const token = await this.#options.credentials.mint(claims);
    return { token, expiration_time: timestamp(new Date(expiresAt)), ...this.#options.faults.credential };
  }

  /** The role of a credential: the caller, or a group of the caller. */
  #role(principal: Principal, groupName: string | undefined): string {
    if (!groupName) return principal.userName;
    if (this.#options.groups.includes(groupName)) return groupName;
    throw new ApiError(403, "PERMISSION_DENIED", `'${principal.userName}' is not a member of group '${groupName}'`);
  }

  /** The JSON of a resource, or a page of a list such as `projects/p/branches`. */
  async #resource(name: string, query: URLSearchParams): Promise<unknown> {
    const parts = name.split("/");
    if (parts.length % 2 === 0) {
      const resource = this.#find(name);
      await this.#measure([resource]);
      return resource.json;
    }
    const kind = parts.pop() ?? "";
    const lists: Record<string, Resource[]> = parts.length
      ? this.#find(parts.join("/")).children
      : { projects: this.#options.workspace.projects };
    const list = Object.hasOwn(lists, kind) ? lists[kind] : undefined;
    if (!list) throw notFound();
    const showDeleted = query.get("show_deleted") === "true";
    const resources = list.filter((resource) => showDeleted || !(resource instanceof Branch && resource.deleted));
    await this.#measure(resources);
    return page(kind, resources.map(({ json }) => json), query);
  }

  /** Measures the sizes of branches, which are in their JSON. */
  async #measure(resources: Resource[]): Promise<void> {
    await this.#options.branches.measure(resources.filter((resource) => resource instanceof Branch));
  }

  #find(name: string): Resource {
    const resource = this.#options.workspace.find(name);
    if (!resource) throw notFound();
    if ("missing" in resource) throw notFound(`${resource.missing} id not found`);
    return resource;
  }

  /** The JSON of a Provisioned instance, or a page of all. */
  #instance(name: string, query: URLSearchParams): unknown {
    const { workspace } = this.#options;
    const instances = workspace.instances.map((instance) => workspace.instanceJson(instance));
    if (name === "instances") return page("database_instances", instances, query);
    if (name === "instances:findByUid") {
      const uid = query.get("uid");
      const instance = instances.find((instance) => instance["uid"] === uid);
      if (!instance) throw notFound(`Database instance with uid '${uid}' not found`);
      return instance;
    }
    const instanceName = /^instances\/([^/]+)$/.exec(name)?.[1];
    if (!instanceName) throw notFound();
    return workspace.instanceJson(this.#findInstance(instanceName));
  }

  #findInstance(name: string): LocalInstance {
    const instance = this.#options.workspace.instances.find((instance) => instance.name === name);
    if (!instance) throw notFound(`Database instance '${name}' not found`);
    return instance;
  }
}

/** Refuses a request that does not name the workspace's id, if requests must name one. */
function checkWorkspaceId(headers: Headers, id: string | undefined): void {
  const requested = headers.get("x-databricks-workspace-id") ?? headers.get("x-databricks-org-id");
  if (id === undefined || requested === id) return;
  throw invalid(
    requested === null ? "Workspace ID is missing from the request" : `Workspace ${requested} is not served here`,
  );
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new ApiError(400, "BAD_REQUEST", "The path is not encoded in UTF-8");
  }
}

async function jsonBody(request: Request, limit?: number): Promise<unknown> {
  const text = await bodyText(request, limit);
  try {
    return JSON.parse(text || "{}");
  } catch {
    throw new ApiError(400, "MALFORMED_REQUEST", "Request body is not JSON");
  }
}

import { LakebaseError, quotedOption } from "../core/errors.ts";
import { jsonText } from "../core/text.ts";
import { checkTakesOAuth } from "../settings/server.ts";
import { isMissing, LAKEBASE_API } from "./branch.ts";
import type { Workspace } from "./workspace.ts";
import type { JsonObject } from "./workspace_request.ts";

/** The target of a login. */
export interface Endpoint {
  /** The full name of the endpoint, or the name of the instance. */
  readonly name: string;
  /** The target of the credential request. */
  readonly target: { endpoint: string } | { instance: string };
  /** The host to connect to; `undefined` if the caller named a host, in which case the endpoint was not looked up. */
  readonly host: string | undefined;
  /**
   * `ACTIVE`, `IDLE` (asleep: connecting wakes it), `INIT`, `DEGRADED`, or the instance's state; `undefined` if the
   * endpoint was not looked up.
   */
  readonly state: string | undefined;
}

/** The endpoint to find. */
interface EndpointRequest {
  /** The endpoint, in any form of `ConnectOptions.endpoint`; `undefined` for the only one. */
  endpoint?: string | undefined;
  /** The id of a branch of the only project, where no endpoint is named. */
  branch?: string | undefined;
  /** A Provisioned instance, instead of an endpoint. */
  instance?: string | undefined;
  /** Whether a read-only host is preferred. */
  readOnly: boolean;
  /** The caller's own host. An endpoint with a full name is then not looked up. */
  host?: string | undefined;
}

/** Sends the requests of one look-up, which share a deadline. */
class EndpointRequests {
  readonly #workspace: Workspace;
  readonly #signal: AbortSignal | undefined;
  readonly #deadline: number;

  constructor(workspace: Workspace, { signal, deadline = workspace.deadline() }: FindOptions) {
    this.#workspace = workspace;
    this.#signal = signal;
    this.#deadline = deadline;
  }

  async get(path: string): Promise<JsonObject> {
    return (await this.#workspace.request({ method: "GET", path }, this.#signal, this.#deadline)).body;
  }

  list(path: string, key: string): Promise<JsonObject[]> {
    return this.#workspace.list(path, key, this.#signal, this.#deadline);
  }
}

/** How long {@linkcode findEndpoint} may take. */
interface FindOptions {
  /** Ends the look-up at once. */
  signal?: AbortSignal | undefined;
  /** When the look-up must be done, in milliseconds since 1970. @default {the limit of one request from now on} */
  deadline?: number;
}

/**
 * Checks that a host is the one that the workspace names for the endpoint.
 *
 * @param settings The host, and the error for another one; `unconfirmedHost` is `undefined` where no check is needed.
 * @param named The host that the workspace names.
 * @throws {LakebaseError} `BAD_SETTING`
 */
export function confirmHost(
  { host, unconfirmedHost }: { host: string | undefined; unconfirmedHost: string | undefined },
  named: string | undefined,
): void {
  if (unconfirmedHost === undefined || host?.toLowerCase() === named?.toLowerCase()) return;
  throw new LakebaseError("BAD_SETTING", `${unconfirmedHost}. The endpoint's host is "${named}"`, { setting: "host" });
}

/**
 * Whether an endpoint's full name is known without asking the workspace, so that the credential can be requested at
 * once.
 *
 * @param reference The endpoint as the caller named it.
 */
export function isFullName(reference: string | undefined): reference is string {
  return reference !== undefined && /^projects\/[^/]+\/branches\/[^/]+\/endpoints\/[^/]+$/.test(reference);
}

/**
 * Finds an endpoint by its full name; or the READ_WRITE (or READ_ONLY) endpoint of a branch, of the default branch of a
 * project, or of the only project.
 *
 * @throws {LakebaseError} `ENDPOINT_NOT_FOUND` and `ENDPOINT_AMBIGUOUS`, which list the choices; `ENDPOINT_NOT_READY`.
 */
export async function findEndpoint(
  workspace: Workspace,
  request: EndpointRequest,
  options: FindOptions = {},
): Promise<Endpoint> {
  const requests = new EndpointRequests(workspace, options);
  if (request.instance !== undefined) return await findInstance(requests, request.instance, request);
  const { endpoint: reference } = request;
  if (isFullName(reference)) {
    if (request.host !== undefined) {
      return { name: reference, target: { endpoint: reference }, host: undefined, state: undefined };
    }
    return readyEndpoint(await getEndpoint(requests, reference), request);
  }
  const branch = await findBranch(requests, reference, request.branch);
  const endpoints = await listWithin(requests, `${branch}/endpoints`, "endpoints");
  return readyEndpoint(chooseEndpoint(branch, endpoints, request.readOnly), request);
}

async function getEndpoint(requests: EndpointRequests, name: string): Promise<JsonObject> {
  try {
    return await requests.get(`${LAKEBASE_API}/${name}`);
  } catch (error) {
    throw await withChoices(requests, name, error);
  }
}

/** The full name of the branch that a reference stands for. */
async function findBranch(requests: EndpointRequests, reference: string | undefined, branch?: string): Promise<string> {
  if (reference !== undefined && reference.includes("/branches/")) return reference;
  const project = reference === undefined ? await onlyProject(requests) : projectName(reference);
  if (branch !== undefined) return `${project}/branches/${branch}`;
  const branches = await listWithin(requests, `${project}/branches`, "branches");
  const defaultBranch = branches.find((branch) => status(branch)["default"] === true) ??
    (branches.length === 1 ? branches[0] : undefined);
  if (defaultBranch !== undefined) return nameOf(defaultBranch);
  if (branches.length === 0) throw notFound(project, "has no branch");
  throw ambiguous(`${project} has several branches, and none is the default`, branches.map(nameOf));
}

function projectName(reference: string): string {
  return reference.startsWith("projects/") ? reference : `projects/${reference}`;
}

async function onlyProject(requests: EndpointRequests): Promise<string> {
  const projects = await requests.list(`${LAKEBASE_API}/projects`, "projects");
  if (projects.length === 1) return nameOf(projects[0]!);
  if (projects.length > 1) throw ambiguous("the workspace has several projects", projects.map(nameOf));
  throw new LakebaseError(
    "ENDPOINT_NOT_FOUND",
    "Cannot find an endpoint: the workspace has no Lakebase project that this login can see. Create one under Lakebase in " +
      'the apps switcher of the workspace, or with "databricks postgres create-project"',
  );
}

async function listWithin(requests: EndpointRequests, path: string, key: string): Promise<JsonObject[]> {
  try {
    return await requests.list(`${LAKEBASE_API}/${path}`, key);
  } catch (error) {
    throw await withChoices(requests, path.slice(0, path.lastIndexOf("/")), error);
  }
}

/**
 * Chooses an endpoint by its type, not by its position: a read replica may come first in the list.
 *
 * @param branch The branch's full name, for the error.
 * @param endpoints The endpoints of the branch.
 * @param readOnly Whether a READ_ONLY endpoint is preferred; without one a READ_WRITE endpoint is chosen.
 */
function chooseEndpoint(branch: string, endpoints: readonly JsonObject[], readOnly: boolean): JsonObject {
  const ofType = (type: string) => endpoints.filter((item) => jsonText(status(item)["endpoint_type"]).endsWith(type));
  const writers = ofType("READ_WRITE");
  const readers = ofType("READ_ONLY").filter((item) => status(item)["disabled"] !== true);
  const candidates = readOnly && readers.length > 0 ? readers : writers;
  if (candidates.length === 1) return candidates[0]!;
  if (candidates.length > 1) throw ambiguous(`${branch} has several endpoints that fit`, candidates.map(nameOf));
  if (endpoints.length === 0) throw notFound(branch, "has no endpoint");
  throw notFound(
    branch,
    `has no READ_WRITE endpoint, only ${endpoints.map(nameOf).join(", ")}. Name it, or set readOnly`,
  );
}

function readyEndpoint(item: JsonObject, request: EndpointRequest): Endpoint {
  const name = nameOf(item);
  const { current_state: state, disabled, hosts } = status(item);
  if (disabled === true) {
    throw notReady(name, 'is disabled; connecting does not enable it. Enable it in the workspace ("spec.disabled")');
  }
  const { host, read_only_host: replica } = (hosts ?? {}) as JsonObject;
  const target = request.host ?? (request.readOnly && typeof replica === "string" ? replica : host);
  if (typeof target !== "string" || target === "") {
    throw notReady(name, `has no host yet (state ${jsonText(state)}). Try again in a minute`);
  }
  checkTakesOAuth(target);
  return { name, target: { endpoint: name }, host: target, state: typeof state === "string" ? state : undefined };
}

async function findInstance(
  requests: EndpointRequests,
  instance: string,
  { readOnly, host: requestedHost }: EndpointRequest,
): Promise<Endpoint> {
  const instances = "/api/2.0/database/instances";
  const body = await requests.get(`${instances}/${encodeURIComponent(instance)}`).catch(async (error) => {
    if (!isMissing(error)) throw error;
    const others = await requests.list(instances, "database_instances").catch(() => []);
    throw notFound(`instance "${instance}"`, `is not in the workspace${choices(others.map(nameOf))}`, error);
  });
  const { state, read_write_dns: primary, read_only_dns: replica } = body;
  if (body["effective_stopped"] === true || body["stopped"] === true || state === "STOPPED" || state === "DELETING") {
    throw notReady(`instance "${instance}"`, `is ${jsonText(state ?? "STOPPED")}; start it in the workspace first`);
  }
  const host = requestedHost ?? (readOnly && typeof replica === "string" && replica !== "" ? replica : primary);
  if (typeof host !== "string" || host === "") {
    throw notReady(`instance "${instance}"`, `has no host yet (state ${jsonText(state)}). Try again in a minute`);
  }
  return { name: instance, target: { instance }, host, state: typeof state === "string" ? state : undefined };
}

/** Turns a 404 into an error that lists what exists on the nearest level: the endpoints, the branches or the projects. */
async function withChoices(requests: EndpointRequests, name: string, error: unknown): Promise<unknown> {
  if (!isMissing(error)) return error;
  const parts = name.split("/");
  const levels: [path: string, key: string][] = [["projects", "projects"]];
  if (parts.length > 2) levels.unshift([`${parts.slice(0, 2).join("/")}/branches`, "branches"]);
  if (parts.length > 4) levels.unshift([`${parts.slice(0, 4).join("/")}/endpoints`, "endpoints"]);
  for (const [path, key] of levels) {
    const items = await requests.list(`${LAKEBASE_API}/${path}`, key).catch(() => undefined); // the next level up may exist
    if (items !== undefined) return notFound(name, `is not in the workspace${choices(items.map(nameOf))}`, error);
  }
  return notFound(name, "is not in the workspace", error);
}

function choices(names: string[]): string {
  return names.length === 0 ? "" : `. There is ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", ..." : ""}`;
}

function status(item: JsonObject): JsonObject {
  return (item["status"] ?? {}) as JsonObject;
}

function nameOf(item: JsonObject): string {
  return jsonText(item["name"]);
}

function notFound(name: string, state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("ENDPOINT_NOT_FOUND", `Cannot find an endpoint: ${name} ${state}`, { cause });
}

function notReady(name: string, state: string): LakebaseError {
  return new LakebaseError("ENDPOINT_NOT_READY", `Cannot connect: ${name} ${state}`);
}

function ambiguous(state: string, names: string[]): LakebaseError {
  return new LakebaseError(
    "ENDPOINT_AMBIGUOUS",
    `Cannot choose an endpoint: ${state}. Set ${quotedOption("endpoint")} (LAKEBASE_ENDPOINT) to one of ${
      names.join(", ")
    }`,
  );
}

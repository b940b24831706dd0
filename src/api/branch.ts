import {
  BranchApi,
  branchId,
  branchIn,
  branchOf,
  type BranchSpec,
  type BranchState,
  isMissing,
} from "../auth/branch.ts";
import { backoff, pause } from "../core/backoff.ts";
import { closest } from "../core/closest.ts";
import { LakebaseError, optionText, quotedOption } from "../core/errors.ts";
import { sizeText } from "../core/text.ts";
import { announceLeft, announceWork } from "../draw/notices.ts";
import { inNotebook } from "../draw/notebook.ts";
import { elapsedText, type TableOptions } from "../draw/table.ts";
import { fieldsFor, type ListingParts } from "../explore/listing.ts";
import { checkCall, ON_OR_OFF, type QueryOptions } from "../sql/options.ts";
import { stoppable, until } from "../sql/stop.ts";
import { Lakebase, type LakebaseParts } from "./lakebase.ts";
import { openParts } from "./open_connection.ts";

/** How `Lakebase.branch` makes a branch. */
export interface BranchOptions extends Pick<QueryOptions, "signal"> {
  /** Its id: 1 to 63 lower-case letters, digits and hyphens, a letter first. @default {a new one, such as `ana-production-x7k2m9`} */
  name?: string;
  /** The moment whose data it has: a time with its zone, or a text such as `"2 hours ago"`. @default {now} */
  at?: Date | string;
  /** The moment as a log sequence number, such as `"0/1A2B3C4"`, instead of `at`. */
  lsn?: string;
  /** The branch to copy: its id, or `projects/p/branches/b`. @default {the connected one} */
  from?: string;
  /** Seconds until it ends by itself, at most 30 days; `false` for never. @default {86400, a day} */
  ttl?: number | false;
  /** Whether `close()` and the end of the script leave it. @default {false} */
  keep?: boolean;
  /** Seconds that making it and connecting to it may take. @default {600} */
  timeout?: number;
}

/** How `Lakebase.dropBranch` deletes a branch. */
export interface DropBranchOptions extends Pick<QueryOptions, "signal" | "timeout"> {
  /** Whether it is gone at once. Otherwise the workspace keeps it for some days, in which it can be restored. @default {false} */
  purge?: boolean;
}

/** One row of `branches()`. */
export interface BranchInfo {
  /** The branch's id. */
  name: string;
  /** Its state, such as `READY` or `ARCHIVED`. */
  state: string;
  /** The id of the branch that it was made from; `null` for a root. */
  parent: string | null;
  /** When it was made. */
  created: Date | null;
  /** When it ends by itself; `null` for never. */
  expires: Date | null;
  /** The size of its data in bytes; `null` if it is not known. */
  size: number | null;
  /** Whether it is the project's default branch. */
  default: boolean;
  /** Whether it can't be deleted. */
  protected: boolean;
  /** Whether this connection is to it. */
  connected: boolean;
}

const DAY = 86_400;
const LONGEST_TTL = 30 * DAY;
/** Seconds that making a branch may take. */
const USUAL_LIMIT = 600;
/** Milliseconds that deleting a branch may take at the end of a script or of a failure. */
const DELETE_LIMIT_MS = 20_000;
/** Milliseconds in which a new branch may still refuse logins, or have no address yet. */
const SETTLE_MS = 60_000;

const ID = /^[a-z][a-z0-9-]{0,62}$/;
const ID_RULE = "1 to 63 lower-case letters, digits and hyphens, and begin with a letter";
const text = (pattern: RegExp) => (value: unknown) => typeof value === "string" && pattern.test(value);
const REFERENCE = [
  text(/^(projects\/[\w.-]+\/branches\/)?[\w.-]+$/),
  "a branch's id, or projects/p/branches/b",
] as const;

const CHECKS = {
  name: [text(ID), ID_RULE],
  at: [(value: unknown) => readMoment(value) !== undefined, 'a Date, a time with its zone, or "2 hours ago"'],
  lsn: [text(/^[0-9a-f]{1,8}\/[0-9a-f]{1,8}$/i), 'a log sequence number such as "0/1A2B3C4"'],
  from: REFERENCE,
  ttl: [
    (value: unknown) => value === false || (typeof value === "number" && value >= 1 && value <= LONGEST_TTL),
    `a number of seconds from 1 to ${LONGEST_TTL} (30 days), or false`,
  ],
  keep: ON_OR_OFF,
} as const;

/** A moment: a time, or milliseconds before now. */
type Moment = { time: Date } | { ago: number };

const UNITS: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: DAY, week: 7 * DAY };

function readMoment(value: unknown): Moment | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : { time: value };
  if (typeof value !== "string") return undefined;
  const [, count, unit] = /^\s*(\d{1,9}(?:\.\d{1,3})?)\s+(second|minute|hour|day|week)s?\s+ago\s*$/i.exec(value) ?? [];
  if (unit !== undefined) return { ago: Number(count) * UNITS[unit.toLowerCase()]! * 1000 };
  // Without its zone a time would mean another moment on each machine.
  if (!/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?\s?(Z|[+-]\d\d:?\d\d)$/i.test(value)) return undefined;
  const time = new Date(value.replace(" ", "T").replace(/\s/g, ""));
  return Number.isNaN(time.getTime()) ? undefined : { time };
}

/** The branches of a connection's project, and the branch that it is connected to. */
interface Place {
  api: BranchApi;
  /** `projects/p`. */
  project: string;
  /** The full name of the connected branch. */
  connected: string;
}

function placeOf({ endpoint, workspace, read }: LakebaseParts, doing: string): Place {
  if (endpoint !== undefined && "instance" in endpoint.target) {
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot ${doing}: ${endpoint.name} is an instance of Lakebase Provisioned, which has no branches; connect to a ` +
        `project with ${quotedOption("endpoint")}`,
    );
  }
  const connected = branchOf(endpoint?.name ?? read?.settings.endpoint);
  if (connected !== undefined && workspace !== undefined && read !== undefined) {
    return { api: new BranchApi(workspace()), project: connected.split("/branches/")[0]!, connected };
  }
  throw new LakebaseError(
    "BAD_SETTING",
    `Cannot ${doing}: this connection has a native password and knows no workspace; connect with the workspace's login ` +
      `(DATABRICKS_HOST and DATABRICKS_TOKEN, or ${quotedOption("profile")}), and leave out ${quotedOption("host")} ` +
      "(PGHOST), so that the workspace is asked for the endpoint",
  );
}

/** Makes a branch and connects to it; see `Lakebase.branch`. */
export async function makeBranch(parts: LakebaseParts, given: BranchOptions): Promise<Branch> {
  const { timeout = USUAL_LIMIT, signal, ...options } = checkCall("make a branch", given, CHECKS) as BranchOptions;
  if (options.at !== undefined && options.lsn !== undefined) {
    throw new LakebaseError("BAD_PARAMETER", "Cannot make a branch: both at and lsn are given; keep one");
  }
  const place = placeOf(parts, "make a branch");
  using stop = stoppable({ signal, timeout });
  const source = branchIn(place.project, options.from ?? place.connected);
  const notice = announceWork(`Making a branch of ${branchId(source)}`);
  try {
    const spec = await specOf(place.api, source, options, stop.signal);
    const { made, operation } = await create(place, spec, { ...options, user: parts.user }, stop.signal);
    try {
      await place.api.finish(operation, `make the branch "${made.id}"`, stop.signal);
      await made.look(stop.signal);
      const opened = await open(parts, made, stop.signal);
      stop.succeeded();
      await notice.end(`Made branch ${made.id} of ${branchId(source)}`);
      return opened;
    } catch (error) {
      throw await undo(made, error);
    }
  } catch (error) {
    await notice.end();
    throw error;
  }
}

/** What the workspace is told to make. */
async function specOf(
  api: BranchApi,
  source: string,
  { at, lsn, ttl = DAY }: BranchOptions,
  signal: AbortSignal | undefined,
): Promise<BranchSpec> {
  const moment = at === undefined ? undefined : readMoment(at)!;
  let time = moment !== undefined && "time" in moment ? moment.time : undefined;
  if (moment !== undefined && "ago" in moment) {
    // By the workspace's clock: this machine's may be wrong.
    const { serverTime = Date.now() } = await api.get(source, signal);
    time = new Date(serverTime - moment.ago);
  }
  return {
    source_branch: source,
    ...(time === undefined ? {} : { source_branch_time: time.toISOString() }),
    ...(lsn === undefined ? {} : { source_branch_lsn: lsn }),
    ...(ttl === false ? { no_expiry: true as const } : { ttl: `${ttl}s` }),
  };
}

/** The most names that are tried until one is free. */
const NAME_TRIES = 3;

/** Asks for the branch. Stop is heeded afterwards: a request that is broken off may have made a branch all the same. */
async function create(
  { api, project }: Place,
  spec: BranchSpec,
  { name, keep = false, user }: BranchOptions & { user: string },
  signal: AbortSignal | undefined,
): Promise<{ made: MadeBranch; operation: string }> {
  signal?.throwIfAborted();
  const source = branchId(spec.source_branch);
  for (let attempt = 1;; attempt++) {
    const id = name ?? newName(user, source);
    const made = new MadeBranch(api, `${project}/branches/${id}`, keep);
    try {
      const operation = await api.create(made.name, spec);
      made.begin();
      if (signal?.aborted) throw await undo(made, signal.reason);
      return { made, operation };
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      if (name === undefined && said(error).code === "ALREADY_EXISTS" && attempt < NAME_TRIES) continue;
      // A name that was made up a moment ago is nobody else's; of another one nobody can tell who made it.
      if (isLost(error) && name === undefined) throw await undo(made, error);
      throw explainRefusal(error, id, spec, isLost(error));
    }
  }
}

function isLost(error: unknown): boolean {
  return error instanceof LakebaseError && error.code === "CONNECTION_LOST";
}

/** A name that tells who made the branch and of what, and that nobody else has. */
function newName(user: string, source: string): string {
  const words = (name: string, length: number) =>
    name.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, length).replace(/^[^a-z]+|-+$/g, "");
  const random = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36).padStart(7, "0").slice(-7);
  return [words(user.split("@")[0]!, 20) || "branch", words(source, 30), random].filter((part) => part !== "").join(
    "-",
  );
}

function said(error: unknown): { code: string; message: string } {
  const { code = "", message = "" } = ((error as LakebaseError).cause ?? {}) as { code?: string; message?: string };
  return { code, message };
}

/** Explains why the workspace does not make a branch. */
function explainRefusal(error: unknown, id: string, spec: BranchSpec, lost: boolean): unknown {
  if (!(error instanceof LakebaseError)) return error;
  const { code, cause } = error;
  const fail = (state: string) => new LakebaseError(code, `Cannot make the branch "${id}": ${state}`, { cause });
  if (lost) {
    return fail(`${error.message}. If there is a branch of that name now, see whose it is before you ${dropText(id)}`);
  }
  if (code === "ENDPOINT_NOT_FOUND") return fail(`there is no branch ${spec.source_branch}; see db.branches()`);
  if (code !== "WORKSPACE_REFUSED") return error;
  const { code: refusal, message } = said(error);
  const advice = refusal === "ALREADY_EXISTS"
    ? `the name is taken, by a branch or by one that was deleted and can still be restored. Choose another name, or connect ` +
      `to it: ${optionText({ branch: id }, `connect({ branch: "${id}" })`)}`
    : /maximum expiration|exceeds the max/i.test(message)
    ? `a branch that ends by itself lives at most 30 days (${quotedOption("ttl")})`
    : /source_branch_(time|lsn)|retention/i.test(message)
    ? `${quotedOption("at")} must be within the time that the project keeps its history, which is often 7 days`
    : /limit|quota|too many/i.test(message + refusal)
    ? "delete a branch that is not needed: db.branches() lists them, db.dropBranch(name) deletes one"
    : undefined;
  return fail(`the workspace refuses, "${message}"${advice === undefined ? "" : `; ${advice}`}`);
}

function dropText(id: string): string {
  return `delete it with: lakebase branch drop ${id}`;
}

/** Deletes a branch that could not be completed, and gives the error to throw. */
async function undo(made: MadeBranch, error: unknown): Promise<unknown> {
  try {
    await made.delete();
    return error;
  } catch {
    const left = `The branch "${made.id}" may be left; ${dropText(made.id)}`;
    if (!(error instanceof LakebaseError)) {
      await announceLeft([left]);
      return error;
    }
    return new LakebaseError(error.code, `${error.message}. ${left}`, { cause: error });
  }
}

/** Errors that a branch gives in its first moments: its roles, its address and its endpoint take a while. */
const SETTLING = new Set(["LOGIN_REFUSED", "ENDPOINT_NOT_READY", "ENDPOINT_NOT_FOUND", "DNS", "UNREACHABLE"]);

/** Connects to a new branch as its source is connected. */
async function open(parts: LakebaseParts, made: MadeBranch, signal: AbortSignal | undefined): Promise<Branch> {
  const read = parts.read!;
  const settings = {
    ...read.settings,
    endpoint: made.name,
    branch: undefined,
    host: undefined,
    unconfirmedHost: undefined,
  };
  const until60 = performance.now() + SETTLE_MS;
  for (let attempt = 0;; attempt++) {
    const release = read.hold();
    const opening = openParts({ ...read, settings, release });
    try {
      return new Branch(await until(opening, signal), made);
    } catch (error) {
      opening.then(({ pool, credentials }) => {
        credentials?.close();
        return pool.end();
      }).catch(() => {});
      await release();
      const settling = error instanceof LakebaseError && SETTLING.has(error.code);
      if (!settling || signal?.aborted || performance.now() > until60) throw error;
      await pause(backoff(attempt, { first: 500, most: 4000 }), signal);
    }
  }
}

/** A branch that this program has made, until it is deleted. */
class MadeBranch {
  /** `projects/p/branches/b`. */
  readonly name: string;
  readonly #api: BranchApi;
  /** Whether the end of its connection leaves it. */
  keep: boolean;
  /** Whether a person waits for the outcome of the deletion. */
  awaited = false;
  /** The error of a deletion that a person waits for. */
  failure: unknown;
  state: BranchState | undefined;
  #deleting: Promise<void> | undefined;

  constructor(api: BranchApi, name: string, keep: boolean) {
    this.#api = api;
    this.name = name;
    this.keep = keep;
  }

  get id(): string {
    return branchId(this.name);
  }

  /** Notes that the branch exists, so that the end of the program deletes it. */
  begin(): void {
    if (this.keep) return;
    live.add(this);
    unlisten ??= listenForEnd();
  }

  /** Reads the state, with the id that tells it from another branch of the same name. */
  async look(signal?: AbortSignal): Promise<void> {
    this.state = await this.#api.get(this.name, signal);
  }

  /** Deletes the branch, unless it is gone or is another one by now. */
  delete(): Promise<void> {
    return this.#deleting ??= this.#delete().finally(() => forget(this));
  }

  async #delete(): Promise<void> {
    const signal = AbortSignal.timeout(DELETE_LIMIT_MS);
    const doing = `delete the branch "${this.id}"`;
    let now: BranchState;
    try {
      now = await this.#api.get(this.name, signal);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    const another = this.state?.uid !== undefined && now.uid !== this.state.uid;
    if (another || now.deleted !== undefined) return;
    if (now.isDefault || now.isProtected) {
      const what = now.isDefault ? "the project's default branch" : "protected";
      throw new LakebaseError("WORKSPACE_REFUSED", `Cannot ${doing}: it is ${what} by now, so it is left`);
    }
    const operation = await this.#api.delete(this.name, true, signal);
    if (operation !== undefined) await this.#api.finish(operation, doing, signal);
  }

  /** Ends the use: deletes the branch unless it is to be kept. Only a person who waits for the outcome gets an error. */
  async leave(): Promise<void> {
    if (this.keep) return;
    try {
      await this.delete();
    } catch (error) {
      if (this.awaited) this.failure = error;
      else await announceLeft([`${(error as Error).message}. ${this.left()}`]);
    }
  }

  /** What becomes of the branch if nobody deletes it. */
  left(): string {
    const { expires } = this.state ?? {};
    const end = expires === undefined ? "" : ` until it ends by itself at ${timeText(expires)}`;
    return `Branch ${this.id} is left${end}; ${dropText(this.id)}`;
  }
}

/** The branches that the end of the program deletes. */
const live = new Set<MadeBranch>();
/** Takes away the listeners for that end; `undefined` while there is no branch. */
let unlisten: (() => void) | undefined;

function forget(made: MadeBranch): void {
  live.delete(made);
  if (live.size > 0) return;
  unlisten?.();
  unlisten = undefined;
}

/** The signals that end a script. Windows has only one of them. */
const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
/** The function that the "Deno + SQL" kernel calls at its end. */
const AT_THE_END = Symbol.for("lakebase.end");

/**
 * Deletes the branches at the end of a script: when nothing is left to do, and when a signal ends it. `Deno.exit()` and an
 * error that nobody catches leave no time for that, so the branches are named.
 *
 * @returns Takes the listeners away.
 */
function listenForEnd(): () => void {
  using stack = new DisposableStack();
  const listen = (type: string, listener: EventListener) => {
    globalThis.addEventListener(type, listener);
    stack.defer(() => globalThis.removeEventListener(type, listener));
  };
  const name = () => void announceLeft([...live].map((made) => made.left()), true);
  listen("beforeunload", (event) => {
    event.preventDefault(); // the script ends when the branches are gone
    void leaveAll();
  });
  listen("unload", name);
  if (inNotebook()) {
    // No other events: SIGINT is Stop there, and an error ends a cell only.
    Object.defineProperty(globalThis, AT_THE_END, { value: leaveAll, configurable: true });
    stack.defer(() => Reflect.deleteProperty(globalThis, AT_THE_END));
  } else {
    for (const type of ["error", "unhandledrejection"]) listen(type, name);
    for (const signal of SIGNALS) {
      const listener = () => void endBy(signal);
      Deno.addSignalListener(signal, listener);
      stack.defer(() => Deno.removeSignalListener(signal, listener));
    }
  }
  const listeners = stack.move();
  return () => listeners.dispose();
}

/** Lets a signal do what it would have done without the branches. */
async function endBy(signal: Deno.Signal): Promise<void> {
  const branches = [...live];
  unlisten?.(); // a second signal ends the script at once
  unlisten = undefined;
  await Promise.all(branches.map((made) => made.leave()));
  Deno.kill(Deno.pid, signal);
}

async function leaveAll(): Promise<void> {
  await Promise.all([...live].map((made) => made.leave()));
}

function timeText(time: Date): string {
  return `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/**
 * A connection to a branch that `Lakebase.branch` has made. `close()`, `await using` and the end of the script delete the
 * branch, unless it was made with `keep`.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * await db.sql`CREATE TABLE fares AS SELECT n AS fare FROM generate_series(-1, 1) AS n`;
 * await using copy = await db.branch();
 * await copy.sql`DELETE FROM fares WHERE fare < 0`;
 * assert.equal(await copy.sql`SELECT count(*) FROM fares`.value(), 2);
 * assert.equal(await db.sql`SELECT count(*) FROM fares`.value(), 3);
 * await db.sql`DROP TABLE fares`;
 * ```
 */
export class Branch extends Lakebase {
  readonly #made: MadeBranch;

  /** Made by `Lakebase.branch`. */
  constructor(parts: LakebaseParts, made: MadeBranch) {
    const release = parts.onClose;
    super({
      ...parts,
      about: () => factsOf(made),
      onClose: async () => {
        await made.leave();
        await release?.();
      },
    });
    this.#made = made;
  }

  /** The branch's id, which `connect({ branch })` takes. */
  get name(): string {
    return this.#made.id;
  }

  /** When the branch ends by itself; `undefined` for never. */
  get expires(): Date | undefined {
    return this.#made.state?.expires;
  }

  /**
   * Closes the connection and deletes the branch, also one that was made with `keep`. It can't be restored.
   *
   * @throws {LakebaseError} What the workspace answers, if it does not delete the branch.
   */
  async drop(): Promise<void> {
    this.#made.awaited = true;
    this.#made.keep = false;
    await this.close();
    if (this.#made.failure === undefined) return await this.#made.delete();
    throw this.#made.failure;
  }
}

function factsOf({ id, state, keep }: MadeBranch): [string, string][] {
  const { parent, expires } = state ?? {};
  return [[
    "branch",
    [
      `${id}${parent === undefined ? "" : ` of ${branchId(parent)}`}`,
      ...(expires === undefined ? [] : [`ends by itself at ${timeText(expires)}`]),
      keep ? "kept when this connection is closed" : "deleted when this connection is closed",
    ].join(", "),
  ]];
}

const FIELDS = fieldsFor({
  ...{ name: "text", state: "text", parent: "text" },
  ...{ created: "timestamptz", expires: "timestamptz", size: "int8" },
});

/** Lists the branches of a connection's project; see `Lakebase.branches`. */
export async function listBranches(
  parts: LakebaseParts,
  given: Pick<QueryOptions, "signal" | "timeout">,
): Promise<ListingParts<BranchInfo>> {
  const options = checkCall("list the branches", given, {});
  const { api, project, connected } = placeOf(parts, "list the branches");
  using stop = stoppable(options);
  const started = performance.now();
  const found = await api.list(project, false, stop.signal);
  const rows = found.map((branch): BranchInfo => ({
    name: branchId(branch.name),
    state: branch.state,
    parent: branch.parent === undefined ? null : branchId(branch.parent),
    created: branch.created ?? null,
    expires: branch.expires ?? null,
    size: branch.size ?? null,
    default: branch.isDefault,
    protected: branch.isProtected,
    connected: branch.name === connected,
  }));
  const elapsed = performance.now() - started;
  return { rows, fields: FIELDS, elapsed, facts: {}, draw: (rows) => drawBranches(rows, project, elapsed) };
}

function drawBranches(rows: readonly BranchInfo[], project: string, elapsed: number): TableOptions {
  return {
    columns: FIELDS,
    rows: rows.map(({ name, state, parent, created, expires, size, ...marks }) => [
      ...[name, [state, ...(["default", "protected", "connected"] as const).filter((mark) => marks[mark])].join(", ")],
      ...[parent ?? "", created === null ? "" : timeText(created), expires === null ? "never" : timeText(expires)],
      size === null ? "" : sizeText(size),
    ]),
    footer: `${rows.length} ${rows.length === 1 ? "branch" : "branches"} of ${project}, ${elapsedText(elapsed)}`,
  };
}

/**
 * Deletes a branch of a connection's project; see `Lakebase.dropBranch`.
 *
 * @param inUse The full names of the branches that this program is connected to.
 */
export async function dropBranch(
  parts: LakebaseParts,
  name: string,
  given: DropBranchOptions,
  inUse: readonly (string | undefined)[],
): Promise<void> {
  const doing = "drop the branch";
  const { purge = false, ...stops } = checkCall(doing, given, { purge: ON_OR_OFF }) as DropBranchOptions;
  if (!REFERENCE[0](name)) {
    const found = Deno.inspect(name, { depth: 1, strAbbreviateSize: 40 });
    throw new LakebaseError("BAD_PARAMETER", `Cannot ${doing}: the name is ${found}; it must be ${REFERENCE[1]}`);
  }
  const { api, project } = placeOf(parts, doing);
  const full = branchIn(project, name);
  using stop = stoppable(stops);
  const all = await api.list(full.split("/branches/")[0]!, true, stop.signal);
  checkDroppable(full, all, purge, inUse);
  const operation = await api.delete(full, purge, stop.signal);
  if (operation !== undefined) await api.finish(operation, `${doing} "${branchId(full)}"`, stop.signal);
  stop.succeeded();
}

function checkDroppable(
  full: string,
  all: readonly BranchState[],
  purge: boolean,
  inUse: readonly (string | undefined)[],
): void {
  const id = branchId(full);
  const fail = (state: string, code: "ENDPOINT_NOT_FOUND" | "BAD_PARAMETER" = "BAD_PARAMETER") => {
    throw new LakebaseError(code, `Cannot drop the branch "${id}": ${state}`);
  };
  const there = all.filter(({ deleted }) => deleted === undefined);
  const found = all.find(({ name }) => name === full);
  if (found === undefined) {
    const near = closest(id, there.map(({ name }) => branchId(name)));
    fail(
      `there is none of that name${near === undefined ? "; see db.branches()" : `; did you mean "${near}"?`}`,
      "ENDPOINT_NOT_FOUND",
    );
  }
  if (found!.deleted !== undefined && !purge) {
    fail(`it is deleted already; ${optionText({ purge: true })} removes it for good`, "ENDPOINT_NOT_FOUND");
  }
  if (found!.isDefault) fail("it is the project's default branch, which can't be dropped");
  if (found!.isProtected) fail("it is protected; take the protection away in the workspace first");
  const children = there.filter(({ parent }) => parent === full).map(({ name }) => branchId(name));
  if (children.length > 0) fail(`${children.slice(0, 10).join(", ")} were made from it; drop them first`);
  if (inUse.includes(full)) fail("this program is connected to it; close() that connection first");
}

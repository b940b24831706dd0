import { type BranchApi, branchId, branchIn, type BranchSpec } from "../auth/branch.ts";
import { backoff, pause } from "../core/pause.ts";
import { inTypeScript, LakebaseError, optionText, quotedOption } from "../core/errors.ts";
import { sentence, utcText } from "../core/text.ts";
import { announceLeftovers, announceWork } from "../draw/notices.ts";
import { checkCall, ON_OR_OFF, type QueryOptions, takesNothing } from "../sql/options.ts";
import { stoppable, until } from "../sql/stop.ts";
import { BRANCH_REFERENCE, BRANCHES, type ConnectedProject, connectedProject, matches } from "./branches.ts";
import { CreatedBranch, dropText } from "./created_branch.ts";
import { Lakebase } from "./lakebase.ts";
import { type LakebaseParts, openParts } from "./open_connection.ts";

/** How `Lakebase.branch` makes a branch. */
export interface BranchOptions extends Pick<QueryOptions, "signal"> {
  /**
   * Its id: 1 to 63 lower-case letters, digits and hyphens, starting with a letter. @default {a new one, such as
   * `ana-production-x7k2m9`}
   */
  name?: string;
  /** The moment whose data the branch gets: a time with its zone, or a text such as `"2 hours ago"`. @default {now} */
  at?: Date | string;
  /** The moment as a log sequence number, such as `"0/1A2B3C4"`. Give either this or `at`. */
  lsn?: string;
  /** The branch to copy: its id, or `projects/p/branches/b`. @default {the connected branch} */
  from?: string;
  /** Seconds until the branch expires, at most 30 days; `false` for never. @default {86400, a day} */
  ttl?: number | false;
  /** Whether the branch stays after `close()` and after the end of the script. @default {false} */
  keep?: boolean;
  /** Seconds allowed for making the branch and connecting to it. @default {600} */
  timeout?: number;
}

const DAY = 86_400;
const MAX_TTL = 30 * DAY;
/** The default for the seconds that making a branch may take. */
const DEFAULT_TIMEOUT = 600;
/** Milliseconds in which a new branch may refuse logins, or may have no address yet. */
const SETTLE_MS = 60_000;

const ID = /^[a-z][a-z0-9-]{0,62}$/;
const ID_RULE = "1 to 63 lower-case letters, digits and hyphens, and begin with a letter";
const CHECKS = {
  name: [matches(ID), ID_RULE],
  at: [
    (value: unknown) => readMoment(value) !== undefined,
    `${inTypeScript("a Date, ", "")}a time with its zone, or "2 hours ago"`,
  ],
  lsn: [matches(/^[0-9a-f]{1,8}\/[0-9a-f]{1,8}$/i), 'a log sequence number such as "0/1A2B3C4"'],
  from: BRANCH_REFERENCE,
  ttl: [
    (value: unknown) => value === false || (typeof value === "number" && value >= 1 && value <= MAX_TTL),
    `a number of seconds from 1 to ${MAX_TTL} (30 days), or ${inTypeScript("false", "--no-ttl")}`,
  ],
  keep: ON_OR_OFF,
} as const;

/** A moment: a time in the workspace's format (RFC 3339), or a number of milliseconds before now. */
type Moment = { time: string } | { ago: number };

const UNITS: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: DAY, week: 7 * DAY };

/** A time with its zone, in the form of ISO 8601 or Postgres. Without a zone, its meaning would depend on the machine. */
const TIME = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?:(:\d\d)(\.\d{1,9})?)?\s?(?:Z|([+-]\d\d)(?::?(\d\d))?)$/i;

function readMoment(value: unknown): Moment | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : { time: value.toISOString() };
  if (typeof value !== "string") return undefined;
  const [, count, unit] = /^\s*(\d{1,9}(?:\.\d{1,3})?)\s+(second|minute|hour|day|week)s?\s+ago\s*$/i.exec(value) ?? [];
  if (unit !== undefined) return { ago: Number(count) * UNITS[unit.toLowerCase()]! * 1000 };
  const [, day, minutes, seconds = ":00", fraction = ".000", zoneHours = "+00", zoneMinutes = "00"] =
    TIME.exec(value) ?? [];
  if (day === undefined || !isDay(day)) return undefined;
  const time = new Date(`${day}T${minutes}${seconds}${zoneHours}:${zoneMinutes}`);
  if (Number.isNaN(time.getTime())) return undefined;
  return { time: time.toISOString().replace(/\.\d+/, fraction) }; // a `Date` has only milliseconds; times in a log have microseconds
}

/** Whether a day exists. `Date` reads February 30 as March 2. */
function isDay(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

/** Makes a branch and connects to it; see `Lakebase.branch`. */
export async function makeBranch(parts: LakebaseParts, branchOptions: BranchOptions): Promise<Branch> {
  const { timeout = DEFAULT_TIMEOUT, signal, ...options } = checkCall(
    "make a branch",
    branchOptions,
    CHECKS,
  ) as BranchOptions;
  if (options.at !== undefined && options.lsn !== undefined) {
    throw new LakebaseError("BAD_PARAMETER", "Cannot make a branch: both at and lsn are given; keep one");
  }
  const { api, project, connected } = connectedProject(parts, "make a branch");
  using stop = stoppable({ signal, timeout }, "making the branch");
  const source = branchIn(project, options.from ?? connected);
  const notice = announceWork(`Making a branch of ${branchId(source)}`);
  try {
    const spec = await branchSpec(api, source, options, stop.signal);
    const { branch, operation } = await create({ api, project }, spec, { ...options, user: parts.user }, stop.signal);
    try {
      await api.finish(operation, `make the branch "${branch.id}"`, stop.signal);
      await branch.readState(stop.signal);
      const opened = await open(parts, branch, stop.signal);
      stop.succeeded();
      await notice.end(`Made branch ${branch.id} of ${branchId(source)}`);
      return opened;
    } catch (error) {
      throw await dropIncomplete(branch, error);
    }
  } catch (error) {
    await notice.end();
    throw error;
  }
}

/** Makes the workspace's description of a new branch. */
async function branchSpec(
  api: BranchApi,
  source: string,
  { at, lsn, ttl = DAY }: BranchOptions,
  signal: AbortSignal | undefined,
): Promise<BranchSpec> {
  const moment = at === undefined ? undefined : readMoment(at)!;
  let time = moment !== undefined && "time" in moment ? moment.time : undefined;
  if (moment !== undefined && "ago" in moment) {
    // The workspace's clock decides, because this machine's clock may be wrong.
    const { serverTime = Date.now() } = await api.get(source, signal);
    time = new Date(Math.max(0, serverTime - moment.ago)).toISOString(); // the workspace refuses a time before its history
  }
  return {
    source_branch: source,
    ...(time === undefined ? {} : { source_branch_time: time }),
    ...(lsn === undefined ? {} : { source_branch_lsn: lsn }),
    ...(ttl === false ? { no_expiry: true as const } : { ttl: `${Number(ttl.toFixed(3))}s` }),
  };
}

/** The maximum number of names to try until one is free. */
const MAX_NAME_ATTEMPTS = 3;

/**
 * Sends the request for the branch. A stop takes effect only after the answer, because a canceled request may have created the
 * branch.
 */
async function create(
  { api, project }: Pick<ConnectedProject, "api" | "project">,
  spec: BranchSpec,
  { name, keep = false, user }: BranchOptions & { user: string },
  signal: AbortSignal | undefined,
): Promise<{ branch: CreatedBranch; operation: string }> {
  signal?.throwIfAborted();
  const source = branchId(spec.source_branch);
  for (let attempt = 1;; attempt++) {
    const id = name ?? newName(user, source);
    const branch = new CreatedBranch(api, `${project}/branches/${id}`, keep);
    try {
      const operation = await api.create(branch.name, spec);
      branch.deleteAtEnd();
      if (signal?.aborted) throw await dropIncomplete(branch, signal.reason);
      return { branch, operation };
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      if (name === undefined && refusalOf(error).code === "ALREADY_EXISTS" && attempt < MAX_NAME_ATTEMPTS) continue;
      // A branch under a name that was generated a moment ago is ours. Under the caller's name, it may be someone else's.
      if (isLost(error) && name === undefined) throw await dropIncomplete(branch, error);
      throw explainRefusal(error, id, spec, isLost(error));
    }
  }
}

function isLost(error: unknown): boolean {
  return error instanceof LakebaseError && error.code === "CONNECTION_LOST";
}

/** Generates a unique name from the names of the user and of the source. */
function newName(user: string, source: string): string {
  const toId = (name: string, length: number) =>
    name.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, length).replace(/^[^a-z]+|-+$/g, "");
  const random = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36).padStart(7, "0").slice(-7);
  const parts = [toId(user.split("@")[0]!, 20) || "branch", toId(source, 30), random];
  return parts.filter((part) => part !== "").join("-");
}

/** The code and the message with which the workspace refused a request; empty for other errors. */
function refusalOf(error: unknown): { code: string; message: string } {
  const { code = "", message = "" } = ((error as LakebaseError).cause ?? {}) as { code?: string; message?: string };
  return { code, message };
}

/** Explains why the workspace did not make a branch. */
function explainRefusal(error: unknown, id: string, spec: BranchSpec, lost: boolean): unknown {
  if (!(error instanceof LakebaseError)) return error;
  const { code, cause } = error;
  const refused = (state: string) => new LakebaseError(code, `Cannot make the branch "${id}": ${state}`, { cause });
  if (lost) {
    return refused(
      `${sentence(error.message)} If there is a branch of that name now, find out whose it is before you ${
        dropText(id)
      }`,
    );
  }
  if (code === "ENDPOINT_NOT_FOUND") return refused(`there is no branch ${spec.source_branch}; see ${BRANCHES}`);
  if (code !== "WORKSPACE_REFUSED") return error;
  const { code: refusal, message } = refusalOf(error);
  const advice = refusal === "ALREADY_EXISTS"
    ? `the name is taken, by a branch or by a deleted branch that can still be restored. Choose another name, or connect ` +
      `to it: ${optionText({ branch: id }, `connect({ branch: "${id}" })`)}`
    : /maximum expiration|exceeds the max/i.test(message)
    ? `a branch that expires lives at most 30 days (${quotedOption("ttl")})`
    : /source_branch_(time|lsn)|retention/i.test(message)
    ? `${quotedOption("at")} must be within the time that the project keeps its history, which is often 7 days`
    : /limit|quota|too many/i.test(message + refusal)
    ? `delete a branch that is not needed: ${BRANCHES} lists them, ${
      inTypeScript("db.dropBranch(name)", "lakebase branch drop NAME")
    } deletes one`
    : undefined;
  return refused(`the workspace refuses, "${message}"${advice === undefined ? "" : `; ${advice}`}`);
}

/** Deletes a branch that could not be completed, and returns the error to throw. */
async function dropIncomplete(branch: CreatedBranch, error: unknown): Promise<unknown> {
  try {
    await branch.delete();
    return error;
  } catch {
    const leftover = `The branch "${branch.id}" may still exist; ${dropText(branch.id)}`;
    if (!(error instanceof LakebaseError)) {
      await announceLeftovers([leftover]);
      return error;
    }
    return new LakebaseError(error.code, `${sentence(error.message)} ${leftover}`, { cause: error });
  }
}

/** Errors of a new branch whose roles, address or endpoint are not ready yet. */
const SETTLING = new Set(["LOGIN_REFUSED", "ENDPOINT_NOT_READY", "ENDPOINT_NOT_FOUND", "DNS", "UNREACHABLE"]);

/** Connects to a new branch in the same way as to its source. */
async function open(parts: LakebaseParts, branch: CreatedBranch, signal: AbortSignal | undefined): Promise<Branch> {
  const read = parts.read!;
  const settings = {
    ...read.settings,
    endpoint: branch.name,
    branch: undefined,
    host: undefined,
    unconfirmedHost: undefined,
  };
  const deadline = performance.now() + SETTLE_MS;
  for (let attempt = 0;; attempt++) {
    const releaseLocal = read.leaseLocal();
    const opening = openParts({ ...read, settings, releaseLocal });
    try {
      return new Branch(await until(opening, signal), branch);
    } catch (error) {
      opening.then(({ pool, credentials }) => {
        credentials?.close();
        return pool.end();
      }).catch(() => {}); // the caught error already gives the reason
      await releaseLocal();
      const isSettling = error instanceof LakebaseError && SETTLING.has(error.code);
      if (!isSettling || signal?.aborted || performance.now() > deadline) throw error;
      await pause(backoff(attempt, { first: 500, most: 4000 }), signal);
    }
  }
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
  readonly #branch: CreatedBranch;

  /** Made by `Lakebase.branch`. */
  constructor(parts: LakebaseParts, branch: CreatedBranch) {
    const { onClose } = parts;
    super({
      ...parts,
      facts: () => branchFacts(branch),
      onClose: async () => {
        await branch.deleteUnlessKept();
        await onClose?.();
      },
    });
    this.#branch = branch;
  }

  /** The branch's id, which `connect({ branch })` takes. */
  get name(): string {
    return this.#branch.id;
  }

  /** When the branch expires; `undefined` for never. */
  get expires(): Date | undefined {
    return this.#branch.state?.expires;
  }

  /**
   * Closes the connection and deletes the branch, even if it was made with `keep`. It can't be restored.
   *
   * @throws {LakebaseError} The workspace's answer, if it does not delete the branch; the next call tries again.
   */
  async drop(...none: []): Promise<void> {
    takesNothing("drop", none, "db.dropBranch(name) leaves a branch that can be restored", "drop the branch");
    this.#branch.reportsFailure = true;
    this.#branch.keep = false;
    this.#branch.failure = undefined;
    await this.close();
    if (this.#branch.failure === undefined) return await this.#branch.delete();
    throw this.#branch.failure;
  }
}

function branchFacts({ id, state, keep }: CreatedBranch): [string, string][] {
  const { parent, expires } = state ?? {};
  return [[
    "branch",
    [
      `${id}${parent === undefined ? "" : ` of ${branchId(parent)}`}`,
      ...(expires === undefined ? [] : [`expires at ${utcText(expires)}`]),
      keep ? "kept when this connection is closed" : "deleted when this connection is closed",
    ].join(", "),
  ]];
}

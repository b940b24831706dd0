import { AsyncLocalStorage } from "node:async_hooks";
// @ts-types="npm:@types/pg@8.23.1"
import pg from "npm:pg@8.23.1";
import { backoff, pause } from "../core/pause.ts";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import type { TracedServer } from "../core/trace.ts";
import { classifyFailure, connectError, type ConnectFailure } from "./failure.ts";
import { credentialOf, type LoginClient } from "./login_client.ts";
import { closeIdleClient, emptyQueue, leaveQueue, runningQuery } from "./pg_internals.ts";
import { IdleTimer, type LakebasePoolOptions, poolConfig } from "./pool_options.ts";

/** A connection that was idle for longer is tested before its next use. */
const UNTESTED_IDLE_MS = 5000;
/** The time that the test may take. */
const TEST_LIMIT_MS = 5000;
/** How long a refused connection is retried, since a refusal seldom means that a compute is waking up. */
const REFUSED_LIMIT_MS = 15_000;
/** How long `end()` waits for running statements. */
const END_LIMIT_MS = 5000;
/** The most connections in use that an error lists. */
const MAX_LISTED = 5;

/** Opens connections outside of the caller's AsyncLocalStorage context, because they outlive the caller. */
const outsideOfContext = AsyncLocalStorage.snapshot();

/** Errors of a full pool, which are not retried. */
const fullPoolErrors = new WeakSet<Error>();

type PooledClient = pg.PoolClient & LoginClient;

/** An attempt to get a connection from the pool. */
interface Attempt {
  /** When it began. */
  started: number;
  /** Its result. */
  client: Promise<pg.PoolClient>;
}

type Connected = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: (release?: unknown) => void,
) => void;

/**
 * A `pg.Pool` that logs in, wakes the compute, and replaces idle connections that the server has dropped. It retries to
 * connect, but never retries a statement.
 */
export class LakebasePool extends pg.Pool {
  readonly #options: LakebasePoolOptions;
  readonly #clients = new Set<LoginClient>();
  readonly #idle: IdleTimer<LoginClient>;
  /** Connections that became idle before this time are not used, because one of them turned out to be dead. */
  #deadBefore = 0;
  #ending: Promise<void> | undefined;
  /** Called when a caller has to wait for a connection, so that sessions release connections that they do not need. */
  onFull: (() => void) | undefined;
  /** Why the pool was closed; errors of later uses quote it. */
  endedBecause = "close() was called on it. Call connect() again";

  /** Makes a pool, which connects when it is first used. */
  constructor(options: LakebasePoolOptions) {
    super(poolConfig(options));
    this.#options = options;
    this.on("error", () => {}); // the server may drop idle connections; the next query gets another one
    this.on("connect", (client) => this.#clients.add(client as unknown as LoginClient));
    this.on("remove", (client) => this.#clients.delete(client as unknown as LoginClient));
    this.#idle = new IdleTimer({
      limit: options.idleTimeout * 1000,
      clients: this.#clients,
      close: (client) => closeIdleClient(this, client),
    });
    this.on("release", (_error, client) => {
      (client as unknown as LoginClient).idleSince = Date.now();
      this.#idle.start();
    });
  }

  /** The server, for traces. */
  get server(): TracedServer {
    const { host: address, port, database: namespace } = this.#options;
    return { system: "postgresql", namespace, address, port };
  }

  /** Seconds that the wait for a connection may take. */
  get connectTimeout(): number {
    return this.#options.connectTimeout;
  }

  /**
   * Opens a connection and leaves it in the pool. This does not wait until its session is prepared, which takes a round
   * trip: the first use does.
   */
  async open(): Promise<void> {
    (await outsideOfContext(() => this.#connect({ untilPrepared: false }))).release();
  }

  /** Takes a connection from the pool; `release()` it after use. */
  override connect(): Promise<pg.PoolClient>;
  /** The callback form of `pg.Pool`. */
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.PoolClient> | void {
    if (callback === undefined) {
      return new Promise((resolve, reject) => {
        this.connect((error, client) => client === undefined ? reject(error) : resolve(client));
      });
    }
    if (this.ending || this.#mustOpen) return passResult(outsideOfContext(() => this.#connect()), callback);
    const started = Date.now();
    this.#connectOnce((error, pooled, done) => {
      const client = pooled as PooledClient | undefined;
      if (client === undefined || !client.isPrepared || !this.#isFresh(client, started)) {
        const result = client === undefined ? Promise.reject(error) : Promise.resolve(client);
        return passResult(this.#connect({ first: { started, client: result } }), callback);
      }
      markTaken(client);
      callback(undefined, client, done);
    });
  }

  /** Closes all connections. Running statements get five seconds to end. */
  override end(): Promise<void>;
  /** The callback form of `pg.Pool`. */
  override end(callback: () => void): void;
  override end(callback?: () => void): Promise<void> | void {
    this.#ending ??= this.#end();
    if (callback === undefined) return this.#ending;
    this.#ending.then(callback);
  }

  /** Asks the server to cancel the statement that a connection of this pool runs. */
  async cancel(client: pg.PoolClient): Promise<void> {
    await (client as PooledClient).requestCancel();
  }

  /** The text that `console.log` prints, without the options, because they hold the password. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.#summary();
  }

  /** The same text for Node's `util.inspect`. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.#summary();
  }

  #summary(): string {
    const { database, host, port, user, max } = this.#options;
    return `Pool { ${database} at ${host}:${port} as ${user}, ${this.totalCount} of ${max} connections open }`;
  }

  async #end(): Promise<void> {
    this.#idle.stop();
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#clients.forEach((client) => client.destroy());
      late.resolve(); // `pg` would wait for connections that are never released
    }, END_LIMIT_MS);
    const ended = super.end();
    for (const callback of emptyQueue(this)) callback(this.#closedError(), undefined, () => {});
    await Promise.race([ended, late.promise]).finally(() => clearTimeout(timer));
  }

  #closedError(): LakebaseError {
    const { database, host } = this.#options;
    return new LakebaseError(
      "CLOSED",
      `Cannot use the connection to database "${database}" at ${host}: it is closed, since ${this.endedBecause}`,
    );
  }

  /** Runs the `connect` of `pg-pool`, with a limit for the wait for a free connection. */
  #connectOnce(callback: Connected): void {
    const isFull = this.waitingCount >= this.idleCount + this.options.max - this.totalCount;
    if (!isFull) return super.connect(callback);
    const waiting: Connected = (error, client, done) => {
      clearTimeout(timer);
      callback(error, client, done);
    };
    const timer = setTimeout(() => {
      leaveQueue(this, waiting);
      callback(this.#fullPoolError(), undefined, () => {});
    }, this.#options.connectTimeout * 1000);
    super.connect(waiting);
    this.onFull?.();
  }

  #takeClient(): Promise<pg.PoolClient> {
    return new Promise((resolve, reject) => {
      this.#connectOnce((error, client) => client === undefined ? reject(error) : resolve(client));
    });
  }

  /** Makes the error for a full pool, which lists the uses of its connections. */
  #fullPoolError(): LakebaseError {
    const { connectTimeout, max } = this.#options;
    const now = Date.now();
    const inUse = [...this.#clients].filter(({ idleSince }) => idleSince === 0)
      .toSorted((a, b) => a.takenAt - b.takenAt);
    const lines = inUse.slice(0, MAX_LISTED).map((client) =>
      `\n  for ${seconds(now - client.takenAt)}: ${describeUse(client)}`
    );
    const more = inUse.length > MAX_LISTED ? `\n  and ${inUse.length - MAX_LISTED} more` : "";
    const error = new LakebaseError(
      "CONNECT_TIMEOUT",
      `Cannot get a connection: none of ${max} was free for ${connectTimeout} s (connectTimeout). These hold them:${
        lines.join("")
      }${more}\nEnd one of them, such as a session, a loop over a query or a transaction that waits for this; or ` +
        `connect with a max above ${max}`,
    );
    fullPoolErrors.add(error);
    return error;
  }

  /** Whether a new connection must be opened: none is idle, and the pool is not full. */
  get #mustOpen(): boolean {
    return this.idleCount === 0 && this.totalCount < this.options.max;
  }

  /**
   * Connects, with retries until the limit.
   *
   * @param options The first attempt, if it has been made already; whether the session must be prepared.
   */
  async #connect(
    { first, untilPrepared = true }: { first?: Attempt; untilPrepared?: boolean } = {},
  ): Promise<pg.PoolClient> {
    const { connectTimeout, credentials, onWaiting } = this.#options;
    let firstFailure: number | undefined;
    let hasNewCredential = false;
    let previous: { error: unknown; failure: ConnectFailure } | undefined;
    let begun = first;
    for (let attempt = 0;; attempt++) {
      const deadline = firstFailure === undefined ? undefined : firstFailure + connectTimeout * 1000;
      const { started, client } = begun ?? { started: Date.now(), client: this.#attempt(deadline) };
      begun = undefined;
      try {
        const working = await this.#working(deadline, client);
        if (untilPrepared && !working.isPrepared) await prepared(working, deadline);
        markTaken(working);
        return working;
      } catch (error) {
        if (this.ending) throw this.#closedError();
        if (fullPoolErrors.has(error as Error)) throw error;
        const failure = classifyFailure(error, this.#options);
        const used = credentialOf(error);
        if (failure.kind === "login" && used !== undefined && used.mintedAt < started && !hasNewCredential) {
          credentials?.invalidate(used);
          hasNewCredential = true;
          continue;
        }
        firstFailure ??= started;
        const waited = Date.now() - firstFailure;
        const wait = backoff(attempt, { first: 100, most: 2000 });
        if (waited + wait >= retryLimit(failure, connectTimeout)) {
          // If the deadline cuts an attempt short, its error must not hide the reason of the attempt before it.
          const reported = failure.code === "CONNECT_TIMEOUT" && previous !== undefined ? previous : { error, failure };
          throw connectError(reported.error, reported.failure, this.#options, waited);
        }
        previous = { error, failure };
        onWaiting?.(failure);
        await pause(wait);
      }
    }
  }

  /** Makes one attempt. The first one has no deadline, because it may wait long for a free connection. */
  async #attempt(deadline: number | undefined): Promise<pg.PoolClient> {
    if (this.ending) throw this.#closedError();
    if (this.#mustOpen) await this.#options.credentials?.get(); // its errors say more than the error of a failed login
    return await withDeadline(deadline, this.#takeClient());
  }

  /** Waits for a connection and tests it; a dead one is replaced by the next. */
  async #working(deadline: number | undefined, first: Promise<pg.PoolClient>): Promise<PooledClient> {
    for (
      let client = await first as PooledClient;;
      client = await withDeadline(deadline, this.#takeClient()) as PooledClient
    ) {
      if (await this.#isAlive(client)) return client;
      client.destroy();
      client.release(true);
    }
  }

  /** Whether a connection needs no test, because it is new or was used a moment ago. */
  #isFresh({ idleSince }: PooledClient, now: number): boolean {
    return idleSince === 0 || idleSince >= this.#deadBefore && now - idleSince < UNTESTED_IDLE_MS;
  }

  async #isAlive(client: PooledClient): Promise<boolean> {
    if (this.#isFresh(client, Date.now())) return true;
    if (client.idleSince < this.#deadBefore) return false;
    try {
      await withDeadline(Date.now() + TEST_LIMIT_MS, client.query(""));
      return true;
    } catch {
      this.#deadBefore = Date.now();
      return false;
    }
  }
}

/** Waits until the session of a new connection is prepared. A connection that ends before that is closed. */
async function prepared(client: PooledClient, deadline: number | undefined): Promise<void> {
  try {
    await withDeadline(deadline, client.prepared());
  } catch (error) {
    client.destroy();
    client.release(true);
    throw error;
  }
}

function markTaken(client: PooledClient): void {
  client.idleSince = 0;
  client.takenAt = Date.now();
  client.purpose = undefined;
}

function seconds(ms: number): string {
  return `${Math.max(1, Math.round(ms / 1000))} s`;
}

/** Describes the purpose of a connection and the statement that runs on it, for an error. */
function describeUse(client: LoginClient): string {
  const running = runningQuery(client);
  const purpose = statementLine(client.purpose ?? "db.pool");
  if (running === undefined) return `${purpose}, idle`;
  const text = statementLine(running.text ?? "");
  return text === purpose || text === "" ? purpose : `${purpose}, running ${text}`;
}

function passResult(connecting: Promise<pg.PoolClient>, callback: Connected): void {
  connecting.then(
    (client) => callback(undefined, client, (error) => client.release(error as Error)),
    (error) => callback(error, undefined, () => {}),
  );
}

/** How long connecting is retried after a failure, in milliseconds. */
function retryLimit(failure: ConnectFailure, connectTimeout: number): number {
  const limit = connectTimeout * 1000;
  if (failure.kind === "waking") return limit;
  return failure.kind === "refused" ? Math.min(limit, REFUSED_LIMIT_MS) : 0;
}

/** Waits until the deadline. A connection that comes later is released. */
async function withDeadline<T>(deadline: number | undefined, work: Promise<T>): Promise<T> {
  if (deadline === undefined) return await work;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error("timeout expired"));
    work.then((value) => (value as Partial<pg.PoolClient> | undefined)?.release?.(), () => {}); // no connection came
  }, Math.max(1, deadline - Date.now()));
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

import { AsyncLocalStorage } from "node:async_hooks";
// @ts-types="npm:@types/pg@^8.11.0"
import pg from "npm:pg@^8.23.0";
import { backoff, pause } from "../core/backoff.ts";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
import { requestCancel } from "./cancel.ts";
import { classifyFailure, connectError, type ConnectFailure } from "./failure.ts";
import { credentialOf, type LoginClient } from "./login_client.ts";
import { backendOf, closeIdleClient, leaveQueue, runningQuery } from "./pg_internals.ts";
import { IdleTimer, type LakebasePoolOptions, poolConfig } from "./pool_options.ts";

/** A connection that was idle this long is asked for a sign of life before it is handed out. */
const UNCHECKED_IDLE_MS = 5000;
/** How long it may take to give one. */
const SIGN_OF_LIFE_MS = 5000;
/** Nothing listening is rarely a compute that wakes up. */
const REFUSED_LIMIT_MS = 15_000;
/** How long `end()` waits for statements that still run. */
const END_LIMIT_MS = 5000;
/** How many of those who hold connections are named. */
const MOST_HOLDERS = 5;

/** A connection outlives the function that had it opened, so what that function keeps by AsyncLocalStorage is not its own. */
const ofNobody = AsyncLocalStorage.snapshot();

/** Errors of a pool whose connections are all held: to try again would be to wait again. */
const full = new WeakSet<Error>();

type PooledClient = pg.PoolClient & LoginClient;

/** A try to get a connection. */
interface Try {
  /** When it began. */
  started: number;
  /** What came of it. */
  client: Promise<pg.PoolClient>;
}

type Connected = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: (release?: unknown) => void,
) => void;

/**
 * A `pg.Pool` that logs in, wakes the compute, and hands out no connection that the server dropped meanwhile. Only
 * connecting is ever tried again, never a statement.
 */
export class LakebasePool extends pg.Pool {
  readonly #options: LakebasePoolOptions;
  readonly #clients = new Set<LoginClient>();
  readonly #idle: IdleTimer<LoginClient>;
  /** Connections idle since before then went the way of one that was found dead. */
  #deadBefore = 0;
  #ending: Promise<void> | undefined;
  /** Called when somebody has to wait for a connection: who keeps one without need may give it back. */
  onFull: (() => void) | undefined;
  /** Why it was closed, for whoever uses it after that. */
  endedBecause = "close() was called on it. Call connect() again";

  /** Makes a pool; it connects when first used. */
  constructor(options: LakebasePoolOptions) {
    super(poolConfig(options));
    this.#options = options;
    this.on("error", () => {}); // an idle connection that drops is the server's right; the next query gets another
    this.on("connect", (client) => this.#clients.add(client as unknown as LoginClient));
    this.on("remove", (client) => this.#clients.delete(client as unknown as LoginClient));
    this.#idle = new IdleTimer({
      ...{ limit: options.idleTimeout * 1000, clients: this.#clients },
      close: (client) => closeIdleClient(this, client),
    });
    this.on("release", (_error, client) => {
      (client as unknown as LoginClient).idleSince = Date.now();
      this.#idle.start();
    });
  }

  /** Seconds that the wait for a connection may take. */
  get connectTimeout(): number {
    return this.#options.connectTimeout;
  }

  /** A connection from the pool; `release()` it. */
  override connect(): Promise<pg.PoolClient>;
  /** As `pg.Pool` has it. */
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.PoolClient> | void {
    if (callback === undefined) {
      return new Promise((resolve, reject) => {
        this.connect((error, client) => client === undefined ? reject(error) : resolve(client));
      });
    }
    if (this.ending || this.#mustOpen) return give(ofNobody(() => this.#connect()), callback);
    const started = Date.now();
    this.#next((error, taken, done) => {
      const client = taken as PooledClient | undefined;
      if (client === undefined || !this.#isFresh(client, started)) {
        const made = client === undefined ? Promise.reject(error) : Promise.resolve(client);
        return give(this.#connect({ started, client: made }), callback);
      }
      taking(client);
      callback(undefined, client, done);
    });
  }

  /** Closes every connection; statements that still run have five seconds. */
  override end(): Promise<void>;
  /** As `pg.Pool` has it. */
  override end(callback: () => void): void;
  override end(callback?: () => void): Promise<void> | void {
    this.#ending ??= this.#end();
    if (callback === undefined) return this.#ending;
    this.#ending.then(callback);
  }

  /** Asks the server to cancel what a connection of this pool is running. */
  async cancel(client: pg.PoolClient): Promise<void> {
    const { host, port, ssl } = this.#options;
    await requestCancel({ host, port, ssl, ...backendOf(client) });
  }

  /** How `console.log` prints it: its options hold the password, hidden only from a shallow look. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.#summary();
  }

  /** As `console.log`, for Node's `util.inspect`. */
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
      late.resolve(); // `pg` would go on waiting for a connection that nobody gives back
    }, END_LIMIT_MS);
    await Promise.race([super.end(), late.promise]).finally(() => clearTimeout(timer));
  }

  #closed(): LakebaseError {
    const { database, host } = this.#options;
    return new LakebaseError(
      "CLOSED",
      `Cannot use the connection to database "${database}" at ${host}: it is closed, since ${this.endedBecause}`,
    );
  }

  /** `pg-pool`'s own `connect`, whose wait for a connection that others hold would have no end. */
  #next(callback: Connected): void {
    const held = this.waitingCount >= this.idleCount + this.options.max - this.totalCount;
    if (!held) return super.connect(callback);
    const waiting: Connected = (error, client, done) => {
      clearTimeout(timer);
      callback(error, client, done);
    };
    const timer = setTimeout(() => {
      leaveQueue(this, waiting);
      callback(this.#busy(), undefined, () => {});
    }, this.#options.connectTimeout * 1000);
    super.connect(waiting);
    this.onFull?.();
  }

  #promised(): Promise<pg.PoolClient> {
    return new Promise((resolve, reject) => {
      this.#next((error, client) => client === undefined ? reject(error) : resolve(client));
    });
  }

  /** Who holds the connections. */
  #busy(): LakebaseError {
    const { connectTimeout, max } = this.#options;
    const now = Date.now();
    const held = [...this.#clients].filter(({ idleSince }) => idleSince === 0)
      .toSorted((a, b) => a.takenAt - b.takenAt);
    const lines = held.slice(0, MOST_HOLDERS).map((client) =>
      `\n  for ${seconds(now - client.takenAt)}: ${use(client)}`
    );
    const more = held.length > MOST_HOLDERS ? `\n  and ${held.length - MOST_HOLDERS} more` : "";
    const error = new LakebaseError(
      "CONNECT_TIMEOUT",
      `Cannot get a connection: for ${connectTimeout} s (connectTimeout) none of ${max} was free. They are held:${
        lines.join("")
      }${more}\nEnd what holds one, such as a session, a loop over a query or a transaction that waits for this; or ` +
        `connect with a larger max than ${max}`,
    );
    full.add(error);
    return error;
  }

  /** Whether a connection has to be opened; else one is idle, or will be when another caller gives it back. */
  get #mustOpen(): boolean {
    return this.idleCount === 0 && this.totalCount < this.options.max;
  }

  /**
   * Tries for as long as it may.
   *
   * @param first The first try, where it has been made.
   */
  async #connect(first?: Try): Promise<pg.PoolClient> {
    const { connectTimeout, credentials, onWaiting } = this.#options;
    let firstFailure: number | undefined;
    let reminted = false;
    let last: { error: unknown; failure: ConnectFailure } | undefined;
    let made = first;
    for (let attempt = 0;; attempt++) {
      const deadline = firstFailure === undefined ? undefined : firstFailure + connectTimeout * 1000;
      const { started, client } = made ?? { started: Date.now(), client: this.#take(deadline) };
      made = undefined;
      try {
        return await this.#living(deadline, client);
      } catch (error) {
        if (this.ending) throw this.#closed();
        if (full.has(error as Error)) throw error;
        const failure = classifyFailure(error, this.#options);
        const used = credentialOf(error);
        if (failure.kind === "login" && used !== undefined && used.mintedAt < started && !reminted) {
          credentials?.invalidate(used);
          reminted = true;
          continue;
        }
        firstFailure ??= started;
        const waited = Date.now() - firstFailure;
        const wait = backoff(attempt, { first: 100, most: 2000 });
        if (waited + wait >= limit(failure, connectTimeout)) {
          // A try that the deadline cut short must not hide why the one before it failed.
          const told = failure.code === "CONNECT_TIMEOUT" && last !== undefined ? last : { error, failure };
          throw connectError(told.error, told.failure, this.#options, waited);
        }
        last = { error, failure };
        onWaiting?.(failure);
        await pause(wait);
      }
    }
  }

  /** One try; a deadline is given from the second on, since the first may rightly wait long for a free connection. */
  async #take(deadline: number | undefined): Promise<pg.PoolClient> {
    if (this.ending) throw this.#closed();
    if (this.#mustOpen) await this.#options.credentials?.get(); // its errors are better than a failed login's
    return await before(deadline, this.#promised());
  }

  /** A connection that lives; one that does not is replaced. */
  async #living(deadline: number | undefined, taken: Promise<pg.PoolClient>): Promise<pg.PoolClient> {
    for (let client = await taken as PooledClient;; client = await before(deadline, this.#promised()) as PooledClient) {
      if (await this.#lives(client)) {
        taking(client);
        return client;
      }
      client.destroy();
      client.release(true);
    }
  }

  /** Whether a connection is good without being asked: new, or in use until a moment ago. */
  #isFresh({ idleSince }: PooledClient, now: number): boolean {
    return idleSince === 0 || idleSince >= this.#deadBefore && now - idleSince < UNCHECKED_IDLE_MS;
  }

  async #lives(client: PooledClient): Promise<boolean> {
    if (this.#isFresh(client, Date.now())) return true;
    if (client.idleSince < this.#deadBefore) return false;
    try {
      await before(Date.now() + SIGN_OF_LIFE_MS, client.query(""));
      return true;
    } catch {
      this.#deadBefore = Date.now();
      return false;
    }
  }
}

function taking(client: PooledClient): void {
  client.idleSince = 0;
  client.takenAt = Date.now();
  client.purpose = undefined;
}

function seconds(ms: number): string {
  return `${Math.max(1, Math.round(ms / 1000))} s`;
}

/** What a connection was taken for, and what runs on it. */
function use(client: LoginClient): string {
  const running = runningQuery(client);
  const purpose = statementLine(client.purpose ?? "db.pool");
  if (running === undefined) return `${purpose}, idle`;
  const text = statementLine(running.text ?? "");
  return text === purpose || text === "" ? purpose : `${purpose}, running ${text}`;
}

function give(connecting: Promise<pg.PoolClient>, callback: Connected): void {
  connecting.then(
    (client) => callback(undefined, client, (error) => client.release(error as Error)),
    (error) => callback(error, undefined, () => {}),
  );
}

function limit(failure: ConnectFailure, connectTimeout: number): number {
  const most = connectTimeout * 1000;
  if (failure.kind === "waking") return most;
  return failure.kind === "refused" ? Math.min(most, REFUSED_LIMIT_MS) : 0;
}

/** The promise, or a connection timeout; what comes later is given back. */
async function before<T>(deadline: number | undefined, work: Promise<T>): Promise<T> {
  if (deadline === undefined) return await work;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Error("timeout expired"));
    work.then((value) => (value as Partial<pg.PoolClient> | undefined)?.release?.(), () => {});
  }, Math.max(1, deadline - Date.now()));
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";
import type { CredentialCache } from "../auth/credential.ts";
import { checkTakesSettings } from "../settings/host.ts";
import type { Lookup } from "./dns.ts";
import type { ConnectFailure, Destination } from "./failure.ts";
import { loginClientClass } from "./login_client.ts";
import type { SslConfig } from "./tls.ts";
import type { WatchOptions } from "./watch.ts";

/** What a `LakebasePool` is made of. Durations are in seconds. */
export interface LakebasePoolOptions extends Destination {
  /** Where the password comes from with OAuth. */
  credentials?: CredentialCache | undefined;
  /** The native password. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** TLS, or `false` on loopback. */
  ssl: SslConfig;
  /** Connections at most. */
  max: number;
  /** Until an unused connection is closed. */
  idleTimeout: number;
  /** Until a connection is replaced. */
  maxLifetime: number;
  /** For connecting, waking included. */
  connectTimeout: number;
  /** For a statement; 0 for no limit. */
  statementTimeout: number;
  /** Makes every transaction read only. */
  readOnly: boolean;
  /** What the server is started with, as `-c search_path=app`; `readOnly` comes behind it. */
  serverOptions?: string | undefined;
  /** When a silent server is asked whether it is still there. */
  watch?: WatchOptions | undefined;
  /** Bytes of a message at most. @default {what a text may have} */
  longestMessage?: number | undefined;
  /** How the host's name is resolved. @default {the system, dig, Deno} */
  find?: Lookup;
  /** Called when connecting has failed once and is tried again. */
  onWaiting?: ((failure: ConnectFailure) => void) | undefined;
}

/** The same as `pg.Pool` takes it. @throws {LakebaseError} `POOLED_HOST` */
export function poolConfig(options: LakebasePoolOptions): pg.PoolConfig {
  const { host, port, database, user, password, ssl, max, statementTimeout, readOnly, serverOptions } = options;
  checkTakesSettings(host, [...(readOnly ? ["readOnly"] : []), ...(statementTimeout > 0 ? ["statementTimeout"] : [])]);
  return {
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    ssl,
    max,
    idleTimeoutMillis: 0, // see IdleTimer
    maxLifetimeSeconds: options.maxLifetime,
    allowExitOnIdle: true, // a script that forgets close() ends all the same
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    fallback_application_name: "lakebase-deno",
    ...(statementTimeout > 0 ? { statement_timeout: Math.ceil(statementTimeout * 1000) } : {}),
    options: [serverOptions ?? "", readOnly ? "-c default_transaction_read_only=on" : ""].join(" ").trim(),
    Client: loginClientClass({ ...options, connectTimeout: options.connectTimeout * 1000 }),
  } as pg.PoolConfig;
}

/** What a timer can wait, in milliseconds. */
const LONGEST = 2_147_483_647;

/** What can be idle. */
interface Idler {
  /** Since when, in milliseconds since 1970; 0 while it is in use. */
  idleSince: number;
}

/** What a {@linkcode IdleTimer} is made of. */
export interface IdleTimerOptions<Client extends Idler> {
  /** Milliseconds that a client may be idle; 0 for as long as it likes. */
  limit: number;
  /** All clients. */
  clients: Iterable<Client>;
  /** Closes one that was idle for so long. */
  close: (client: Client) => void;
}

/**
 * One timer for all idle clients of a pool. `pg-pool` sets one for each connection that is given back, and clears it when the
 * connection is taken again: a tenth of what a small query costs.
 */
export class IdleTimer<Client extends Idler> {
  readonly #options: IdleTimerOptions<Client>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  /** Made for the clients of a pool. */
  constructor(options: IdleTimerOptions<Client>) {
    this.#options = options;
  }

  /** Starts it where it does not run: a client is idle. It keeps no script alive. */
  start(wait: number = this.#options.limit): void {
    if (this.#timer !== undefined || this.#over || this.#options.limit === 0) return;
    this.#timer = setTimeout(() => this.#ring(), Math.min(wait, LONGEST));
    Deno.unrefTimer(this.#timer);
  }

  /** Stops it for good. */
  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #ring(): void {
    this.#timer = undefined;
    const { limit, clients, close } = this.#options;
    const now = Date.now();
    const idle = [...clients].filter(({ idleSince }) => idleSince > 0);
    for (const client of idle) if (client.idleSince + limit <= now) close(client);
    const waits = idle.map(({ idleSince }) => idleSince + limit - now).filter((wait) => wait > 0);
    if (waits.length > 0) this.start(Math.min(...waits));
  }
}

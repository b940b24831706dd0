// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import type { CredentialCache } from "../auth/credential.ts";
import { checkTakesSettings } from "../settings/server.ts";
import type { HostLookup } from "./dns.ts";
import type { ConnectFailure, ConnectTarget } from "./failure.ts";
import { loginClientClass } from "./login_client.ts";
import type { SslConfig } from "./tls.ts";
import type { WatchOptions } from "./watch.ts";

/** The options of a `LakebasePool`. Durations are in seconds. */
export interface LakebasePoolOptions extends ConnectTarget {
  /** The source of OAuth credentials. */
  credentials?: CredentialCache | undefined;
  /** The native password. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** TLS options, or `false` on loopback. */
  ssl: SslConfig;
  /** The largest number of connections. */
  max: number;
  /** Seconds until an unused connection is closed. */
  idleTimeout: number;
  /** Seconds until a connection is replaced. */
  maxLifetime: number;
  /** Seconds that connecting may take, including waking the compute. */
  connectTimeout: number;
  /** Seconds that a statement may take; 0 for no limit. */
  statementTimeout: number;
  /** Makes every transaction read only. */
  readOnly: boolean;
  /** Startup options of a session, such as `-c search_path=app`. The option for `readOnly` is appended. */
  serverOptions?: string | undefined;
  /** Prepares each new session before it is used; connecting fails with its error. */
  onConnect?: ((client: pg.Client) => Promise<void>) | undefined;
  /** When to check a silent server. */
  watch?: WatchOptions | undefined;
  /** The largest length of a message, in bytes. @default {that of a JavaScript string} */
  longestMessage?: number | undefined;
  /** Resolves the host's name. @default {with the system, then dig, then Deno} */
  find?: HostLookup;
  /** Called when an attempt to connect has failed and will be retried. */
  onWaiting?: ((failure: ConnectFailure) => void) | undefined;
}

/** The options in the form of `pg.Pool`. @throws {LakebaseError} `POOLED_HOST` */
export function poolConfig(options: LakebasePoolOptions): pg.PoolConfig {
  const { host, port, database, user, password, ssl, max, statementTimeout, readOnly, serverOptions } = options;
  checkTakesSettings(host, [
    ...(readOnly ? ["readOnly"] : []),
    ...(statementTimeout > 0 ? ["statementTimeout"] : []),
    ...(options.onConnect === undefined ? [] : ["onConnect"]),
    ...(serverOptions === undefined || serverOptions.trim() === "" ? [] : ["PGOPTIONS"]),
  ]);
  return {
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    ssl,
    max,
    idleTimeoutMillis: 0, // IdleTimer closes them
    maxLifetimeSeconds: options.maxLifetime,
    allowExitOnIdle: true, // a script ends even if it forgets close()
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    fallback_application_name: "lakebase-deno",
    ...(statementTimeout > 0 ? { statement_timeout: Math.ceil(statementTimeout * 1000) } : {}),
    options: [serverOptions ?? "", readOnly ? "-c default_transaction_read_only=on" : ""].join(" ").trim(),
    Client: loginClientClass({ ...options, connectTimeout: options.connectTimeout * 1000 }),
  } as pg.PoolConfig;
}

/** The longest wait of a timer, in milliseconds. */
const MAX_TIMER_MS = 2_147_483_647;

/** A client that may be idle. */
interface IdleClient {
  /** When the client became idle, in milliseconds since 1970; 0 while it is in use. */
  idleSince: number;
}

/** The options of an {@linkcode IdleTimer}. */
interface IdleTimerOptions<Client extends IdleClient> {
  /** Milliseconds that a client may be idle; 0 for no limit. */
  limit: number;
  /** All clients. */
  clients: Iterable<Client>;
  /** Closes a client that was idle for that long. */
  close: (client: Client) => void;
}

/**
 * One timer for all idle clients of a pool. `pg-pool` would set a timer whenever a connection is released and clear it
 * when the connection is taken, which costs a tenth of a small query.
 */
export class IdleTimer<Client extends IdleClient> {
  readonly #options: IdleTimerOptions<Client>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  /** Makes a timer that does not run. */
  constructor(options: IdleTimerOptions<Client>) {
    this.#options = options;
  }

  /** Starts the timer unless it runs. It does not keep a script alive. */
  start(wait: number = this.#options.limit): void {
    if (this.#timer !== undefined || this.#stopped || this.#options.limit === 0) return;
    this.#timer = setTimeout(() => this.#closeIdle(), Math.min(wait, MAX_TIMER_MS));
    Deno.unrefTimer(this.#timer);
  }

  /** Stops the timer for good. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #closeIdle(): void {
    this.#timer = undefined;
    const { limit, clients, close } = this.#options;
    const now = Date.now();
    const idle = [...clients].filter(({ idleSince }) => idleSince > 0);
    for (const client of idle) if (client.idleSince + limit <= now) close(client);
    const waits = idle.map(({ idleSince }) => idleSince + limit - now).filter((wait) => wait > 0);
    if (waits.length > 0) this.start(Math.min(...waits));
  }
}

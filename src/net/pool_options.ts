// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";
import type { CredentialCache } from "../auth/token.ts";
import { checkTakesSettings } from "../settings/host.ts";
import { loginClientClass } from "./client.ts";
import type { Lookup } from "./dns.ts";
import type { ConnectFailure, Destination } from "./failure.ts";
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

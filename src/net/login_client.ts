import net from "node:net";
// @ts-types="npm:@types/pg@^8.11.0"
import pg from "npm:pg@^8.23.0";
import type { Credential, CredentialCache } from "../auth/credential.ts";
import { LakebaseError } from "../core/errors.ts";
import { keepSecret } from "../core/redact.ts";
import { destination, type Lookup, lookup } from "./dns.ts";
import { guardLongMessages } from "./long_messages.ts";
import { connectionOf, forgetPassword, ignoreEnvironment } from "./pg_internals.ts";
import { keepOnLoopback, type SslConfig } from "./tls.ts";
import { watchClient, type WatchOptions } from "./watch.ts";

/** The login that a failed connection used: only a credential from the cache may have gone stale there. */
const usedCredentials = new WeakMap<object, Credential>();

/** The credential that a connection error came of. */
export function credentialOf(error: unknown): Credential | undefined {
  return typeof error === "object" && error !== null ? usedCredentials.get(error) : undefined;
}

/** A `pg.Client` that takes the credential in force at its own login, and that no dropped connection can crash. */
export interface LoginClient extends pg.Client {
  /** When it was given back to the pool, in milliseconds since 1970; 0 while it is in use. */
  idleSince: number;
  /** When it was taken from the pool, in the same way. */
  takenAt: number;
  /** The statement that it was taken for, or what else; `undefined` where nobody said so. */
  purpose: string | undefined;
  /** Closes the socket without a word to the server: for a connection that does not answer. */
  destroy(): void;
}

/** How the clients of a pool log in. */
export interface LoginOptions {
  /** Where the password comes from; without it the pool's own `password` stands. */
  credentials?: CredentialCache | undefined;
  /** Milliseconds that connecting may take. The pool's own limit would also end the wait for a free connection. */
  connectTimeout: number;
  /** TLS; with `false` it connects to this machine only. */
  ssl: SslConfig;
  /** How host names are resolved. */
  find?: Lookup;
  /** When a silent server is asked whether it is there. */
  watch?: WatchOptions | undefined;
  /** Bytes of a message at most. @default {what a text may have} */
  longestMessage?: number | undefined;
}

/** The client class for one pool. */
export function loginClientClass(
  { credentials, connectTimeout, ssl, find = lookup, watch = {}, longestMessage }: LoginOptions,
): typeof pg.Client {
  return class Login extends pg.Client implements LoginClient {
    idleSince = 0;
    takenAt = 0;
    purpose: string | undefined;
    readonly #options: pg.ClientConfig;
    #credential: Credential | undefined;

    constructor(options: pg.ClientConfig) {
      super({
        ...options,
        password: credentials === undefined ? checked(options.password) : () => this.#password(credentials),
        stream: () => new LookupSocket(find, ssl === false),
        connectionTimeoutMillis: connectTimeout,
        sslnegotiation: "postgres", // else PGSSLNEGOTIATION has a say
      } as pg.ClientConfig);
      this.#options = options;
      ignoreEnvironment(this);
      guardLongMessages(this, longestMessage);
      watchStyles(this);
      // An "error" event that nobody listens to ends the process; the query that is under way rejects by itself.
      this.on("error", () => {});
    }

    async #password(cache: CredentialCache): Promise<string> {
      this.#credential = await cache.get();
      return this.#credential.token;
    }

    override connect(): Promise<this>;
    override connect(callback: (error: Error) => void): void;
    override connect(callback?: (error: Error) => void): Promise<this> | void {
      const connecting = super.connect().then(async () => {
        forgetPassword(this);
        watchClient(this, { ...watch, find, sibling: () => new Login(this.#options) });
        await settleStyles(this);
        return this;
      }, (error) => {
        if (this.#credential !== undefined && error instanceof Error) usedCredentials.set(error, this.#credential);
        throw error;
      });
      if (callback === undefined) return connecting;
      connecting.then(() => callback(undefined as unknown as Error), callback);
    }

    /** How `console.log` prints it: not as `pg`'s own fields, of which some are hidden only from a shallow look. */
    [Symbol.for("Deno.customInspect")](): string {
      return printed(this);
    }

    /** As `console.log`, for Node's `util.inspect`. */
    [Symbol.for("nodejs.util.inspect.custom")](): string {
      return printed(this);
    }

    destroy(): void {
      connectionOf(this).stream.destroy();
    }
  };
}

function printed({ database, host, port, user }: pg.Client): string {
  return `Client { ${database} at ${host}:${port} as ${user} }`;
}

/** `pg` calls `connect(port, host)`; the name is resolved our way, and stays the name for TLS. */
class LookupSocket extends net.Socket {
  readonly #lookup: Lookup;
  readonly #plain: boolean;

  constructor(find: Lookup, plain: boolean) {
    super();
    this.#lookup = find;
    this.#plain = plain;
  }

  // deno-lint-ignore no-explicit-any -- net.Socket declares five overloads; pg uses this one
  override connect(...[port, host]: any[]): this {
    if (this.#plain) keepOnLoopback(this, host);
    return super.connect(destination(host, port, this.#lookup));
  }
}

/** A password function's own failure is no failure of the network. (Named here because a pool hides its password.) */
function checked(password: pg.ClientConfig["password"]): pg.ClientConfig["password"] {
  if (typeof password !== "function") return password;
  return async () => {
    let found: unknown;
    try {
      found = await (password as () => unknown)();
    } catch (cause) {
      throw badPassword("threw an error; its text is not shown, since it may hold the password", withoutText(cause));
    }
    if (typeof found === "string" && found !== "") {
      keepSecret(found);
      return found;
    }
    throw badPassword(`returned ${found === "" ? "an empty text" : typeof found}; it must return a text`);
  };
}

/** What can be said of an error that may quote a password: its kind, and where it was thrown. */
function withoutText(cause: unknown): Error {
  const kept = new Error("(not shown)");
  if (!(cause instanceof Error)) return kept;
  const frames = (cause.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  kept.name = cause.name;
  kept.stack = [`${cause.name}: ${kept.message}`, ...frames].join("\n");
  const { code } = cause as { code?: unknown };
  if (typeof code === "string" && /^[A-Z_]{2,30}$/.test(code)) Object.assign(kept, { code });
  return kept;
}

function badPassword(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_SETTING", `Cannot log in: the function "password" ${state}`, { cause });
}

/**
 * How the server has to write values, so that they are read without a loss: a role, a database or PGOPTIONS may say otherwise.
 * It is settled by a statement after the login and not by startup parameters, which poolers refuse. What a statement of the
 * person has set stays.
 */
const SETTLE = `SELECT pg_catalog.set_config(w.name, w.wanted, false) FROM (VALUES
  ('DateStyle', 'ISO', '^ISO'),
  ('IntervalStyle', 'postgres', '^postgres$'),
  ('bytea_output', 'hex', '^hex$'),
  ('extra_float_digits', '1', '^[123]$')) w (name, wanted, good)
  JOIN pg_catalog.pg_settings s ON s.name OPERATOR(pg_catalog.=) w.name
  WHERE s.source OPERATOR(pg_catalog.<>) 'session' AND s.setting OPERATOR(pg_catalog.!~) w.good`;

/**
 * Keeps what the server reports of a session's settings, and puts back what a reset undoes. The driver reads UTF-8 alone, so
 * another `client_encoding` is put back too.
 *
 * @param client A client that has not connected.
 */
export function watchStyles(client: pg.Client): void {
  const connection = connectionOf(client);
  const reported = connection.reported = new Map();
  connection.on("parameterStatus", ({ parameterName, parameterValue }: Record<string, string>) => {
    reported.set(parameterName, parameterValue);
    if (parameterName === "client_encoding" && parameterValue !== "UTF8") {
      client.query("SET client_encoding TO 'UTF8'").catch(() => {});
    }
  });
  connection.on("commandComplete", ({ text }: { text: string }) => {
    if (text === "RESET" || text === "DISCARD ALL") settleStyles(client).catch(() => {});
  });
}

/** Settles how the server writes values. A server that does not let it goes on: what it then sends is told when it is read. */
export async function settleStyles(client: pg.Client): Promise<void> {
  await client.query(SETTLE).catch((error) => {
    if ((error as { severity?: string }).severity !== "ERROR") throw error;
  });
}

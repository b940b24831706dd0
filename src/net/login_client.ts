import { once } from "node:events";
import net from "node:net";
// @ts-types="npm:@types/pg@8.23.1"
import pg from "npm:pg@8.23.1";
import type { Credential, CredentialCache } from "../auth/credential.ts";
import { LakebaseError } from "../core/errors.ts";
import { keepSecret } from "../core/redact.ts";
import { destination, type HostLookup, lookup } from "./dns.ts";
import { guardLongMessages, shareThread } from "./message_filters.ts";
import {
  backendOf,
  connectionOf,
  endAfterQuery,
  forgetPassword,
  ignoreEnvironment,
  runningQuery,
} from "./pg_internals.ts";
import { keepOnLoopback, requestMessage, type SslConfig, upgrade } from "./tls.ts";
import { watchClient, type WatchOptions } from "./watch.ts";

/** The cached credentials with which connections failed. */
const usedCredentials = new WeakMap<object, Credential>();

/** The cached credential with which a connection failed. */
export function credentialOf(error: unknown): Credential | undefined {
  return typeof error === "object" && error !== null ? usedCredentials.get(error) : undefined;
}

/** A `pg.Client` that logs in with the current credential. A dropped connection does not end the process. */
export interface LoginClient extends pg.Client {
  /** When the client was released to the pool, in milliseconds since 1970; 0 while it is in use. */
  idleSince: number;
  /** When the client was taken from the pool, in milliseconds since 1970. */
  takenAt: number;
  /** The statement or the other purpose that the client was taken for; `undefined` if it is not known. */
  purpose: string | undefined;
  /** Whether the session's output formats are set. */
  isPrepared: boolean;
  /** Waits until the output formats are set. Rejects if the session ends before that, so that no statement is lost with it. */
  prepared(): Promise<void>;
  /**
   * Asks the server to cancel the statement that this client runs. The server does not answer: the statement fails with
   * SQLSTATE 57014, or has ended already.
   */
  requestCancel(): Promise<void>;
  /** Closes the socket without a message to the server, for a connection that does not answer. */
  destroy(): void;
}

/** How the clients of a pool log in. */
interface LoginOptions {
  /** The source of the password. Without it the pool's `password` is used. */
  credentials?: CredentialCache | undefined;
  /** Milliseconds that connecting may take. (The limit of `pg-pool` includes the wait for a free connection.) */
  connectTimeout: number;
  /** TLS options; with `false` the client connects to this machine only. */
  ssl: SslConfig;
  /** How host names are resolved. */
  find?: HostLookup;
  /** Prepares the session before it is used. */
  onConnect?: ((client: pg.Client) => Promise<void>) | undefined;
  /** When to check a silent server. */
  watch?: WatchOptions | undefined;
  /** The largest length of a message, in bytes. @default {that of a JavaScript string} */
  longestMessage?: number | undefined;
}

/** How late a timer may be before it counts as late. */
const LATE_MS = 500;

/** The client class for one pool. */
export function loginClientClass(
  { credentials, connectTimeout, ssl, find = lookup, watch = {}, longestMessage, onConnect }: LoginOptions,
): typeof pg.Client {
  return class Login extends pg.Client implements LoginClient {
    idleSince = 0;
    takenAt = 0;
    purpose: string | undefined;
    readonly #options: pg.ClientConfig;
    /** Whether this client only asks about another client's session, and so needs no preparation. */
    #isProbe = false;
    #credential: Credential | undefined;
    isPrepared = false;
    #preparing: Promise<void> = Promise.resolve();

    constructor(options: pg.ClientConfig) {
      super({
        ...options,
        password: credentials === undefined ? checkedPassword(options.password) : () => this.#password(credentials),
        stream: () => new LookupSocket(find, ssl === false),
        connectionTimeoutMillis: connectTimeout,
        sslnegotiation: "postgres", // overrides PGSSLNEGOTIATION
      } as pg.ClientConfig);
      this.#options = options;
      ignoreEnvironment(this, options.options);
      guardLongMessages(this, longestMessage);
      shareThread(this);
      keepOutputFormats(this);
      // An "error" event without a listener ends the process. A running query rejects anyway.
      this.on("error", () => {});
    }

    async #password(cache: CredentialCache): Promise<string> {
      this.#credential = await cache.get();
      return this.#credential.token;
    }

    #probe(): Login {
      const probe = new Login(this.#options);
      probe.#isProbe = true;
      return probe;
    }

    prepared(): Promise<void> {
      return this.#preparing;
    }

    async #setOutputFormats(): Promise<void> {
      const lifted = this.#limitSilence();
      try {
        await this.query(SET_OUTPUT_FORMATS);
      } catch (error) {
        // If only the statement was refused, the session can be used: what it can't read is reported when it is read.
        await this.query("").catch(() => Promise.reject(error));
      } finally {
        lifted();
      }
      this.isPrepared = true;
    }

    /** Closes the connection if the server takes the login, and then does not answer in time. Returns the end of the limit. */
    #limitSilence(): () => void {
      const { stream } = connectionOf(this);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const wait = () => {
        const due = Date.now() + connectTimeout;
        timer = setTimeout(() => {
          // A late timer shows that this thread was busy, so an answer may have come that nobody has read yet.
          if (Date.now() - due > LATE_MS) wait();
          else stream.destroy(new Error("timeout expired"));
        }, connectTimeout);
      };
      wait();
      return () => clearTimeout(timer);
    }

    /** Runs `onConnect`. `pg-pool` forgets a client whose connect() fails and does not close it. */
    async #runOnConnect(run: (client: pg.Client) => Promise<void>): Promise<void> {
      try {
        await this.#preparing;
        await withinLimit(run(this), connectTimeout);
      } catch (error) {
        if (runningQuery(this) !== undefined) await this.requestCancel().catch(() => {});
        this.destroy();
        throw error;
      }
    }

    override connect(): Promise<this>;
    override connect(callback: (error: Error) => void): void;
    override connect(callback?: (error: Error) => void): Promise<this> | void {
      const connecting = super.connect().then(async () => {
        forgetPassword(this);
        watchClient(this, { ...watch, find, makeProbe: () => this.#probe() });
        if (this.#isProbe) return this;
        this.#preparing = this.#setOutputFormats();
        this.#preparing.catch(() => {}); // the first statement reports it
        if (onConnect !== undefined) await this.#runOnConnect(onConnect);
        return this;
      }, (error) => {
        if (this.#credential !== undefined && error instanceof Error) usedCredentials.set(error, this.#credential);
        throw error;
      });
      if (callback === undefined) return connecting;
      connecting.then(() => callback(undefined as unknown as Error), callback);
    }

    override end(): Promise<void>;
    override end(callback: (error: Error) => void): void;
    override end(callback?: (error: Error) => void): Promise<void> | void {
      const isPreparing = !this.isPrepared && runningQuery(this)?.text === SET_OUTPUT_FORMATS;
      const ending = isPreparing ? endAfterQuery(this) : super.end();
      if (callback === undefined) return ending;
      ending.then(() => callback(undefined as unknown as Error), callback);
    }

    /** The text that `console.log` prints, without the fields of `pg`, because some of them hold secrets. */
    [Symbol.for("Deno.customInspect")](): string {
      return summary(this);
    }

    /** The same text for Node's `util.inspect`. */
    [Symbol.for("nodejs.util.inspect.custom")](): string {
      return summary(this);
    }

    async requestCancel(): Promise<void> {
      const { host, port } = this;
      await sendCancelRequest({ host, port, ssl, find, ...backendOf(this) });
    }

    destroy(): void {
      connectionOf(this).stream.destroy();
    }
  };
}

/** Fails if the SQL of `onConnect` takes too long. */
async function withinLimit(preparing: Promise<void>, limit: number): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const state = `the SQL of option "onConnect" did not end within ${limit / 1000} s (connectTimeout)`;
    const advice = "It was canceled. Make it shorter, or raise connectTimeout";
    late.reject(new LakebaseError("CONNECT_TIMEOUT", `Cannot connect: ${state}. ${advice}`));
  }, limit);
  try {
    await Promise.race([preparing, late.promise]);
  } finally {
    clearTimeout(timer);
    preparing.catch(() => {}); // it fails later, when its connection is closed
  }
}

function summary({ database, host, port, user }: pg.Client): string {
  return `Client { ${database} at ${host}:${port} as ${user} }`;
}

/** A socket that resolves the host name with our `lookup`. TLS still uses the host name. */
class LookupSocket extends net.Socket {
  readonly #lookup: HostLookup;
  readonly #plain: boolean;

  constructor(find: HostLookup, plain: boolean) {
    super();
    this.#lookup = find;
    this.#plain = plain;
  }

  /** Of the overloads of `net.Socket`, `pg` calls the one with a port and a host. */
  override connect(...parameters: unknown[]): this {
    const [port, host] = parameters as [number, string];
    if (this.#plain) keepOnLoopback(this, host);
    return super.connect(destination(host, port, this.#lookup));
  }
}

/** PostgreSQL's protocol, section "Message Formats": the code of a cancel request. */
const CANCEL_REQUEST = 80877102;

/** Milliseconds that a cancel request may take. */
const CANCEL_LIMIT_MS = 5000;

/** The connection whose statement to cancel. */
interface CancelOptions {
  /** The server's host. */
  host: string;
  /** Its port. */
  port: number;
  /** The TLS options of the connection: the request contains its key. */
  ssl: SslConfig;
  /** How the host is resolved. */
  find: HostLookup;
  /** The process id of the backend, from its `BackendKeyData`. */
  processId: number;
  /** The key of the backend, from the same message. */
  secretKey: number;
}

/** Sends a cancel request over a separate connection, as the protocol requires. */
async function sendCancelRequest({ host, port, ssl, find, processId, secretKey }: CancelOptions): Promise<void> {
  const signal = AbortSignal.timeout(CANCEL_LIMIT_MS);
  const socket = new net.Socket();
  if (ssl === false) keepOnLoopback(socket, host);
  socket.connect(destination(host, port, find));
  let secure: net.Socket = socket;
  socket.on("error", () => {}); // the waits below report it; without a listener it would end the process
  const onAbort = () => socket.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await once(socket, "connect", { signal });
    if (ssl !== false) secure = await upgrade(socket, host, ssl, signal);
    const taken = once(secure.resume(), "end", { signal });
    secure.write(requestMessage(CANCEL_REQUEST, processId, secretKey));
    await taken; // the server closes the connection when it has signaled the process
  } finally {
    signal.removeEventListener("abort", onAbort);
    secure.destroy();
    socket.destroy();
  }
}

/** Wraps a password function, so that its failure does not look like one of the network. */
function checkedPassword(password: pg.ClientConfig["password"]): pg.ClientConfig["password"] {
  if (typeof password !== "function") return password;
  return async () => {
    let returned: unknown;
    try {
      returned = await (password as () => unknown)();
    } catch (cause) {
      throw badPassword("threw an error; its text is not shown, since it may hold the password", withoutMessage(cause));
    }
    if (typeof returned === "string" && returned !== "") {
      keepSecret(returned);
      return returned;
    }
    throw badPassword(`returned ${returned === "" ? "an empty text" : typeof returned}; it must return a text`);
  };
}

/** A copy of an error without its message, which may quote a password. */
function withoutMessage(cause: unknown): Error {
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
 * The output formats that values are parsed from: the name of each setting, the value that is set, and a pattern for
 * readable values. Also `array_nulls`: while it is off, a NULL in an array that is bound or loaded becomes the text `NULL`.
 */
const OUTPUT_FORMATS = `(VALUES
  ('DateStyle', 'ISO', '^ISO'),
  ('IntervalStyle', 'postgres', '^postgres$'),
  ('bytea_output', 'hex', '^hex$'),
  ('extra_float_digits', '1', '^[123]$'),
  ('array_nulls', 'on', '^on$')) AS f (name, value, readable)`;

/**
 * Sets the output formats after the login, because a role, a database or PGOPTIONS may have set others. It is a statement
 * and not startup parameters, because poolers refuse those. It does not read `pg_settings`, which would make rows of all
 * settings at each login. If the server refuses it, values in an unreadable format are reported when they are read.
 */
const SET_OUTPUT_FORMATS = `SELECT pg_catalog.set_config(f.name, f.value, false) FROM ${OUTPUT_FORMATS}
  WHERE pg_catalog.current_setting(f.name) OPERATOR(pg_catalog.!~) f.readable`;

/** Sets the output formats again after a reset, but keeps those that the session has set since. */
const RESTORE_OUTPUT_FORMATS = `SELECT pg_catalog.set_config(f.name, f.value, false) FROM ${OUTPUT_FORMATS}
  JOIN pg_catalog.pg_settings s ON s.name OPERATOR(pg_catalog.=) f.name
  WHERE s.setting OPERATOR(pg_catalog.!~) f.readable AND s.source OPERATOR(pg_catalog.<>) 'session'`;

/**
 * Records the session settings that the server reports, and restores the output formats after a reset. It also restores
 * `client_encoding`, because the driver reads UTF-8 only.
 *
 * @param client A client that has not connected.
 */
function keepOutputFormats(client: pg.Client): void {
  const connection = connectionOf(client);
  const reported = connection.reported = new Map();
  connection.on("parameterStatus", ({ parameterName, parameterValue }: Record<string, string>) => {
    reported.set(parameterName, parameterValue);
    if (parameterName === "client_encoding" && parameterValue !== "UTF8") {
      client.query("SET client_encoding TO 'UTF8'").catch(() => {}); // a lost connection fails the next statement too
    }
  });
  connection.on("commandComplete", ({ text }: { text: string }) => {
    if (text !== "RESET" && text !== "DISCARD ALL") return;
    client.query(RESTORE_OUTPUT_FORMATS).catch(() => {}); // a lost connection fails the next statement too
  });
}

import { once } from "node:events";
import net from "node:net";
// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { destination, type HostLookup } from "./dns.ts";
import { backendOf, connectionOf, runningQuery } from "./pg_internals.ts";
import { askForTls } from "./tls.ts";

/** When to check whether a silent server is still there. */
export interface WatchOptions {
  /** Milliseconds of silence before a check, and between two checks. @default {10000} */
  silence?: number;
  /** Milliseconds that a check may take. @default {8000} */
  limit?: number;
}

/** The options of a watch, and the means to reach the server. */
interface WatchParts extends WatchOptions {
  /** How the host's name is resolved. */
  find: HostLookup;
  /** Makes another client with the same login, not connected yet. */
  makeProbe: () => Probe;
}

/** A client for one query. */
interface Probe extends Pick<pg.Client, "connect" | "query" | "end"> {
  /** Closes the socket without a message to the server. */
  destroy(): void;
}

/**
 * The most checks from one check that logs in to the next, because a login is expensive. With the default of `silence`
 * there is one login a minute.
 */
const MAX_CHECKS_BETWEEN_LOGINS = 6;
/** The bytes that a slow link may not have sent yet. The backend is idle until the whole statement has arrived. */
const MAX_UNSENT = 256_000;

/**
 * Watches a connection for a server that is gone without having closed it: TCP's own keep-alive takes eleven minutes,
 * and Deno has no way to change its interval. While a statement waits in silence, each check opens its own connection
 * to see whether the server is there. Some checks also log in and ask whether the backend is idle. If it is, its answer
 * was lost, for example because a firewall has forgotten this connection. After two failed checks in a row the connection
 * is closed.
 *
 * @param client A connected client; the watch ends when its socket closes.
 * @param parts The options, and the means to reach the server.
 */
export function watchClient(client: pg.Client, parts: WatchParts): void {
  new ClientWatch(client, parts).start();
}

/**
 * What the last check found. `active`: bytes have come since the previous check, or nothing runs. `waiting`: a
 * statement waits in silence, and nothing is wrong. `suspect`: the server did not answer, or its backend is idle.
 * `lost`: two checks in a row were `suspect`.
 */
type ServerState = "active" | "waiting" | "suspect" | "lost";

class ClientWatch {
  readonly #client: pg.Client;
  readonly #parts: WatchParts;
  readonly #stream: net.Socket;
  readonly #closed = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: ServerState = "active";
  /** The socket's counters when bytes last came. */
  #read = -1;
  #written = 0;
  /** The number of checks in this silence that the server answered, and the number of the next one that logs in. */
  #answered = 0;
  #nextLogin = 1;

  constructor(client: pg.Client, parts: WatchParts) {
    this.#client = client;
    this.#parts = parts;
    this.#stream = connectionOf(client).stream;
  }

  start(): void {
    this.#stream.once("close", () => {
      clearTimeout(this.#timer);
      this.#closed.abort();
    });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#stream.destroyed) return;
    this.#timer = setTimeout(() => void this.#check(), this.#parts.silence ?? 10_000);
    Deno.unrefTimer(this.#timer);
  }

  async #check(): Promise<void> {
    this.#state = await this.#nextState();
    if (this.#state !== "lost") return this.#schedule();
    this.#stream.destroy(silentServerError());
  }

  async #nextState(): Promise<ServerState> {
    const { bytesRead, bytesWritten } = this.#stream;
    if (bytesRead !== this.#read || runningQuery(this.#client) === undefined) {
      if (bytesRead !== this.#read) this.#written = bytesWritten;
      this.#read = bytesRead;
      this.#answered = 0;
      this.#nextLogin = 1;
      return "active";
    }
    const seemsLost = await this.#seemsLost();
    if (!seemsLost || this.#stream.bytesRead !== bytesRead) return "waiting";
    return this.#state === "suspect" ? "lost" : "suspect";
  }

  async #seemsLost(): Promise<boolean> {
    const { find, makeProbe, limit = 8000 } = this.#parts;
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(limit)]);
    if (!await isAnswering(this.#client.host, this.#client.port, find, signal)) return true;
    this.#answered++;
    const mayBeUnsent = this.#stream.bytesWritten - this.#written > MAX_UNSENT;
    const isPaused = this.#stream.isPaused(); // the answer may have arrived, and not been read
    if (this.#answered < this.#nextLogin || mayBeUnsent || isPaused) return false;
    const idle = await isIdle(backendOf(this.#client).processId, makeProbe(), signal);
    this.#nextLogin = this.#answered + (idle ? 1 : Math.min(this.#answered * 2, MAX_CHECKS_BETWEEN_LOGINS));
    return idle;
  }
}

function silentServerError(): Error {
  return Object.assign(new Error("the server no longer answers"), { code: "ETIMEDOUT" });
}

/** Whether a Postgres server answers a new connection at all. */
async function isAnswering(host: string, port: number, find: HostLookup, signal: AbortSignal): Promise<boolean> {
  const socket = net.connect(destination(host, port, find));
  socket.on("error", () => {}); // the waits below report an error, which without a listener would end the process
  socket.unref();
  try {
    await once(socket, "connect", { signal });
    await askForTls(socket, signal);
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * Returns true only if the process ids are those of the server, not of a proxy or of PGlite. It never returns true on a
 * read replica, because another one of several replicas may answer.
 */
const IS_IDLE = `SELECT pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $1 AND NOT pg_catalog.pg_is_in_recovery()
  AND (a.pid IS NULL OR pg_catalog.starts_with(a.state, 'idle')) AS idle
  FROM (SELECT) one LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) $2`;

/** Whether a backend certainly runs nothing, or is gone. */
async function isIdle(processId: number, probe: Probe, signal: AbortSignal): Promise<boolean> {
  const onAbort = () => probe.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await probe.connect();
    const { rows: [row] } = await probe.query(IS_IDLE, [backendOf(probe).processId, processId]);
    await probe.end();
    return row?.idle === true;
  } catch {
    return false; // for example, there are too many connections, so nothing is known of the backend
  } finally {
    signal.removeEventListener("abort", onAbort);
    probe.destroy();
  }
}

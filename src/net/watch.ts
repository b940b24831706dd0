import { once } from "node:events";
import net from "node:net";
// @ts-types="npm:@types/pg@^8.11.0"
import type pg from "npm:pg@^8.23.0";
import { destination, type Lookup } from "./dns.ts";
import { askForTls } from "./tls.ts";

/** When a server that says nothing is asked whether it is still there. */
export interface WatchOptions {
  /** Milliseconds of silence before it is asked, and between two times. @default {10000} */
  silence?: number;
  /** Milliseconds that it has to answer. @default {8000} */
  limit?: number;
}

/** What a watch needs beside the client. */
export interface WatchNeeds extends WatchOptions {
  /** How the host is resolved. */
  find: Lookup;
  /** Another client of the same login, which has not connected. */
  sibling: () => Sibling;
}

/** A client that is used once. */
export interface Sibling extends Pick<pg.Client, "connect" | "query" | "end"> {
  /** The backend's process, once connected. */
  processID?: number;
  /** Closes the socket without a word. */
  destroy(): void;
}

/** What is used of a client. */
interface Watched {
  processID: number;
  connection: { stream: net.Socket };
  _activeQuery: unknown;
}

/** A login is dear: a statement that takes its time causes one a minute at most. */
const MOST_TICKS = 6;
/** What the system may still hold back of our own words on a slow link: a server that has not heard them all is idle. */
const MOST_UNHEARD = 256_000;

/**
 * Looks after a connection whose statement waits for a server that may be gone without a word. TCP's own keep-alive would
 * tell after eleven minutes, and Deno gives no way to set its interval. So while a statement waits in silence, the server
 * is asked on a connection of its own whether it is there; and if it is, now and then whether it has answered long ago, as
 * where a firewall has forgotten this one connection. After two times in a row that speak against it this one is closed.
 *
 * @param client A connected client; the watch ends with its socket.
 * @param needs How it is done.
 */
export function watchClient(client: pg.Client, needs: WatchNeeds): void {
  const { find, sibling, silence = 10_000, limit = 8_000 } = needs;
  const watched = client as unknown as Watched;
  const { connection: { stream }, processID } = watched;
  const closed = new AbortController();
  let [read, written] = [-1, 0];
  let [quiet, due, bad] = [0, 1, 0];
  const tick = async () => {
    const silent = stream.bytesRead === read;
    if (!silent) [read, written] = [stream.bytesRead, stream.bytesWritten];
    if (!silent || !watched._activeQuery) [quiet, due, bad] = [0, 1, 0];
    else if (await seemsLost() && stream.bytesRead === read) bad++;
    else bad = 0;
    if (bad < 2) return later();
    stream.destroy(Object.assign(new Error("the server does not answer any more"), { code: "ETIMEDOUT" }));
  };
  const seemsLost = async () => {
    const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(limit)]);
    if (!await answers(client.host, client.port, find, signal)) return true;
    quiet++;
    const unheard = stream.bytesWritten - written > MOST_UNHEARD;
    if (quiet < due || unheard || stream.isPaused()) return false; // paused: it may have answered more than we take
    const idle = await isIdle(processID, sibling(), signal);
    due = quiet + (idle ? 1 : Math.min(quiet * 2, MOST_TICKS));
    return idle;
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const later = () => {
    if (stream.destroyed) return;
    timer = setTimeout(tick, silence);
    Deno.unrefTimer(timer);
  };
  stream.once("close", () => {
    clearTimeout(timer);
    closed.abort();
  });
  later();
}

/** Whether a Postgres server says anything at all to a new connection. */
async function answers(host: string, port: number, find: Lookup, signal: AbortSignal): Promise<boolean> {
  const socket = net.connect(destination(host, port, find));
  socket.on("error", () => {});
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
 * Known only where the processes are the server's own, not a proxy's or PGlite's, and where there is one server: of several
 * read replicas another one may be asked.
 */
const IS_IDLE = `SELECT pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $1 AND NOT pg_catalog.pg_is_in_recovery()
  AND (a.pid IS NULL OR pg_catalog.starts_with(a.state, 'idle')) AS idle
  FROM (SELECT) one LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) $2`;

/** Whether a backend is known to run nothing, or to be gone. */
async function isIdle(processID: number, sibling: Sibling, signal: AbortSignal): Promise<boolean> {
  const onAbort = () => sibling.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await sibling.connect();
    const { rows: [row] } = await sibling.query(IS_IDLE, [sibling.processID, processID]);
    await sibling.end();
    return row?.idle === true;
  } catch {
    return false; // too many connections, say: nothing is known
  } finally {
    signal.removeEventListener("abort", onAbort);
    sibling.destroy();
  }
}

import { once } from "node:events";
import net from "node:net";
// @ts-types="@types/pg"
import type pg from "pg";
import { destination, type Lookup } from "./dns.ts";
import { askForTls } from "./upgrade.ts";

/** When a server that says nothing is asked whether it is still there. */
export interface WatchOptions {
  /** Milliseconds of silence before it is asked, and between two times. @default {10000} */
  silence?: number;
  /** Milliseconds that it has to answer. @default {8000} */
  limit?: number;
}

/** What is used of a client. */
interface Watched {
  connection: { stream: net.Socket };
  _activeQuery: unknown;
}

/**
 * Looks after a connection whose statement waits for a server that may be gone without a word. TCP's own keep-alive would
 * tell after eleven minutes, and Deno gives no way to set its interval. So while a statement waits in silence, the server
 * is asked on a connection of its own whether it is there; after two times without an answer this one is closed.
 *
 * @param client A connected client; the watch ends with its socket.
 * @param find How the host is resolved.
 */
export function watchClient(client: pg.Client, find: Lookup, { silence = 10_000, limit = 8_000 }: WatchOptions): void {
  const { connection: { stream } } = client as unknown as Watched;
  const { host, port } = client;
  let read = -1;
  let unanswered = 0;
  const tick = async () => {
    const waits = !!(client as unknown as Watched)._activeQuery && stream.bytesRead === read;
    read = stream.bytesRead;
    if (!waits || await answers(host, port, find, limit)) unanswered = 0;
    else if (stream.bytesRead === read) unanswered++;
    if (unanswered < 2) return later();
    stream.destroy(Object.assign(new Error("the server does not answer any more"), { code: "ETIMEDOUT" }));
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const later = () => {
    if (stream.destroyed) return;
    timer = setTimeout(tick, silence);
    Deno.unrefTimer(timer);
  };
  stream.once("close", () => clearTimeout(timer));
  later();
}

/** Whether a Postgres server says anything at all to a new connection. */
async function answers(host: string, port: number, find: Lookup, limit: number): Promise<boolean> {
  const signal = AbortSignal.timeout(limit);
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

/**
 * All that this module uses of `pg`, `pg-pool` and Deno's sockets without a documented API. Each function says why it is needed;
 * `tests/net/pg_internals_test.ts` has a test for each, which fails when a new version changes it.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type net from "node:net";
// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";

/** The connection below a client: the messages of the protocol as events. */
interface Connection extends EventEmitter {
  /** The socket; over TLS the encrypted one, once it is. */
  stream: net.Socket;
  /** What the server last reported of the session's settings. It is not `pg`'s: `login_client.ts` sets it. */
  reported?: Map<string, string>;
}

interface Internals {
  connection: Connection & { attachListeners(stream: EventEmitter): void };
  connectionParameters: Record<"password" | "replication" | "binary" | "options", unknown> & {
    application_name?: string;
  };
  password: unknown;
  replication: unknown;
  processID: number;
  secretKey: number;
  _activeQuery?: RunningQuery | null;
}

function internalsOf(client: object): Internals {
  return client as Internals;
}

/** The connection of a client, which has the server's reports and the socket; a client passes on neither. */
export function connectionOf(client: object): Connection {
  return internalsOf(client).connection;
}

/** The backend that serves a client. A cancel request has to name both, and `pg` would send it without verifying the server. */
export function backendOf(client: object): { processId: number; secretKey: number } {
  const { processID: processId, secretKey } = internalsOf(client);
  return { processId, secretKey };
}

/** What a client runs. */
interface RunningQuery {
  /** The statement. */
  text?: string;
  /** Of an `Exchange`: whether the server waits for whoever reads the rows. */
  paused?: boolean;
}

/** What a client runs now; `undefined` while it is idle. Errors name it, and a silent server is suspect only while it works. */
export function runningQuery(client: object): RunningQuery | undefined {
  return internalsOf(client)._activeQuery ?? undefined;
}

/** Makes a client forget its password after the login: `pg` keeps it in two places for as long as the connection lives. */
export function forgetPassword(client: object): void {
  const internals = internalsOf(client);
  internals.password = internals.connectionParameters.password = null;
}

/** The server keeps 63 bytes of a name. */
const LONGEST_NAME = 63;

/**
 * Undoes PGREPLICATION and PGBINARY, for which there is no option: with them `pg` speaks another protocol, or gives bytes. Also
 * undoes PGOPTIONS, which `pg` reads for each new client where no startup options are given; and cuts PGAPPNAME to the length
 * that the server keeps, because the server closes the connection without an error if a login has more than 10,000 bytes.
 *
 * @param client A client that has not connected.
 * @param options The startup options that were given.
 */
export function ignoreEnvironment(client: object, options: string | undefined): void {
  const internals = internalsOf(client);
  internals.replication = internals.connectionParameters.replication = undefined;
  internals.connectionParameters.binary = false;
  internals.connectionParameters.options = options;
  const { application_name: name } = internals.connectionParameters;
  if (name !== undefined) internals.connectionParameters.application_name = name.slice(0, LONGEST_NAME);
}

/**
 * Puts a filter between the socket of a client and `pg`'s parser, which throws on messages that it can't read, where
 * nothing can catch the error.
 *
 * @param client A client that has not connected.
 * @param filter Given where to pass bytes on to; gives back what takes the bytes of the socket.
 */
export function filterMessages(
  client: object,
  filter: (pass: (bytes: Buffer) => void) => (bytes: Buffer) => void,
): void {
  const { connection } = internalsOf(client);
  const attach = connection.attachListeners;
  connection.attachListeners = (stream) => {
    const parsed = new EventEmitter(); // the parser listens to it instead of the socket
    attach.call(connection, parsed);
    stream.on("data", filter((bytes) => parsed.emit("data", bytes)));
    stream.once("end", () => parsed.emit("end"));
  };
}

/** Closes an idle client of a pool. `pg-pool` itself closes clients only by timers, one for each released client. */
export function closeIdleClient(pool: pg.Pool, client: object): void {
  (pool as unknown as { _remove(client: object): void })._remove(client);
}

/** Takes a caller out of the queue for a client of a pool. `pg-pool` has one time limit for waiting and for connecting together. */
export function leaveQueue(pool: pg.Pool, callback: unknown): void {
  const queue = pool as unknown as { _pendingQueue: { callback: unknown }[] };
  queue._pendingQueue = queue._pendingQueue.filter((item) => item.callback !== callback);
}

/** The bytes of a socket, taken from `pg`'s parser for a while. */
export interface TakenData {
  /** Passes bytes to the parser. */
  pass: (bytes: Buffer) => void;
  /** Gives the socket back to the parser. */
  giveBack: () => void;
}

/**
 * Takes the bytes of a client's socket from `pg`'s parser, which makes an object and an event of each row of a COPY: that is
 * slower than the server.
 */
export function takeData(socket: net.Socket, onData: (bytes: Buffer) => void): TakenData {
  const parsers = socket.listeners("data") as ((bytes: Buffer) => void)[];
  socket.removeAllListeners("data");
  socket.on("data", onData);
  return {
    pass: (bytes) => parsers.forEach((parser) => parser(bytes)),
    giveBack: () => {
      socket.removeListener("data", onData);
      for (const parser of parsers) socket.on("data", parser);
    },
  };
}

/** The handle of a socket; over TLS the handle of the connection below is its parent. */
interface Handle {
  _parent?: { readStop?(): unknown; readStart?(): unknown };
}

/**
 * Stops reading from a socket, so that the server has to wait. Over TLS it is not enough to pause the socket: Deno goes on
 * reading, and decrypts into memory without a limit.
 */
export function holdReading(socket: net.Socket): void {
  socket.pause();
  handleOf(socket)?._parent?.readStop?.();
}

/** Ends {@linkcode holdReading}. */
export function resumeReading(socket: net.Socket): void {
  handleOf(socket)?._parent?.readStart?.();
  socket.resume();
}

function handleOf(socket: net.Socket): Handle | null | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle;
}

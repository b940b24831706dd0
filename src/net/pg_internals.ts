/**
 * The undocumented parts of `pg`, `pg-pool` and Deno's sockets that this module uses. Each function says why it is needed;
 * `tests/net/pg_internals_test.ts` has a test for each, which fails when a new version changes that part.
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
  /** The socket. Over TLS it becomes the encrypted one. */
  stream: net.Socket;
  /** The session settings that the server last reported. `login_client.ts` adds this field; `pg` has none. */
  reported?: Map<string, string>;
}

interface Internals {
  connection: Connection & { attachListeners(stream: EventEmitter): void; end(): void };
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

/** The connection of a client. It has the socket and the server's reports, which a client does not pass on. */
export function connectionOf(client: object): Connection {
  return internalsOf(client).connection;
}

/**
 * The backend that serves a client. A cancel request needs it, and `pg`'s own cancel request does not verify the
 * server.
 */
export function backendOf(client: object): { processId: number; secretKey: number } {
  const { processID: processId, secretKey } = internalsOf(client);
  return { processId, secretKey };
}

/** The query that a client runs. */
interface RunningQuery {
  /** The statement. */
  text?: string;
  /** Only for an `Exchange`: whether the server waits for the reader of the rows. */
  paused?: boolean;
}

/**
 * The query that a client runs now; `undefined` while the client is idle. Errors name the query, and a silent server is
 * suspect only while a query runs.
 */
export function runningQuery(client: object): RunningQuery | undefined {
  return internalsOf(client)._activeQuery ?? undefined;
}

/** Makes a client forget its password after the login. `pg` keeps it in two places for as long as the connection lives. */
export function forgetPassword(client: object): void {
  const internals = internalsOf(client);
  internals.password = internals.connectionParameters.password = null;
}

/** The bytes that the server keeps of a name. */
const MAX_NAME = 63;

/**
 * Undoes PGREPLICATION and PGBINARY, for which `pg` has no option: with them it speaks another protocol, or returns
 * bytes. Also undoes PGOPTIONS, which `pg` reads for each new client that is given no startup options. Cuts PGAPPNAME
 * to the length that the server keeps, because the server closes the connection without an error if a login has more
 * than 10,000 bytes.
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
  if (name !== undefined) internals.connectionParameters.application_name = name.slice(0, MAX_NAME);
}

/**
 * Puts a filter between the socket of a client and `pg`'s parser, because the parser throws on messages that it can't
 * read, and nothing can catch that error.
 *
 * @param client A client that has not connected.
 * @param filter Gets the function that passes bytes on, and returns the function that takes the socket's bytes.
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

/**
 * Ends a connection after the query that runs. `pg` itself destroys the socket while a query runs, and the server then
 * reports a client that vanished.
 */
export function endAfterQuery(client: object): Promise<void> {
  const { connection } = internalsOf(client);
  const ended = new Promise<void>((resolve) => connection.once("end", resolve));
  connection.end();
  return ended;
}

/** Closes an idle client of a pool. `pg-pool` itself closes clients only by timers, one for each released client. */
export function closeIdleClient(pool: pg.Pool, client: object): void {
  (pool as unknown as { _remove(client: object): void })._remove(client);
}

/**
 * Removes a caller from the queue for a client of a pool. `pg-pool` itself has only one time limit for waiting and
 * connecting.
 */
export function leaveQueue(pool: pg.Pool, callback: unknown): void {
  const queue = pool as unknown as { _pendingQueue: { callback: unknown }[] };
  queue._pendingQueue = queue._pendingQueue.filter((item) => item.callback !== callback);
}

/**
 * Takes all callers out of the queue for a client of a pool, and returns their callbacks. A `pg-pool` that ends forgets
 * them, so they would wait forever.
 */
export function emptyQueue(pool: pg.Pool): ((error: Error, client: undefined, done: () => void) => void)[] {
  const queue = pool as unknown as { _pendingQueue: { callback: ReturnType<typeof emptyQueue>[number] }[] };
  return queue._pendingQueue.splice(0).map(({ callback }) => callback);
}

/** Access to the bytes of a socket while `pg`'s parser does not get them. */
export interface TakenData {
  /** Passes bytes to the parser. */
  pass: (bytes: Buffer) => void;
  /** Gives the socket back to the parser. */
  giveBack: () => void;
}

/**
 * Takes the bytes of a client's socket away from `pg`'s parser. The parser makes an object and an event of each row of
 * a COPY, which is slower than the server.
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

/** The handle of a socket. Over TLS, its parent is the handle of the connection below. */
interface Handle {
  _parent?: { readStop?(): unknown; readStart?(): unknown };
}

/**
 * Stops reading from a socket, so that the server has to wait. Pausing the socket is not enough over TLS: Deno goes on
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

// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import type { FileStore } from "../core/file_store.ts";
import { statementLine } from "../core/sql_text.ts";
import type { TracedServer } from "../core/trace.ts";
import type { ResultOrigin } from "../draw/table.ts";
import type { LoginClient } from "../net/login_client.ts";
import { runningQuery } from "../net/pg_internals.ts";
import type { LakebasePool } from "../net/pool.ts";
import { CatalogCache } from "./catalog_cache.ts";
import type { ParserSource } from "./types.ts";

/** The right to use a connection until it is released. */
export interface Lease {
  /** The connection. */
  readonly client: pg.PoolClient;
  /** Why the connection can't be used again; `undefined` if it can. */
  broken: Error | undefined;
  /** Gives the connection back. */
  release(): void;
  /**
   * Reads the rest of the holder's rows at once, so that another statement can have the connection. Resolves to whether
   * the connection was given back; it is kept if too many rows are left. Missing if the holder has nothing to read ahead.
   */
  finish?: (() => Promise<boolean>) | undefined;
}

/** Makes a lease of the same connection whose release does not give it back to the pool. */
export function sublease(lease: Lease, release: () => void): Lease {
  return {
    client: lease.client,
    get broken() {
      return lease.broken;
    },
    set broken(error) {
      lease.broken = error;
    },
    release,
  };
}

/** The limit of a wait for a turn. The wait fails after this time if the holder of the turn runs nothing on the server. */
export interface WaitLimit {
  /** The connection that the holder uses. */
  readonly client: object | undefined;
  /** Seconds; `undefined` for no limit. */
  readonly seconds: number | undefined;
  /** Makes the error of a wait that took too long. */
  readonly error: () => Error;
}

/** Gives callers their turns one after another, in the order in which they asked. */
export class Turns {
  #last: Promise<void> = Promise.resolve();
  /** The number of turns that have not ended, including those that wait. */
  #open = 0;

  /** Waits until all earlier turns have ended. Returns the function that ends this one. */
  async take(limit?: () => WaitLimit): Promise<() => void> {
    const previous = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    let ended = false;
    const end = () => {
      if (!ended) this.#open--;
      ended = true;
      resolve();
    };
    if (this.#open++ === 0) return end; // nothing to wait for, as with nearly every statement
    try {
      await (limit === undefined ? previous : waitWithLimit(previous, limit()));
    } catch (error) {
      previous.then(end);
      throw error;
    }
    return end;
  }
}

/** Waits for the end of the previous turn. Fails after the limit if the holder keeps its turn and runs nothing. */
async function waitWithLimit(previous: Promise<void>, { client, seconds, error }: WaitLimit): Promise<void> {
  if (seconds === undefined || client === undefined) return await previous;
  const late = Promise.withResolvers<never>();
  const onTimeout = () => {
    const query = runningQuery(client);
    if (query === undefined || query.paused === true) late.reject(error());
    else timer = setTimeout(onTimeout, seconds * 1000);
  };
  let timer = setTimeout(onTimeout, seconds * 1000);
  try {
    await Promise.race([previous, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** The statement or transaction that holds a session. */
export interface Holder {
  /** Its text, or its kind such as `a transaction`. */
  readonly purpose: string;
  /** Its start, in milliseconds since 1970. */
  readonly since: number;
}

/**
 * Makes the error for a statement that has waited too long for the session in which it has to run.
 *
 * @param session The session, as in "its session".
 * @param holder The statement or transaction that holds the session.
 * @param limit The limit of the wait in seconds.
 */
export function waitedTooLong(session: string, { purpose, since }: Holder, limit: number): LakebaseError {
  const seconds = Math.round((Date.now() - since) / 1000);
  return new LakebaseError(
    "CONNECT_TIMEOUT",
    `Cannot run the statement: for ${limit} s (connectTimeout) it waited for ${session}. This has held the session for ` +
      `${seconds} s: ${
        statementLine(purpose)
      }\nEnd that first, for example a loop over a query or a transaction that waits ` +
      "for this statement, or use another db.session() for one of the two",
  );
}

/** The state that the statements of a transaction share. */
export interface TransactionState {
  /** Its first failure, after which the server takes no other statement. */
  failure: string | undefined;
  /** Notes that a statement has ended the transaction early. */
  markEnded(): void;
}

/** Opens the store for a path in the Volumes of a workspace; the signal ends its reads. */
export type OpenVolumes = (path: string, signal: AbortSignal | undefined) => Promise<FileStore>;

/** Where statements run: on any connection of a pool, or on the one of a transaction. */
export interface Session {
  /** The parsers of values. */
  readonly types: ParserSource;
  /** What is known of the database's own types and tables. */
  readonly catalog: CatalogCache;
  /** The transaction that the statements share and do not end; `undefined` outside of one. */
  readonly transaction: TransactionState | undefined;
  /** Whether its statements share a connection, and may begin and end transactions on it. */
  readonly held?: boolean;
  /** Ends every statement of the session when it aborts. */
  readonly signal: AbortSignal | undefined;
  /** The name of the connection that its statements run on, while more than one is open. */
  readonly place?: (() => string | undefined) | undefined;
  /** Opens the Volumes of the workspace that the connection's login belongs to. */
  readonly volumes?: OpenVolumes | undefined;
  /** The server, for traces. */
  readonly server: TracedServer;
  /** The most connections that the session may use at a time. */
  readonly connections: number;
  /** Seconds that the wait for a connection may take. */
  readonly connectTimeout?: number | undefined;
  /**
   * Waits for a free connection.
   *
   * @param purpose The statement or other purpose that the connection is for. Errors name it to those who wait for a
   * connection.
   * @param signal Ends the caller's wait. If it has aborted, the session reports a lost connection to a later caller.
   */
  acquire(purpose?: string, signal?: AbortSignal): Promise<Lease>;
  /** Asks the server to cancel the statement that a connection is running. */
  cancel(client: pg.PoolClient): Promise<void>;
  /** Runs a query on a connection of the pool if one is free at once; otherwise returns no rows. */
  queryIfFree(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]>;
}

/** The name of a session's connection, and the state of its transaction: a drawing shows both with the rows. */
export function originOf({ place, transaction }: Session): ResultOrigin {
  const state = transaction === undefined ? undefined : transaction.failure === undefined ? "open" : "failed";
  return { place: place?.(), transaction: state };
}

/**
 * Makes the session whose statements run on any connection of a pool.
 *
 * @param place The name of the connection, while more than one is open.
 * @param volumes Opens the Volumes of its workspace.
 */
export function poolSession(
  pool: LakebasePool,
  types: ParserSource,
  place?: () => string | undefined,
  volumes?: OpenVolumes,
): Session {
  return {
    types,
    place,
    volumes,
    server: pool.server,
    catalog: new CatalogCache(),
    transaction: undefined,
    signal: undefined,
    connections: pool.options.max,
    connectTimeout: pool.connectTimeout,
    acquire: (purpose) =>
      new Promise((resolve, reject) => {
        pool.connect((error, client) => {
          if (client === undefined) return reject(error);
          (client as HeldClient).purpose = purpose;
          resolve(new PoolLease(client));
        });
      }),
    cancel: (client) => pool.cancel(client),
    queryIfFree: async (text, values) => {
      const free = pool.idleCount > 0 || pool.totalCount < pool.options.max;
      return free && pool.waitingCount === 0 ? (await pool.query(text, [...values])).rows : [];
    },
  };
}

type HeldClient = pg.PoolClient & Pick<LoginClient, "purpose">;

class PoolLease implements Lease {
  readonly client: pg.PoolClient;
  broken: Error | undefined;

  constructor(client: pg.PoolClient) {
    this.client = client;
  }

  release(): void {
    if (this.broken !== undefined) destroy(this.client);
    this.client.release(this.broken);
  }
}

/** Closes the socket, because a connection that did not answer would not answer the message that ends it either. */
export function destroy(client: pg.PoolClient): void {
  (client as pg.PoolClient & LoginClient).destroy();
}

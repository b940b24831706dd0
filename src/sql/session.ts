// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import type { FileStore } from "../core/file_store.ts";
import type { TracedServer } from "../core/trace.ts";
import type { ResultOrigin } from "../draw/result.ts";
import type { LoginClient } from "../net/login_client.ts";
import type { LakebasePool } from "../net/pool.ts";
import { Learned } from "./learned_types.ts";
import type { ParserSource } from "./types.ts";

/** A connection that one statement may use. */
export interface Lease {
  /** The connection. */
  readonly client: pg.PoolClient;
  /** Why the connection can't be used again; `undefined` if it can. */
  broken: Error | undefined;
  /** Gives it back. */
  release(): void;
  /**
   * Set while the holder waits and could read the rest of its rows at once. It is called when another statement waits for
   * the connection, and returns whether the connection was given back; it is kept if too many rows are left.
   */
  finish?: (() => Promise<boolean>) | undefined;
}

/** A lease of the same connection that does not give it back to the pool. */
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

/** Gives callers their turns one after another, in the order in which they asked. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Waits for all earlier turns to end. Returns what ends this one. */
  async take(): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    return resolve;
  }
}

/** What the statements of a transaction share. */
export interface TransactionState {
  /** Its first failure: the server takes no further statement after that. */
  failure: string | undefined;
  /** Marks the transaction as over, because a statement ended it early. */
  leave(): void;
}

/** Opens the Volumes of a workspace, for a path; the signal ends what is read. */
export type OpenVolumes = (path: string, signal: AbortSignal | undefined) => Promise<FileStore>;

/** Where statements run: on any connection of a pool, or on the one of a transaction. */
export interface Session {
  /** The parsers of values. */
  readonly types: ParserSource;
  /** What is known of the database's own types and tables. */
  readonly learned: Learned;
  /** The transaction that statements share, whose end is the caller's; `undefined` outside of one. */
  readonly transaction: TransactionState | undefined;
  /** Whether its statements share a connection, and may begin and end transactions on it. */
  readonly held?: boolean;
  /** Ends every statement. */
  readonly signal: AbortSignal | undefined;
  /** The name of the connection that its statements run on, while more than one is open. */
  readonly place?: (() => string | undefined) | undefined;
  /** Opens the Volumes of the workspace that the connection's login belongs to. */
  readonly volumes?: OpenVolumes | undefined;
  /** The server, for traces. */
  readonly server: TracedServer;
  /** How many connections there may be. */
  readonly connections: number;
  /**
   * Waits for a free connection.
   *
   * @param what The statement or other purpose that it is for, which is told to those who wait for it.
   */
  acquire(what?: string): Promise<Lease>;
  /** Asks the server to cancel what a connection is running. */
  cancel(client: pg.PoolClient): Promise<void>;
  /** Looks something up on a connection of the pool if one is free at once; gives no rows otherwise. */
  lookUp(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]>;
}

/** The connection and the transaction of a session, to be drawn with what was computed in it. */
export function originOf({ place, transaction }: Session): ResultOrigin {
  const state = transaction === undefined ? undefined : transaction.failure === undefined ? "open" : "failed";
  return { place: place?.(), transaction: state };
}

/**
 * Statements on any connection of a pool.
 *
 * @param pool The pool.
 * @param types The parsers of values.
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
    learned: new Learned(),
    transaction: undefined,
    signal: undefined,
    connections: pool.options.max,
    acquire: (what) =>
      new Promise((resolve, reject) => {
        pool.connect((error, client) => {
          if (client === undefined) return reject(error);
          (client as HeldClient).purpose = what;
          resolve(new PoolLease(client));
        });
      }),
    cancel: (client) => pool.cancel(client),
    lookUp: async (text, values) => {
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

/** Closes the socket: a connection that did not answer would not answer the message that ends it. */
export function destroy(client: pg.PoolClient): void {
  (client as pg.PoolClient & LoginClient).destroy();
}

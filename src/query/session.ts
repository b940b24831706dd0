// @ts-types="@types/pg"
import type pg from "pg";
import type { LoginClient } from "../net/client.ts";
import type { LakebasePool } from "../net/pool.ts";
import type { ParserSource } from "./types.ts";

/** A connection that one statement may use. */
export interface Lease {
  /** The connection. */
  readonly client: pg.PoolClient;
  /** Gives it back; with an error, as one that can't be used again. */
  release(broken?: Error): void;
}

/** Where statements run: on any connection of a pool, or on the one of a transaction. */
export interface Session {
  /** How values become JavaScript's. */
  readonly types: ParserSource;
  /** A connection, when one is free. */
  acquire(): Promise<Lease>;
  /** Asks the server to cancel what a connection is running. */
  cancel(client: pg.PoolClient): Promise<void>;
  /** Whether statements share a transaction, which then is the caller's to end. */
  readonly inTransaction: boolean;
  /** Runs a statement on a connection of its own, for looking something up after another one failed. */
  lookUp(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]>;
}

/**
 * Statements on any connection of a pool.
 *
 * @param pool The pool.
 * @param types How values become JavaScript's.
 */
export function poolSession(pool: LakebasePool, types: ParserSource): Session {
  return {
    types,
    inTransaction: false,
    acquire: async () => {
      const client = await pool.connect();
      return { client, release: (broken) => giveBack(client, broken) };
    },
    cancel: (client) => pool.cancel(client),
    lookUp: async (text, values) => (await pool.query(text, [...values])).rows,
  };
}

/**
 * Statements on the connection of a transaction.
 *
 * @param client The connection.
 * @param outside The pool that it comes from.
 */
export function transactionSession(client: pg.PoolClient, outside: Session): Session {
  const release = (broken?: Error) => {
    if (broken !== undefined) (client as pg.PoolClient & LoginClient).destroy();
  };
  return { ...outside, inTransaction: true, acquire: () => Promise.resolve({ client, release }) };
}

/** A connection that did not answer would not answer a farewell either. */
function giveBack(client: pg.PoolClient, broken: Error | undefined): void {
  if (broken !== undefined) (client as pg.PoolClient & LoginClient).destroy();
  client.release(broken);
}

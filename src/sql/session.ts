// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import type { FileStore } from "../core/file_store.ts";
import { firstWord, statementLine } from "../core/sql_text.ts";
import type { TracedServer } from "../core/trace.ts";
import type { ResultOrigin } from "../draw/table.ts";
import type { LoginClient } from "../net/login_client.ts";
import { runningQuery } from "../net/pg_internals.ts";
import type { LakebasePool } from "../net/pool.ts";
import type { Statement } from "./fragment.ts";
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

/** The custom settings, such as `app.tenant`, that the statements of a connection have named: no catalog lists them. */
interface NamedSettings {
  readonly names: Set<string>;
  /** Whether a statement may have made settings whose names its text does not show. */
  others: boolean;
}

const named = new WeakMap<object, NamedSettings>();

/** The custom settings that {@linkcode noteSettings} has noted for a connection. */
export function namedSettings(client: object): NamedSettings {
  const known = named.get(client) ?? { names: new Set(), others: false };
  named.set(client, known);
  return known;
}

const SETS = /\bset(?:_config)?\b/i;
const SET = /\bset\s+(?:(?:session|local)\s+)?((?:"[^"]+"|[\w$]+)(?:\s*\.\s*(?:"[^"]+"|[\w$]+))+)/gi;
const SET_CONFIG = /\bset_config\s*\(\s*(?:'([^']*)'|\$(\d+))?/gi;
/** The number of characters of a statement that are searched for settings. */
const LONGEST = 1_000_000;

/** Notes the custom settings that a statement of a held session may set. */
export function noteSettings({ client }: Lease, { text: whole, values }: Pick<Statement, "text" | "values">): void {
  if (!SETS.test(whole)) return;
  const text = whole.slice(0, LONGEST);
  const known = namedSettings(client);
  for (const [, name] of text.matchAll(SET)) known.names.add(name!.replace(/[\s"]/g, ""));
  for (const [, literal, parameter] of text.matchAll(SET_CONFIG)) {
    const name = literal ?? values[Number(parameter) - 1];
    if (typeof name !== "string") known.others = true;
    else if (name.includes(".")) known.names.add(name);
  }
  if (whole.length > LONGEST || firstWord(text) === "do" && /\bexecute\b/i.test(text)) known.others = true;
}

/** The limit of a wait for a turn. The wait fails after this time if the holder of the turn runs nothing on the server. */
interface WaitLimit {
  /** The connection. */
  readonly client: object | undefined;
  /** Seconds. */
  readonly limit: number | undefined;
  /** Makes the error. */
  readonly error: () => Error;
}

/** Gives callers their turns one after another, in the order in which they asked. */
export class Turns {
  #last: Promise<void> = Promise.resolve();
  #taken = 0;

  /** Waits for all earlier turns to end. Returns what ends this one. */
  async take(limit?: () => WaitLimit): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    let over = false;
    const end = () => {
      if (!over) this.#taken--;
      over = true;
      resolve();
    };
    if (this.#taken++ === 0) return end; // nothing to wait for, as with nearly every statement
    try {
      await (limit === undefined ? before : within(before, limit()));
    } catch (error) {
      before.then(end);
      throw error;
    }
    return end;
  }
}

/** Waits for a turn. Fails after the limit if the holder of the turn keeps it and runs nothing. */
async function within(before: Promise<void>, { client, limit, error }: WaitLimit): Promise<void> {
  if (limit === undefined || client === undefined) return await before;
  const late = Promise.withResolvers<never>();
  const onTimeout = () => {
    const query = runningQuery(client);
    if (query === undefined || query.paused === true) late.reject(error());
    else timer = setTimeout(onTimeout, limit * 1000);
  };
  let timer = setTimeout(onTimeout, limit * 1000);
  try {
    await Promise.race([before, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** The statement or transaction that holds a session, and its start, in milliseconds since 1970. */
export interface Holder {
  readonly what: string;
  readonly since: number;
}

/**
 * Makes the error for a statement that has waited too long for the session that it has to run in.
 *
 * @param session The session.
 * @param holder The statement or transaction that holds it.
 * @param limit Seconds.
 */
export function heldUp(session: string, { what, since }: Holder, limit: number): LakebaseError {
  const seconds = Math.round((Date.now() - since) / 1000);
  return new LakebaseError(
    "CONNECT_TIMEOUT",
    `Cannot run the statement: for ${limit} s (connectTimeout) it waited for ${session}. This has held the session for ` +
      `${seconds} s: ${
        statementLine(what)
      }\nEnd that first, for example a loop over a query or a transaction that waits ` +
      "for this statement, or use another db.session() for one of the two",
  );
}

/** The state that the statements of a transaction share. */
export interface TransactionState {
  /** Its first failure, after which the server takes no other statement. */
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
  /** Facts about the database's own types and tables. */
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
  /** Seconds that the wait for a connection may take. */
  readonly connectTimeout?: number | undefined;
  /**
   * Waits for a free connection.
   *
   * @param what The statement or other purpose that the connection is for. Errors name it to those who wait for a
   * connection.
   * @param signal Ends the caller's wait. After that, a session tells the caller nothing that another one has to hear.
   */
  acquire(what?: string, signal?: AbortSignal): Promise<Lease>;
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
    connectTimeout: pool.connectTimeout,
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

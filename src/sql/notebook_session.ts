// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { runningQuery } from "../net/pg_internals.ts";
import type { LakebasePool } from "../net/pool.ts";
import { isOpenTransaction } from "./run.ts";
import { heldByLoop, KeptConnection, sessionLost } from "./server_session.ts";
import { type Holder, type Lease, type Session, sublease, type TransactionState, waitedTooLong } from "./session.ts";
import { changedKinds, leavesNoState, readState, type SessionState, withoutSettingFunctions } from "./session_state.ts";
import { until } from "./stop.ts";

/** A statement that waits for a connection. */
interface WaitingStatement {
  purpose: string;
  /** Whether it may run on another connection while the notebook's connection is in use. */
  mayRunInParallel: boolean;
  /** Aborts when nobody waits for the statement any more. */
  signal: AbortSignal | undefined;
  resolve: (lease: Lease) => void;
  reject: (error: unknown) => void;
}

/** The statement that runs on the notebook's connection. */
interface RunningStatement extends Holder {
  /** Whether other statements may run on other connections meanwhile. */
  allowsParallel: boolean;
  lease: Lease;
}

/** The notebook's connection, and what is known of its state. */
interface Current {
  connection: KeptConnection;
  /** The connection's state at its beginning; `undefined` if the server did not report it. */
  baseline: SessionState | undefined;
  /** Whether the state was read after the last statement. */
  stateKnown: boolean;
  /** The kinds of state that were read last and differ from the baseline. */
  kinds: string[];
  running: RunningStatement | undefined;
}

/** The time after the last statement until the state is read, so that the report of a lost session is complete. */
const IDLE_MS = 50;
const NOTEBOOK_SESSION = "the notebook's session, which has state, such as settings or temporary tables";
/** The state that is assumed if the server did not report it. */
const UNREAD_STATE =
  "temporary tables, settings, prepared statements, cursors, locks or LISTEN (the server did not report which of these)";
/** The time that the server may take to report the state of a connection that is about to be closed. */
const READ_STATE_LIMIT_MS = 1000;
/** The number of microtasks within which the statements of one `Promise.all` arrive. */
const MICROTASKS = 3;

/**
 * Runs the statements of a notebook one after another on one connection, as psql does. Statements that begin at the same
 * time run in parallel on other connections, but only while the notebook's connection is known to have no state.
 */
export class NotebookSession implements Session {
  readonly held = true;
  readonly signal = undefined;
  readonly types: Session["types"];
  readonly catalog: Session["catalog"];
  readonly place: Session["place"];
  readonly volumes: Session["volumes"];
  readonly server: Session["server"];
  readonly connections: number;
  readonly #poolSession: Session;
  readonly #pool: LakebasePool;
  readonly #queue: WaitingStatement[] = [];
  #current: Current | undefined;
  /** The error for the next statement, which does not run. It says what was lost. */
  #loss: LakebaseError | undefined;
  #assigning = false;
  /** The reads of a state that are under way; no statement gets a connection before they end. */
  readonly #stateReads = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #rolledBack = false;

  /** Takes its connections from a pool. */
  constructor(poolSession: Session, pool: LakebasePool) {
    this.#poolSession = poolSession;
    this.#pool = pool;
    this.types = poolSession.types;
    this.catalog = poolSession.catalog;
    this.place = poolSession.place;
    this.volumes = poolSession.volumes;
    this.server = poolSession.server;
    this.connections = poolSession.connections;
    pool.onFull = () => this.#releaseStateless();
  }

  get transaction(): TransactionState | undefined {
    return this.#current?.connection.transaction;
  }

  acquire(purpose: string = "", signal?: AbortSignal): Promise<Lease> {
    if (this.#closed) return this.#poolSession.acquire(purpose); // throws an error that says why the session is closed
    const { promise, resolve, reject } = Promise.withResolvers<Lease>();
    const mayRunInParallel = /^a (?:transaction|pull)\b/.test(purpose) || leavesNoState(purpose);
    this.#queue.push(this.#withWaitLimit({ purpose, mayRunInParallel, signal, resolve, reject }));
    this.#assign();
    return promise;
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#poolSession.cancel(client);
  }

  async queryIfFree(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    const current = this.#current;
    const idle = current !== undefined && current.running === undefined && current.connection.broken === undefined &&
      current.connection.transaction === undefined;
    if (idle && (current.kinds.length > 0 || !this.#poolHasFree)) {
      return (await current.connection.lease.client.query(text, [...values])).rows;
    }
    return await this.#poolSession.queryIfFree(text, values);
  }

  /** Whether the pool has a connection for another statement. */
  get #poolHasFree(): boolean {
    return this.#pool.idleCount > 0 || this.#pool.totalCount < this.#pool.options.max;
  }

  /** Gives its connection back: at once, or when the statement that runs there has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const current = this.#current;
    if (current === undefined || current.running !== undefined) return;
    this.#current = undefined;
    this.#rolledBack ||= isOpenTransaction(current.connection.lease);
    await current.connection.giveBack(new Error("its settings and temporary tables are the notebook's own"));
  }

  /** The kinds of state that the connection has, for the message when it is closed. */
  async heldKinds(): Promise<string[]> {
    const current = this.#current;
    if (current === undefined) return [];
    if (!current.stateKnown && current.running === undefined && current.connection.broken === undefined) {
      await until(this.#updateState(current), AbortSignal.timeout(READ_STATE_LIMIT_MS)).catch(() => {}); // a silent server
    }
    return withoutSettingFunctions(current.kinds);
  }

  /** Whether closing the session has rolled back a transaction; known once the pool has ended. */
  get rolledBack(): boolean {
    return this.#rolledBack || this.#current !== undefined && isOpenTransaction(this.#current.connection.lease);
  }

  /** Adds a limit to the wait: it fails if the notebook's connection is held by something that runs nothing. */
  #withWaitLimit(statement: WaitingStatement): WaitingStatement {
    const { resolve, reject } = statement;
    const limit = this.#pool.connectTimeout * 1000;
    const onTimeout = () => {
      const holder = this.#current?.running;
      const client = this.#current?.connection.lease.client;
      const query = client === undefined ? undefined : runningQuery(client);
      const makesProgress = query !== undefined && query.paused !== true;
      if (holder === undefined || makesProgress) timer = setTimeout(onTimeout, limit);
      else if (this.#queue.includes(limited)) { // the pool limits the wait for another connection itself
        this.#queue.splice(this.#queue.indexOf(limited), 1);
        reject(waitedTooLong(NOTEBOOK_SESSION, holder, this.#pool.connectTimeout));
      }
    };
    let timer = setTimeout(onTimeout, limit);
    const limited: WaitingStatement = {
      ...statement,
      resolve: (lease) => {
        clearTimeout(timer);
        resolve(lease); // if nobody waits any more, `acquire` in stop.ts gives it back
      },
      reject: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    };
    return limited;
  }

  /** Gives the waiting statements their connections, in their order, as far as possible. */
  async #assign(): Promise<void> {
    if (this.#assigning) return;
    this.#assigning = true;
    clearTimeout(this.#timer);
    try {
      if (this.#current?.stateKnown === false) { for (let task = 0; task < MICROTASKS; task++) await undefined; }
      while (this.#queue.length > 0 && await this.#assignFirst());
    } finally {
      this.#assigning = false;
    }
    const current = this.#current;
    if (current === undefined || current.running !== undefined) return;
    if (this.#closed) this.close();
    else if (this.#pool.waitingCount > 0) this.#releaseStateless();
    else if (!current.stateKnown && this.#queue.length === 0) {
      this.#timer = setTimeout(() => this.#updateState(current), IDLE_MS);
      Deno.unrefTimer(this.#timer);
    }
  }

  /** Gives the first statement of the queue its connection, and tells whether to go on with the queue. */
  async #assignFirst(): Promise<boolean> {
    if (this.#stateReads.size > 0) {
      await Promise.all(this.#stateReads);
      return true;
    }
    const [first] = this.#queue as [WaitingStatement];
    if (first.signal?.aborted) { // nobody waits for this statement, so it must not use up the report of a loss
      this.#queue.shift()!.reject(first.signal.reason);
      return true;
    }
    const current = this.#current;
    if (current?.running !== undefined) return this.#assignBeside(current.running, first);
    const broken = current?.connection.broken;
    if (current !== undefined && broken !== undefined) await this.#discard(current, broken);
    const loss = this.#loss;
    if (loss !== undefined) {
      this.#loss = undefined;
      for (const { reject } of this.#queue.splice(0)) reject(loss); // all of them were meant for the lost state
      return true;
    }
    if (this.#current === undefined) {
      try {
        await this.#begin(new KeptConnection(await this.#poolSession.acquire("the notebook's session")));
      } catch (error) {
        this.#queue.shift()!.reject(error);
      }
      return true;
    }
    const mayShare = this.#queue.length > 1 || first.purpose.startsWith("a pull");
    if (mayShare && !this.#current.stateKnown && this.#current.connection.transaction === undefined) {
      await this.#updateState(this.#current);
      return true;
    }
    this.#queue.shift();
    this.#lend(this.#current, first);
    return true;
  }

  /** Gives the first statement another connection while one runs on the notebook's connection, if both allow it. */
  #assignBeside(running: RunningStatement, first: WaitingStatement): boolean {
    if (!running.allowsParallel || !first.mayRunInParallel || !this.#poolHasFree) {
      this.#askToFinish(running);
      return false;
    }
    this.#queue.shift();
    this.#lendAnother(first);
    return true;
  }

  async #begin(connection: KeptConnection): Promise<void> {
    // Without the baseline, every loss is reported as unknown.
    const baseline = await readState(connection.lease.client).catch(() => undefined);
    this.#current = { connection, baseline, stateKnown: true, kinds: [], running: undefined };
    if (baseline !== undefined) this.#current.kinds = changedKinds(baseline, baseline);
  }

  /** Gives a statement the notebook's connection. */
  #lend(current: Current, { purpose, mayRunInParallel, resolve }: WaitingStatement): void {
    const hasNoState = current.stateKnown && current.kinds.length === 0 && current.baseline !== undefined &&
      current.connection.transaction === undefined;
    const lease = sublease(current.connection.lease, () => {
      current.running = undefined;
      current.stateKnown = false;
      this.#assign();
    });
    current.running = { purpose, since: Date.now(), allowsParallel: mayRunInParallel && hasNoState, lease };
    resolve(lease);
  }

  /** Asks a loop over a query to give the connection back, because the statements in its body would wait forever. */
  #askToFinish({ lease }: RunningStatement): void {
    lease.finish?.().then((released) => {
      if (released || this.#current?.running?.lease !== lease) return;
      for (const { reject } of this.#queue.splice(0)) {
        reject(heldByLoop("the notebook's session, which has settings, temporary tables or the like of its own"));
      }
    });
  }

  /** Gives a statement another connection of the pool. */
  #lendAnother({ purpose, resolve, reject }: WaitingStatement): void {
    this.#poolSession.acquire(purpose).then(
      (lease) => resolve(sublease(lease, () => this.#takeBackAnother(lease))),
      reject,
    );
  }

  /**
   * Takes back the connection of a statement that ran in parallel. A function that the statement called may have left
   * state there; then this connection becomes the notebook's.
   */
  #takeBackAnother(lease: Lease): void {
    if (isOpenTransaction(lease)) lease.broken ??= new Error("it was left in a transaction");
    if (lease.broken !== undefined) return lease.release();
    this.#holdQueue(this.#releaseOrKeep(lease));
  }

  async #releaseOrKeep(lease: Lease): Promise<void> {
    const baseline = this.#current?.baseline;
    const state = await readState(lease.client).catch((error: Error) => void (lease.broken = error));
    const kinds = state === undefined ? [UNREAD_STATE] : changedKinds(state, baseline ?? state);
    if (kinds.length === 0) return lease.release();
    const current = this.#current;
    const replaceable = current?.running === undefined && current?.connection.transaction === undefined;
    if (state !== undefined && current !== undefined && replaceable) {
      await this.#readKinds(current);
      if (current.kinds.length === 0) {
        this.#current = {
          connection: new KeptConnection(lease),
          baseline,
          stateKnown: true,
          kinds,
          running: undefined,
        };
        await current.connection.giveBack();
        return;
      }
    }
    lease.broken ??= new Error("it has state such as settings");
    lease.release();
    this.#loss = new LakebaseError(
      "CONNECTION_LOST",
      `Cannot run the statement: an earlier one, which ran beside others, left ${
        kinds.join(", ")
      } in a session of its own, ` +
        "and that session has ended. Run the earlier one again, with await, before the others; this one did not run",
    );
  }

  /** Reads which state the connection has; statements wait for the answer. */
  #updateState(current: Current): Promise<void> {
    const reading = this.#readKinds(current);
    this.#holdQueue(reading);
    return reading;
  }

  /** Lets the queue go on only after a read of a state. */
  #holdQueue(reading: Promise<void>): void {
    this.#stateReads.add(reading);
    reading.finally(() => {
      this.#stateReads.delete(reading);
      this.#assign();
    });
  }

  async #readKinds(current: Current): Promise<void> {
    const { connection, baseline } = current;
    if (connection.broken !== undefined || connection.transaction !== undefined) return;
    try {
      const state = await readState(connection.lease.client);
      current.kinds = baseline === undefined ? ["state"] : changedKinds(state, baseline);
    } catch {
      current.kinds = [UNREAD_STATE];
    }
    current.stateKnown = true;
  }

  /** Gives up a connection that is broken, and notes the error for the next statement if state was lost. */
  async #discard(current: Current, cause: Error): Promise<void> {
    this.#current = undefined;
    const open = await current.connection.giveBack();
    const kinds = withoutSettingFunctions(current.kinds);
    if (!open && current.stateKnown && kinds.length === 0) return; // any other connection will do
    this.#loss = sessionLost(cause, { open, state: current.stateKnown ? kinds.join(", ") : undefined });
  }

  /** Gives a connection without state back to the full pool, because others wait there. */
  async #releaseStateless(): Promise<void> {
    const current = this.#current;
    if (current === undefined || current.running !== undefined || current.connection.transaction !== undefined) return;
    if (!current.stateKnown) await this.#updateState(current);
    if (this.#current !== current || current.running !== undefined) return;
    if (current.kinds.length > 0) return;
    this.#current = undefined;
    await current.connection.giveBack();
  }
}

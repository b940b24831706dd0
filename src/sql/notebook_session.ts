// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { runningQuery } from "../net/pg_internals.ts";
import type { LakebasePool } from "../net/pool.ts";
import { isOpenTransaction } from "./run.ts";
import {
  askState,
  heldByLoop,
  heldKinds,
  Holding,
  leavesNothing,
  sessionLost,
  type SessionState,
} from "./server_session.ts";
import { heldUp, type Holder, type Lease, type Session, sublease, type TransactionState } from "./session.ts";
import { until } from "./stop.ts";

/** A statement that waits for a connection. */
interface Waiter {
  what: string;
  /** Whether it may run on another connection, beside others. */
  mayRunBeside: boolean;
  /** Tells that nobody waits any more. */
  signal: AbortSignal | undefined;
  resolve: (lease: Lease) => void;
  reject: (error: unknown) => void;
}

/** The server session of the notebook. */
interface Current {
  holding: Holding;
  /** The session's state at its beginning; `undefined` if the server does not tell. */
  baseline: SessionState | undefined;
  /** Whether the server was asked for its state since the last statement. */
  known: boolean;
  /** The kinds of state that the session had then, and did not have at its beginning. */
  kinds: string[];
  /** The statement that runs on it. */
  busy: Busy | undefined;
}

interface Busy extends Holder {
  /** Whether other statements may run on other connections meanwhile. */
  beside: boolean;
  lease: Lease;
}

/** Time after the last statement when the session is asked for its state, so that a loss can be reported in full. */
const QUIET_MS = 50;
const SHARED = "the notebook's session, which has state, such as settings or temporary tables";
/** The state that is assumed for a session whose state the server did not report. */
const UNREAD =
  "temporary tables, settings, prepared statements, cursors, locks or LISTEN (the server did not report which of these)";
/** The time that the server may take to report the state of a session that is about to be closed. */
const ASK_LIMIT_MS = 1000;
/** Turns of the event loop within which the statements of one `Promise.all` arrive. */
const TURNS = 3;

/**
 * Runs the statements of a notebook one after another in one server session, as psql does. Statements that begin at the same
 * time run in parallel on other connections, but only while the session is known to have no state.
 */
export class NotebookSession implements Session {
  readonly held = true;
  readonly signal = undefined;
  readonly types: Session["types"];
  readonly learned: Session["learned"];
  readonly place: Session["place"];
  readonly volumes: Session["volumes"];
  readonly server: Session["server"];
  readonly connections: number;
  readonly #outside: Session;
  readonly #pool: LakebasePool;
  readonly #queue: Waiter[] = [];
  #current: Current | undefined;
  /** The error for the next statement, which does not run. It says what was lost. */
  #lostState: LakebaseError | undefined;
  #assigning = false;
  #asking = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #rolledBack = false;

  /** Takes its connections from a pool. */
  constructor(outside: Session, pool: LakebasePool) {
    this.#outside = outside;
    this.#pool = pool;
    this.types = outside.types;
    this.learned = outside.learned;
    this.place = outside.place;
    this.volumes = outside.volumes;
    this.server = outside.server;
    this.connections = outside.connections;
    pool.onFull = () => this.#giveUpCurrent();
  }

  get transaction(): TransactionState | undefined {
    return this.#current?.holding.transaction;
  }

  acquire(what: string = "", signal?: AbortSignal): Promise<Lease> {
    if (this.#closed) return this.#outside.acquire(what); // throws an error that says why the session is closed
    const { promise, resolve, reject } = Promise.withResolvers<Lease>();
    const mayRunBeside = /^a (?:transaction|pull)\b/.test(what) || leavesNothing(what);
    this.#queue.push(this.#limited({ what, mayRunBeside, signal, resolve, reject }));
    this.#assign();
    return promise;
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#outside.cancel(client);
  }

  async lookUp(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    const current = this.#current;
    const idle = current !== undefined && current.busy === undefined && current.holding.over === undefined &&
      current.holding.transaction === undefined;
    const elsewhere = this.#pool.idleCount > 0 || this.#pool.totalCount < this.#pool.options.max;
    if (idle && (current.kinds.length > 0 || !elsewhere)) {
      return (await current.holding.lease.client.query(text, [...values])).rows;
    }
    return await this.#outside.lookUp(text, values);
  }

  /** Gives its connection back: at once, or when the statement that runs there has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const current = this.#current;
    if (current === undefined || current.busy !== undefined) return;
    this.#current = undefined;
    this.#rolledBack ||= isOpenTransaction(current.holding.lease);
    await current.holding.giveBack(new Error("its settings and temporary tables are the notebook's own"));
  }

  /** The kinds of state that the server session holds, for the message when it is closed. */
  async heldKinds(): Promise<string[]> {
    const current = this.#current;
    if (current === undefined) return [];
    if (!current.known && current.busy === undefined && current.holding.over === undefined) {
      await until(this.#ask(current), AbortSignal.timeout(ASK_LIMIT_MS)).catch(() => {}); // a silent server
    }
    return toldKinds(current);
  }

  /** Whether the end of the session has rolled back a transaction; known once the pool has ended. */
  get rolledBack(): boolean {
    return this.#rolledBack || this.#current !== undefined && isOpenTransaction(this.#current.holding.lease);
  }

  /** Ends the wait for a session whose holder makes no progress. */
  #limited({ what, mayRunBeside, signal, resolve, reject }: Waiter): Waiter {
    const limit = this.#pool.connectTimeout * 1000;
    const onTimeout = () => {
      const held = this.#current?.busy;
      const client = this.#current?.holding.lease.client;
      const query = client === undefined ? undefined : runningQuery(client);
      const running = query !== undefined && query.paused !== true;
      if (held === undefined || running) timer = setTimeout(onTimeout, limit);
      else if (this.#queue.includes(limited)) { // another connection has a limit of its own
        this.#queue.splice(this.#queue.indexOf(limited), 1);
        reject(heldUp(SHARED, held, this.#pool.connectTimeout));
      }
    };
    let timer = setTimeout(onTimeout, limit);
    const limited: Waiter = {
      what,
      mayRunBeside,
      signal,
      resolve: (lease) => {
        clearTimeout(timer);
        resolve(lease); // if nobody still waits, `acquire` in stop.ts gives it back
      },
      reject: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    };
    return limited;
  }

  async #assign(): Promise<void> {
    if (this.#assigning) return;
    this.#assigning = true;
    clearTimeout(this.#timer);
    try {
      if (this.#current?.known === false) { for (let turn = 0; turn < TURNS; turn++) await undefined; }
      while (this.#queue.length > 0 && await this.#step());
    } finally {
      this.#assigning = false;
    }
    const current = this.#current;
    if (current === undefined || current.busy !== undefined) return;
    if (this.#closed) this.close();
    else if (this.#pool.waitingCount > 0) this.#giveUpCurrent();
    else if (!current.known && this.#queue.length === 0) {
      this.#timer = setTimeout(() => this.#ask(current), QUIET_MS);
      Deno.unrefTimer(this.#timer);
    }
  }

  /** Gives the first in the queue its connection, and tells whether the next one may get one too. */
  async #step(): Promise<boolean> {
    if (this.#asking.size > 0) {
      await Promise.all(this.#asking);
      return true;
    }
    const current = this.#current;
    const [first] = this.#queue as [Waiter];
    if (first.signal?.aborted) { // a loss is told to a statement that somebody waits for
      this.#queue.shift()!.reject(first.signal.reason);
      return true;
    }
    if (current?.busy !== undefined) {
      const free = this.#pool.idleCount > 0 || this.#pool.totalCount < this.#pool.options.max;
      if (!current.busy.beside || !first.mayRunBeside || !free) {
        this.#askToFinish(current.busy);
        return false;
      }
      this.#queue.shift();
      this.#giveAnother(first);
      return true;
    }
    if (current !== undefined && current.holding.over !== undefined) await this.#lose(current, current.holding.over);
    const lostState = this.#lostState;
    if (lostState !== undefined) {
      this.#lostState = undefined;
      for (const { reject } of this.#queue.splice(0)) reject(lostState); // all of them were meant for that state
      return true;
    }
    if (this.#current === undefined) {
      try {
        await this.#begin(new Holding(await this.#outside.acquire("the notebook's session")));
      } catch (error) {
        this.#queue.shift()!.reject(error);
      }
      return true;
    }
    const several = this.#queue.length > 1 || first.what.startsWith("a pull");
    if (several && !this.#current.known && this.#current.holding.transaction === undefined) {
      await this.#ask(this.#current);
      return true;
    }
    this.#queue.shift();
    this.#giveCurrent(this.#current, first);
    return true;
  }

  async #begin(holding: Holding): Promise<void> {
    // Without the baseline, every loss is reported as unknown.
    const baseline = await askState(holding.lease.client).catch(() => undefined);
    this.#current = { holding, baseline, known: true, kinds: [], busy: undefined };
    if (baseline !== undefined) this.#current.kinds = heldKinds(baseline, baseline);
  }

  #giveCurrent(current: Current, { what, mayRunBeside, resolve }: Waiter): void {
    const beside = mayRunBeside && current.known && current.kinds.length === 0 && current.baseline !== undefined &&
      current.holding.transaction === undefined;
    const lease = sublease(current.holding.lease, () => {
      current.busy = undefined;
      current.known = false;
      this.#assign();
    });
    current.busy = { what, since: Date.now(), beside, lease };
    resolve(lease);
  }

  /** Asks a loop over a query to give the session back, because statements inside of the loop would wait for ever. */
  #askToFinish({ lease }: Busy): void {
    lease.finish?.().then((given) => {
      if (given || this.#current?.busy?.lease !== lease) return;
      for (const { reject } of this.#queue.splice(0)) {
        reject(heldByLoop("the notebook's session, which has settings, temporary tables or the like of its own"));
      }
    });
  }

  #giveAnother({ what, resolve, reject }: Waiter): void {
    this.#outside.acquire(what).then((lease) => resolve(sublease(lease, () => this.#takeBack(lease))), reject);
  }

  /**
   * Takes back the connection of a statement that ran beside others. A function that it called may have left state in that session,
   * which then becomes the notebook's.
   */
  #takeBack(lease: Lease): void {
    if (isOpenTransaction(lease)) lease.broken ??= new Error("it was left in a transaction");
    if (lease.broken !== undefined) return lease.release();
    this.#remember(this.#compare(lease));
  }

  async #compare(lease: Lease): Promise<void> {
    const baseline = this.#current?.baseline;
    const state = await askState(lease.client).catch((error: Error) => void (lease.broken = error));
    const kinds = state === undefined ? [UNREAD] : heldKinds(state, baseline ?? state);
    if (kinds.length === 0) return lease.release();
    const current = this.#current;
    const free = current?.busy === undefined && current?.holding.transaction === undefined;
    if (state !== undefined && current !== undefined && free) {
      await this.#question(current);
      if (current.kinds.length === 0) {
        this.#current = { holding: new Holding(lease), baseline, known: true, kinds, busy: undefined };
        await current.holding.giveBack();
        return;
      }
    }
    lease.broken ??= new Error("it has state such as settings");
    lease.release();
    this.#lostState = new LakebaseError(
      "CONNECTION_LOST",
      `Cannot run the statement: an earlier one, which ran beside others, left ${
        kinds.join(", ")
      } in a session of its own, ` +
        "and that session has ended. Run the earlier one again, with await, before the others; this one did not run",
    );
  }

  /** Asks the session for its state; statements wait for the answer. */
  #ask(current: Current): Promise<void> {
    const asking = this.#question(current);
    this.#remember(asking);
    return asking;
  }

  #remember(asking: Promise<void>): void {
    this.#asking.add(asking);
    asking.finally(() => {
      this.#asking.delete(asking);
      this.#assign();
    });
  }

  async #question(current: Current): Promise<void> {
    const { holding, baseline } = current;
    if (holding.over !== undefined || holding.transaction !== undefined) return;
    try {
      const state = await askState(holding.lease.client);
      current.kinds = baseline === undefined ? ["state"] : heldKinds(state, baseline);
      current.known = true;
    } catch {
      current.kinds = [UNREAD];
      current.known = true;
    }
  }

  async #lose(current: Current, cause: Error): Promise<void> {
    this.#current = undefined;
    const open = await current.holding.giveBack();
    const kinds = toldKinds(current);
    if (!open && current.known && kinds.length === 0) return; // another session is as good
    this.#lostState = sessionLost(cause, { open, held: current.known ? kinds.join(", ") : undefined });
  }

  /** Gives up a session that has no state, because others wait for a connection of the full pool. */
  async #giveUpCurrent(): Promise<void> {
    const current = this.#current;
    if (current === undefined || current.busy !== undefined || current.holding.transaction !== undefined) return;
    if (!current.known) await this.#ask(current);
    if (this.#current !== current || current.busy !== undefined) return;
    if (current.kinds.length > 0) return;
    this.#current = undefined;
    await current.holding.giveBack();
  }
}

/** The kinds of state that messages name. A function that may make settings is left out, because it is not state itself. */
function toldKinds({ kinds }: Current): string[] {
  return kinds.filter((kind) => kind !== "settings of functions");
}

// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { statementLine } from "../core/sql_text.ts";
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
import { type Lease, type Session, sublease, type TransactionState } from "./session.ts";

/** A statement that waits for a connection. */
interface Waiter {
  what: string;
  /** Whether it may run beside others. */
  aside: boolean;
  resolve: (lease: Lease) => void;
  reject: (error: unknown) => void;
}

/** The session of the notebook. */
interface Home {
  holding: Holding;
  /** What it had at its beginning; `undefined` where the server does not tell. */
  baseline: SessionState | undefined;
  /** What it has of its own, as far as the server was asked since the last statement. */
  known: boolean;
  kinds: string[];
  /** The statement that runs on it. */
  busy: Busy | undefined;
}

interface Busy {
  what: string;
  since: number;
  /** Whether other statements may run on other connections meanwhile. */
  beside: boolean;
  lease: Lease;
}

/** Time after the last statement when the session is asked for its state, so that a loss can be reported in full. */
const QUIET_MS = 50;
/** Turns of the event loop within which the statements of one `Promise.all` arrive. */
const TURNS = 3;

/**
 * Runs the statements of a notebook one after another in one server session, as psql does. Statements that begin at the same
 * time run side by side on other connections, but only while the session is known to have no state of its own.
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
  #home: Home | undefined;
  /** The error for the next statement, which does not run: it tells what was lost. */
  #gone: LakebaseError | undefined;
  #pumping = false;
  #asking = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** Made of a pool's session. */
  constructor(outside: Session, pool: LakebasePool) {
    this.#outside = outside;
    this.#pool = pool;
    this.types = outside.types;
    this.learned = outside.learned;
    this.place = outside.place;
    this.volumes = outside.volumes;
    this.server = outside.server;
    this.connections = outside.connections;
    pool.onFull = () => this.#yieldHome();
  }

  get transaction(): TransactionState | undefined {
    return this.#home?.holding.transaction;
  }

  acquire(what: string = ""): Promise<Lease> {
    if (this.#closed) return this.#outside.acquire(what); // which says that it is closed, and why
    const { promise, resolve, reject } = Promise.withResolvers<Lease>();
    const aside = /^a (?:transaction|pull)\b/.test(what) || leavesNothing(what);
    this.#queue.push(this.#limited({ what, aside, resolve, reject }));
    this.#pump();
    return promise;
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#outside.cancel(client);
  }

  async lookUp(text: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    const home = this.#home;
    const idle = home !== undefined && home.busy === undefined && home.holding.over === undefined &&
      home.holding.transaction === undefined;
    const elsewhere = this.#pool.idleCount > 0 || this.#pool.totalCount < this.#pool.options.max;
    if (idle && (home.kinds.length > 0 || !elsewhere)) {
      return (await home.holding.lease.client.query(text, [...values])).rows;
    }
    return await this.#outside.lookUp(text, values);
  }

  /** Gives its connection back. Tells whether a transaction was open, which is rolled back. */
  async close(): Promise<boolean> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const home = this.#home;
    if (home === undefined || home.busy !== undefined) return false;
    this.#home = undefined;
    return await home.holding.giveBack(new Error("its settings and temporary tables are the notebook's own"));
  }

  /** Ends the wait for a session that is held by something that does not go on. */
  #limited({ what, aside, resolve, reject }: Waiter): Waiter {
    const limit = this.#pool.connectTimeout * 1000;
    const onTimeout = () => {
      const held = this.#home?.busy;
      const client = this.#home?.holding.lease.client;
      const query = client === undefined ? undefined : runningQuery(client);
      const running = query !== undefined && query.paused !== true;
      if (held === undefined || running) timer = setTimeout(onTimeout, limit);
      else {
        this.#queue.splice(this.#queue.indexOf(limited), 1);
        reject(heldUp(held, this.#pool.connectTimeout));
      }
    };
    let timer = setTimeout(onTimeout, limit);
    const limited: Waiter = {
      what,
      aside,
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

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    clearTimeout(this.#timer);
    try {
      if (this.#home?.known === false) { for (let turn = 0; turn < TURNS; turn++) await undefined; }
      while (this.#queue.length > 0 && await this.#step());
    } finally {
      this.#pumping = false;
    }
    const home = this.#home;
    if (home === undefined || home.busy !== undefined) return;
    if (this.#closed || this.#pool.waitingCount > 0) this.#yieldHome();
    else if (!home.known && this.#queue.length === 0) {
      this.#timer = setTimeout(() => this.#ask(home), QUIET_MS);
      Deno.unrefTimer(this.#timer);
    }
  }

  /** Gives the first in the queue its connection, and tells whether the next one may get one too. */
  async #step(): Promise<boolean> {
    if (this.#asking.size > 0) {
      await Promise.all(this.#asking);
      return true;
    }
    const home = this.#home;
    const [first] = this.#queue as [Waiter];
    if (home?.busy !== undefined) {
      const free = this.#pool.idleCount > 0 || this.#pool.totalCount < this.#pool.options.max;
      if (!home.busy.beside || !first.aside || !free) {
        this.#askToFinish(home.busy);
        return false;
      }
      this.#queue.shift();
      this.#giveAside(first);
      return true;
    }
    if (home !== undefined && home.holding.over !== undefined) await this.#lose(home, home.holding.over);
    const gone = this.#gone;
    if (gone !== undefined) {
      this.#gone = undefined;
      this.#queue.shift()!.reject(gone);
      return true;
    }
    if (this.#home === undefined) {
      try {
        await this.#adopt(new Holding(await this.#outside.acquire("the notebook's session")));
      } catch (error) {
        this.#queue.shift()!.reject(error);
      }
      return true;
    }
    const several = this.#queue.length > 1 || first.what.startsWith("a pull");
    if (several && !this.#home.known && this.#home.holding.transaction === undefined) {
      await this.#ask(this.#home);
      return true;
    }
    this.#queue.shift();
    this.#giveHome(this.#home, first);
    return true;
  }

  async #adopt(holding: Holding): Promise<void> {
    const baseline = await askState(holding.lease.client).catch(() => undefined);
    this.#home = { holding, baseline, known: true, kinds: [], busy: undefined };
    if (baseline !== undefined) this.#home.kinds = heldKinds(baseline, baseline);
  }

  #giveHome(home: Home, { what, aside, resolve }: Waiter): void {
    const beside = aside && home.known && home.kinds.length === 0 && home.baseline !== undefined &&
      home.holding.transaction === undefined;
    const lease = sublease(home.holding.lease, () => {
      home.busy = undefined;
      home.known = false;
      this.#pump();
    });
    home.busy = { what, since: Date.now(), beside, lease };
    resolve(lease);
  }

  /** Asks a loop over a query to give the session back; statements inside of the loop would wait for ever. */
  #askToFinish({ lease }: Busy): void {
    lease.finish?.().then((given) => {
      if (given || this.#home?.busy?.lease !== lease) return;
      for (const { reject } of this.#queue.splice(0)) {
        reject(heldByLoop("the notebook's session, which has settings, temporary tables or the like of its own"));
      }
    });
  }

  #giveAside({ what, resolve, reject }: Waiter): void {
    this.#outside.acquire(what).then((lease) => resolve(sublease(lease, () => this.#takeBack(lease))), reject);
  }

  /** A statement that ran aside may have left state by a function that it calls; its session is the notebook's then. */
  #takeBack(lease: Lease): void {
    if (isOpenTransaction(lease)) lease.broken ??= new Error("it was left in a transaction");
    if (lease.broken !== undefined) return lease.release();
    this.#remember(this.#compare(lease));
  }

  async #compare(lease: Lease): Promise<void> {
    const baseline = this.#home?.baseline;
    const kinds = await askState(lease.client).then((state) => heldKinds(state, baseline ?? state), () => []);
    if (kinds.length === 0) return lease.release();
    const home = this.#home;
    if (home !== undefined && home.busy === undefined && home.holding.transaction === undefined) {
      await this.#question(home);
      if (home.kinds.length === 0) {
        this.#home = { holding: new Holding(lease), baseline, known: true, kinds, busy: undefined };
        await home.holding.giveBack();
        return;
      }
    }
    lease.broken = new Error("it has a state of its own");
    lease.release();
    this.#gone = new LakebaseError(
      "CONNECTION_LOST",
      `Cannot run the statement: an earlier one, which ran beside others, left ${
        kinds.join(", ")
      } in a session of its own, ` +
        "and that session has ended. Run the earlier one again, with await, before the others; this one did not run",
    );
  }

  /** Asks the session for its state; statements wait for the answer. */
  #ask(home: Home): Promise<void> {
    const asking = this.#question(home);
    this.#remember(asking);
    return asking;
  }

  #remember(asking: Promise<void>): void {
    this.#asking.add(asking);
    asking.finally(() => {
      this.#asking.delete(asking);
      this.#pump();
    });
  }

  async #question(home: Home): Promise<void> {
    const { holding, baseline } = home;
    if (holding.over !== undefined || holding.transaction !== undefined) return;
    try {
      const state = await askState(holding.lease.client);
      home.kinds = baseline === undefined ? ["state"] : heldKinds(state, baseline);
      home.known = true;
    } catch {
      home.kinds = ["state that could not be read"];
      home.known = true;
    }
  }

  async #lose(home: Home, cause: Error): Promise<void> {
    this.#home = undefined;
    const open = await home.holding.giveBack();
    const kinds = home.kinds.filter((kind) => kind !== "settings of functions");
    if (!open && home.known && kinds.length === 0) return; // another session is as good
    this.#gone = sessionLost(cause, { open, held: home.known ? kinds.join(", ") : undefined });
  }

  /** Gives up a session without state of its own, because a full pool keeps others waiting. */
  async #yieldHome(): Promise<void> {
    const home = this.#home;
    if (home === undefined || home.busy !== undefined || home.holding.transaction !== undefined) return;
    if (!home.known) await this.#ask(home);
    if (this.#home !== home || home.busy !== undefined) return;
    if (home.kinds.length > 0 && !this.#closed) return;
    this.#home = undefined;
    await home.holding.giveBack();
  }
}

function heldUp({ what, since }: { what: string; since: number }, limit: number): LakebaseError {
  const seconds = Math.round((Date.now() - since) / 1000);
  return new LakebaseError(
    "CONNECT_TIMEOUT",
    `Cannot run the statement: for ${limit} s (connectTimeout) it waited for the notebook's session, which has state of ` +
      `its own, such as settings or temporary tables. This has held the session for ${seconds} s: ${
        statementLine(what)
      }\nEnd that first, ` +
      "for example a loop over a query, or use db.session() for one of the two",
  );
}

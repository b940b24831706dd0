// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { adviceFor } from "./advice.ts";
import { queryError } from "./failure.ts";
import { isOpenTransaction } from "./run.ts";
import {
  type Holder,
  type Lease,
  type Session,
  sublease,
  type TransactionState,
  Turns,
  waitedTooLong,
} from "./session.ts";
import { cleanUp } from "./stop.ts";

/** A connection that one session keeps, with the state that the server has for it, until it ends or is given back. */
export class KeptConnection {
  readonly lease: Lease;
  #closedBy: Error | undefined;
  readonly #transaction: TransactionState = { failure: undefined, markEnded() {} };
  readonly #onEnd = (error?: Error) => this.#closedBy ??= error ?? new Error("the server closed the connection");

  /** Takes over a connection. */
  constructor(lease: Lease) {
    this.lease = lease;
    lease.client.on("error", this.#onEnd);
    lease.client.on("end", this.#onEnd);
  }

  /** Why no other statement can run on the connection; `undefined` if it is usable. */
  get broken(): Error | undefined {
    return this.#closedBy ?? this.lease.broken;
  }

  /** The transaction that a statement began and that is still open; `undefined` if none is open. */
  get transaction(): TransactionState | undefined {
    if (this.broken === undefined && isOpenTransaction(this.lease)) return this.#transaction;
    this.#transaction.failure = undefined;
    return undefined;
  }

  /**
   * Rolls back an open transaction, and gives the connection back.
   *
   * @param broken Why the connection can't be used again, for example because its settings were changed.
   * @returns Whether a transaction was rolled back.
   */
  async giveBack(broken?: Error): Promise<boolean> {
    const { lease } = this;
    lease.client.removeListener("error", this.#onEnd);
    lease.client.removeListener("end", this.#onEnd);
    const open = isOpenTransaction(lease);
    if (open && this.broken === undefined) await cleanUp(lease, lease.client.query("ROLLBACK"));
    lease.broken ??= this.#closedBy ?? broken;
    lease.release();
    return open;
  }
}

/**
 * Makes the error for a statement whose server session has ended. It says what was lost with the session.
 *
 * @param lost Whether a transaction was open, and the other state of the session; `undefined` if that was not known.
 */
export function sessionLost(
  cause: Error,
  { open, state }: { open: boolean; state: string | undefined },
): LakebaseError {
  const rolledBack = open ? "; its transaction was rolled back" : "";
  const [lost, remedy] = state === "" ? ["It had no other state", "run it again"] : [
    `Lost with the session: ${state ?? UNKNOWN_STATE}`,
    "recreate what was lost, then run the statement again",
  ];
  const { code, severity } = cause as { code?: string; severity?: unknown };
  const sqlstate = severity === undefined ? undefined : code; // an error of the network has a code of another kind
  const advice = sqlstate === undefined ? undefined : adviceFor({ code: sqlstate, message: cause.message });
  return new LakebaseError(
    "CONNECTION_LOST",
    `Cannot run the statement: its session has ended (${cause.message})${rolledBack}. ${lost}. The ` +
      `statement did not run; ${remedy} in a new session${advice === undefined ? "" : `\nHINT: ${advice}`}`,
    { cause, sqlstate },
  );
}

const ANY_STATE = "all temporary tables, settings, prepared statements, cursors, locks and LISTEN that it had";
const UNKNOWN_STATE = `${ANY_STATE}; the module did not know yet which of these it had`;

/** The time between two empty queries of an unused session: servers close idle sessions after a day, and networks sooner. */
const KEEP_ALIVE_MS = 240_000;

/** A session that keeps one connection until it is closed. Its statements run one at a time. */
export class ServerSession implements Session {
  readonly held = true;
  readonly connections = 1;
  readonly types: Session["types"];
  readonly catalog: Session["catalog"];
  readonly place: Session["place"];
  readonly volumes: Session["volumes"];
  readonly server: Session["server"];
  readonly queryIfFree: Session["queryIfFree"];
  readonly #poolSession: Session;
  readonly #closing = new AbortController();
  #connection: KeptConnection | undefined;
  /** The lease of the statement that is running. */
  #current: Lease | undefined;
  /** The statement or transaction that holds the session, or held it last. */
  #holder: Holder = { purpose: "", since: 0 };
  /** Whether a statement has run in the session, and may have left something there. */
  #used = false;
  /** The number of connections with state that were lost, and the last error that reported one. */
  #losses = 0;
  #lastLoss: LakebaseError | undefined;
  readonly #turns = new Turns();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed: Promise<boolean> | undefined;

  /** Creates a session whose connection comes from a pool; {@linkcode open} takes the connection. */
  constructor(poolSession: Session) {
    this.#poolSession = poolSession;
    this.types = poolSession.types;
    this.catalog = poolSession.catalog;
    this.place = poolSession.place;
    this.volumes = poolSession.volumes;
    this.server = poolSession.server;
    this.queryIfFree = poolSession.queryIfFree;
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  get transaction(): TransactionState | undefined {
    return this.#connection?.transaction;
  }

  /** Whether the session was closed. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Takes the session's connection. */
  async open(): Promise<void> {
    (await this.acquire()).release();
    this.#used = false;
  }

  async acquire(purpose: string = "a statement", signal?: AbortSignal): Promise<Lease> {
    if (this.closed) throw closedError();
    const losses = this.#losses;
    if (await this.#current?.finish?.() === false) throw heldByLoop("its session");
    const { connectTimeout: seconds } = this.#poolSession;
    const endTurn = await this.#turns.take(() => ({
      client: this.#connection?.lease.client,
      seconds,
      error: () => waitedTooLong("its session", this.#holder, seconds!),
    }));
    try {
      if (this.closed) throw closedError();
      if (signal?.aborted) throw signal.reason; // nobody waits for this statement, so it must not use up the report of a loss
      if (losses !== this.#losses) throw this.#lastLoss!; // the statement was meant for a connection that was lost meanwhile
      const { lease } = await this.#usableConnection();
      this.#used = true;
      this.#holder = { purpose, since: Date.now() };
      return this.#current = sublease(lease, () => {
        this.#current = undefined;
        this.#scheduleKeepAlive();
        endTurn();
      });
    } catch (error) {
      endTurn();
      throw error;
    }
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#poolSession.cancel(client);
  }

  /** Cancels running statements, rolls back an open transaction, and returns whether there was one. */
  close(): Promise<boolean> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<boolean> {
    clearTimeout(this.#timer);
    this.#closing.abort(closedError());
    // A loop over a query waits for the close() in its body, so the loop has to give the connection back first.
    const released = await this.#current?.finish?.() !== false;
    const endTurn = released ? await this.#turns.take() : undefined;
    if (!released && this.#connection !== undefined) this.#connection.lease.broken ??= closedError();
    const reason = new Error("its settings and temporary tables are the session's own");
    const rolledBack = await this.#connection?.giveBack(reason);
    endTurn?.();
    return rolledBack ?? false;
  }

  /** Returns the connection. If it was lost with its state, throws an error once, and opens a new one at the next call. */
  async #usableConnection(): Promise<KeptConnection> {
    const connection = this.#connection;
    const cause = connection?.broken;
    if (connection !== undefined && cause === undefined) return connection;
    this.#connection = undefined;
    const open = await connection?.giveBack() ?? false;
    if (cause !== undefined && this.#used) {
      this.#used = false;
      this.#losses++;
      throw this.#lastLoss = sessionLost(cause, { open, state: ANY_STATE });
    }
    return this.#connection = new KeptConnection(await this.#poolSession.acquire("a session"));
  }

  #scheduleKeepAlive(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#connection?.broken !== undefined || this.closed) return;
      this.#connection?.lease.client.query("").catch(() => {}); // the next statement reports what was lost
      this.#scheduleKeepAlive();
    }, KEEP_ALIVE_MS);
    Deno.unrefTimer(this.#timer);
  }
}

/**
 * Makes the error for a statement in the body of a loop over a query: both need the same session, and the query has too
 * many rows left to keep them.
 *
 * @param session The session, as in "its session".
 */
export function heldByLoop(session: string): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot run the statement: a for await loop over a query holds ${session}, and has too many rows left to keep them ` +
      "in memory meanwhile. Run BEGIN before the loop and COMMIT after it: in a transaction statements may run between two " +
      "rows. Or loop over the query in a session of its own, from db.session()",
    { sqlstate: "55006" },
  );
}

function closedError(): LakebaseError {
  return new LakebaseError("CLOSED", "Cannot run the statement: its session is closed. Make one with db.session()");
}

/** The option `onConnect` of `connect()`: SQL, or a function that returns it. */
type OnConnect = string | (() => string | Promise<string>);

/**
 * Makes the function that runs the SQL of `onConnect` in each new session of the server. It rejects with an error that
 * quotes the SQL and points at the position that the server refused.
 */
export function sessionPreparer(onConnect: OnConnect): (client: pg.Client) => Promise<void> {
  return async (client) => {
    const text = typeof onConnect === "string" ? onConnect : await callForSql(onConnect);
    try {
      await client.query(text);
    } catch (error) {
      const { code, message, cause, sqlstate } = queryError(error, { text, values: [] });
      throw new LakebaseError(code, `Cannot connect: the SQL of option "onConnect" failed: ${message}`, {
        cause,
        sqlstate,
      });
    }
    if (!isOpenTransaction({ client })) return;
    throw new LakebaseError(
      "BAD_SETTING",
      'Cannot connect: the SQL of option "onConnect" left a transaction open; end it with COMMIT',
    );
  };
}

async function callForSql(make: () => string | Promise<string>): Promise<string> {
  let text: unknown;
  try {
    text = await make();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw badOnConnect(`threw an error: ${reason}`, cause);
  }
  if (typeof text === "string" && text.trim() !== "" && !text.includes("\0")) return text;
  throw badOnConnect(`returned ${text === "" ? "an empty text" : typeof text}; it must return SQL`);
}

function badOnConnect(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_SETTING", `Cannot connect: the function "onConnect" ${state}`, { cause });
}

// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { sqlTokens } from "../core/sql_text.ts";
import { queryError } from "./failure.ts";
import { isOpenTransaction } from "./run.ts";
import { type Lease, type Session, sublease, type TransactionState, Turns } from "./session.ts";
import { cleanUp } from "./stop.ts";

/** A server session that is kept until it ends or is given back. */
export class Holding {
  readonly lease: Lease;
  /** Why the session has ended; `undefined` while it lives. */
  lost: Error | undefined;
  readonly #transaction: TransactionState = { failure: undefined, leave() {} };
  readonly #onEnd = (error?: Error) => this.lost ??= error ?? new Error("the server closed the connection");

  /** Takes over a connection. */
  constructor(lease: Lease) {
    this.lease = lease;
    lease.client.on("error", this.#onEnd);
    lease.client.on("end", this.#onEnd);
  }

  /** Why nothing more can run in the session; `undefined` if it is usable. */
  get over(): Error | undefined {
    return this.lost ?? this.lease.broken;
  }

  /** The open transaction that a statement began; `undefined` if none is open. */
  get transaction(): TransactionState | undefined {
    if (this.over === undefined && isOpenTransaction(this.lease)) return this.#transaction;
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
    if (open && this.over === undefined) await cleanUp(lease, lease.client.query("ROLLBACK"));
    lease.broken ??= this.lost ?? broken;
    lease.release();
    return open;
  }
}

/**
 * Makes the error for a statement whose server session has ended; it tells what was lost with the session.
 *
 * @param lost Whether a transaction was open, and what else the session had; `undefined` if that was not known.
 */
export function sessionLost(cause: Error, { open, held }: { open: boolean; held: string | undefined }): LakebaseError {
  const rolledBack = open ? "; its transaction was rolled back" : "";
  const lost = held === "" ? "It had no other state" : `Lost with the session: ${held ?? NOT_KNOWN}`;
  return new LakebaseError(
    "CONNECTION_LOST",
    `Cannot run the statement: its session has ended (${cause.message})${rolledBack}. ${lost}. The ` +
      "statement did not run; run it again, and it runs in a new session",
    { cause },
  );
}

const ANY_STATE = "all temporary tables, settings, prepared statements, cursors, locks and LISTEN that it had";
const NOT_KNOWN = `${ANY_STATE}; the module did not know yet which of these it had`;

/** How often an unused session sends a query, because servers close idle sessions after a day and networks sooner. */
const SIGN_OF_LIFE_MS = 240_000;

/** One server session that its owner holds until it is closed. Its statements run one at a time. */
export class ServerSession implements Session {
  readonly held = true;
  readonly connections = 1;
  readonly types: Session["types"];
  readonly learned: Session["learned"];
  readonly place: Session["place"];
  readonly volumes: Session["volumes"];
  readonly server: Session["server"];
  readonly lookUp: Session["lookUp"];
  readonly #outside: Session;
  readonly #over = new AbortController();
  #holding: Holding | undefined;
  /** The lease of the statement that runs, for the one that waits. */
  #given: Lease | undefined;
  /** Whether a statement has run in the session, and may have left something there. */
  #used = false;
  readonly #turns = new Turns();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closing: Promise<boolean> | undefined;

  /** Creates a session whose connection comes from `outside`; {@linkcode open} takes the connection. */
  constructor(outside: Session) {
    this.#outside = outside;
    this.types = outside.types;
    this.learned = outside.learned;
    this.place = outside.place;
    this.volumes = outside.volumes;
    this.server = outside.server;
    this.lookUp = outside.lookUp;
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get transaction(): TransactionState | undefined {
    return this.#holding?.transaction;
  }

  /** Whether the session was closed. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Takes the session's connection. */
  async open(): Promise<void> {
    (await this.acquire()).release();
    this.#used = false;
  }

  async acquire(): Promise<Lease> {
    if (this.closed) throw closed();
    if (await this.#given?.finish?.() === false) throw heldByLoop("its session");
    const turn = await this.#turns.take();
    try {
      if (this.closed) throw closed();
      const { lease } = await this.#living();
      this.#used = true;
      return this.#given = sublease(lease, () => {
        this.#given = undefined;
        this.#watch();
        turn();
      });
    } catch (error) {
      turn();
      throw error;
    }
  }

  cancel(client: pg.PoolClient): Promise<void> {
    return this.#outside.cancel(client);
  }

  /** Cancels running statements, rolls back an open transaction, and returns whether there was one. */
  close(): Promise<boolean> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<boolean> {
    clearTimeout(this.#timer);
    this.#over.abort(closed());
    const turn = await this.#turns.take();
    const open = this.#holding?.transaction !== undefined;
    await this.#holding?.giveBack(new Error("its settings and temporary tables are the session's own"));
    turn();
    return open;
  }

  /** Returns the session. If it has ended, throws once to tell its owner, then opens a new one. */
  async #living(): Promise<Holding> {
    const holding = this.#holding;
    const cause = holding?.over;
    if (holding !== undefined && cause === undefined) return holding;
    this.#holding = undefined;
    const open = await holding?.giveBack() ?? false;
    if (cause !== undefined && this.#used) {
      this.#used = false;
      throw sessionLost(cause, { open, held: ANY_STATE });
    }
    return this.#holding = new Holding(await this.#outside.acquire("a session"));
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#holding?.over !== undefined || this.closed) return;
      this.#holding?.lease.client.query("").catch(() => {}); // the next statement tells what was lost
      this.#watch();
    }, SIGN_OF_LIFE_MS);
    Deno.unrefTimer(this.#timer);
  }
}

/**
 * The error for a statement inside a loop over a query that needs the same server session and has too many rows left.
 *
 * @param session The session, as the end of "holds".
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

function closed(): LakebaseError {
  return new LakebaseError("CLOSED", "Cannot run the statement: its session is closed. Make one with db.session()");
}

/** The state that a server session holds, by kind. */
export type SessionState = Record<string, string[]>;

const QUESTION = `SELECT pg_catalog.json_build_object(
  'settings', (SELECT pg_catalog.json_agg(name || '=' || setting) FROM pg_catalog.pg_settings WHERE source = 'session'),
  'the role', (SELECT pg_catalog.json_build_array(session_user || '/' || current_user)),
  'temporary tables', (SELECT pg_catalog.json_agg(relname::text) FROM pg_catalog.pg_class
    WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind IN ('r', 'v', 'S', 'p', 'm')),
  'prepared statements', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_prepared_statements),
  'cursors', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_cursors WHERE is_holdable),
  'LISTEN', (SELECT pg_catalog.json_agg(c) FROM pg_catalog.pg_listening_channels() AS c),
  'advisory locks', (SELECT pg_catalog.json_agg(classid || ' ' || objid) FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()),
  'settings of functions', (SELECT pg_catalog.json_agg(p.proname::text) FROM (SELECT proname FROM pg_catalog.pg_proc
    WHERE prosrc ~* $$set_config|\\mset\\s+((session|local)\\s+)?("[^"]+"|\\w+)\\s*\\.|execute[^;]*\\mset\\M$$
    AND pronamespace <> 'pg_catalog'::regnamespace AND pronamespace <> 'information_schema'::regnamespace
    ORDER BY 1 LIMIT 1) AS p))::text AS state`;

/**
 * Asks a server session which state it holds. No catalog lists a custom setting such as `app.tenant`, so a function that
 * may make one counts as such a setting.
 */
export async function askState(client: pg.PoolClient): Promise<SessionState> {
  const { rows: [row] } = await client.query(QUESTION);
  const found: Record<string, string[] | null> = JSON.parse(row.state);
  return Object.fromEntries(Object.entries(found).map(([kind, items]) => [kind, items ?? []]));
}

/** Returns the kinds of state in which a session differs from its beginning. */
export function heldKinds(state: SessionState, baseline: SessionState): string[] {
  return Object.keys(state).filter((kind) => {
    const before = new Set(baseline[kind]);
    if (kind === "settings of functions") return state[kind]!.length > 0;
    return state[kind]!.length !== before.size || state[kind]!.some((item) => !before.has(item));
  });
}

/** The first words of statements that leave nothing in a session by themselves. */
const LEAVE_NOTHING = new Set(
  ("select insert update delete merge values table with explain show create drop alter truncate comment grant revoke " +
    "analyze vacuum refresh reindex cluster copy").split(" "),
);

const LEAVES = /^(?:temp|temporary|pg_temp\w*|set_config|pg_(?:try_)?advisory_lock\w*|dblink\w*)$/;

/** The most characters of a statement that is read; a longer one counts as leaving something. */
const LONGEST = 100_000;

/** Tells whether a statement, by its text, leaves nothing in its session; functions that it calls still may. */
export function leavesNothing(text: string): boolean {
  if (text.length > LONGEST) return false;
  let begins = true;
  for (const { kind, start, end } of sqlTokens(text)) {
    if (kind === "space" || kind === "comment") continue;
    const word = kind === "word" ? text.slice(start, end).toLowerCase() : "";
    if (begins && text[start] !== "(" && text[start] !== ";" && !LEAVE_NOTHING.has(word)) return false;
    if (LEAVES.test(word)) return false;
    begins = text[start] === ";" || begins && text[start] === "(";
  }
  return true;
}

/** The option `onConnect` of `connect()`: SQL, or a function that returns it. */
type OnConnect = string | (() => string | Promise<string>);

/**
 * Makes the function that prepares each new session of the server. It rejects with an error that quotes the SQL and points at
 * the place that the server refused.
 */
export function sessionOpener(onConnect: OnConnect): (client: pg.Client) => Promise<void> {
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

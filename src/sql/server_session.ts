// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { LakebaseError } from "../core/errors.ts";
import { sqlTokens } from "../core/sql_text.ts";
import { adviceFor } from "./advice.ts";
import { queryError } from "./failure.ts";
import { isOpenTransaction } from "./run.ts";
import {
  heldUp,
  type Holder,
  type Lease,
  namedSettings,
  type Session,
  sublease,
  type TransactionState,
  Turns,
} from "./session.ts";
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
 * Makes the error for a statement whose server session has ended. It says what was lost with the session.
 *
 * @param lost Whether a transaction was open, and what else the session had; `undefined` if that was not known.
 */
export function sessionLost(cause: Error, { open, held }: { open: boolean; held: string | undefined }): LakebaseError {
  const rolledBack = open ? "; its transaction was rolled back" : "";
  const [lost, remedy] = held === ""
    ? ["It had no other state", "run it again, and it runs"]
    : [`Lost with the session: ${held ?? NOT_KNOWN}`, "make again what was lost, then run the statement: both run"];
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
  /** The lease of the statement that is running, for the statement that waits. */
  #given: Lease | undefined;
  /** The statement or transaction that holds the session, or held it last. */
  #holder: Holder = { what: "", since: 0 };
  /** Whether a statement has run in the session, and may have left something there. */
  #used = false;
  /** How often a session with state has ended, and the last error that said so. */
  #losses = 0;
  #loss: LakebaseError | undefined;
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

  async acquire(what: string = "a statement", signal?: AbortSignal): Promise<Lease> {
    if (this.closed) throw closed();
    const losses = this.#losses;
    if (await this.#given?.finish?.() === false) throw heldByLoop("its session");
    const { connectTimeout: limit } = this.#outside;
    const turn = await this.#turns.take(() => ({
      client: this.#holding?.lease.client,
      limit,
      error: () => heldUp("its session", this.#holder, limit!),
    }));
    try {
      if (this.closed) throw closed();
      if (signal?.aborted) throw signal.reason; // a loss is told to a statement that somebody waits for
      if (losses !== this.#losses) throw this.#loss!; // while it waited, the session ended that it was meant for
      const { lease } = await this.#living();
      this.#used = true;
      this.#holder = { what, since: Date.now() };
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
    // A loop over a query waits for the close() inside of it, so it has to give the connection back.
    const given = await this.#given?.finish?.() !== false;
    const turn = given ? await this.#turns.take() : undefined;
    if (turn === undefined && this.#holding !== undefined) this.#holding.lease.broken ??= closed();
    const open = await this.#holding?.giveBack(new Error("its settings and temporary tables are the session's own"));
    turn?.();
    return open ?? false;
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
      this.#losses++;
      throw this.#loss = sessionLost(cause, { open, held: ANY_STATE });
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

const CUSTOM = "custom settings";

const QUESTION = `SELECT pg_catalog.json_build_object(
  'settings', (SELECT pg_catalog.json_agg(s.name OPERATOR(pg_catalog.||) '=' OPERATOR(pg_catalog.||) s.setting)
    FROM pg_catalog.pg_settings AS s WHERE s.source OPERATOR(pg_catalog.=) 'session'
    AND s.name OPERATOR(pg_catalog.<>) 'client_encoding'),
  '${CUSTOM}', (SELECT pg_catalog.json_agg(n.name OPERATOR(pg_catalog.||) '=' OPERATOR(pg_catalog.||)
      pg_catalog.current_setting(n.name, true)) FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    WHERE pg_catalog.current_setting(n.name, true) OPERATOR(pg_catalog.<>) ''),
  'the role', pg_catalog.json_build_array(session_user::pg_catalog.text OPERATOR(pg_catalog.||) '/'
    OPERATOR(pg_catalog.||) current_user::pg_catalog.text),
  'temporary tables', (SELECT pg_catalog.json_agg(relname::pg_catalog.text) FROM pg_catalog.pg_class
    WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
    AND relkind OPERATOR(pg_catalog.=) ANY ('{r,v,S,p,m}'::pg_catalog."char"[])),
  'temporary functions or types', (SELECT pg_catalog.json_agg(classid::pg_catalog.text OPERATOR(pg_catalog.||) ' '
      OPERATOR(pg_catalog.||) objid::pg_catalog.text) FROM pg_catalog.pg_depend
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
    AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
    AND classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid),
  'prepared statements', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_prepared_statements),
  'cursors', (SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_cursors WHERE is_holdable),
  'LISTEN', (SELECT pg_catalog.json_agg(c) FROM pg_catalog.pg_listening_channels() AS c),
  'advisory locks', (SELECT pg_catalog.json_agg(classid::pg_catalog.text OPERATOR(pg_catalog.||) ' '
      OPERATOR(pg_catalog.||) objid::pg_catalog.text) FROM pg_catalog.pg_locks
    WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()),
  'settings of functions', (SELECT pg_catalog.json_agg(p.proname::pg_catalog.text) FROM (
    SELECT proname FROM pg_catalog.pg_proc WHERE prosrc OPERATOR(pg_catalog.~*)
      $$set_config|\\mset\\s+((session|local)\\s+)?("[^"]+"|\\w+)\\s*\\.|execute[^;]*\\mset\\M$$
    AND pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
    AND pronamespace OPERATOR(pg_catalog.<>) 'information_schema'::pg_catalog.regnamespace::pg_catalog.oid
    ORDER BY 1 LIMIT 1) AS p))::pg_catalog.text AS state`;

/**
 * Asks a server session which state it holds. No catalog lists custom settings such as `app.tenant`, so the server is asked
 * for the settings that statements of this client have named; a function that may make settings counts as one. The client
 * encoding is not state, because it is set back to UTF-8 at once.
 */
export async function askState(client: pg.PoolClient): Promise<SessionState> {
  const named = namedSettings(client);
  const asked = [...named.names];
  const { rows: [row] } = await client.query(QUESTION, [asked]);
  const found: Record<string, string[] | null> = JSON.parse(row.state);
  const state = Object.fromEntries(Object.entries(found).map(([kind, items]) => [kind, items ?? []]));
  const custom = state[CUSTOM]!;
  const kept = new Set(custom.map((item) => item.slice(0, item.indexOf("="))));
  for (const name of asked) if (!kept.has(name)) named.names.delete(name); // it is not set, or was reset
  if (named.others) custom.push("others");
  return state;
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

// @ts-types="@types/pg"
import type pg from "pg";
import type { Endpoint } from "./auth/endpoint.ts";
import type { CredentialCache } from "./auth/token.ts";
import { LakebaseError } from "./errors.ts";
import type { LakebasePool } from "./net/pool.ts";
import { renderCard } from "./notebook/card.ts";
import { type Bundle, DISPLAY } from "./notebook/display.ts";
import type { Result } from "./query/result.ts";
import { run } from "./query/run.ts";
import { poolSession, type Session, transactionSession } from "./query/session.ts";
import { makeSql, type Sql } from "./query/sql.ts";
import { parserSource } from "./query/types.ts";

/** What a {@linkcode Lakebase} is made of. */
export interface LakebaseParts {
  /** The pool, which has logged in once. */
  pool: LakebasePool;
  /** The host that answers. */
  host: string;
  /** The port. */
  port: number;
  /** The database. */
  database: string;
  /** The role. */
  user: string;
  /** The endpoint, where one was looked up. */
  endpoint: Endpoint | undefined;
  /** The OAuth login; `undefined` for a native password. */
  credentials: CredentialCache | undefined;
  /** Whether every transaction is read only. */
  readOnly: boolean;
  /** Stops what belongs to it, such as a Lakebase on this machine. */
  onClose?: () => Promise<void> | void;
}

/** What runs statements: a {@linkcode Lakebase}, or a transaction on it. */
export interface Queryable {
  /** The `sql` tag, for queries that run here. */
  readonly sql: Sql;
  /**
   * Runs one statement.
   *
   * @param text SQL, with `$1`, `$2`, ... where parameters go.
   * @param params The parameters' values.
   * @returns The rows.
   * @throws {LakebaseError} `QUERY_FAILED` with the SQLSTATE, or `CONNECTION_LOST`.
   */
  query<Row = Record<string, unknown>>(text: string, params?: readonly unknown[]): Promise<Result<Row>>;
}

/** How a transaction runs. */
export interface TransactionOptions {
  /** @default {"read committed"} */
  isolation?: "read committed" | "repeatable read" | "serializable";
  /** Whether it may only read. @default {false} */
  readOnly?: boolean;
}

/**
 * A connection to a Lakebase, made by {@linkcode connect}.
 *
 * @example A query with a parameter, and a transaction
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const [row] = await db.query<{ sum: number }>("SELECT 1 + $1::int AS sum", [2]);
 * assert.equal(row?.sum, 3);
 *
 * await db.transaction(async (tx) => {
 *   await tx.query("CREATE TEMP TABLE zones (name text)");
 *   await tx.query("INSERT INTO zones VALUES ($1)", ["Harlem"]);
 * });
 * ```
 */
export class Lakebase implements Queryable, AsyncDisposable {
  /** The `pg.Pool` behind it, for Drizzle, Kysely and others: it logs in, wakes the compute, and heals by itself. */
  readonly pool: pg.Pool;
  /** The `sql` tag, for queries on this connection. */
  readonly sql: Sql;
  readonly #parts: LakebaseParts;
  readonly #session: Session;
  #closing: Promise<void> | undefined;

  /** Made by {@linkcode connect}. */
  constructor(parts: LakebaseParts) {
    this.pool = parts.pool;
    this.#parts = parts;
    this.#session = poolSession(parts.pool, parserSource());
    this.sql = makeSql(() => Promise.resolve(this.#session));
  }

  /** Where the `sql` tag of the module runs its queries. */
  get session(): Session {
    return this.#session;
  }

  /** Whether {@linkcode close} was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * What the server says it is.
   *
   * @returns The text of `SELECT version()`, such as `PostgreSQL 17.5 on x86_64-pc-linux-gnu, ...`.
   * @throws {LakebaseError} As {@linkcode query}.
   */
  async version(): Promise<string> {
    const [row] = await this.query<{ version: string }>("SELECT version()");
    return row!.version;
  }

  /** Runs one statement on any connection of the pool; see {@linkcode Queryable.query}. */
  async query<Row = Record<string, unknown>>(text: string, params: readonly unknown[] = []): Promise<Result<Row>> {
    return await run<Row>(this.#session, { text, values: [...params] });
  }

  /**
   * Runs statements that take effect together or not at all.
   *
   * @param work Gets the transaction; what it returns is returned. When it throws, everything is rolled back.
   * @param options The isolation level, and whether it may write.
   * @throws {LakebaseError} What `work` threw, or `CONNECTION_LOST` where the outcome of the commit is not known.
   */
  async transaction<T>(work: (tx: Queryable) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const begin = beginStatement(options);
    const { client, release } = await this.#session.acquire();
    const session = transactionSession(client, this.#session);
    const query = <Row>(text: string, params: readonly unknown[] = []) =>
      run<Row>(session, { text, values: [...params] });
    let broken: Error | undefined;
    try {
      await query(begin);
      const result = await work({ query, sql: makeSql(() => Promise.resolve(session)) });
      const { command } = await query("COMMIT");
      if (command === "ROLLBACK") throw rolledBack();
      return result;
    } catch (error) {
      await query("ROLLBACK").catch((failure: Error) => broken = failure);
      throw error;
    } finally {
      release(broken);
    }
  }

  /** Closes every connection and ends the renewal of the login; statements that still run have five seconds. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#parts.credentials?.close();
    await this.#parts.pool.end();
    await this.#parts.onClose?.();
  }

  /** {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** How a notebook draws it; no secret is in it. */
  [DISPLAY](): Bundle {
    return renderCard("Lakebase", this.#facts());
  }

  /** How `console.log` prints it; no secret is in it. */
  [Symbol.for("Deno.customInspect")](): string {
    return this[DISPLAY]()["text/plain"]!;
  }

  /** As `console.log`, for Node's `util.inspect`. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this[DISPLAY]()["text/plain"]!;
  }

  #facts(): [string, string][] {
    const { host, port, database, user, endpoint, readOnly, pool } = this.#parts;
    const state = this.closed ? "closed" : `${pool.totalCount} of ${pool.options.max} connections open`;
    return [
      ...(endpoint === undefined ? [] : [["endpoint", endpoint.name] as [string, string]]),
      ["host", `${host}:${port}`],
      ["database", `${database}${readOnly ? " (read only)" : ""}`],
      ["user", user],
      ["login", this.#login()],
      ["pool", state],
    ];
  }

  #login(): string {
    const { credentials } = this.#parts;
    if (credentials === undefined) return "native password";
    const current = credentials.current;
    if (current === undefined) return "OAuth";
    const until = new Date(current.mintedAt + current.lifetime).toISOString().slice(0, 16).replace("T", " ");
    return `OAuth, token until ${until} UTC, renewed by itself`;
  }
}

const ISOLATION: readonly string[] = ["read committed", "repeatable read", "serializable"];

function beginStatement({ isolation = "read committed", readOnly = false }: TransactionOptions): string {
  if (!ISOLATION.includes(isolation)) {
    throw new LakebaseError(
      "BAD_SETTING",
      `Cannot begin a transaction: isolation is "${isolation}"; it must be ${ISOLATION.join(", ")}`,
    );
  }
  return `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}${readOnly ? " READ ONLY" : ""}`;
}

/** COMMIT of a transaction in which a statement failed and was caught answers ROLLBACK, without an error. */
function rolledBack(): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot commit: a statement of this transaction failed before, so the server rolled everything back",
    { sqlstate: "25P02" },
  );
}

import { loadModule } from "../core/lazy_import.ts";
import type { Pool } from "npm:@types/pg@8.23.1";
import type { ExploreOptions } from "../catalog/relation.ts";
import { inTypeScript, LakebaseError } from "../core/errors.ts";
import { type Bundle, DRAW, inNotebook, SelfDrawn } from "../draw/notebook.ts";
import { announceConnection } from "../draw/notices.ts";
import { renderCard } from "../draw/table.ts";
import type { DiffOptions } from "../explore/diff/rows.ts";
import type { Pair, Side } from "../explore/diff/sides.ts";
import type { ListingParts } from "../sql/result.ts";
import type { ProfileOptions } from "../explore/profile.ts";
import type { SchemaInfo, TableInfo } from "../explore/listings.ts";
import { Fragment } from "../sql/fragment.ts";
import { NotebookSession } from "../sql/notebook_session.ts";
import { type QueryOptions, takesNothing } from "../sql/options.ts";
import { ServerSession } from "../sql/server_session.ts";
import { originOf, poolSession, type Session } from "../sql/session.ts";
import { checkWork, currentSession, transactIn, type TransactionOptions } from "../sql/transaction.ts";
import { parserSource } from "../sql/types.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/load.ts";
import type { LoadSource } from "../transfer/load/source.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import { addressesOfTwo, connectionFacts, shortAddress } from "./address.ts";
import type { Branch, BranchOptions } from "./branch.ts";
import type { BranchInfo, DropBranchOptions } from "./branches.ts";
import type { Checkup } from "./check.ts";
import { Lookup } from "./display.ts";
import { checkLakehouse, type Lakehouse, type LakehouseOptions, openLakehouse, volumesOf } from "./lakehouse.ts";
import type { LakebaseParts } from "./open_connection.ts";
import {
  type Listing,
  makeListing,
  type Profile,
  type Result,
  type SchemaDiff,
  type TableDescription,
  type TableDiff,
} from "./result.ts";
import { DatabaseSession, type Queryable, queryable } from "./session.ts";
import type { Sql } from "./sql.ts";

const ROLLED_BACK = "The connection was closed in a transaction, so the changes of the transaction were rolled back";

/** The notice for a connection that a call of connect() with other settings has closed. */
function replacedText(lost: readonly string[]): string {
  return "connect() has closed the connection that was open before, because its settings differ. Lost with its session: " +
    `${lost.join(", ")}. If you need them, rerun the cells that made them`;
}

/**
 * `pg.Pool`, under a name of this module: `deno doc --lint` accepts only the module's own types in its public API.
 * @internal
 */
export type PgPool = Pool;

/** The session in which the queries of a connection run. */
export const SESSION: unique symbol = Symbol("lakebase.session");
/** The parts that a connection is made from. */
export const PARTS: unique symbol = Symbol("lakebase.parts");
/** Closes a connection for a reason, which every later statement on it reports. */
export const CLOSE_BECAUSE: unique symbol = Symbol("lakebase.closeBecause");

/** The open connections. If there are several, each drawing names its own. */
const open = new Set<Lakebase>();

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
export class Lakebase extends SelfDrawn implements Queryable, AsyncDisposable {
  /**
   * The `pg.Pool` of this connection, for Drizzle, Kysely and other libraries. It logs in, wakes the compute, and replaces
   * broken connections. Its queries are never part of a {@linkcode transaction} or a {@linkcode session}: each runs on another
   * connection, and its changes are committed at once.
   */
  readonly pool: PgPool;
  /** The `sql` tag, for queries on this connection. */
  readonly sql: Sql;
  readonly #parts: LakebaseParts;
  readonly #session: Session;
  /** The same session in a notebook, otherwise `undefined`. */
  readonly #notebook: NotebookSession | undefined;
  /** The pool as a session, from which held sessions take their connections. */
  readonly #connections: Session;
  readonly #own: Queryable;
  /** The session for a statement: inside the function of a transaction, the transaction's session. */
  readonly #find = (): Session => currentSession(this.#session);
  /** The Volumes that this connection has used. */
  readonly #volumes = new Set<string>();
  #closing: Promise<void> | undefined;

  /** Made by {@linkcode connect}. */
  constructor(parts: LakebaseParts) {
    super();
    this.pool = parts.pool;
    this.#parts = parts;
    open.add(this);
    this.#connections = poolSession(
      parts.pool,
      parserSource(parts.types),
      () => this.#place(),
      volumesOf(parts.workspace, this.#volumes),
    );
    this.#notebook = inNotebook() ? new NotebookSession(this.#connections, parts.pool) : undefined;
    this.#session = this.#notebook ?? this.#connections;
    this.#own = queryable(this.#find);
    this.sql = this.#own.sql;
  }

  /** @internal */
  get [SESSION](): Session {
    return this.#session;
  }

  /** @internal */
  get [PARTS](): LakebaseParts {
    return this.#parts;
  }

  /** @internal */
  async [CLOSE_BECAUSE](reason: string): Promise<void> {
    this.#parts.pool.endedBecause = reason;
    const lost = await this.#notebook?.heldKinds() ?? [];
    await this.close();
    if (lost.length > 0) await announceConnection(replacedText(lost));
  }

  /** Whether {@linkcode close} was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Gets the server's version.
   *
   * @returns The text of `SELECT version()`, such as `PostgreSQL 17.5 on x86_64-pc-linux-gnu, ...`.
   * @throws {LakebaseError} The errors of {@linkcode query}.
   */
  async version(...none: []): Promise<string> {
    takesNothing("version", none, "connect({ statementTimeout }) limits every statement", "ask for the version");
    const [row] = await this.query<{ version: string }>("SELECT pg_catalog.version()");
    return row!.version;
  }

  /** Runs one statement on any connection of the pool; see {@linkcode Queryable.query}. */
  async query<Row = Record<string, unknown>>(
    text: string,
    params: readonly unknown[] = [],
    ...none: []
  ): Promise<Result<Row>> {
    return await this.#own.query<Row>(text, params, ...none);
  }

  /**
   * Runs statements as one transaction: all of their changes are committed, or none.
   *
   * While `work` runs, the statements that it runs with `tx`, `sql` and this connection (but not its {@linkcode pool}) belong
   * to the transaction. A transaction inside `work` is a savepoint: if it throws, only its own changes are rolled back.
   *
   * @param work Gets the transaction; its return value is returned. If it throws, everything is rolled back. Its statements run
   * one at a time, and none runs after `work` has ended.
   * @param options The isolation level, whether the transaction may write, and what stops it.
   * @throws {LakebaseError} What `work` threw; `QUERY_FAILED` if a statement was still running when `work` returned,
   * because an `await` is missing: everything is rolled back; `CONNECTION_LOST` if the outcome of the commit is not
   * known.
   */
  async transaction<T>(work: (tx: Queryable) => T | PromiseLike<T>, options: TransactionOptions = {}): Promise<T> {
    checkWork(work);
    return await transactIn(this.#find(), (find) => work(queryable(find)), options);
  }

  /**
   * Holds one server session, for temporary tables, `SET`, `PREPARE`, advisory locks, `LISTEN`, and a `BEGIN ... COMMIT` that
   * you write yourself. Use `sql` for single statements, which run on any connection (in a notebook, in the notebook's
   * session); {@linkcode transaction} for statements that are committed together; and a session for state that lasts longer.
   *
   * @returns The session. It keeps one connection of the pool until `await using` or `close()` ends it.
   * @throws {LakebaseError} The errors of connecting; `CONNECT_TIMEOUT` if no connection is free within `connectTimeout`.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * await using session = await db.session();
   * await session.sql`SET search_path = pg_catalog`;
   * await session.sql`CREATE TEMP TABLE chosen AS SELECT 1 AS id`;
   * assert.equal(await session.sql`SELECT count(*) FROM chosen`.value(), 1);
   * ```
   */
  async session(...none: []): Promise<DatabaseSession> {
    takesNothing("session", none, "set what it needs with SET, or give options to connect()", "open a session");
    const session = new ServerSession(this.#connections);
    await session.open();
    return new DatabaseSession(session);
  }

  /**
   * Lists tables, views and other relations. It reads only the catalog.
   *
   * @param pattern A pattern as in psql's `\dt`: `trip*`, `app.*`, `"Odd name"`; `*` is any text, `?` any character. Without a
   * pattern, it lists all relations except those of the system. Partitions are listed only if a pattern matches their names;
   * otherwise they count as part of their table.
   * @returns A row for each relation: `schema`, `name`, `kind`, `rows` (an estimate; `null` if it was never analyzed), `size`
   * (bytes), `comment`. In a cell the list draws itself, with or without `await`.
   * @throws {LakebaseError} `BAD_PARAMETER`, or an error of {@linkcode query}.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * await db.query("CREATE TABLE stations (id int PRIMARY KEY, name text)");
   * const [table] = await db.tables("stat*");
   * assert.deepEqual([table?.schema, table?.name, table?.kind], ["public", "stations", "table"]);
   * assert.ok((await db.schemas()).some(({ name, tables }) => name === "public" && tables === 1));
   * await db.query("DROP TABLE stations");
   * ```
   */
  tables(pattern: string = "*", options: ExploreOptions = {}): Lookup<Listing<TableInfo>> {
    return this.#list(async (find) => {
      const { listTables } = await loadModule(() => import("../explore/listings.ts")); // loaded late, because most programs do not need it
      return await listTables(find, pattern, options);
    });
  }

  /**
   * Lists all schemas except those of the system.
   *
   * @returns A row for each schema: `name`, `owner`, `tables` and `views` (counts), `size` (bytes), `comment`.
   * @throws {LakebaseError} The errors of {@linkcode query}.
   */
  schemas(options: ExploreOptions = {}): Lookup<Listing<SchemaInfo>> {
    return this.#list(async (find) => {
      const { listSchemas } = await loadModule(() => import("../explore/listings.ts"));
      return await listSchemas(find, options);
    });
  }

  /**
   * Describes a table or view. It reads only the catalog.
   *
   * @param table `trips`, `public.trips`, quoted as in SQL if needed, or `sql.id("public", "trips")`. A name with capitals
   * means the table with exactly that name if there is one, otherwise the name in lower case, as in SQL.
   * @returns A row for each column: `name`, `type`, `nullable`, `default`, `key`, `comment`; and as properties `schema`,
   * `name`, `kind`, `rows` (an estimate), `size` (bytes), `comment`, `indexes` and `constraints`.
   * @throws {LakebaseError} `QUERY_FAILED` with SQLSTATE `42P01` and a suggestion if there is no such table; `BAD_PARAMETER`; or
   * an error of {@linkcode query}.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * await db.query("CREATE TABLE docks (id int PRIMARY KEY, name text NOT NULL DEFAULT 'new')");
   * const columns = await db.describe("docks");
   * assert.deepEqual(columns.map(({ name, type, key }) => [name, type, key]), [
   *   ["id", "integer", "primary"],
   *   ["name", "text", null],
   * ]);
   * assert.equal(columns.indexes[0]?.name, "docks_pkey");
   * await db.query("DROP TABLE docks");
   * ```
   */
  describe(table: string | Fragment, options: ExploreOptions = {}): Lookup<TableDescription> {
    return this.#list(async (find) => {
      const { describeTable } = await loadModule(() => import("../explore/describe.ts"));
      return await describeTable(find, table, options);
    });
  }

  /**
   * Computes statistics of each column of a table or a query. The database computes them, in one read-only transaction.
   * It reads a random sample of 50,000 rows if a table has more than 200,000 rows, and only the first 200,000 rows of a
   * query. In these cases `sampled` is true, and the drawing says so. The option `sample` sets another number of rows;
   * `Infinity` reads all of them.
   *
   * @param what A table in any form that {@linkcode describe} takes, or a query: `` sql`SELECT ...` ``. The query runs
   * once for every 20 columns.
   * @returns A row for each column: `column`, `type`, `count`, `nulls`, `distinct`, `min`, `p25`, `median`, `p75`, `max`,
   * `mean` and `top` (up to five values with their counts); and as properties `rows`, `of` and `sampled`.
   * @throws {LakebaseError} The errors of {@linkcode describe}.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const profile = await db.profile(db.sql`SELECT n, n % 2 = 0 AS even FROM generate_series(1, 4) AS n`);
   * assert.deepEqual(profile.map(({ column, distinct, median }) => [column, distinct, median]), [["n", 4, 2.5], ["even", 2, null]]);
   * assert.deepEqual(profile[1]?.top, [{ value: false, count: 2 }, { value: true, count: 2 }]);
   * ```
   */
  profile(what: string | Fragment, options: ProfileOptions = {}): Lookup<Profile> {
    return this.#list(async (find) => {
      const { profileRows } = await loadModule(() => import("../explore/profile.ts"));
      return await profileRows(find, what, options);
    });
  }

  /**
   * Compares the schema of this database with that of another one, usually of a branch: tables, columns, constraints, indexes,
   * triggers, policies, views, sequences, functions, types, schemas and extensions. It reads only the catalogs. It is not a
   * migration tool: it makes no SQL, and leaves out owners, privileges, comments and settings of storage.
   *
   * @param other The other connection. Objects that only it has were `added`; objects that only this one has were
   * `removed`.
   * @returns A row for each object that differs: `change`, `kind`, `name`, and the definitions `before` (here) and `after`
   * (there); and as properties the counts `added`, `removed`, `changed` and `total`. The parts of a table that was added or
   * removed are not listed separately. In a cell it draws itself.
   * @throws {LakebaseError} `BAD_PARAMETER` if the two can't be compared; or an error of {@linkcode query}.
   */
  diff(other: Lakebase, options?: Omit<DiffOptions, "limit">): Lookup<SchemaDiff>;
  /**
   * Compares the rows of a table with those of the same table in another database, usually of a branch. Both servers add up
   * hashes of their rows in groups, and only the rows of groups that differ are fetched. Each database is read in a single
   * state (`REPEATABLE READ`), and values are compared as the texts that the servers write.
   *
   * Rows are matched by the primary key, or else by another unique index without NULLs, if both tables have it. Without such
   * a key, equal rows are counted.
   *
   * @param other The other connection. Rows that only it has were `added`, rows that only this one has were `removed`.
   * @param table A table in any form that {@linkcode describe} takes; a view has no key.
   * @param options `limit` is the maximum number of rows to keep, 1,000 by default. All rows that differ are counted.
   * @returns A row for each row that differs: `change`, `key`, `columns` (the names of those that differ), `before` (here) and
   * `after` (there); and as properties the counts `added`, `removed`, `changed` and `total`, the `key`, the columns that `only`
   * one table has, the `types` that differ, and how many rows were `fetched`. In a cell it draws itself.
   * @throws {LakebaseError} `QUERY_FAILED` with SQLSTATE `42P01` if one database has no such table; `BAD_PARAMETER` if the two
   * can't be compared; or an error of {@linkcode query}.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using here = await connect({ local: true });
   * await using there = await connect({ local: { projects: [{ id: "copy" }] } });
   * for (const db of [here, there]) await db.sql`CREATE TABLE trips AS SELECT n AS id, n * 1.5 AS fare FROM generate_series(1, 9) AS n`;
   * for (const db of [here, there]) await db.sql`ALTER TABLE trips ADD PRIMARY KEY (id)`;
   * await there.sql`DELETE FROM trips WHERE fare < 3`;
   * await there.sql`UPDATE trips SET fare = 0 WHERE id = 7`;
   * const diff = await here.diff(there, "trips");
   * assert.deepEqual([diff.added, diff.removed, diff.changed], [0, 1, 1]);
   * assert.deepEqual(diff.map(({ change, key, columns }) => [change, key, columns]), [
   *   ["removed", { id: 1 }, []],
   *   ["changed", { id: 7 }, ["fare"]],
   * ]);
   * ```
   */
  diff(other: Lakebase, table: string | Fragment, options?: DiffOptions): Lookup<TableDiff>;
  diff(
    other: Lakebase,
    what: string | Fragment | DiffOptions = {},
    options: DiffOptions = {},
  ): Lookup<SchemaDiff> | Lookup<TableDiff> {
    const listing = async <Row, Facts extends object>(
      compare: (sides: Pair<Side>) => Promise<ListingParts<Row, Facts>>,
    ) => {
      const { transaction } = originOf(this.#find());
      return makeListing(await compare(this.#beside(other)), { transaction });
    };
    if (typeof what === "string" || what instanceof Fragment) {
      return new Lookup(() =>
        listing(async (sides) => {
          const { diffRows } = await loadModule(() => import("../explore/diff/rows.ts"));
          return await diffRows(sides, what, options);
        })
      );
    }
    return new Lookup(() =>
      listing(async (sides) => {
        const { diffSchemas } = await loadModule(() => import("../explore/diff/schema.ts"));
        return await diffSchemas(sides, what);
      })
    );
  }

  /** This connection and another one, as the two sides of a comparison. */
  #beside(other: Lakebase): Pair<Side> {
    if (!(other instanceof Lakebase) || other === this) {
      const found = other === this ? "itself" : other === null ? "null" : typeof other;
      throw new LakebaseError(
        "BAD_PARAMETER",
        `Cannot compare this connection with ${found}; ${
          inTypeScript(
            'diff() takes another connection: db.diff(await connect({ ... }), "trips")',
            "name another branch than the one that the command is connected to",
          )
        }`,
      );
    }
    const [here, there] = addressesOfTwo(this.#parts, other.#parts);
    return { before: { find: this.#find, name: here }, after: { find: other.#find, name: there } };
  }

  /**
   * Runs each step of connecting again, on a new connection, and says what to do about the first step that fails. Use it for a
   * connection that used to work; if `connect()` itself fails, use the module's `check()`. Each Volume that the connection has
   * used has a step too.
   *
   * @returns A row for each step: `step`, `outcome`, `detail`, `ms`; and `ok` as a property. In a cell it draws itself.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * assert.equal((await db.check()).ok, true);
   * ```
   */
  check(...none: []): Lookup<Checkup> {
    return new Lookup(async () => {
      takesNothing("check", none, "the options of connecting were given to connect()");
      return await this.#parts.check([...this.#volumes]);
    });
  }

  /**
   * Writes the rows of a table or query to a file or a stream; see {@linkcode Queryable.pull}.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const file = `${await Deno.makeTempDir()}/numbers.csv`;
   * const pulled = await db.pull(db.sql`SELECT n, n * ${2}::int AS double FROM generate_series(1, 3) n`, file);
   * assert.deepEqual([pulled.rows, pulled.path], [3, file]);
   * assert.equal(await Deno.readTextFile(file), "n,double\n1,2\n2,4\n3,6\n");
   * ```
   */
  pull(what: string | Fragment, target: PullTarget, options: PullOptions = {}): Promise<PullResult> {
    return this.#own.pull(what, target, options);
  }

  /**
   * Loads rows into a table, all of them or none; see {@linkcode Queryable.load}.
   *
   * A column that no row has gets its default; a column that only some rows have is NULL in the others. Objects and lists
   * become JSON or arrays, depending on the column's type. Generated columns are left out.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const loaded = await db.load("zones", [{ id: 1, name: "Harlem" }, { id: 2, name: "SoHo" }], { create: true });
   * assert.deepEqual([loaded.table, loaded.rows, loaded.created], ["public.zones", 2, true]);
   * await db.query("DROP TABLE zones");
   * ```
   */
  load(table: string | Fragment, source: LoadSource, options: LoadOptions = {}): Promise<LoadResult> {
    return this.#own.load(table, source, options);
  }

  /**
   * Finds a SQL warehouse of the same workspace, with the same login. A warehouse that is stopped is started.
   *
   * @param options The warehouse, and the catalog and schema in which it looks for names.
   * @throws {LakebaseError} `ENDPOINT_NOT_FOUND`; `ENDPOINT_AMBIGUOUS` if several fit, with a list of them and their states;
   * `WORKSPACE_AUTH`, `WORKSPACE_UNAVAILABLE`; `BAD_PARAMETER`; `BAD_SETTING` if this connection has no workspace.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const lake = await db.lakehouse({ catalog: "main" });
   * assert.equal(await lake.sql`SELECT ${20} + ${22}`.value(), 42);
   * ```
   */
  async lakehouse(options: LakehouseOptions = {}): Promise<Lakehouse> {
    const { warehouse = this.#parts.warehouse, catalog, schema, signal } = checkLakehouse(options);
    const workspace = this.#parts.workspace?.();
    if (workspace !== undefined) return await openLakehouse(workspace, { warehouse, catalog, schema }, { signal });
    throw new LakebaseError(
      "BAD_SETTING",
      "Cannot open the lakehouse: this connection has a native password and no workspace; use lakehouse() with the " +
        "workspace's own login",
    );
  }

  /**
   * Makes a branch, and connects to it with the settings of this connection. A branch is a copy of the whole database, as
   * it is now or as it was at a given moment. The branch is deleted by its `close()`, by `await using`, or at the end of the
   * script. If nothing deletes it, it expires after a day.
   *
   * @param options The moment, the name, and the lifetime of the branch.
   * @returns A connection to the branch.
   * @throws {LakebaseError} `WORKSPACE_REFUSED` if a limit is reached, the name is taken, or the moment is too long ago;
   * the message says what to do; `BAD_PARAMETER`; `BAD_SETTING` if this connection has no workspace, or is to an instance
   * of Lakebase Provisioned; `CANCELED`. If the branch exists already when an error occurs, it is deleted, or the error
   * names it.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * await using copy = await db.branch({ name: "sketch", ttl: 3600 });
   * assert.equal(copy.name, "sketch");
   * assert.equal((await db.branches()).find(({ name }) => name === "sketch")?.parent, "production");
   * ```
   */
  async branch(options: BranchOptions = {}): Promise<Branch> {
    this.#checkOpen("make a branch");
    const { makeBranch } = await loadModule(() => import("./branch.ts"));
    return await makeBranch(this.#parts, options);
  }

  /**
   * Lists the branches of the project.
   *
   * @returns A row for each branch: `name`, `state`, `parent`, `created`, `expires`, `size` (bytes), `default`, `protected`,
   * `connected`. In a cell the list draws itself.
   * @throws {LakebaseError} The errors of {@linkcode branch}.
   */
  branches(options: Pick<QueryOptions, "signal" | "timeout"> = {}): Lookup<Listing<BranchInfo>> {
    return new Lookup(async () => {
      this.#checkOpen("list the branches");
      const { listBranches } = await loadModule(() => import("./branches.ts"));
      return makeListing(await listBranches(this.#parts, options));
    });
  }

  /**
   * Deletes a branch of the project, except the default branch, a protected branch, a branch that others were made from,
   * and a branch that this program is connected to.
   *
   * @param name The branch's id, or `projects/p/branches/b`.
   * @param options Whether the branch can be restored.
   * @throws {LakebaseError} `ENDPOINT_NOT_FOUND`; `BAD_PARAMETER` for a branch that must not be deleted; or an error of
   * {@linkcode branch}.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * await (await db.branch({ name: "kept", keep: true })).close();
   * await db.dropBranch("kept");
   * assert.equal((await db.branches()).length, 1);
   * ```
   */
  async dropBranch(name: string, options: DropBranchOptions = {}): Promise<void> {
    this.#checkOpen("drop the branch");
    const [{ dropBranch }, { branchOf }] = await Promise.all([
      loadModule(() => import("./branches.ts")),
      loadModule(() => import("../auth/branch.ts")),
    ]);
    await dropBranch(this.#parts, name, options, [...open].map((db) => branchOf(db.#parts.endpoint?.name)));
  }

  /** Closes all connections and stops renewing the login. Statements that are still running get five seconds to finish. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    open.delete(this);
    await this.#notebook?.close();
    this.#parts.credentials?.close();
    await this.#parts.pool.end();
    if (this.#notebook?.rolledBack) await announceConnection(ROLLED_BACK);
    await this.#parts.onClose?.();
  }

  /** The same as {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #list<Row, Facts extends object>(
    read: (find: () => Session) => Promise<ListingParts<Row, Facts>>,
  ): Lookup<Listing<Row> & Facts> {
    return new Lookup(async () => {
      const session = this.#find();
      return makeListing(await read(() => session), originOf(session));
    });
  }

  #checkOpen(doing: string): void {
    if (this.closed) {
      throw new LakebaseError("CLOSED", `Cannot ${doing}: the connection was closed; call connect() again`);
    }
  }

  #place(): string | undefined {
    if (open.size < 2) return undefined;
    return shortAddress(this.#parts, [...open].filter((other) => other !== this).map((other) => other.#parts));
  }

  /** @internal */
  override [DRAW](): Bundle {
    return renderCard("Lakebase", connectionFacts(this.#parts, this.closed));
  }
}

import { loadModule } from "../core/lazy_import.ts";
import type { Workspace } from "../auth/workspace.ts";
import { LakebaseError, optionName } from "../core/errors.ts";
import { countText } from "../core/text.ts";
import { BUILT_IN } from "../core/type_names.ts";
import { readVolumePath } from "../core/file_store.ts";
import { type Bundle, DRAW, SelfDrawn } from "../draw/notebook.ts";
import { announceEnvFile } from "../draw/notices.ts";
import { elapsedText, renderCard } from "../draw/table.ts";
import type { LakehouseColumn, LakehouseSchema, LakehouseTable, QueryRows } from "../lake/catalog.ts";
import type { Warehouse } from "../lake/warehouse.ts";
import type { ConnectOptions } from "../settings/options.ts";
import { checkUnstoppable, type OptionChecks, STOP_CHECKS, takesNothing } from "../sql/options.ts";
import type { OpenVolumes } from "../sql/session.ts";
import { type StopOptions, stoppable } from "../sql/stop.ts";
import { Lookup } from "./display.ts";
import { leaseLocal } from "./local_server.ts";
import { type Listing, makeListing } from "./result.ts";
import { type Sql, sqlFor } from "./sql.ts";
import type { WarehouseEngine } from "./warehouse_engine.ts";

/** The SQL warehouse, and the catalog and schema in which it looks for names. */
export interface LakehouseOptions {
  /**
   * The id or the name of the warehouse. Environment: `DATABRICKS_WAREHOUSE_ID`.
   * @default {the only one that the login may use}
   */
  warehouse?: string;
  /** The catalog for names that do not give one. @default {the warehouse's} */
  catalog?: string;
  /** The schema for names that do not give one. @default {the warehouse's} */
  schema?: string;
  /** Cancels the search for the warehouse. */
  signal?: AbortSignal;
}

/** {@linkcode LakehouseOptions}, and the workspace; see the options of `connect()`. */
export interface WorkspaceLakehouseOptions extends LakehouseOptions {
  /** A profile of `~/.databrickscfg`. Environment: `DATABRICKS_CONFIG_PROFILE`. */
  profile?: string;
  /** A `WorkspaceClient` of `@databricks/sdk-experimental` to use instead of one made from the environment. */
  workspace?: NonNullable<ConnectOptions["workspace"]>;
  /** The file to read as `.env`, or `false` for none. */
  envFile?: string | false;
  /** Uses the SQL warehouse of a Lakebase on this machine, which is started on first use. @default {false} */
  local?: NonNullable<ConnectOptions["local"]>;
}

/** The names of catalogs and schemas that Unity Catalog accepts. A warehouse itself checks a name only after it has started. */
const NAME = /^[^\p{Cc}\p{Cs} ./]{1,255}$/u;
const isName = (example: string) =>
  [
    (value: unknown) => typeof value === "string" && NAME.test(value),
    `a name such as "${example}": at most 255 characters, without dots, slashes, spaces and control characters`,
  ] as const;
const CHECKS: OptionChecks<LakehouseOptions> = {
  signal: STOP_CHECKS.signal,
  warehouse: [(value: unknown) => typeof value === "string" && value.trim() !== "", "a name or an id"],
  catalog: isName("main"),
  schema: isName("taxi"),
};
const NO_OPTIONS = "a signal or a timeout is for queries: lake.sql`...`.with({ timeout: 5 })";
/** No check: these options are checked with the other settings. */
const checkedLater = [() => true, ""] as const;

/**
 * Finds a SQL warehouse of the workspace, for a program that uses no Lakebase; a program that uses one calls
 * `db.lakehouse()`. A warehouse that is stopped is started.
 *
 * @param options The warehouse and the workspace.
 * @throws {LakebaseError} `ENDPOINT_NOT_FOUND`; `ENDPOINT_AMBIGUOUS` if several fit, with a list and their states;
 * `WORKSPACE_AUTH`, `WORKSPACE_UNAVAILABLE`; `BAD_SETTING`, `BAD_PARAMETER`.
 *
 * @example
 * ```ts
 * import { lakehouse } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using lake = await lakehouse({ local: true });
 * assert.equal(await lake.sql`SELECT ${20} + ${22}`.value(), 42);
 * ```
 */
export async function lakehouse(options: WorkspaceLakehouseOptions = {}): Promise<Lakehouse> {
  const checks = {
    ...CHECKS,
    profile: checkedLater,
    workspace: checkedLater,
    envFile: checkedLater,
    local: checkedLater,
  };
  const { warehouse, catalog, schema, signal, ...workspaceOptions } = checkOptions(options, checks);
  const [{ readWorkspaceSettings }, { openWorkspace }] = await Promise.all([
    loadModule(() => import("../settings/read_settings.ts")),
    loadModule(() => import("./open_connection.ts")),
  ]);
  const read = await readWorkspaceSettings(workspaceOptions, leaseLocal);
  if (read.envFile !== undefined) announceEnvFile(read.envFile);
  try {
    const names = { warehouse: warehouse ?? read.warehouse, catalog, schema };
    return await openLakehouse(openWorkspace(read.settings), names, { signal }, read.releaseLocal);
  } catch (error) {
    await read.releaseLocal();
    throw error;
  }
}

/** Checks the options of `Lakebase.lakehouse`. */
export function checkLakehouse(options: LakehouseOptions): LakehouseOptions {
  return checkOptions(options, CHECKS);
}

function checkOptions<Options extends object>(options: Options, checks: OptionChecks<Options>): Options {
  return checkUnstoppable("open the lakehouse", options, checks, '{ warehouse: "etl" }');
}

/** Finds the warehouse of a workspace. @param release Releases what was started for the lakehouse. */
export async function openLakehouse(
  workspace: Workspace,
  { warehouse, catalog, schema }: { [name in "warehouse" | "catalog" | "schema"]: string | undefined },
  stops: StopOptions,
  release: () => Promise<void> = async () => {},
): Promise<Lakehouse> {
  const [{ openWarehouse }, { warehouseEngine, WarehouseEngine }] = await Promise.all([
    loadModule(() => import("../lake/warehouse.ts")),
    loadModule(() => import("./warehouse_engine.ts")),
  ]);
  using stop = stoppable(stops, "finding the warehouse");
  const opened = await openWarehouse(workspace, { warehouse, catalog, schema }, stop.signal);
  const { origin } = await workspace.origin().then((address) => new URL(address));
  const engine = new WarehouseEngine(opened, volumesOf(() => workspace));
  return new Lakehouse({ warehouse: opened, engine, sql: sqlFor(warehouseEngine(engine)), workspace: origin, release });
}

/** Runs the statements of a lakehouse. */
export const ENGINE: unique symbol = Symbol("lakebase.engine");

/** The parts that a {@linkcode Lakehouse} is made from. */
interface LakehouseParts {
  /** The warehouse. */
  warehouse: Warehouse;
  /** Runs its statements. */
  engine: WarehouseEngine;
  /** The tag. */
  sql: Sql;
  /** The address of the workspace. */
  workspace: string;
  /** Releases what was started for the lakehouse. */
  release: () => Promise<void>;
}

/**
 * A SQL warehouse, in which Databricks computes on the tables of the workspace's catalogs, however many rows they have.
 * Made by `db.lakehouse()` or {@linkcode lakehouse}.
 *
 * Its queries are like those of a Lakebase, in the dialect of the warehouse. `${values}` are bound as named parameters
 * with their types; a warehouse takes no arrays. Each statement is submitted once, and commits its own changes, because a
 * warehouse has no transactions.
 *
 * @example From the lakehouse into a Lakebase
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const lake = await db.lakehouse();
 * const numbers = lake.sql`SELECT n, n * ${2} AS double FROM generate_series(1, 3) AS n`;
 * assert.deepEqual(await numbers.first(), { n: 1, double: 2 });
 * assert.equal((await db.load("numbers", numbers, { create: true })).rows, 3);
 * await db.query("DROP TABLE numbers");
 * ```
 */
export class Lakehouse extends SelfDrawn implements AsyncDisposable {
  /** The `sql` tag, for queries in this warehouse. `sql.id()` writes backticks here. */
  readonly sql: Sql;
  readonly #parts: LakehouseParts;

  /** Made by `db.lakehouse()`. */
  constructor(parts: LakehouseParts) {
    super();
    this.sql = parts.sql;
    this.#parts = parts;
  }

  /** @internal */
  get [ENGINE](): WarehouseEngine {
    return this.#parts.engine;
  }

  /** The warehouse's id and name. */
  get warehouse(): { readonly id: string; readonly name: string } {
    const { id, name } = this.#parts.warehouse.info;
    return { id, name };
  }

  /**
   * Lists tables and views of a catalog.
   *
   * @param pattern `trip*`, `taxi.*`, `main.taxi.trip?`; `*` is any text, `?` any character.
   * @returns A row for each: `catalog`, `schema`, `name`, `kind`, `comment`. In a cell the list draws itself.
   * @throws {LakebaseError} The errors of a query; `BAD_PARAMETER` if more than 10,000 match.
   */
  tables(pattern: string = "*", ...none: []): Lookup<Listing<LakehouseTable>> {
    return this.#list(["catalog", "schema", "name", "kind", "comment"], async (ask) => {
      takesNothing("tables", none, NO_OPTIONS, "list the tables");
      const { listTables } = await loadModule(() => import("../lake/catalog.ts"));
      return await listTables(ask, pattern, this.#parts.warehouse.catalog);
    }, (count) => countText(count, "table"));
  }

  /**
   * Lists the schemas of the catalog.
   *
   * @returns A row for each: `catalog`, `name`, `owner`, `comment`.
   * @throws {LakebaseError} The errors of a query.
   */
  schemas(...none: []): Lookup<Listing<LakehouseSchema>> {
    return this.#list(["catalog", "name", "owner", "comment"], async (ask) => {
      takesNothing("schemas", none, NO_OPTIONS, "list the schemas");
      const { listSchemas } = await loadModule(() => import("../lake/catalog.ts"));
      return await listSchemas(ask, this.#parts.warehouse.catalog);
    }, (count) => countText(count, "schema"));
  }

  /**
   * Describes a table or a view.
   *
   * @param table `trips`, `taxi.trips` or `main.taxi.trips`.
   * @returns A row for each column: `name`, `type`, `nullable`, `default`, `comment`.
   * @throws {LakebaseError} `QUERY_FAILED` with SQLSTATE `42P01` and a suggestion if there is no such table; or another
   * error of a query.
   */
  describe(table: string, ...none: []): Lookup<Listing<LakehouseColumn>> {
    return this.#list(["name", "type", "nullable", "default", "comment"], async (ask) => {
      takesNothing("describe", none, NO_OPTIONS, "describe the table");
      const { describeTable } = await loadModule(() => import("../lake/catalog.ts"));
      const { catalog, schema } = this.#parts.warehouse;
      return await describeTable(ask, table, { catalog, schema });
    }, (count) => `${table}: ${countText(count, "column")}`);
  }

  /** Stops what `lakehouse({ local })` started. A warehouse of a workspace keeps running until it has been idle for a while. */
  async close(): Promise<void> {
    const { untilAllCanceled } = await loadModule(() => import("../lake/warehouse.ts"));
    await untilAllCanceled();
    await this.#parts.release();
  }

  /** The same as {@linkcode close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #list<Row extends object>(
    names: readonly (keyof Row & string)[],
    read: (queryRows: QueryRows) => Promise<Row[]>,
    title: (count: number) => string,
  ): Lookup<Listing<Row>> {
    const { engine } = this.#parts;
    return new Lookup(async () => {
      const started = performance.now();
      const rows = await read((query) => engine.ask(query, {}));
      const elapsed = performance.now() - started;
      const typeOf = (name: string) => name === "nullable" ? "bool" : "text";
      const fields = names.map((name) => ({ name, key: name, type: typeOf(name), oid: BUILT_IN[typeOf(name)]![0] }));
      const draw = (drawn: readonly Row[]) => ({
        columns: fields,
        rows: drawn.map((row) => names.map((name) => row[name])),
        footer: `${title(drawn.length)}, ${elapsedText(elapsed)}`,
      });
      return makeListing({ rows, fields, elapsed, facts: {}, draw }, { place: engine.place });
    });
  }

  /** @internal */
  override [DRAW](): Bundle {
    const { warehouse: { info: { id, name }, catalog, schema }, workspace } = this.#parts;
    return renderCard("Lakehouse", [
      ["workspace", workspace],
      ["warehouse", `${name} (${id})`],
      ...(catalog === undefined ? [] : [["catalog", catalog] as const]),
      ...(schema === undefined ? [] : [["schema", schema] as const]),
    ]);
  }
}

/**
 * Opens the Volumes of the workspace that a connection's login belongs to.
 *
 * @param workspace Gives the workspace; `undefined` for a native password, which belongs to no workspace.
 * @param used Collects the Volumes that are opened, for a checkup.
 */
export function volumesOf(workspace: (() => Workspace) | undefined, used?: Set<string>): OpenVolumes {
  return async (path, signal) => {
    if (workspace === undefined) {
      throw new LakebaseError(
        "BAD_SETTING",
        `Cannot open ${path}: this connection has a native password, which belongs to no workspace; connect with the login ` +
          `of a workspace, or give the option ${optionName("workspace")} too`,
      );
    }
    const volume = readVolumePath(path);
    if (typeof volume !== "string") used?.add(volume.root);
    const { Volumes } = await loadModule(() => import("../lake/volumes.ts")); // loaded late, because most programs do not need it
    return new Volumes(workspace(), { signal });
  };
}

import { IS_USERS, kindIs } from "../catalog/relation.ts";
import { sendToKernel } from "../draw/notebook.ts";
import type { Session } from "../sql/session.ts";

/** Of a database with more columns, only a part is completed. */
const MAX_COLUMNS = 10_000;
/** The approximate size of a message. */
const MAX_BYTES = 1_000_000;
/** The catalog is read again after this time, because other sessions make tables too. */
const STALE_MS = 15_000;

const tablesWhere = (wanted: string) =>
  `SELECT n.nspname AS schema, c.relname AS name, c.relkind::pg_catalog.text AS kind,
  pg_catalog.pg_table_is_visible(c.oid) AS visible,
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname,
      pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull) ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) AS columns
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${kindIs("r", "p", "v", "m", "f")} AND NOT c.relispartition AND ${wanted}
  ORDER BY visible DESC, 1, 2 LIMIT 3000`;

/** Types whose values only the server can make. */
const UNCALLABLE = ["internal", "cstring"] as const;

/** Functions and procedures that a person can call: no trigger functions, and none with values that only the server can make. */
const functionsWhere = (wanted: string) =>
  `SELECT n.nspname AS schema, p.proname AS name, pg_catalog.pg_get_function_arguments(p.oid) AS args,
  coalesce(pg_catalog.pg_get_function_result(p.oid), '') AS result, pg_catalog.pg_function_is_visible(p.oid) AS visible
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  WHERE ${wanted}
  AND p.prorettype OPERATOR(pg_catalog.<>) ALL (ARRAY[${
    [...UNCALLABLE, "trigger", "event_trigger"].map((type) => `'pg_catalog.${type}'::pg_catalog.regtype`).join(", ")
  }]::pg_catalog.oid[])
  ${
    UNCALLABLE.map((type) =>
      `AND 'pg_catalog.${type}'::pg_catalog.regtype::pg_catalog.oid OPERATOR(pg_catalog.<>) ALL (p.proargtypes)`
    ).join(" ")
  }
  ORDER BY 1, 2 LIMIT 4000`;

const USERS = [tablesWhere(IS_USERS), functionsWhere(IS_USERS)] as const;
const SYSTEM = [
  tablesWhere("n.nspname OPERATOR(pg_catalog.=) ANY ('{pg_catalog,information_schema}')"),
  // One function of each name: the others differ only in their types.
  functionsWhere(
    `n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' AND p.oid OPERATOR(pg_catalog.=) (SELECT pg_catalog.min(q.oid)
      FROM pg_catalog.pg_proc AS q WHERE q.proname OPERATOR(pg_catalog.=) p.proname
      AND q.pronamespace OPERATOR(pg_catalog.=) p.pronamespace)`,
  ),
] as const;

/** The time after a cell when the catalog is read. An embedded database runs one statement at a time, and the next cell goes first. */
const QUIET_MS = 300;
/** The same before the first catalog, when there is nothing to complete with. */
const FIRST_MS = 50;

/**
 * Sends the kernel the catalog of the database, for completion in `%%sql` cells: in the background, while no cell runs, and
 * only if a connection is free.
 */
export class CatalogSender {
  readonly #names = new Set<string>();
  #running = 0;
  #sending = false;
  /** What is to be read next. */
  #wanted: Wanted | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What the kernel has the whole catalog of. */
  #sent: object | undefined;
  #sentAt = -Infinity;

  /** Pauses while a cell runs. Dispose of the returned object when the cell has ended. */
  pause(): Disposable {
    this.#running++;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return {
      [Symbol.dispose]: () => {
        this.#running--;
        this.#schedule();
      },
    };
  }

  /**
   * Takes note of the connection that a cell used, and sends its catalog if that may have changed.
   *
   * @param session The session of the connection.
   * @param name The connection's name in the notebook.
   */
  use(session: Session, name?: string): void {
    const wanted: Wanted = {
      of: session,
      delay: () => systemCatalogs.has(session) ? QUIET_MS : FIRST_MS,
      send: (connections, isBusy) => sendCatalog(session, connections, isBusy),
    };
    session.learned.onChange = () => this.#request(wanted);
    this.#use(wanted, name, STALE_MS);
  }

  /**
   * {@linkcode use} for a lakehouse, whose catalog is read less often: a statement on a warehouse costs money.
   *
   * @param lakehouse The lakehouse.
   * @param name Its name in the notebook.
   */
  useLakehouse(lakehouse: LakehouseCatalog, name?: string): void {
    const send = async (connections: string[], isBusy: () => boolean) => {
      if (isBusy()) return false;
      await sendToKernel("lakebase_catalog", { connections, ...await findLakehouseCatalog(lakehouse) });
      return true;
    };
    this.#use({ of: lakehouse, delay: () => QUIET_MS, send }, name, STALE_LAKEHOUSE_MS);
  }

  #use(wanted: Wanted, name: string | undefined, stale: number): void {
    const isNew = name !== undefined && !this.#names.has(name);
    if (isNew) this.#names.add(name);
    if (isNew || this.#sent !== wanted.of || Date.now() - this.#sentAt >= stale) this.#request(wanted);
  }

  #request(wanted: Wanted): void {
    this.#wanted = wanted;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#wanted === undefined || this.#running > 0 || this.#sending) return;
    this.#timer = setTimeout(() => this.#send(), this.#wanted.delay());
    Deno.unrefTimer(this.#timer);
  }

  async #send(): Promise<void> {
    const { of, send } = this.#wanted!;
    this.#wanted = undefined;
    this.#timer = undefined;
    this.#sending = true;
    // Nobody waits for the message, and completion goes on with the last one.
    const whole = await send([...this.#names], () => this.#running > 0).catch(() => false);
    this.#sending = false;
    this.#sent = whole ? of : undefined;
    this.#sentAt = Date.now();
    this.#schedule();
  }
}

/** A catalog that is to be read and sent. */
interface Wanted {
  /** What it is the catalog of. */
  of: object;
  /** The milliseconds to wait before it is read. */
  delay: () => number;
  /** Reads and sends it. Returns whether that was all of it. */
  send: (connections: string[], isBusy: () => boolean) => Promise<boolean>;
}

/** The names of a lakehouse. */
export interface LakehouseCatalog {
  /** Lists the columns of the tables of the catalog. */
  columnNames(
    most: number,
  ): Promise<{ catalog: string | undefined; schema: string | undefined; columns: ColumnName[] }>;
}

/** A column, with its table. */
export interface ColumnName {
  schema: string;
  table: string;
  column: string;
  type: string;
  nullable: boolean;
}

/** How long the catalog of a lakehouse stays as it is, for completion. */
const STALE_LAKEHOUSE_MS = 600_000;

/** The catalog of a lakehouse, as the kernel's `parseCatalog` takes it. */
export async function findLakehouseCatalog(lakehouse: LakehouseCatalog): Promise<FoundCatalog & { catalog: string }> {
  const { catalog = "", schema = "default", columns } = await lakehouse.columnNames(MAX_COLUMNS);
  const tables = new Map<
    string,
    { schema: string; name: string; kind: string; visible: boolean; columns: unknown[] }
  >();
  for (const { schema: own, table, column, type, nullable } of columns) {
    const key = JSON.stringify([own, table]);
    const found = tables.get(key) ?? { schema: own, name: table, kind: "r", visible: own === schema, columns: [] };
    found.columns.push([column, type, !nullable]);
    tables.set(key, found);
  }
  return { ...bounded([...tables.values()], []), catalog };
}

/** The system's own catalog. It never changes, and reading it takes much longer than reading a person's tables. */
const systemCatalogs = new WeakMap<Session, FoundCatalog>();

/** Sends the person's own catalog, then the system's too. Returns whether both were sent: connections or the notebook may be busy. */
async function sendCatalog(session: Session, connections: string[], isBusy: () => boolean): Promise<boolean> {
  const whole = systemCatalogs.has(session);
  for (const withSystem of whole ? [true] : [false, true]) {
    if (isBusy()) return false;
    const found = await findCatalog(session, withSystem);
    if (found === undefined) return false;
    await sendToKernel("lakebase_catalog", { connections, ...found });
  }
  return true;
}

/**
 * The catalog of a database, cut to the size of a message.
 *
 * @param session The session to read it in.
 * @param withSystem Whether to add the system's own catalog.
 * @returns The catalog, as the kernel's `parseCatalog` takes it; `undefined` where every connection is busy.
 */
export async function findCatalog(session: Session, withSystem: boolean): Promise<FoundCatalog | undefined> {
  const own = await lookUp(session, USERS);
  const system = withSystem
    ? systemCatalogs.get(session) ?? await lookUp(session, SYSTEM)
    : { tables: [], functions: [] };
  if (own === undefined || system === undefined) return undefined;
  if (withSystem) systemCatalogs.set(session, system);
  return bounded([...own.tables, ...system.tables], [...own.functions, ...system.functions]);
}

type Rows = Record<string, unknown>[];

/** The tables and functions of a database, the person's own first. */
export interface FoundCatalog {
  tables: Rows;
  functions: Rows;
}

async function lookUp(
  session: Session,
  [tables, functions]: readonly [string, string],
): Promise<FoundCatalog | undefined> {
  const all = async (text: string) => {
    // One row in any case: no row means that no connection was free.
    const [row] = await session.lookUp(
      `SELECT (SELECT pg_catalog.json_agg(found) FROM (${text}) AS found)::pg_catalog.text AS found`,
      [],
    );
    return row && JSON.parse(String(row["found"] ?? "[]")) as Rows;
  };
  const found = { tables: await all(tables), functions: await all(functions) };
  return found.tables && found.functions && { tables: found.tables, functions: found.functions };
}

/** Cuts a catalog to the size of a message. The person's own part comes first, so the system's is cut. */
function bounded(tables: Rows, functions: Rows): FoundCatalog {
  let bytes = 0;
  let columns = 0;
  const fits = (item: unknown, count: number) => {
    bytes += JSON.stringify(item).length;
    columns += count;
    return bytes <= MAX_BYTES && columns <= MAX_COLUMNS;
  };
  return {
    tables: tables.map(({ schema, name, kind, visible, columns }) => ({
      schema,
      name,
      kind,
      visible,
      columns: (columns ?? []) as unknown[],
    })).filter((table) => fits(table, table.columns.length)),
    functions: functions.map(({ schema, name, args, result, visible }) => ({ schema, name, args, result, visible }))
      .filter((item) => fits(item, 0)),
  };
}

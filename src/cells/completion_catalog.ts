import { IS_USER_SCHEMA, kindIs } from "../catalog/relation.ts";
import { sendToKernel } from "../draw/notebook.ts";
import type { Session } from "../sql/session.ts";

/** The maximum number of columns to send. Completion does not offer the columns beyond it. */
const MAX_COLUMNS = 10_000;
/** The approximate maximum size of a message. */
const MAX_BYTES = 1_000_000;
/** The catalog is read again after this time, because other sessions also create tables. */
const STALE_MS = 15_000;

const tablesWhere = (condition: string) =>
  `SELECT n.nspname AS schema, c.relname AS name, c.relkind::pg_catalog.text AS kind,
  pg_catalog.pg_table_is_visible(c.oid) AS visible,
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname,
      pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull) ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) AS columns
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE ${kindIs("r", "p", "v", "m", "f")} AND NOT c.relispartition AND ${condition}
  ORDER BY visible DESC, 1, 2 LIMIT 3000`;

/** Types whose values only the server can make. */
const UNCALLABLE = ["internal", "cstring"] as const;

/**
 * Reads the functions and procedures that SQL can call. Trigger functions and functions of {@linkcode UNCALLABLE} types
 * are left out.
 */
const functionsWhere = (condition: string) =>
  `SELECT n.nspname AS schema, p.proname AS name, pg_catalog.pg_get_function_arguments(p.oid) AS args,
  coalesce(pg_catalog.pg_get_function_result(p.oid), '') AS result, pg_catalog.pg_function_is_visible(p.oid) AS visible
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  WHERE ${condition}
  AND p.prorettype OPERATOR(pg_catalog.<>) ALL (ARRAY[${
    [...UNCALLABLE, "trigger", "event_trigger"].map((type) => `'pg_catalog.${type}'::pg_catalog.regtype`).join(", ")
  }]::pg_catalog.oid[])
  ${
    UNCALLABLE.map((type) =>
      `AND 'pg_catalog.${type}'::pg_catalog.regtype::pg_catalog.oid OPERATOR(pg_catalog.<>) ALL (p.proargtypes)`
    ).join(" ")
  }
  ORDER BY 1, 2 LIMIT 4000`;

const USER_NAMES = [tablesWhere(IS_USER_SCHEMA), functionsWhere(IS_USER_SCHEMA)] as const;
const SYSTEM_NAMES = [
  tablesWhere("n.nspname OPERATOR(pg_catalog.=) ANY ('{pg_catalog,information_schema}')"),
  // One function of each name, since the others differ only in their types.
  functionsWhere(
    `n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' AND p.oid OPERATOR(pg_catalog.=) (SELECT pg_catalog.min(q.oid)
      FROM pg_catalog.pg_proc AS q WHERE q.proname OPERATOR(pg_catalog.=) p.proname
      AND q.pronamespace OPERATOR(pg_catalog.=) p.pronamespace)`,
  ),
] as const;

/**
 * The time between a cell and reading the catalog, so that the next cell can run first: an embedded database has one
 * backend.
 */
const QUIET_MS = 300;
/** The same time, but before the first catalog. It is short, because completion has no names until then. */
const FIRST_MS = 50;

/**
 * Sends the catalog of the database to the kernel, for completion in `%%sql` cells. It works in the background, while no cell
 * runs, and only if a connection is free.
 */
export class CatalogSender {
  readonly #names = new Set<string>();
  #running = 0;
  #sending = false;
  /** The catalog to read next. */
  #requested: CatalogRequest | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The session or lakehouse whose complete catalog the kernel has. */
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
   * Notes the connection that a cell has used, and sends its catalog if the catalog may have changed.
   *
   * @param session The session of the connection.
   * @param name The connection's name in the notebook.
   */
  use(session: Session, name?: string): void {
    const request: CatalogRequest = {
      source: session,
      delay: () => systemCatalogs.has(session) ? QUIET_MS : FIRST_MS,
      send: (connections, isBusy) => sendCatalog(session, connections, isBusy),
    };
    session.catalog.onChange = () => this.#request(request);
    this.#use(request, name, STALE_MS);
  }

  /**
   * {@linkcode use} for a lakehouse, whose catalog is read less often because a statement on a warehouse costs money.
   *
   * @param lakehouse The lakehouse.
   * @param name Its name in the notebook.
   */
  useLakehouse(lakehouse: LakehouseCatalog, name?: string): void {
    const send = async (connections: string[], isBusy: () => boolean) => {
      if (isBusy()) return false;
      await sendToKernel("lakebase_catalog", { connections, ...await recentLakehouseCatalog(lakehouse) });
      return true;
    };
    this.#use({ source: lakehouse, delay: () => QUIET_MS, send }, name, STALE_LAKEHOUSE_MS);
  }

  #use(request: CatalogRequest, name: string | undefined, staleAfter: number): void {
    const isNew = name !== undefined && !this.#names.has(name);
    if (isNew) this.#names.add(name);
    if (isNew || this.#sent !== request.source || Date.now() - this.#sentAt >= staleAfter) this.#request(request);
  }

  #request(request: CatalogRequest): void {
    this.#requested = request;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#requested === undefined || this.#running > 0 || this.#sending) return;
    this.#timer = setTimeout(() => this.#send(), this.#requested.delay());
    Deno.unrefTimer(this.#timer);
  }

  async #send(): Promise<void> {
    const { source, send } = this.#requested!;
    this.#requested = undefined;
    this.#timer = undefined;
    this.#sending = true;
    // Nobody waits for the message, and completion continues with the last catalog.
    const isComplete = await send([...this.#names], () => this.#running > 0).catch(() => false);
    this.#sending = false;
    this.#sent = isComplete ? source : undefined;
    this.#sentAt = Date.now();
    this.#schedule();
  }
}

/** A request to read and send a catalog. */
interface CatalogRequest {
  /** The session or lakehouse that has the catalog. */
  source: object;
  /** The milliseconds to wait before reading it. */
  delay: () => number;
  /** Reads and sends the catalog. Returns whether all of it was sent. */
  send: (connections: string[], isBusy: () => boolean) => Promise<boolean>;
}

/** The names of a lakehouse. */
export interface LakehouseCatalog {
  /** Lists the columns of the tables of the catalog. */
  columnNames(
    maxColumns: number,
  ): Promise<{ catalog: string | undefined; schema: string | undefined; columns: ColumnName[] }>;
}

/** A column, with its table. */
interface ColumnName {
  schema: string;
  table: string;
  column: string;
  type: string;
  nullable: boolean;
}

/** The catalog of a lakehouse is read again after this time. */
const STALE_LAKEHOUSE_MS = 600_000;

/** The last read of each lakehouse's catalog: its time, and its result, which may be a failure. */
const lakehouseReads = new WeakMap<LakehouseCatalog, { readAt: number; catalog: Promise<SentLakehouseCatalog> }>();

/**
 * Gives the catalog of a lakehouse. It is read again only after ten minutes, even if cells on other connections have run in
 * the meantime.
 */
export function recentLakehouseCatalog(lakehouse: LakehouseCatalog): Promise<SentLakehouseCatalog> {
  const last = lakehouseReads.get(lakehouse);
  if (last !== undefined && Date.now() - last.readAt < STALE_LAKEHOUSE_MS) return last.catalog;
  const catalog = findLakehouseCatalog(lakehouse);
  lakehouseReads.set(lakehouse, { readAt: Date.now(), catalog });
  return catalog;
}

/** The tables of a lakehouse, and the name of the catalog. */
type SentLakehouseCatalog = SentCatalog & { catalog: string };

/** The catalog of a lakehouse, in the form that the kernel's `parseCatalog` takes. */
export async function findLakehouseCatalog(lakehouse: LakehouseCatalog): Promise<SentLakehouseCatalog> {
  const { catalog = "", schema = "default", columns } = await lakehouse.columnNames(MAX_COLUMNS);
  const tables = new Map<
    string,
    { schema: string; name: string; kind: string; visible: boolean; columns: unknown[] }
  >();
  for (const { schema: tableSchema, table, column, type, nullable } of columns) {
    const key = JSON.stringify([tableSchema, table]);
    const listed = tables.get(key) ??
      { schema: tableSchema, name: table, kind: "r", visible: tableSchema === schema, columns: [] };
    listed.columns.push([column, type, !nullable]);
    tables.set(key, listed);
  }
  return { ...cutToMessage([...tables.values()], []), catalog };
}

/** The system's names of each session. They never change, and reading them takes much longer than reading a person's. */
const systemCatalogs = new WeakMap<Session, SentCatalog>();

/** Sends the person's names, and then the system's as well. Returns whether both were sent, since every connection may be busy. */
async function sendCatalog(session: Session, connections: string[], isBusy: () => boolean): Promise<boolean> {
  for (const withSystem of systemCatalogs.has(session) ? [true] : [false, true]) {
    if (isBusy()) return false;
    const catalog = await findCatalog(session, withSystem);
    if (catalog === undefined) return false;
    await sendToKernel("lakebase_catalog", { connections, ...catalog });
  }
  return true;
}

/**
 * The catalog of a database, cut to the size of a message.
 *
 * @param session The session to read it in.
 * @param withSystem Whether to add the names of the system.
 * @returns The catalog, in the form that the kernel's `parseCatalog` takes; `undefined` if every connection is busy.
 */
export async function findCatalog(session: Session, withSystem: boolean): Promise<SentCatalog | undefined> {
  const users = await readCatalog(session, USER_NAMES);
  const system = withSystem
    ? systemCatalogs.get(session) ?? await readCatalog(session, SYSTEM_NAMES)
    : { tables: [], functions: [] };
  if (users === undefined || system === undefined) return undefined;
  if (withSystem) systemCatalogs.set(session, system);
  return cutToMessage([...users.tables, ...system.tables], [...users.functions, ...system.functions]);
}

type CatalogRows = Record<string, unknown>[];

/** The tables and functions of a database, with the person's own first. */
interface SentCatalog {
  tables: CatalogRows;
  functions: CatalogRows;
}

async function readCatalog(
  session: Session,
  [tables, functions]: readonly [string, string],
): Promise<SentCatalog | undefined> {
  const readRows = async (text: string) => {
    // The statement always gives one row, so no row means that no connection was free.
    const [row] = await session.queryIfFree(
      `SELECT (SELECT pg_catalog.json_agg(item) FROM (${text}) AS item)::pg_catalog.text AS items`,
      [],
    );
    return row && JSON.parse(String(row["items"] ?? "[]")) as CatalogRows;
  };
  const [tableRows, functionRows] = [await readRows(tables), await readRows(functions)];
  return tableRows && functionRows && { tables: tableRows, functions: functionRows };
}

/** Cuts a catalog to the size of a message. The system's names come last, so they are cut first. */
function cutToMessage(tables: CatalogRows, functions: CatalogRows): SentCatalog {
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

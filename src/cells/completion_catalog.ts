import { IS_USERS, kindIs } from "../catalog/relation.ts";
import { sendToKernel } from "../draw/notebook.ts";
import type { Session } from "../sql/session.ts";

/** Columns at most; a larger database is completed in part. */
const MOST_COLUMNS = 10_000;
/** Bytes at most, about. */
const MOST_BYTES = 1_000_000;
/** After this long it is looked up anew, since tables are made elsewhere too. */
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

/** What only the server itself can make. */
const UNCALLABLE = ["internal", "cstring"] as const;

/** Functions and procedures that can be called by name: none that takes or gives what only the server itself can make. */
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

const OWN = [tablesWhere(IS_USERS), functionsWhere(IS_USERS)] as const;
const SYSTEM = [
  tablesWhere("n.nspname OPERATOR(pg_catalog.=) ANY ('{pg_catalog,information_schema}')"),
  // One of each name: the others are much the same.
  functionsWhere(
    `n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' AND p.oid OPERATOR(pg_catalog.=) (SELECT pg_catalog.min(q.oid)
      FROM pg_catalog.pg_proc AS q WHERE q.proname OPERATOR(pg_catalog.=) p.proname
      AND q.pronamespace OPERATOR(pg_catalog.=) p.pronamespace)`,
  ),
] as const;

/** So long after the last cell nobody seems to be waiting for the database: an embedded one does one thing at a time. */
const QUIET_MS = 300;
/** The first time there is nothing yet to complete with. */
const FIRST_MS = 50;

/**
 * Tells the kernel what the database has, for completion in its `%%sql` cells: in the background, while none of them runs,
 * and only where a connection is free.
 */
export class CatalogueSender {
  readonly #names = new Set<string>();
  #running = 0;
  #sending = false;
  /** Where to look next. */
  #wanted: Session | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sent: Session | undefined;
  #at = -Infinity;

  /** A cell begins; dispose of what is returned when it ends. */
  pause(): Disposable {
    this.#running++;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return {
      [Symbol.dispose]: () => {
        this.#running--;
        this.#soon();
      },
    };
  }

  /**
   * Takes note of a connection in use, and sends what it has where that may be news.
   *
   * @param session Where statements run.
   * @param name The connection's name in the notebook.
   */
  heed(session: Session, name?: string): void {
    session.learned.onChange = () => this.#want(session);
    const isNew = name !== undefined && !this.#names.has(name);
    if (isNew) this.#names.add(name);
    if (isNew || this.#sent !== session || Date.now() - this.#at >= STALE_MS) this.#want(session);
  }

  #want(session: Session): void {
    this.#wanted = session;
    this.#soon();
  }

  #soon(): void {
    if (this.#timer !== undefined || this.#wanted === undefined || this.#running > 0 || this.#sending) return;
    this.#timer = setTimeout(() => this.#send(), systems.has(this.#wanted) ? QUIET_MS : FIRST_MS);
    Deno.unrefTimer(this.#timer);
  }

  async #send(): Promise<void> {
    const session = this.#wanted!;
    this.#wanted = undefined;
    this.#timer = undefined;
    this.#sending = true;
    // Nobody waits for it, and completion goes on with what it has.
    const whole = await broadcast(session, [...this.#names], () => this.#running > 0).catch(() => false);
    this.#sending = false;
    this.#sent = whole ? session : undefined;
    this.#at = Date.now();
    this.#soon();
  }
}

/** The system's own never changes, and takes much longer to look up than a person's few tables. */
const systems = new WeakMap<Session, Found>();

/** Sends what there is, a person's own first; whether that is all, since the connections or the notebook may be busy. */
async function broadcast(session: Session, connections: string[], isBusy: () => boolean): Promise<boolean> {
  const whole = systems.has(session);
  for (const withSystem of whole ? [true] : [false, true]) {
    if (isBusy()) return false;
    const found = await findCatalogue(session, withSystem);
    if (found === undefined) return false;
    await sendToKernel("lakebase_catalog", { connections, ...found });
  }
  return true;
}

/**
 * What a database has, within the bounds of a message.
 *
 * @param session Where to look.
 * @param withSystem Adds the system's own.
 * @returns As the kernel's `parseCatalog` takes it; `undefined` where every connection is busy.
 */
export async function findCatalogue(session: Session, withSystem: boolean): Promise<Found | undefined> {
  const own = await lookUp(session, OWN);
  const system = withSystem ? systems.get(session) ?? await lookUp(session, SYSTEM) : { tables: [], functions: [] };
  if (own === undefined || system === undefined) return undefined;
  if (withSystem) systems.set(session, system);
  return bounded([...own.tables, ...system.tables], [...own.functions, ...system.functions]);
}

type Rows = Record<string, unknown>[];

/** Tables and functions, the person's own first. */
export interface Found {
  tables: Rows;
  functions: Rows;
}

async function lookUp(session: Session, [tables, functions]: readonly [string, string]): Promise<Found | undefined> {
  const all = async (text: string) => {
    // One row, so that nothing found is told from no connection to look on.
    const [row] = await session.lookUp(
      `SELECT (SELECT pg_catalog.json_agg(found) FROM (${text}) AS found)::pg_catalog.text AS found`,
      [],
    );
    return row && JSON.parse(String(row["found"] ?? "[]")) as Rows;
  };
  const found = { tables: await all(tables), functions: await all(functions) };
  return found.tables && found.functions && { tables: found.tables, functions: found.functions };
}

/** The person's own come first, so what is cut off is the system's. */
function bounded(tables: Rows, functions: Rows): Found {
  let bytes = 0;
  let columns = 0;
  const fits = (item: unknown, count: number) => {
    bytes += JSON.stringify(item).length;
    columns += count;
    return bytes <= MOST_BYTES && columns <= MOST_COLUMNS;
  };
  return {
    tables: tables.map(({ schema, name, kind, visible, columns }) => ({
      ...{ schema, name, kind, visible },
      columns: (columns ?? []) as unknown[],
    })).filter((table) => fits(table, table.columns.length)),
    functions: functions.map(({ schema, name, args, result, visible }) => ({ schema, name, args, result, visible }))
      .filter((item) => fits(item, 0)),
  };
}

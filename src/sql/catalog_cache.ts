// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import { isBuiltIn } from "../core/type_names.ts";
import type { Statement } from "./fragment.ts";
import type { WireValue } from "./parameter.ts";
import type { WireField } from "./result.ts";

/** Runs a query on the database's catalog, and returns its rows. */
export type CatalogQuery = (text: string, values: readonly unknown[]) => Promise<Record<string, unknown>[]>;

/**
 * Names of types, and the element types of arrays. If the element is a domain, this gives the type below it. Arrays
 * whose elements are not separated by commas do not count as arrays.
 */
const TYPES_QUERY = `WITH RECURSIVE found AS (
    SELECT t.oid, pg_catalog.format_type(t.oid, NULL) AS name, 0 AS depth,
      CASE WHEN t.typoutput OPERATOR(pg_catalog.=) 'pg_catalog.array_out'::pg_catalog.regproc AND e.typdelim::pg_catalog.text
        OPERATOR(pg_catalog.=) ',' THEN t.typelem ELSE 0 END AS element
    FROM pg_catalog.pg_type AS t LEFT JOIN pg_catalog.pg_type AS e ON e.oid OPERATOR(pg_catalog.=) t.typelem
    WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
  UNION ALL
    SELECT f.oid, f.name, f.depth OPERATOR(pg_catalog.+) 1, d.typbasetype FROM found AS f JOIN pg_catalog.pg_type AS d
      ON d.oid OPERATOR(pg_catalog.=) f.element AND d.typtype OPERATOR(pg_catalog.=) 'd'
  )
  SELECT oid::pg_catalog.int8, name, element::pg_catalog.int8 FROM found ORDER BY depth`;

const TABLES_QUERY = `SELECT attrelid::pg_catalog.int8, attnum, NOT attnotnull AS nullable FROM pg_catalog.pg_attribute
  WHERE attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND attnum OPERATOR(pg_catalog.>) 0`;

/**
 * Words of statements that may change tables or functions. The server's tag is not enough, because it calls `SELECT
 * INTO` a SELECT.
 */
const CHANGES = /\b(?:create|alter|drop|import|rename|comment\s+on)\b|\binto\b(?<!\b(?:insert|merge)\s+into)/i;
/** The most characters of a statement that are searched for those words. */
const MAX_SEARCHED = 1_000_000;

/** The most statements that are remembered as small, and the most characters of each. */
const [MAX_SMALL, MAX_SMALL_LENGTH] = [500, 5000];

/** What is known of a database's own types and tables, until a statement changes them. */
export class CatalogCache {
  /** The names of types, by oid. */
  readonly types: Map<number, string> = new Map();
  /** The element type of each array type; 0 for a type that is no array. */
  readonly elements: Map<number, number> = new Map();
  /** Whether a column takes NULL, by the oid of its table and its number there. */
  readonly tables: Map<number, Map<number, boolean>> = new Map();

  /** The last statements whose rows were no more than a cell shows. */
  readonly small: Set<string> = new Set();

  /** Called when a statement may have changed tables or functions. */
  onChange: (() => void) | undefined;
  #changed = false;

  /**
   * Forgets what a statement may have changed, and reports the change.
   *
   * @param tag The server's command tag; the last one if several statements were sent.
   * @param text The text that was sent.
   */
  invalidate(tag: string, text: string): void {
    if (this.onChange !== undefined && CHANGES.test(text.slice(0, MAX_SEARCHED))) {
      this.#changed = true;
      this.onChange?.();
    }
    if (!/^(ALTER|CREATE|DROP|ROLLBACK)/.test(tag)) return;
    this.types.clear();
    this.elements.clear();
    this.tables.clear();
  }

  /** Remembers whether a statement had few rows. If so, it runs to its end in one round trip the next time. */
  rememberSize(text: string, small: boolean): void {
    if (!small) this.small.delete(text);
    else if (text.length <= MAX_SMALL_LENGTH && !this.small.has(text)) {
      if (this.small.size >= MAX_SMALL) this.small.clear();
      this.small.add(text);
    }
  }

  /** Reports the changes of a transaction once it has ended, because others see them only then. */
  committed(): void {
    if (this.#changed) this.onChange?.();
    this.#changed = false;
  }

  /** Whether the types of some columns are known. */
  hasTypes(fields: readonly WireField[]): boolean {
    for (const { dataTypeID } of fields) if (!isBuiltIn(dataTypeID) && !this.types.has(dataTypeID)) return false;
    return true;
  }

  /** Looks up the types that are not known yet; one round trip, or none. Tells whether any was looked up. */
  async fetchTypes(fields: readonly WireField[], catalogQuery: CatalogQuery): Promise<boolean> {
    if (this.hasTypes(fields)) return false;
    const oids = fields.map(({ dataTypeID }) => dataTypeID).filter((oid) => !isBuiltIn(oid) && !this.types.has(oid));
    for (const { oid, name, element } of await catalogQuery(TYPES_QUERY, [`{${[...new Set(oids)].join(",")}}`])) {
      this.types.set(Number(oid), String(name));
      this.elements.set(Number(oid), Number(element));
    }
    return true;
  }

  /** Looks up the columns of tables that are not known yet; one round trip, or none. Tells whether any was looked up. */
  async fetchTables(fields: readonly WireField[], catalogQuery: CatalogQuery): Promise<boolean> {
    const oids = fields.map(({ tableID = 0 }) => tableID).filter((oid) => oid > 0 && !this.tables.has(oid));
    if (oids.length === 0) return false;
    for (
      const { attrelid, attnum, nullable } of await catalogQuery(TABLES_QUERY, [`{${[...new Set(oids)].join(",")}}`])
    ) {
      const columns = this.tables.get(Number(attrelid)) ?? new Map<number, boolean>();
      this.tables.set(Number(attrelid), columns.set(Number(attnum), Boolean(nullable)));
    }
    return true;
  }
}

/** Runs the catalog queries on a connection. */
export function catalogQueryOn(client: pg.PoolClient): CatalogQuery {
  return async (text, values) => (await client.query(text, [...values])).rows;
}

const JSON_OIDS = [114, 3802];

/** Selects the types among `$1` that are `json` or `jsonb`, or domains over them. */
const JSON_TYPES_QUERY = `WITH RECURSIVE base(type, oid) AS (
    SELECT t.oid, t.oid FROM pg_catalog.pg_type AS t WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
  UNION ALL
    SELECT b.type, t.typbasetype FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) b.oid
      AND t.typtype OPERATOR(pg_catalog.=) 'd'
  )
  SELECT type::pg_catalog.int8 AS oid FROM base WHERE oid OPERATOR(pg_catalog.=) ANY ('{114,3802}'::pg_catalog.oid[])`;

/**
 * Returns the values of a statement, with each empty array as `{}`. For a JSON parameter the value stays as it is, so that
 * the server refuses it, because `{}` would be an empty object.
 *
 * @param parameters The oids of the parameters' types.
 */
export async function settleEmptyArrays(
  { values, emptyArrays = [] }: Statement,
  parameters: readonly number[],
  catalogQuery: CatalogQuery,
): Promise<WireValue[]> {
  const unknown = emptyArrays.map((index) => parameters[index]!).filter((oid) => !isBuiltIn(oid));
  const jsonTypes = unknown.length === 0
    ? []
    : await catalogQuery(JSON_TYPES_QUERY, [`{${[...new Set(unknown)].join(",")}}`]);
  const json = new Set([...JSON_OIDS, ...jsonTypes.map(({ oid }) => Number(oid))]);
  return values.map((value, index) => emptyArrays.includes(index) && !json.has(parameters[index]!) ? "{}" : value);
}

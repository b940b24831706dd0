// @ts-types="npm:@types/pg@8.23.1"
import type pg from "npm:pg@8.23.1";
import type { WireField } from "./result.ts";
import { isBuiltIn } from "../core/type_names.ts";

/** Asks the database for rows. */
export type LookUp = (text: string, values: readonly unknown[]) => Promise<Record<string, unknown>[]>;

/**
 * Names of types, and the element types of arrays. If the element is a domain, this gives the type below it. Arrays
 * whose elements are not separated by commas do not count as arrays.
 */
const TYPES = `WITH RECURSIVE found AS (
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

const TABLES = `SELECT attrelid::pg_catalog.int8, attnum, NOT attnotnull AS nullable FROM pg_catalog.pg_attribute
  WHERE attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND attnum OPERATOR(pg_catalog.>) 0`;

/**
 * Words of statements that may change tables or functions. The server's tag is not enough, because it calls `SELECT
 * INTO` a SELECT.
 */
const CHANGES = /\b(?:create|alter|drop|import|rename|comment\s+on)\b|\binto\b(?<!\b(?:insert|merge)\s+into)/i;
/** Characters of a statement that are searched for those words. */
const LONGEST = 1_000_000;

/** The most statements whose size is kept, and the most characters of each. */
const [MOST_KEPT, LONGEST_KEPT] = [500, 5000];

/** Facts about a database's own types and tables, kept until a statement changes them. */
export class Learned {
  /** The names of types, by oid. */
  readonly types: Map<number, string> = new Map();
  /** The element type of each array type; 0 for a type that is no array. */
  readonly elements: Map<number, number> = new Map();
  /** Whether a column takes NULL, by the table's oid and the column's number. */
  readonly tables: Map<number, Map<number, boolean>> = new Map();

  /** The last statements that had no more rows than were asked for. */
  readonly small: Set<string> = new Set();

  /** Called when a statement may have changed tables or functions. */
  onChange: (() => void) | undefined;
  #changed = false;

  /**
   * Forgets what a statement may have changed.
   *
   * @param tag The server's command tag; the last one if several statements were sent.
   * @param text The text that was sent.
   */
  statementRan(tag: string, text: string): void {
    if (this.onChange !== undefined && CHANGES.test(text.slice(0, LONGEST))) {
      this.#changed = true;
      this.onChange?.();
    }
    if (!/^(ALTER|CREATE|DROP|ROLLBACK)/.test(tag)) return;
    this.types.clear();
    this.elements.clear();
    this.tables.clear();
  }

  /** Remembers whether a statement had few rows. If so, it runs to its end in one round trip the next time. */
  keepSize(text: string, small: boolean): void {
    if (!small) this.small.delete(text);
    else if (text.length <= LONGEST_KEPT && !this.small.has(text)) {
      if (this.small.size >= MOST_KEPT) this.small.clear();
      this.small.add(text);
    }
  }

  /** Reports the changes of a transaction once it has ended, because others see them only then. */
  committed(): void {
    if (this.#changed) this.onChange?.();
    this.#changed = false;
  }

  /** Whether the types of some columns are known. */
  knowsTypes(fields: readonly WireField[]): boolean {
    for (const { dataTypeID } of fields) if (!isBuiltIn(dataTypeID) && !this.types.has(dataTypeID)) return false;
    return true;
  }

  /** Asks for the types that are not known yet; one round trip, or none. */
  async learnTypes(fields: readonly WireField[], lookUp: LookUp): Promise<boolean> {
    if (this.knowsTypes(fields)) return false;
    const oids = fields.map(({ dataTypeID }) => dataTypeID).filter((oid) => !isBuiltIn(oid) && !this.types.has(oid));
    for (const { oid, name, element } of await lookUp(TYPES, [`{${[...new Set(oids)].join(",")}}`])) {
      this.types.set(Number(oid), String(name));
      this.elements.set(Number(oid), Number(element));
    }
    return true;
  }

  /** Asks for the columns of tables that are not known yet; one round trip, or none. */
  async learnTables(fields: readonly WireField[], lookUp: LookUp): Promise<boolean> {
    const oids = fields.map(({ tableID = 0 }) => tableID).filter((oid) => oid > 0 && !this.tables.has(oid));
    if (oids.length === 0) return false;
    for (const { attrelid, attnum, nullable } of await lookUp(TABLES, [`{${[...new Set(oids)].join(",")}}`])) {
      const columns = this.tables.get(Number(attrelid)) ?? new Map<number, boolean>();
      this.tables.set(Number(attrelid), columns.set(Number(attnum), Boolean(nullable)));
    }
    return true;
  }
}

/** Makes a look-up that runs its queries on a given connection. */
export function lookUpOn(client: pg.PoolClient): LookUp {
  return async (text, values) => (await client.query(text, [...values])).rows;
}

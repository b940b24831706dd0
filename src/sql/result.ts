import { typeName } from "../core/type_names.ts";
import { keepTexts, type TextColumn } from "../draw/cell.ts";
import type { Fact, ResultOrigin, TableOptions } from "../draw/table.ts";
import type { TypeParser } from "../settings/options.ts";
import type { CatalogCache } from "./catalog_cache.ts";
import type { Notice } from "./exchange.ts";
import type { Session } from "./session.ts";
import { asText, columnParser, isDrawnFromText, type ParserSource } from "./types.ts";

/** What is known of a statement that has run, besides its rows. */
export interface Outcome extends ResultOrigin {
  /** The columns. */
  readonly fields: readonly Field[];
  /** The command tag that the server reports, such as `INSERT 0 3`. */
  readonly tag: string;
  /** Whether the server had more rows than were fetched. */
  readonly more: boolean;
  /** Milliseconds from sending the statement to its last row. */
  readonly elapsed: number;
  /** The server's notices and warnings. */
  readonly notices: readonly Notice[];
  /** Asks the catalog about the columns, and returns what is known about them. */
  readonly describe: () => Promise<readonly Field[]>;
  /** The session that the statement ran in; `undefined` if the rows do not come from a single statement. */
  readonly session?: Session;
}

/** Names the property with the outcome of the statement that returned the rows. */
export const OUTCOME: unique symbol = Symbol("lakebase.outcome");

/**
 * The rows of a statement. Rows are added as they arrive; the outcome is set once the statement has ended.
 * @internal
 */
export class StatementRows<Row = Record<string, unknown>> extends Array<Row> {
  /** A single property, because several properties on an array would cost more than a small query. */
  #outcome!: Outcome;

  /** The outcome of the statement. */
  get [OUTCOME](): Outcome {
    return this.#outcome;
  }
  set [OUTCOME](outcome: Outcome) {
    this.#outcome = outcome;
  }

  /** Makes `map` and `filter` return plain arrays. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/** One column of a result. */
export interface Field {
  /** The column's name, as the server sent it. */
  readonly name: string;
  /** The column's key in a row: its name, or `name_2` if an earlier column has that name. */
  readonly key: string;
  /**
   * The Postgres type, such as `int8` or `text[]`; `oid 16385` for a type that the catalog does not know.
   */
  readonly type: string;
  /** The type's oid. */
  readonly oid: number;
  /** The oid of the column's table; missing if the column belongs to no table. */
  readonly table?: number;
  /** The column's number in that table, from 1. */
  readonly column?: number;
  /**
   * Whether the table's column takes NULL; missing until the catalog was read. (An outer join can put NULL into any column.)
   */
  readonly nullable?: boolean;
}

/** A column as the server describes it. */
export interface WireField {
  /** The column's name. */
  name: string;
  /** The type's oid. */
  dataTypeID: number;
  /** The table's oid; 0 for none. */
  tableID?: number;
  /** The column's number in the table; 0 for none. */
  columnID?: number;
}

/**
 * Describes the columns of a result.
 *
 * @param fields The columns, as the server describes them.
 * @param catalog What is known of the database's own types and tables.
 * @returns One field for each column, with a key that no earlier one has.
 */
export function fieldsOf(fields: readonly WireField[], catalog?: CatalogCache): Field[] {
  const keys = keysOf(fields.map((field) => field.name));
  return fields.map(({ name, dataTypeID: oid, tableID: table = 0, columnID: column = 0 }, index) => {
    const field: Field = { name, key: keys[index]!, type: catalog?.types.get(oid) ?? typeName(oid), oid };
    if (table === 0 || column <= 0) return field;
    const nullable = catalog?.tables.get(table)?.get(column);
    return nullable === undefined ? { ...field, table, column } : { ...field, table, column, nullable };
  });
}

/** Returns the keys of columns in a row: their names, made distinct. The second of two columns `name` becomes `name_2`. */
export function keysOf(names: readonly string[]): readonly string[] {
  const distinct = new Set(names);
  if (distinct.size === names.length) return names;
  const used = new Set<string>();
  const numbers = new Map<string, number>(); // counting from 2 for each column would take quadratic time
  return names.map((name) => {
    let key = name;
    if (used.has(name)) {
      let number = numbers.get(name) ?? 2;
      while (distinct.has(`${name}_${number}`)) number++;
      numbers.set(name, number + 1);
      key = `${name}_${number}`;
    }
    used.add(key);
    return key;
  });
}

/** The values of a row, as the server sent them. */
export type WireRow = readonly (string | null)[];

/** The most rows whose texts from the server are kept for drawing. */
const MAX_KEPT_TEXTS = 1000;

const PROPERTY = { configurable: true, enumerable: true, writable: true };

/** Turns the texts of a result's rows into objects. */
export class RowReader {
  readonly #fields: readonly Field[];
  readonly #keys: string[] = [];
  readonly #parsers: TypeParser[] = [];
  readonly #emptyRow: Record<string, unknown> = {};
  readonly #textColumns = new Map<string, TextColumn>();
  /** The number of rows whose texts are still to be kept. */
  #textsToKeep: number;

  /**
   * Creates a reader for the columns of a result.
   *
   * @param fields The columns.
   * @param types How texts become JavaScript values.
   * @param catalog What is known about the database's own types.
   */
  constructor(fields: readonly Field[], types: ParserSource, catalog?: CatalogCache) {
    this.#fields = fields;
    for (let index = 0; index < fields.length; index++) {
      const { key, oid, type } = fields[index]!;
      const parse = columnParser(types, oid, catalog?.elements.get(oid) ?? 0);
      this.#keys.push(key);
      this.#parsers.push(parse);
      // Each row is a copy of this one. Its keys are own properties, so a column "__proto__" does not set the prototype.
      if (key === "__proto__") Object.defineProperty(this.#emptyRow, key, { ...PROPERTY, value: null });
      else this.#emptyRow[key] = null;
      if (isDrawnFromText(oid, parse)) this.#textColumns.set(key, { index, type, parse });
    }
    this.#textsToKeep = this.#textColumns.size > 0 ? MAX_KEPT_TEXTS : 0;
  }

  /** Returns the object of one row. */
  read(texts: WireRow): unknown {
    const row = { ...this.#emptyRow };
    const keys = this.#keys;
    const parsers = this.#parsers;
    for (let index = 0; index < keys.length; index++) {
      const text = texts[index];
      if (text !== null) row[keys[index]!] = parsers[index]!(text!);
    }
    if (this.#textsToKeep > 0) {
      this.#textsToKeep--;
      keepTexts(row, this.#textColumns, texts);
    }
    return row;
  }

  /** Turns texts into arrays, in rows that were read before their columns were known to be arrays. */
  readArrays(rows: readonly unknown[], types: ParserSource, { elements }: CatalogCache): void {
    for (const [index, { key, oid, type }] of this.#fields.entries()) {
      const element = elements.get(oid) ?? 0;
      if (element === 0 || !types.readsArrays || this.#parsers[index] !== asText) continue;
      const parse = this.#parsers[index] = columnParser(types, oid, element);
      this.#textColumns.set(key, { index, type, parse });
      for (const row of rows as Record<string, unknown>[]) {
        const text = row[key];
        if (typeof text !== "string") continue;
        row[key] = parse(text);
      }
    }
  }
}

/** The parts of a `Listing`: rows about the database, and the functions that draw them. */
export interface ListingParts<Row, Facts extends object = object> {
  /** The rows. */
  rows: readonly Row[];
  /** The rows' properties with their Postgres types, in order. */
  fields: readonly Field[];
  /** The milliseconds that finding the rows took. */
  elapsed: number;
  /** Properties of the listing besides its rows. */
  facts: Facts;
  /** Lays out the rows as a table. */
  draw: (rows: readonly Row[]) => TableOptions;
  /** What to draw below the table. */
  below?: readonly Fact[];
  /** Writes the rows as text. @default {a table, with long texts cut} */
  write?: (rows: readonly Row[]) => string;
}

const OIDS = { bool: 16, int8: 20, text: 25, json: 114, float8: 701, timestamptz: 1184 } as const;

/**
 * Describes the columns of rows that do not come from a single query.
 *
 * @param types The Postgres type of each property, in order.
 */
export function fieldsFor(types: Readonly<Record<string, keyof typeof OIDS>>): Field[] {
  return Object.entries(types).map(([name, type]) => ({ name, key: name, type, oid: OIDS[type] }));
}

import { typeName } from "../core/type_names.ts";
import type { Origin } from "../draw/result.ts";
import { keepTexts, type TextColumn } from "../draw/server_text.ts";
import type { Notice } from "./exchange.ts";
import type { Learned } from "./learned_types.ts";
import type { Session } from "./session.ts";
import { asText, columnParser, isDrawnFromText, type ParserSource } from "./types.ts";
import type { TypeParser } from "../settings/options.ts";

/** What is known of a statement that has run, beside its rows. */
export interface Outcome extends Origin {
  /** The columns. */
  readonly fields: readonly Field[];
  /** The command as the server reports it, such as `INSERT 0 3`. */
  readonly tag: string;
  /** Whether the server had more rows than were fetched. */
  readonly more: boolean;
  /** Milliseconds from sending the statement to its last row. */
  readonly elapsed: number;
  /** The server's notices and warnings. */
  readonly notices: readonly Notice[];
  /** Asks the catalog for what it knows of the columns. */
  readonly describe: () => Promise<readonly Field[]>;
  /** The session that the statement ran in; `undefined` for rows that no single statement gave. */
  readonly session?: Session;
}

/** The outcome of the statement that gave the rows. */
export const OUTCOME: unique symbol = Symbol("lakebase.outcome");

/**
 * The rows of a statement. They are pushed as they come; the outcome is set once the statement has ended.
 * @internal
 */
export class StatementRows<Row = Record<string, unknown>> extends Array<Row> {
  /** One private property: several properties of an array would cost more than a small query does. */
  #outcome!: Outcome;

  /** The outcome of the statement. */
  get [OUTCOME](): Outcome {
    return this.#outcome;
  }
  set [OUTCOME](outcome: Outcome) {
    this.#outcome = outcome;
  }

  /** `map` and `filter` make plain arrays. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/** One column of a result. */
export interface Field {
  /** The column's name, as the server has it. */
  readonly name: string;
  /** Its key in a row: the name, or `name_2` where an earlier column has that name. */
  readonly key: string;
  /**
   * The Postgres type, such as `int8` or `text[]`; `oid 16385` for a type that the catalog does not know.
   */
  readonly type: string;
  /** The type's oid. */
  readonly oid: number;
  /** The oid of the table that it comes from, where it is a column of one. */
  readonly table?: number;
  /** Its number in that table, from 1. */
  readonly column?: number;
  /**
   * Whether the table's column takes NULL; there once the catalog was asked. (An outer join puts NULL into any column.)
   */
  readonly nullable?: boolean;
}

/** A column as the wire describes it. */
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
 * The columns of a result.
 *
 * @param fields As the wire describes them.
 * @param learned What else is known.
 * @returns One for each, with a key that no earlier one has.
 */
export function fieldsOf(fields: readonly WireField[], learned?: Learned): Field[] {
  const keys = keysOf(fields.map((field) => field.name));
  return fields.map(({ name, dataTypeID: oid, tableID: table = 0, columnID: column = 0 }, index) => {
    const field: Field = { name, key: keys[index]!, type: learned?.types.get(oid) ?? typeName(oid), oid };
    if (table === 0 || column <= 0) return field;
    const nullable = learned?.tables.get(table)?.get(column);
    return nullable === undefined ? { ...field, table, column } : { ...field, table, column, nullable };
  });
}

function keysOf(names: readonly string[]): readonly string[] {
  const taken = new Set(names);
  if (taken.size === names.length) return names;
  const used = new Set<string>();
  return names.map((name) => {
    let key = name;
    for (let n = 2; used.has(key); n++) {
      const next = `${name}_${n}`;
      key = taken.has(next) ? key : next;
    }
    used.add(key);
    return key;
  });
}

/** The values of a row as the wire has them. */
export type WireRow = readonly (string | null)[];

/** Rows whose texts from the server are kept, to be drawn. */
const KEPT_TEXTS = 1000;

/** Makes objects of the texts of a result's rows. */
export class RowReader {
  readonly #fields: readonly Field[];
  readonly #keys: readonly string[];
  readonly #parsers: TypeParser[];
  readonly #empty: Record<string, unknown>;
  readonly #columns = new Map<string, TextColumn>();
  #left: number;

  /**
   * Made of columns.
   *
   * @param types How values become JavaScript's.
   * @param learned What is known of the database's own types.
   */
  constructor(fields: readonly Field[], types: ParserSource, learned?: Learned) {
    this.#fields = fields;
    this.#keys = fields.map(({ key }) => key);
    this.#parsers = fields.map(({ oid }) => columnParser(types, oid, learned?.elements.get(oid) ?? 0));
    // A copy has every key as its own, in this order, whatever its name: setting "__proto__" is then no prototype's business.
    this.#empty = Object.fromEntries(fields.map(({ key }) => [key, null]));
    for (const [index, { key, oid, type }] of fields.entries()) {
      const parse = this.#parsers[index]!;
      if (isDrawnFromText(oid, parse)) this.#columns.set(key, { index, type, parse });
    }
    this.#left = this.#columns.size > 0 ? KEPT_TEXTS : 0;
  }

  /** The object of one row. */
  read(texts: WireRow): unknown {
    const row = { ...this.#empty };
    const keys = this.#keys;
    const parsers = this.#parsers;
    for (let index = 0; index < keys.length; index++) {
      const text = texts[index];
      if (text !== null) row[keys[index]!] = parsers[index]!(text!);
    }
    if (this.#left > 0) {
      this.#left--;
      keepTexts(row, this.#columns, texts);
    }
    return row;
  }

  /** Makes arrays of texts that were read before it was known that they are arrays. */
  readArrays(rows: readonly unknown[], types: ParserSource, { elements }: Learned): void {
    for (const [index, { key, oid, type }] of this.#fields.entries()) {
      const element = elements.get(oid) ?? 0;
      if (element === 0 || !types.readsArrays || this.#parsers[index] !== asText) continue;
      const parse = this.#parsers[index] = columnParser(types, oid, element);
      this.#columns.set(key, { index, type, parse });
      for (const row of rows as Record<string, unknown>[]) {
        const text = row[key];
        if (typeof text !== "string") continue;
        row[key] = parse(text);
      }
    }
  }
}

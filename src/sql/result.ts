import { typeName } from "../core/type_names.ts";
import type { Origin } from "../draw/result.ts";
import type { Notice } from "./exchange.ts";
import type { Learned } from "./learned_types.ts";
import type { Session } from "./session.ts";
import type { ParserSource } from "./types.ts";

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
   * The Postgres type, such as `int8` or `text[]`. A type that a database made for itself goes by its name once the
   * catalogue was asked, as drawing a result or `describe()` does; until then it is `oid 16385`.
   */
  readonly type: string;
  /** The type's oid. */
  readonly oid: number;
  /** The oid of the table that it comes from, where it is a column of one. */
  readonly table?: number;
  /** Its number in that table, from 1. */
  readonly column?: number;
  /**
   * Whether the table's column takes NULL; there once the catalogue was asked. (An outer join puts NULL into any column.)
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

/**
 * A function that makes an object of a row's texts.
 *
 * @param fields The columns.
 * @param types How values become JavaScript's.
 */
export function rowReader(fields: readonly Field[], types: ParserSource): (values: WireRow) => unknown {
  const keys = fields.map((field) => field.key);
  const parsers = fields.map((field) => types.getTypeParser(field.oid));
  // A copy has every key as its own, in this order, whatever its name: setting "__proto__" is then no prototype's business.
  const empty: Record<string, unknown> = Object.fromEntries(keys.map((key) => [key, null]));
  return (values) => {
    const row = { ...empty };
    for (let index = 0; index < keys.length; index++) {
      const text = values[index];
      if (text !== null) row[keys[index]!] = parsers[index]!(text!);
    }
    return row;
  };
}

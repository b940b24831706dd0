import { type Bundle, DISPLAY, holdIdle } from "../notebook/display.ts";
import { drawResult } from "../notebook/result.ts";
import { typeName } from "./types.ts";

/** One column of a {@linkcode Result}. */
export interface Field {
  /** The column's name, as the server has it. */
  readonly name: string;
  /** Its key in a row: the name, or `name_2` where an earlier column has that name. */
  readonly key: string;
  /** The Postgres type, such as `int8` or `text[]`. */
  readonly type: string;
  /** The type's oid. */
  readonly oid: number;
}

/** Something the server said beside its answer, such as `RAISE NOTICE` does. */
export interface Notice {
  /** `NOTICE`, `WARNING`, `INFO`, ... */
  severity: string;
  /** What it said. */
  message: string;
  /** More of it. */
  detail?: string;
  /** What to do. */
  hint?: string;
}

/** What a {@linkcode Result} is made of. */
export interface ResultParts<Row> {
  /** The rows. */
  rows: Row[];
  /** The columns. */
  fields: readonly Field[];
  /** The command, such as `SELECT` or `INSERT`. */
  command: string;
  /** The command as the server reports it, such as `INSERT 0 3`. */
  tag: string;
  /** Whether the server had more rows than were fetched. */
  more: boolean;
  /** Rows returned or changed; `null` for commands that have no count. */
  rowCount: number | null;
  /** Milliseconds from sending to the last row. */
  elapsed: number;
  /** What the server said beside them. */
  notices: readonly Notice[];
}

/**
 * The rows of a query: an array of objects, with what else the server said. `map`, `filter` and the like give plain
 * arrays.
 */
export class Result<Row = Record<string, unknown>> extends Array<Row> {
  /** The columns, in their order. */
  declare readonly fields: readonly Field[];
  /** The command, such as `SELECT` or `INSERT`. */
  declare readonly command: string;
  /** The command as the server reports it, such as `INSERT 0 3`. */
  declare readonly tag: string;
  /** Whether the server had more rows than were fetched. */
  declare readonly more: boolean;
  /** Rows returned or changed; `null` for commands that have no count. */
  declare readonly rowCount: number | null;
  /** Milliseconds from sending the query to its last row. */
  declare readonly elapsed: number;
  /** What the server said beside its answer. */
  declare readonly notices: readonly Notice[];

  /** How a notebook draws it: the first rows as a table, or one line for a command without rows. */
  [DISPLAY](): Bundle {
    return holdIdle(drawResult(this));
  }

  /** What `map` and `filter` make. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/**
 * Makes a result of its parts.
 *
 * @param parts The rows, which become the result itself, and what else is known of them.
 */
export function makeResult<Row>({ rows, ...about }: ResultParts<Row>): Result<Row> {
  const result = Object.setPrototypeOf(rows, Result.prototype) as Result<Row>;
  for (const [name, value] of Object.entries(about)) Object.defineProperty(result, name, { value });
  return result;
}

/** A column as the wire describes it. */
export interface WireField {
  /** The column's name. */
  name: string;
  /** The type's oid. */
  dataTypeID: number;
}

/**
 * The columns of a result.
 *
 * @param fields As the wire describes them.
 * @returns One for each, with a key that no earlier one has.
 */
export function fieldsOf(fields: readonly WireField[]): Field[] {
  const taken = new Set(fields.map((field) => field.name));
  const used = new Set<string>();
  return fields.map(({ name, dataTypeID: oid }) => {
    let key = name;
    for (let n = 2; used.has(key); n++) {
      const next = `${name}_${n}`;
      key = taken.has(next) ? key : next;
    }
    used.add(key);
    return { name, key, type: typeName(oid), oid };
  });
}

/**
 * A function that turns the values of a row into an object.
 *
 * @param fields The columns.
 */
export function rowMaker<Row>(fields: readonly Field[]): (values: readonly unknown[]) => Row {
  const keys = fields.map((field) => field.key);
  if (keys.includes("__proto__")) return (values) => safeRow(keys, values) as Row;
  return (values) => {
    const row: Record<string, unknown> = {};
    for (let index = 0; index < keys.length; index++) row[keys[index]!] = values[index];
    return row as Row;
  };
}

/** `row["__proto__"] = value` would set the prototype; defining the property does not. */
function safeRow(keys: readonly string[], values: readonly unknown[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  keys.forEach((key, index) =>
    Object.defineProperty(row, key, { value: values[index], enumerable: true, configurable: true, writable: true })
  );
  return row;
}

import { Lookup } from "../api/lookup.ts";
import { LakebaseError } from "../core/errors.ts";
import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { drawResult } from "../draw/result.ts";
import type { PlotOptions } from "../plot/options.ts";
import type { Plot } from "../plot/plot.ts";
import type { LoadOptions } from "../transfer/load/options.ts";
import type { LoadResult } from "../transfer/load/result.ts";
import type { PullOptions, PullResult, PullTarget } from "../transfer/pull/pull.ts";
import type { Notice } from "./exchange.ts";
import type { Fragment } from "./fragment.ts";
import type { Learned } from "./learned_types.ts";
import type { FindSession } from "./run.ts";
import { typeName } from "../core/type_names.ts";
import type { ParserSource } from "./types.ts";

export type { Notice };

/** What a {@linkcode Result} knows beside its rows. */
export interface About {
  /** The columns. */
  fields: readonly Field[];
  /** The command as the server reports it, such as `INSERT 0 3`. */
  tag: string;
  /** Whether the server had more rows than were fetched. */
  more: boolean;
  /** Milliseconds from sending to the last row. */
  elapsed: number;
  /** What the server said beside them. */
  notices: readonly Notice[];
  /** Asks the catalogue what it knows of the columns. */
  describe: () => Promise<readonly Field[]>;
  /** Where it ran, where there was more than one connection that it could be. */
  place?: string | undefined;
  /** Whether the session was in a transaction after it, and whether in one that has failed. */
  transaction?: "open" | "failed" | undefined;
  /** Finds the connection that the rows are loaded on; none where no single query gave them. */
  find?: FindSession;
}

/** Tells an array of rows what else is known of them; the rows are pushed into it as they come. */
export let makeResult: <Row>(rows: Result<Row>, about: About) => Result<Row>;

/**
 * The rows of a query: an array of objects, with what else the server said. `map`, `filter` and the like give plain
 * arrays.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const rows = await db.sql`VALUES ('Harlem', 12.50), ('SoHo', 8.00)`;
 * assert.equal(rows.length, 2);
 * assert.deepEqual(rows.fields.map(({ name, type }) => `${name} ${type}`), ["column1 text", "column2 numeric"]);
 * assert.deepEqual([rows.command, rows.rowCount, rows.more], ["SELECT", 2, false]);
 * console.log(`${rows.elapsed} ms`);
 * ```
 */
export class Result<Row = Record<string, unknown>> extends Array<Row> {
  /** One property for all that is known: many on an array would cost more than a small query does. */
  #about!: About;

  static {
    makeResult = (rows, about) => {
      rows.#about = about;
      return rows;
    };
  }

  /** The columns, in their order. */
  get fields(): readonly Field[] {
    return this.#about.fields;
  }
  /** The command, such as `SELECT` or `INSERT`. */
  get command(): string {
    return this.tag.replace(/( \d+)+$/, ""); // `INSERT 0 3` is an `INSERT`, `CREATE TABLE` stays
  }
  /** The command as the server reports it, such as `INSERT 0 3`. */
  get tag(): string {
    return this.#about.tag;
  }
  /** Whether the server had more rows than were fetched. */
  get more(): boolean {
    return this.#about.more;
  }
  /** Rows returned or changed; `null` for commands that have no count. */
  get rowCount(): number | null {
    const count = / (\d+)$/.exec(this.tag);
    return count === null ? null : Number(count[1]);
  }
  /** Milliseconds from sending the query to its last row. */
  get elapsed(): number {
    return this.#about.elapsed;
  }
  /** What the server said beside its answer. */
  get notices(): readonly Notice[] {
    return this.#about.notices;
  }
  /** Where it ran, such as `app at db.example.com:5432`, if more than one connection was open then; else `undefined`. */
  get place(): string | undefined {
    return this.#about.place;
  }
  /** Whether the session was in a transaction after it, and whether in one that has failed. */
  get transaction(): "open" | "failed" | undefined {
    return this.#about.transaction;
  }
  /**
   * The columns with what only the catalogue knows: the names of a database's own types, and `nullable`. It asks for what
   * was not asked before on this connection; awaiting a query never does by itself.
   *
   * @throws {LakebaseError} As the query.
   */
  describe(): Promise<readonly Field[]> {
    return this.#about.describe();
  }

  /**
   * Draws its rows as a chart, as `Query.plot` does; what is computed is computed here.
   *
   * @param options What is drawn, and how; without any, what fits the types of its columns.
   * @throws {LakebaseError} `BAD_PARAMETER`.
   */
  plot(options: PlotOptions = {}): Lookup<Plot> {
    return new Lookup(async () => {
      const { plotRows } = await import("../plot/plot_query.ts");
      return await plotRows(this, this.fields, options);
    });
  }

  /**
   * Writes the rows that are here to a file or a stream, as `pull` of the query would; the query does not run again.
   * A `Date` has milliseconds, and a `numeric` goes into Arrow and Parquet as text.
   *
   * @param target A file's path or URL, a stream, or `-`.
   * @param options As for `pull`, but for what only the server can do: `parallel`, and folders.
   * @throws {LakebaseError} `BAD_PARAMETER`, also for a value that a program put there and that is none of the column's type;
   * `BAD_FILE`.
   *
   * @example
   * ```ts
   * import { connect } from "lakebase";
   * import assert from "node:assert/strict";
   *
   * await using db = await connect({ local: true });
   * const rows = await db.sql`SELECT n FROM generate_series(1, 3) AS n`;
   * const file = `${await Deno.makeTempDir()}/n.csv`;
   * await rows.pull(file);
   * assert.equal(await Deno.readTextFile(file), "n\n1\n2\n3\n");
   * assert.equal((await rows.load("numbers", { create: true })).rows, 3);
   * ```
   */
  async pull(target: PullTarget, options?: PullOptions): Promise<PullResult> {
    const { batchOfRows, columnsOfFields } = await import("../transfer/columns/rows_batch.ts");
    const { pullInHand } = await import("../transfer/pull/in_hand.ts");
    const columns = columnsOfFields(this.fields);
    return await pullInHand(
      columns,
      () => batchOfRows(this as readonly unknown[] as object[], columns),
      target,
      options,
    );
  }

  /**
   * Loads the rows that are here into a table, as `load` of the query would; the query does not run again.
   *
   * @param table A table as `describe` takes it.
   * @param options Whether the table is to be made, and what becomes of the rows in it.
   * @throws {LakebaseError} As `load`.
   */
  async load(table: string | Fragment, options?: LoadOptions): Promise<LoadResult> {
    const { find } = this.#about;
    if (find === undefined) {
      throw new LakebaseError(
        "BAD_PARAMETER",
        "Cannot load: this list knows no connection; load it with db.load(table, rows)",
      );
    }
    const { loadTable } = await import("../transfer/load/load.ts");
    return await loadTable(find, table, this, options);
  }

  /** How a notebook draws it: the first rows as a table, or one line for a command without rows. */
  [DISPLAY](): Bundle {
    return holdIdle(drawResult(this));
  }

  /** What `map` and `filter` make. */
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

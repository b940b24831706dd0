import { type Bundle, DISPLAY, holdIdle } from "../notebook/display.ts";
import { drawResult } from "../notebook/result.ts";
import type { Field } from "./fields.ts";
import type { Notice } from "./wire.ts";

export type { Field, Notice };

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
  /** Asks the catalogue what it knows of the columns. */
  describe: () => Promise<readonly Field[]>;
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
  /**
   * The columns with what only the catalogue knows: the names of a database's own types, and `nullable`. It asks for what
   * was not asked before on this connection; awaiting a query never does by itself.
   *
   * @throws {LakebaseError} As the query.
   */
  declare readonly describe: () => Promise<readonly Field[]>;

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

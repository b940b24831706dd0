import { commonType, type NewType, sqlTypeName, typeOfText } from "./infer.ts";

/** The type of a file's column, to find the type in a dataset's new table. */
export type FileType =
  /** Found by sampling rows; `undefined` if all of them had NULL. */
  | { sampled: NewType | undefined }
  /** The file's own type, in SQL; `undefined` for a column of NULLs without a type. */
  | { own: string | undefined };

/** Two files whose types for a column have no common type. */
export interface Contradiction {
  /** The column. */
  column: string;
  /** The two files. */
  files: readonly [string, string];
  /** Their types for the column, in the same order. */
  types: readonly [string, string];
}

/** Collects the columns of a dataset's files, each with a type that holds the values of all files. */
export class DatasetColumns {
  readonly #columns = new Map<string, { file: string; type: FileType }>();
  readonly #partitions = new Map<string, NewType | undefined>();
  readonly #given: ReadonlySet<string>;

  /** @param given The columns whose types the caller gave. */
  constructor(given: Iterable<string>) {
    this.#given = new Set(given);
  }

  /** Adds a file's columns. @returns How the file contradicts an earlier one; `undefined` if it does not. */
  add(file: string, columns: ReadonlyMap<string, FileType>): Contradiction | undefined {
    for (const [column, type] of columns) {
      const before = this.#columns.get(column);
      if (before === undefined) {
        this.#columns.set(column, { file, type });
        continue;
      }
      const both = widest(before.type, type);
      if (both !== undefined) {
        this.#columns.set(column, { file: textOf(both) === textOf(before.type) ? before.file : file, type: both });
      } else if (!this.#given.has(column)) {
        return { column, files: [before.file, file], types: [textOf(before.type), textOf(type)] };
      }
    }
    return undefined;
  }

  /** Adds a file's partitions. */
  addPartitions(partitions: ReadonlyMap<string, string | null>): void {
    for (const [name, value] of partitions) {
      const type = value === null ? undefined : typeOfText(value);
      this.#partitions.set(name, commonType(this.#partitions.get(name), type));
    }
  }

  /** The columns of the new table and their SQL types. The partitions come last, as in Spark. */
  types(): Map<string, string> {
    const columns = Array.from(this.#columns, ([name, { type }]) => [name, textOf(type)] as const);
    const own = [...this.#partitions].filter(([name]) => !this.#columns.has(name));
    const partitions = Array.from(own, ([name, type]) => [name, sqlTypeName(type)] as const);
    return new Map([...columns, ...partitions]);
  }
}

function textOf(type: FileType): string {
  return "own" in type ? type.own ?? "text" : sqlTypeName(type.sampled);
}

function widest(a: FileType, b: FileType): FileType | undefined {
  if ("sampled" in a) return "sampled" in b ? { sampled: commonType(a.sampled, b.sampled) } : undefined;
  if (!("own" in b)) return undefined;
  if (a.own === undefined || b.own === undefined) return { own: a.own ?? b.own };
  const own = widerType(a.own, b.own);
  return own === undefined ? undefined : { own };
}

const WHOLE = ["smallint", "integer", "bigint"];
/** The most digits of each integer type. */
const DIGITS: Readonly<Record<string, number>> = { smallint: 5, integer: 10, bigint: 19 };
const NUMERIC = /^numeric(?:\((\d+)(?:, ?(\d+))?\))?$/;
const MOST_DIGITS = 1000;

/**
 * The SQL type that holds every value of both types exactly; `undefined` if there is none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(widerType("integer", "bigint"), "bigint");
 * assert.equal(widerType("numeric(5,2)", "integer"), "numeric(12,2)");
 * assert.equal(widerType("text", "bigint"), undefined);
 * ```
 */
export function widerType(a: string, b: string): string | undefined {
  if (a === b) return a;
  if (a.endsWith("[]") && b.endsWith("[]")) {
    const element = widerType(a.slice(0, -2), b.slice(0, -2));
    return element === undefined ? undefined : `${element}[]`;
  }
  const both = new Set([a, b]);
  if (both.has("date") && both.has("timestamp")) return "timestamp";
  if (both.has("real") && both.has("double precision")) return "double precision";
  return isNumber(a) && isNumber(b) ? widerNumber(a, b) : undefined;
}

function isNumber(type: string): boolean {
  return WHOLE.includes(type) || type === "real" || type === "double precision" || NUMERIC.test(type);
}

function widerNumber(a: string, b: string): string {
  const whole = [a, b].filter((type) => WHOLE.includes(type));
  if (whole.length === 2) return WHOLE[Math.max(WHOLE.indexOf(a), WHOLE.indexOf(b))]!;
  const floating = [a, b].some((type) => type === "real" || type === "double precision");
  // A double holds every smallint and integer exactly. Beside a bigint or a numeric, only numeric holds all values.
  if (floating) return whole[0] === "smallint" || whole[0] === "integer" ? "double precision" : "numeric";
  const [first, second] = [digitsOf(a), digitsOf(b)];
  if (first === undefined || second === undefined) return "numeric";
  const scale = Math.max(first.scale, second.scale);
  const precision = Math.max(first.before, second.before) + scale;
  return precision > MOST_DIGITS ? "numeric" : `numeric(${precision},${scale})`;
}

/** The number of digits before and after the decimal point; `undefined` if the type has no limit. */
function digitsOf(type: string): { before: number; scale: number } | undefined {
  const digits = DIGITS[type];
  if (digits !== undefined) return { before: digits, scale: 0 };
  const [, precision, scale = 0] = NUMERIC.exec(type) ?? [];
  return precision === undefined ? undefined : { before: Number(precision) - Number(scale), scale: Number(scale) };
}

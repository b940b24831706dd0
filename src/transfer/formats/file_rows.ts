import { basename } from "node:path";
import { LakebaseError } from "../../errors.ts";
import type { Batch } from "../batch.ts";
import type { ColumnType } from "../column_type.ts";

/** A column of a file. */
export interface FileColumn {
  /** Its name. */
  name: string;
  /** How its values are kept. */
  type: ColumnType;
  /** What Postgres has for it, such as `numeric(10,2)`. */
  postgres: string;
  /** Whether it has no type of its own, since all of its values are NULL. */
  untyped?: boolean;
}

/** The rows of a file of columns. Disposing of it closes the file. */
export interface FileRows extends AsyncDisposable {
  /** The columns. */
  columns: readonly FileColumn[];
  /** The rows, some at a time, as the file has them. What stands in the place of a NULL has no meaning. */
  batches: AsyncIterable<Batch>;
}

/** What an error calls a file. */
export function fileName(source: unknown): string {
  return typeof source === "string" ? `"${basename(source)}"` : "the stream";
}

/** Says what a file has that can't be taken over here, though nothing is wrong with it. */
export class NotTakenOver extends Error {}

/** The error of a file that can't be read. */
export function unreadable(name: string, problem: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_FILE", `Cannot read ${name}: ${problem}`, cause === undefined ? {} : { cause });
}

import type { Field } from "../query/result.ts";
import type { ParserSource } from "../query/types.ts";

/** Turns the rows of one statement into text, as they come. */
export interface RowFormat {
  /** How the values are read that it gets. */
  readonly types: ParserSource;
  /** What stands before the rows. */
  begin(fields: readonly Field[]): string;
  /** The next rows, as arrays of values in the fields' order. */
  rows(rows: readonly (readonly unknown[])[]): string;
  /** What stands behind the last row. */
  end(): string;
  /** A command that gives no rows. */
  command(tag: string): string;
}

/** Values as the server writes them. */
export const SERVER_TEXT: ParserSource = { getTypeParser: () => (text) => text };

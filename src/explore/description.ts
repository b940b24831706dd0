import { elapsedText, type TableOptions } from "../notebook/table.ts";
import { fieldsFor, type Listing } from "./listing.ts";
import type { TableKind } from "./tables.ts";
import { countText, sizeText } from "../amount_text.ts";

/** One row of `describe()`: a column. */
export interface ColumnInfo {
  /** Its name. */
  name: string;
  /** Its type as SQL writes it, such as `numeric(10,2)`. */
  type: string;
  /** Whether it may be NULL. */
  nullable: boolean;
  /** Its default as SQL, or how it is generated; `null` where it has none. */
  default: string | null;
  /** `primary`, `unique`, `foreign -> other(column)`, several of them with commas between, or `null`. */
  key: string | null;
  /** Its comment. */
  comment: string | null;
}

/** An index of a table. */
export interface IndexInfo {
  /** Its name. */
  name: string;
  /** How it works, such as `btree`. */
  method: string;
  /** What it is on, as SQL. */
  columns: string;
  /** Whether it is the primary key's. */
  primary: boolean;
  /** Whether it allows each key once. */
  unique: boolean;
  /** Whether queries may use it; not so while it is built, or where that failed. */
  valid: boolean;
  /** Its bytes. */
  size: number;
  /** The statement that would make it. */
  definition: string;
}

/** A constraint of a table. */
export interface ConstraintInfo {
  /** Its name. */
  name: string;
  /** What it is. */
  kind: "primary key" | "unique" | "foreign key" | "check" | "exclusion";
  /** It as SQL, such as `CHECK (fare > 0)`. */
  definition: string;
}

/** What `describe()` knows beside the columns. */
export interface TableFacts {
  /** The schema that the table is in. */
  readonly schema: string;
  /** The table's name. */
  readonly name: string;
  /** What it is. */
  readonly kind: TableKind;
  /** Its rows, as estimated when it was last analyzed; `null` where that never was, and for views. */
  readonly rows: number | null;
  /** Its bytes, with its indexes, TOAST and partitions; `null` for views and foreign tables. */
  readonly size: number | null;
  /** Its comment. */
  readonly comment: string | null;
  /** Its indexes, the primary key's first. */
  readonly indexes: readonly IndexInfo[];
  /** Its constraints, but for NOT NULL, which the columns say. */
  readonly constraints: readonly ConstraintInfo[];
}

/** A table: its columns as an array that draws itself, and what else is known of it. */
export type TableDescription = Listing<ColumnInfo> & TableFacts;

/** The fields of a description's rows. */
export const COLUMN_FIELDS = fieldsFor({
  ...{ name: "text", type: "text", nullable: "bool" },
  ...{ default: "text", key: "text", comment: "text" },
});

/** How a description is drawn: the columns, what the table is above them, indexes and constraints below. */
export function drawDescription(
  { schema, name, kind, rows, size, comment, indexes, constraints }: TableFacts,
  columns: readonly ColumnInfo[],
  elapsed: number,
): TableOptions {
  const caption = [
    `${kind} ${schema}.${name}`,
    ...(rows === null ? [] : [`about ${countText(rows, "row")}`]),
    ...(size === null ? [] : [sizeText(size)]),
    ...(comment === null ? [] : [comment]),
  ];
  const others = constraints.filter(({ kind }) => kind === "check" || kind === "exclusion" || kind === "foreign key");
  const footer = [
    `${countText(columns.length, "column")}, ${elapsedText(elapsed)}`,
    ...indexes.map(indexText),
    ...others.map(({ name, definition }) => `${name}: ${definition}`),
  ];
  return {
    columns: COLUMN_FIELDS,
    rows: columns.map((column) => [
      ...[column.name, column.type, column.nullable],
      ...[column.default ?? "", column.key ?? "", column.comment ?? ""],
    ]),
    caption: caption.join(", "),
    footer: footer.join("; "),
  };
}

function indexText({ name, method, columns, primary, unique, valid }: IndexInfo): string {
  const kind = primary ? "primary key" : unique ? "unique index" : "index";
  return `${kind} ${name} ${method} (${columns})${valid ? "" : " INVALID"}`;
}

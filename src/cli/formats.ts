import { csvRows } from "./csv_rows.ts";
import { jsonRows } from "./json_rows.ts";
import type { RowFormat } from "./row_format.ts";
import { tableRows } from "./table_rows.ts";

/** The names of the formats. */
export const FORMATS = ["table", "csv", "json", "ndjson"] as const;

/** How rows are written. */
export interface FormatOptions {
  /** The format's name. */
  format: typeof FORMATS[number];
  /** The line of names in `table` and `csv`. */
  header: boolean;
  /** What stands for NULL in `table` and `csv`. */
  null?: string | undefined;
  /** What stands between values in `csv`. */
  delimiter?: string | undefined;
  /** Whether `table` may use a terminal's colours. */
  color: boolean;
}

/** The format of the rows of one statement. */
export function makeFormat(options: FormatOptions): RowFormat {
  const { format, header, delimiter = "," } = options;
  if (format === "csv") return csvRows({ header, delimiter, null: options.null ?? "" });
  if (format === "json" || format === "ndjson") return jsonRows(format === "json");
  return tableRows({ header, color: options.color, null: options.null ?? "NULL" });
}

import { optionText } from "../../core/errors.ts";
import { cellText, cellWriter } from "../columns/cell_text.ts";
import type { ColumnData } from "../columns/batch.ts";
import { CopyBytes } from "../copy/text_writer.ts";
import type { FileRows } from "./file_rows.ts";

/** Which columns of a file are sent to the server. */
export interface CopyChoice {
  /** What an error calls the rows. */
  name: string;
  /** The columns, in the order of the COPY. */
  columns: readonly CopyColumn[];
  /** Columns that must have one value in every row: the value that the file's folder names. */
  expected: readonly { index: number; name: string; value: string | null }[];
}

/** A column that is sent to the server. */
export interface CopyColumn {
  /** Its position among the file's columns, from 0. */
  index: number;
  /** What the table calls it. */
  name: string;
  /** Whether bytes are sent as text: old writers of Parquet do not mark text as such. */
  bytesAsText: boolean;
}

/** Rows in COPY's text format. */
export interface CopyRows {
  /** The text, in UTF-8. */
  bytes: Uint8Array;
  /** How many rows the text has. */
  rows: number;
}

/** Bytes that are given at once; the server takes as much in a message. */
const CHUNK_BYTES = 262_144;

/**
 * Writes rows of columns in COPY's text format.
 *
 * @param refuse Makes the error for a value that can't be sent, of a sentence that says where the value is.
 */
export async function* copyRows(
  source: Pick<FileRows, "batches">,
  { name, columns, expected }: CopyChoice,
  refuse: (state: string) => Error,
): AsyncGenerator<CopyRows, void, void> {
  const read = [...new Set([...columns, ...expected].map(({ index }) => index))].sort((a, b) => a - b);
  const at = (index: number) => read.indexOf(index);
  const cell = (row: number, column: string) =>
    `row ${row.toLocaleString("en-US")} of ${name}, column ${JSON.stringify(column)}`;
  const out = new CopyBytes(
    (row, column, state) => refuse(`${cell(row, columns[column]!.name)} ${state}`),
    CHUNK_BYTES,
  );
  let taken = 0;
  const take = () => {
    const rows = out.rows - taken;
    taken = out.rows;
    return { bytes: out.take(), rows };
  };
  for await (const batch of source.batches(read)) {
    for (const { index, name: column, value } of expected) {
      const other = otherValue(batch.columns[at(index)]!, value);
      if (other === undefined) continue;
      throw refuse(
        `${cell(out.rows + other.row + 1, column)} has ${other.found ?? "NULL"}, and its folder says ${
          value ?? "NULL"
        }; to take the file's own, say ${optionText({ partitions: false })}`,
      );
    }
    const cells = columns.map(({ index, bytesAsText }) => {
      const data = batch.columns[at(index)]!;
      return cellWriter(bytesAsText && data.type.kind === "binary" ? { ...data, type: { kind: "text" } } : data);
    });
    for (let row = 0; row < batch.rows; row++) {
      for (const write of cells) write(row, out);
      out.endRow();
      if (out.full) yield take();
    }
  }
  if (out.rows > taken) yield take();
}

/** The first value of a column that is not the one that its folder says. */
function otherValue(column: ColumnData, value: string | null): { row: number; found: string | null } | undefined {
  const read = cellText(column);
  let last = value;
  for (let row = 0; row < column.length; row++) {
    const found = read(row);
    if (found === last) continue;
    if (!isSame(found, value)) return { row, found };
    last = found;
  }
  return undefined;
}

/** A folder's name may have a value in another way than Postgres writes it: `1.0`, `true`, `2025-01-31T00:00:00`. */
function isSame(found: string | null, value: string | null): boolean {
  if (found === null || value === null) return found === value;
  if (found === value || found[0] === value[0] && /^(true|false)$/i.test(value) && found.length === 1) return true;
  if (found.trim() !== "" && Number(found) === Number(value)) return true;
  const time = Date.parse(found);
  return !Number.isNaN(time) && time === Date.parse(value);
}

import { optionText } from "../../core/errors.ts";
import type { Batch, ColumnData } from "../columns/batch.ts";
import { binaryCellWriter, exactTextReader, textCellWriter } from "../columns/copy_cells.ts";
import { CopyBinaryWriter } from "../copy/binary_writer.ts";
import { CopyByteWriter, type RefuseCell } from "../copy/text_writer.ts";
import type { FileRows } from "./file_rows.ts";

/** The columns of a file that are sent to the server. */
export interface CopyChoice {
  /** The name of the file or stream in error messages. */
  name: string;
  /** The columns to send, in the order of the COPY. */
  columns: readonly SentColumn[];
  /**
   * The oids of the columns' types in the table, if the rows are sent in COPY's binary format; absent for the text
   * format.
   */
  binary?: readonly number[] | undefined;
  /** Columns that must have the same value in every row: the value in the name of the file's folder. */
  expected: readonly { index: number; name: string; value: string | null }[];
}

/** A column that is sent to the server. */
export interface SentColumn {
  /** The column's position in the file, starting at 0. */
  index: number;
  /** The column's name in the table. */
  name: string;
  /** Whether bytes are sent as text. Old Parquet writers do not mark text as text. */
  bytesAsText: boolean;
}

/** Rows in COPY's text or binary format. */
export interface CopyRows {
  /** The rows, in binary without a header. */
  bytes: Uint8Array;
  /** The number of rows. */
  rows: number;
}

/** The approximate size of each piece in bytes; the server accepts this much in one message. */
const CHUNK_BYTES = 262_144;

/**
 * Writes columnar rows in COPY's text or binary format.
 *
 * @param refuse Creates the error for a value that can't be sent, from a sentence that says where the value is.
 */
export async function* copyRows(
  source: Pick<FileRows, "batches">,
  { name, columns, binary, expected }: CopyChoice,
  refuse: (state: string) => Error,
): AsyncGenerator<CopyRows, void, void> {
  const read = [...new Set([...columns, ...expected].map(({ index }) => index))].sort((a, b) => a - b);
  const at = (index: number) => read.indexOf(index);
  const cell = (row: number, column: string) =>
    `row ${row.toLocaleString("en-US")} of ${name}, column ${JSON.stringify(column)}`;
  const refuseCell: RefuseCell = (row, column, state) => refuse(`${cell(row, columns[column]!.name)} ${state}`);
  const chosen = (batch: Batch) => columns.map((column) => columnOf(batch.columns[at(column.index)]!, column));
  const out = binary === undefined
    ? textRows(new CopyByteWriter(refuseCell, CHUNK_BYTES))
    : binaryRows(new CopyBinaryWriter(refuseCell, columns.length, CHUNK_BYTES), binary);
  let taken = 0;
  const take = () => {
    const rows = out.to.rows - taken;
    taken = out.to.rows;
    return { bytes: out.to.take(), rows };
  };
  for await (const batch of source.batches(read)) {
    for (const { index, name: column, value } of expected) {
      const other = otherValue(batch.columns[at(index)]!, value);
      if (other === undefined) continue;
      throw refuse(
        `${cell(out.to.rows + other.row + 1, column)} has ${other.found ?? "NULL"}, and its folder says ${
          value ?? "NULL"
        }; to take the file's own, use ${optionText({ partitions: false })}`,
      );
    }
    const writers = out.writers(chosen(batch));
    for (let row = 0; row < batch.rows; row++) {
      for (const write of writers) write(row);
      out.to.endRow();
      if (out.to.full) yield take();
    }
  }
  if (out.to.rows > taken) yield take();
}

/** A writer of rows, and the functions that write a row's values. */
interface RowWriter {
  to: Pick<CopyByteWriter, "rows" | "full" | "endRow" | "take">;
  writers(columns: readonly ColumnData[]): ((row: number) => void)[];
}

function textRows(to: CopyByteWriter): RowWriter {
  return {
    to,
    writers: (columns) =>
      columns.map((data) => {
        const write = textCellWriter(data);
        return (row) => write(row, to);
      }),
  };
}

function binaryRows(to: CopyBinaryWriter, oids: readonly number[]): RowWriter {
  return {
    to,
    writers: (columns) =>
      columns.map((data, index) => {
        const write = binaryCellWriter(data, oids[index]!);
        return (row) => write(row, to);
      }),
  };
}

function columnOf(data: ColumnData, { bytesAsText }: SentColumn): ColumnData {
  return bytesAsText && data.type.kind === "binary" ? { ...data, type: { kind: "text" } } : data;
}

/** Finds the first value of a column that differs from the value in the folder's name. */
function otherValue(column: ColumnData, value: string | null): { row: number; found: string | null } | undefined {
  const read = exactTextReader(column);
  let last = value;
  for (let row = 0; row < column.length; row++) {
    const found = read(row);
    if (found === last) continue;
    if (!isSame(found, value)) return { row, found };
    last = found;
  }
  return undefined;
}

/** Compares values, because a folder may not spell them as Postgres does: `1.0`, `true`, `2025-01-31T00:00:00`. */
function isSame(found: string | null, value: string | null): boolean {
  if (found === null || value === null) return found === value;
  if (found === value || found[0] === value[0] && /^(true|false)$/i.test(value) && found.length === 1) return true;
  if (found.trim() !== "" && Number(found) === Number(value)) return true;
  const time = Date.parse(found);
  return !Number.isNaN(time) && time === Date.parse(value);
}

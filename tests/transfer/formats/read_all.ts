import { cellText } from "../../../src/transfer/columns/cell_text.ts";
import type { FileRows } from "../../../src/transfer/formats/file_rows.ts";

/** All of a file: what it makes of the columns, and the text of each value. */
export async function all(
  file: FileRows,
): Promise<{ types: Record<string, string>; texts: (string | null)[][]; rows: number }> {
  await using opened = file;
  const types = Object.fromEntries(opened.columns.map(({ name, postgres }) => [name, postgres]));
  const texts: (string | null)[][] = [];
  for await (const { rows, columns } of opened.batches) {
    const cells = columns.map(cellText);
    for (let row = 0; row < rows; row++) texts.push(cells.map((cell) => cell(row)));
  }
  return { types, texts, rows: texts.length };
}

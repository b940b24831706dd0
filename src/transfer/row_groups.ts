import type { CopyTextWriter } from "./copy_text.ts";

/** A row: its values by its columns' names. */
export type LoadRow = Readonly<Record<string, unknown>>;

/** Some rows: a promise for each would take longer than the row. */
export type RowGroup = readonly LoadRow[];

/** Rows of a group that is made here. */
const GROUP_ROWS = 256;

/** Rows that a program holds, in groups. */
export function* grouped(rows: Iterable<LoadRow>): Generator<RowGroup, void, void> {
  let group: LoadRow[] = [];
  for (const row of rows) {
    if (group.push(row) < GROUP_ROWS) continue;
    yield group;
    group = [];
  }
  yield group;
}

/** A row that comes by itself is not kept waiting for others. */
export async function* single(rows: AsyncIterable<LoadRow>): AsyncGenerator<RowGroup, void, void> {
  for await (const row of rows) yield [row];
}

/** The rows as bytes. */
export function* chunks(
  groups: Iterable<RowGroup>,
  add: (row: LoadRow) => void,
  writer: CopyTextWriter,
): Generator<Uint8Array> {
  for (const group of groups) {
    for (const row of group) {
      add(row);
      if (writer.full) yield writer.take();
    }
  }
  yield writer.take();
}

/** {@linkcode chunks} of what is asynchronous. */
export async function* chunksAsync(
  groups: AsyncIterable<RowGroup>,
  add: (row: LoadRow) => void,
  writer: CopyTextWriter,
): AsyncGenerator<Uint8Array> {
  for await (const group of groups) {
    for (const row of group) {
      add(row);
      if (writer.full) yield writer.take();
    }
  }
  yield writer.take();
}

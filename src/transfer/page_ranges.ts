/** A table with pages of its own: a plain one, or a partition. */
export interface PagedTable {
  /** Its quoted name, with the schema. */
  name: string;
  /** Pages of its heap. */
  pages: number;
  /** Bytes of its heap and of what is kept beside it (TOAST). */
  bytes: number;
}

/** A part of a table that one COPY reads. */
export interface PageRange {
  /** The table's quoted name. */
  table: string;
  /** The first page. */
  from: number;
  /** The first page after it; `undefined` for all that follow, since a table may grow. */
  to: number | undefined;
}

/** Bytes of all ranges that are read at a time, about: what comes before its turn has to be kept. */
export const READ_AHEAD_BYTES: number = 32 * 1024 * 1024;
/** Ranges for a connection at least, where there are pages enough. */
const RANGES_EACH = 4;
/** Bytes of a range at least, about: starting a COPY costs the server as much as reading so many. */
const FEWEST_BYTES = 256 * 1024;

/**
 * Divides tables into ranges of about the same size, in order.
 *
 * @param tables The table, or its partitions.
 * @param parallel How many connections there are for them.
 * @returns Every page exactly once; at least one range of each table.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(pageRanges([{ name: '"t"', pages: 100, bytes: 819_200 }], 2), [
 *   { table: '"t"', from: 0, to: 32 },
 *   { table: '"t"', from: 32, to: 64 },
 *   { table: '"t"', from: 64, to: 96 },
 *   { table: '"t"', from: 96, to: undefined },
 * ]);
 * ```
 */
export function pageRanges(tables: readonly PagedTable[], parallel: number): PageRange[] {
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  const size = parallel === 1
    ? Infinity
    : Math.min(READ_AHEAD_BYTES / parallel, Math.max(FEWEST_BYTES, bytes / (parallel * RANGES_EACH)));
  return tables.flatMap((table) => {
    const fitting = table.bytes > size ? Math.floor(table.pages * size / table.bytes) : table.pages;
    const step = Math.max(1, fitting);
    const starts = Array.from({ length: Math.max(1, Math.ceil(table.pages / step)) }, (_, index) => index * step);
    return starts.map((from, index) => ({ table: table.name, from, to: starts[index + 1] }));
  });
}

/** The rows of a range. */
export function rangeQuery(columns: string, { table, from, to }: PageRange): string {
  const end = to === undefined ? "" : ` AND ctid OPERATOR(pg_catalog.<) '(${to},0)'`;
  return `SELECT ${columns} FROM ONLY ${table} WHERE ctid OPERATOR(pg_catalog.>=) '(${from},0)'${end}`;
}

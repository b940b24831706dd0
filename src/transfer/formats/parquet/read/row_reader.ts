import { Data } from "npm:apache-arrow@21.2.0";
import { concatBytes } from "../../../../core/bytes.ts";
import { problemAt } from "../../../columns/batch.ts";
import { UnsupportedFeature } from "../../file_rows.ts";
import type { ChunkReader, Levels, StoredColumn } from "./chunk_reader.ts";
import { countOf, type PageValues, sliceValues, type StoredNumbers } from "./page_values.ts";
import type { Node } from "./schema.ts";

/** Up to this many bytes, a loop copies a value faster than `set`. */
const SHORT = 48;

/** The values that are not NULL, without gaps between them. */
export type DenseValues =
  | Exclude<PageValues, { kind: "bytes" }>
  | { kind: "bytes"; bytes: Uint8Array<ArrayBuffer>; offsets: Int32Array };

/** Some rows of a column: the levels, and the values that are not NULL. */
export type LeafRows = Omit<Levels, "values"> & { values: DenseValues };

/** Levels that were read, and the positions of the first level and the first value that are not taken yet. */
interface StagedLevels extends Levels {
  at: number;
  valuesAt: number;
}

/** Reads a column of a row group in batches of whole rows. */
export class WholeRowReader {
  readonly #column: StoredColumn;
  readonly #chunk: ChunkReader;
  #staged: StagedLevels[] = [];
  /** The number of rows that have started and are not taken yet. */
  #startedRows = 0;
  #ended = false;

  /** @param chunk The reader of the column's pages. */
  constructor(column: StoredColumn, chunk: ChunkReader) {
    this.#column = column;
    this.#chunk = chunk;
  }

  /** Reads until `rows` rows are ready or the column ends. Returns the number of ready rows, at most `rows`. */
  async stage(rows: number): Promise<number> {
    while (this.#completeRows < rows && !this.#ended) {
      const levels = await this.#chunk.next(rows - this.#completeRows);
      if (levels === undefined) this.#ended = true;
      else this.#add(levels);
    }
    return Math.min(rows, this.#completeRows);
  }

  /** The number of complete rows. The last list may continue on the next page. */
  get #completeRows(): number {
    return this.#ended || this.#column.repetition === 0 ? this.#startedRows : Math.max(0, this.#startedRows - 1);
  }

  #add(levels: Levels): void {
    const { repetition, count } = levels;
    if (this.#startedRows === 0 && repetition !== undefined && repetition[0] !== 0) {
      throw new Error("it begins within a list");
    }
    this.#staged.push({ ...levels, at: 0, valuesAt: 0 });
    this.#startedRows += repetition === undefined
      ? count
      : repetition.reduce((sum, level) => level === 0 ? sum + 1 : sum, 0);
  }

  /** Returns how many of the ready rows fit into about `bytes` bytes of text, at least one. */
  countFitting(rows: number, bytes: number): number {
    let row = 0;
    let size = 0;
    for (const { count, at, valuesAt, repetition, definition, values } of this.#staged) {
      if (values.kind !== "bytes") return rows;
      let value = valuesAt;
      for (let level = at; level < count; level++) {
        if (repetition === undefined || repetition[level] === 0) {
          if (row === rows || size > bytes && row > 0) return row;
          row++;
        }
        if (definition === undefined || definition[level] === this.#column.definition) size += values.lengths[value++]!;
      }
    }
    return rows;
  }

  /** Takes rows that are ready. */
  take(rows: number): LeafRows {
    const taken: Levels[] = [];
    let left = rows;
    while (this.#staged.length > 0) {
      const levels = this.#staged[0]!;
      const [to, started] = this.#endOfRows(levels, left);
      if (to > levels.at) taken.push(this.#takeLevels(levels, to));
      left -= started;
      if (levels.at < levels.count) break;
      this.#staged.shift();
    }
    this.#startedRows -= rows;
    return joinLevels(taken, this.#column);
  }

  /** Returns where a number of rows ends in the levels, and how many of the rows start there. */
  #endOfRows({ at, count, repetition }: StagedLevels, rows: number): [to: number, rows: number] {
    if (repetition === undefined) {
      const most = Math.min(rows, count - at);
      return [at + most, most];
    }
    let started = 0;
    let to = at;
    for (; to < count; to++) {
      if (repetition[to] !== 0) continue;
      if (started === rows) break;
      started++;
    }
    return [to, started];
  }

  #takeLevels(staged: StagedLevels, to: number): Levels {
    const { at, valuesAt, repetition, definition, values, count } = staged;
    staged.at = to;
    if (at === 0 && to === count) return staged;
    const takenDefinition = definition?.subarray(at, to);
    const valueCount = takenDefinition === undefined
      ? to - at
      : takenDefinition.reduce((sum, level) => level === this.#column.definition ? sum + 1 : sum, 0);
    staged.valuesAt += valueCount;
    return {
      count: to - at,
      ...(repetition === undefined ? {} : { repetition: repetition.subarray(at, to) }),
      ...(takenDefinition === undefined ? {} : { definition: takenDefinition }),
      values: sliceValues(values, valuesAt, valuesAt + valueCount),
    };
  }
}

function joinLevels(parts: readonly Levels[], column: StoredColumn): LeafRows {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const join = (kind: "repetition" | "definition", absent: number) => {
    if (parts.every((part) => part[kind] === undefined)) return {};
    const all = new Uint8Array(count);
    let at = 0;
    for (const part of parts) {
      const levels = part[kind];
      if (levels === undefined) all.fill(absent, at, at + part.count);
      else all.set(levels, at);
      at += part.count;
    }
    return { [kind]: all };
  };
  return {
    count,
    ...join("repetition", 0),
    ...join("definition", column.definition),
    values: joinValues(parts.map(({ values }) => values), column),
  };
}

function joinValues(values: readonly PageValues[], { type, width }: StoredColumn): DenseValues {
  const count = values.reduce((sum, each) => sum + countOf(each), 0);
  const [first] = values;
  if (first === undefined) {
    return type === "BYTE_ARRAY"
      ? { kind: "bytes", bytes: new Uint8Array(), offsets: new Int32Array(1) }
      : { kind: "fixed", bytes: new Uint8Array(), width };
  }
  if (first.kind === "bytes") return joinByteValues(values as (PageValues & { kind: "bytes" })[], count);
  if (values.length === 1) return first;
  if (first.kind === "numbers") {
    const whole = new (first.values.constructor as new (length: number) => StoredNumbers)(count);
    let at = 0;
    for (const each of values as (PageValues & { kind: "numbers" })[]) {
      whole.set(each.values as never, at);
      at += each.values.length;
    }
    return { kind: "numbers", values: whole };
  }
  return { ...first, bytes: concatBytes((values as (PageValues & { kind: "fixed" })[]).map(({ bytes }) => bytes)) };
}

function joinByteValues(values: readonly (PageValues & { kind: "bytes" })[], count: number): DenseValues {
  const total = values.reduce((sum, { lengths }) => lengths.reduce((sum, length) => sum + length, sum), 0);
  if (total > 2 ** 31 - 1) {
    throw new UnsupportedFeature(`a row has ${(total / 1e9).toFixed(1)} GB; up to 2 GB can be read here`);
  }
  const out = new Uint8Array(total);
  const offsets = new Int32Array(count + 1);
  let end = 0;
  let index = 0;
  for (const { bytes, starts, lengths } of values) {
    for (let at = 0; at < starts.length; at++) {
      const start = starts[at]!;
      const length = lengths[at]!;
      if (length > SHORT) out.set(bytes.subarray(start, start + length), end);
      else for (let byte = 0; byte < length; byte++) out[end + byte] = bytes[start + byte]!;
      end += length;
      offsets[++index] = end;
    }
  }
  return { kind: "bytes", bytes: out, offsets };
}

/** The places of a node's values, and which of them are not NULL. */
interface Places {
  /** The number of places, including NULLs. */
  length: number;
  nullCount: number;
  /** A bitmap of the values that are not NULL; absent if none is NULL. */
  present?: Uint8Array;
}

/**
 * Builds the values of a column in Arrow's layout from the levels of its leaves.
 *
 * @param leaves The rows of the leaves, by the position of the leaf in the file.
 */
export function assemble(node: Node, leaves: readonly LeafRows[]): Data {
  const rows = leaves[node.leaf]!;
  const { length, nullCount, present } = placesOf(node, rows);
  const data = (values?: unknown, offsets?: unknown, children: Data[] = []) =>
    new Data(node.field.type, 0, length, nullCount, [offsets, values, present] as never, children);
  switch (node.kind) {
    case "leaf": {
      const { values, offsets } = node.conversion.convert(withGaps(rows.values, length, present), present);
      return data(values, offsets);
    }
    case "struct":
      return data(undefined, undefined, node.children.map((child) => assemble(child, leaves)));
    case "list": {
      const offsets = offsetsOf(node, rows, length);
      const rowOf = (at: number) => at < 0 ? at : offsets.findIndex((start) => start > at) - 1;
      return data(undefined, offsets, [problemAt(() => assemble(node.children[0], leaves), rowOf)]);
    }
  }
}

function placesOf(node: Node, { count, repetition, definition }: LeafRows): Places {
  if (definition === undefined && repetition === undefined) return { length: count, nullCount: 0 };
  const present = new Uint8Array((count + 7) >> 3);
  let length = 0;
  let nullCount = 0;
  for (let at = 0; at < count; at++) {
    if (repetition !== undefined && repetition[at]! > node.repetition) continue;
    const level = definition === undefined ? node.definition : definition[at]!;
    if (level < node.place) continue;
    if (level >= node.definition) present[length >> 3]! |= 1 << (length & 7);
    else nullCount++;
    length++;
  }
  return nullCount === 0 ? { length, nullCount } : { length, nullCount, present };
}

/** Returns the position of each list's first element, and at the end the number of elements. */
function offsetsOf(
  node: Node & { kind: "list" },
  { count, repetition, definition }: LeafRows,
  length: number,
): Int32Array {
  const [{ place, repetition: depth }] = node.children;
  const offsets = new Int32Array(length + 1);
  let list = 0;
  let elements = 0;
  for (let at = 0; at < count; at++) {
    const again = repetition === undefined ? 0 : repetition[at]!;
    const level = definition === undefined ? place : definition[at]!;
    if (again <= node.repetition && level >= node.place) offsets[list++] = elements;
    if (again <= depth && level >= place) elements++;
  }
  offsets[length] = elements;
  return offsets;
}

/** Moves the values to their places, with gaps for the NULLs. */
function withGaps(values: DenseValues, length: number, present: Uint8Array | undefined): DenseValues {
  if (present === undefined) return values;
  const isPresent = (at: number) => present[at >> 3]! >> (at & 7) & 1;
  let from = 0;
  switch (values.kind) {
    case "numbers": {
      const out = new (values.values.constructor as Int32ArrayConstructor)(length);
      const source = values.values as Int32Array;
      for (let at = 0; at < length; at++) if (isPresent(at)) out[at] = source[from++]!;
      return { kind: "numbers", values: out };
    }
    case "fixed": {
      const { bytes, width } = values;
      const out = new Uint8Array(length * width);
      for (let at = 0; at < length; at++) {
        if (!isPresent(at)) continue;
        for (let byte = 0; byte < width; byte++) out[at * width + byte] = bytes[from + byte]!;
        from += width;
      }
      return { ...values, bytes: out };
    }
    case "bytes": {
      const offsets = new Int32Array(length + 1);
      for (let at = 0; at < length; at++) offsets[at + 1] = values.offsets[isPresent(at) ? ++from : from]!;
      return { ...values, offsets };
    }
  }
}

import { Data } from "npm:apache-arrow@^21.2.0";
import { problemAt } from "../../binary/block.ts";
import type { Node } from "./read_schema.ts";
import type { Dense, LeafRows } from "./row_reader.ts";

/** Which of the places of a node have a value. */
interface Places {
  /** How many there are, NULLs included. */
  length: number;
  nullCount: number;
  /** A bit for each; absent where all have one. */
  present?: Uint8Array;
}

/**
 * The values of a column from the levels of its leaves, as Arrow lays them out.
 *
 * @param leaves Some rows of all leaves of the file.
 */
export function assemble(node: Node, leaves: readonly LeafRows[]): Data {
  const rows = leaves[node.leaf]!;
  const { length, nullCount, present } = placesOf(node, rows);
  const data = (values?: unknown, offsets?: unknown, children: Data[] = []) =>
    new Data(node.field.type, 0, length, nullCount, [offsets, values, present] as never, children);
  switch (node.kind) {
    case "leaf": {
      const { values, offsets } = node.conversion.convert(spread(rows.values, length, present), present);
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

/** Where each list begins among its elements. */
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

/** Values at their places, where there are some without. */
function spread(values: Dense, length: number, present: Uint8Array | undefined): Dense {
  if (present === undefined) return values;
  const isThere = (at: number) => present[at >> 3]! >> (at & 7) & 1;
  let from = 0;
  switch (values.kind) {
    case "numbers": {
      const out = new (values.values.constructor as Int32ArrayConstructor)(length);
      const source = values.values as Int32Array;
      for (let at = 0; at < length; at++) if (isThere(at)) out[at] = source[from++]!;
      return { kind: "numbers", values: out };
    }
    case "fixed": {
      const { bytes, width } = values;
      const out = new Uint8Array(length * width);
      for (let at = 0; at < length; at++) {
        if (!isThere(at)) continue;
        for (let byte = 0; byte < width; byte++) out[at * width + byte] = bytes[from + byte]!;
        from += width;
      }
      return { ...values, bytes: out };
    }
    case "bytes": {
      const offsets = new Int32Array(length + 1);
      for (let at = 0; at < length; at++) offsets[at + 1] = values.offsets[isThere(at) ? ++from : from]!;
      return { ...values, offsets };
    }
  }
}

import type { ThriftStruct, ThriftValue } from "./thrift_reader.ts";

/** What a column means beyond its storage: by the name of Arrow's extension type, but that Arrow has none for the last. */
export type Meaning = "arrow.uuid" | "arrow.json" | "parquet.interval";

/** Where parquet.thrift has what is needed here. */
const SCHEMA = 2;
const CHILDREN = 5;
const CONVERTED = 6;
const LOGICAL = 10;
const LOGICAL_JSON = 12;
const LOGICAL_UUID = 14;
const CONVERTED_JSON = 19;
const CONVERTED_INTERVAL = 21;

/**
 * What is more than the bytes and texts that Arrow takes it for.
 *
 * @param footer The struct `FileMetaData`.
 * @returns For each leaf of the schema, a tree that is written from its root in depth.
 */
export function meanings(footer: ThriftStruct): (Meaning | undefined)[] {
  return leaves(footer).map(meaningOf);
}

/**
 * The footer without the mark of its intervals: the library takes one for days and milliseconds, and drops the months. So
 * marked they come as the 12 bytes that they are.
 *
 * @param bytes The footer.
 * @param footer The same, read.
 */
export function withoutIntervals(bytes: Uint8Array, footer: ThriftStruct): Uint8Array {
  const intervals = leaves(footer).filter((leaf) => meaningOf(leaf) === "parquet.interval");
  return intervals.reduceRight((left, leaf) => leaf.without(CONVERTED, left), bytes);
}

function leaves(footer: ThriftStruct): ThriftStruct[] {
  const elements = footer.get(SCHEMA);
  if (!Array.isArray(elements) || elements.length === 0) throw new Error("its footer has no schema");
  return elements.slice(1).map(structOf).filter((element) => !element.get(CHILDREN));
}

function meaningOf(element: ThriftStruct): Meaning | undefined {
  const logical = element.get(LOGICAL);
  const converted = element.get(CONVERTED);
  if (logical instanceof Map && logical.has(LOGICAL_UUID)) return "arrow.uuid";
  if (logical instanceof Map && logical.has(LOGICAL_JSON) || converted === CONVERTED_JSON) return "arrow.json";
  return converted === CONVERTED_INTERVAL ? "parquet.interval" : undefined;
}

function structOf(value: ThriftValue): ThriftStruct {
  if (!(value instanceof Map)) throw new Error("its footer has a schema that breaks off");
  return value;
}

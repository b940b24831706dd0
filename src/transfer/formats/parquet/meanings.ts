import { readThrift, type ThriftStruct, type ThriftValue } from "./thrift_reader.ts";

/** What a column means beyond its storage. */
export type Meaning = "uuid" | "json";

/** Where parquet.thrift has what is needed here. */
const SCHEMA = 2;
const NAME = 4;
const CHILDREN = 5;
const CONVERTED = 6;
const LOGICAL = 10;
const LOGICAL_JSON = 12;
const LOGICAL_UUID = 14;
const CONVERTED_JSON = 19;

/**
 * The columns of a file that are more than the bytes and texts that Arrow takes them for.
 *
 * @param footer The struct `FileMetaData`.
 * @returns By the column's name; a list's elements by the list's.
 */
export function meanings(footer: Uint8Array): Map<string, Meaning> {
  const elements = readThrift(footer).get(SCHEMA);
  if (!Array.isArray(elements) || elements.length === 0) throw new Error("its footer has no schema");
  const found = new Map<string, Meaning>();
  let at = 1;
  // The schema is a tree, written from its root in depth.
  const walk = (column: string) => {
    const element = structOf(elements[at++]);
    for (let child = 0; child < numberOf(element.get(CHILDREN)); child++) walk(column || nameOf(element));
    const meaning = meaningOf(element);
    if (meaning !== undefined) found.set(column || nameOf(element), meaning);
  };
  for (let child = 0; child < numberOf(structOf(elements[0]).get(CHILDREN)); child++) walk("");
  return found;
}

function meaningOf(element: ThriftStruct): Meaning | undefined {
  const logical = element.get(LOGICAL);
  if (logical instanceof Map && logical.has(LOGICAL_UUID)) return "uuid";
  const isJson = logical instanceof Map && logical.has(LOGICAL_JSON) || element.get(CONVERTED) === CONVERTED_JSON;
  return isJson ? "json" : undefined;
}

function structOf(value: ThriftValue | undefined): ThriftStruct {
  if (!(value instanceof Map)) throw new Error("its footer has a schema that breaks off");
  return value;
}

function numberOf(value: ThriftValue | undefined): number {
  return typeof value === "number" ? value : 0;
}

function nameOf(element: ThriftStruct): string {
  const name = element.get(NAME);
  return name instanceof Uint8Array ? new TextDecoder().decode(name) : "";
}

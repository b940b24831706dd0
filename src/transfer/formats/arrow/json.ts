import { type Data, type Field, Type } from "npm:apache-arrow@21.2.0";
import { CellProblem, type ColumnData, problemAt } from "../../columns/batch.ts";
import { valueReader } from "../../columns/value.ts";
import { listOffsets, texts, type Values } from "./values.ts";

/** Returns the JSON of the value at a position. */
type Write = (at: number) => string;

/** Converts the values of a field that is not nested. */
type TakeOver = (field: Field, data: Data) => ColumnData;

/** Returns a function that converts structs, maps and nested lists to JSON. */
export function jsonTexts(field: Field, take: TakeOver): (data: Data) => Values {
  return (data) => texts(data, problemAt(() => present(field, data, take), () => -1));
}

function writer(field: Field, data: Data, take: TakeOver): Write {
  const write = present(field, data, take);
  return (at) => data.getValid(at) ? write(at) : "null";
}

function present(field: Field, data: Data, take: TakeOver): Write {
  const { children } = field.type;
  switch (field.type.typeId) {
    case Type.Struct: {
      const fields = (children as Field[]).map((child, place) => ({
        key: JSON.stringify(child.name),
        write: writer(child, data.children[place]!, take),
      }));
      return (at) => `{${fields.map(({ key, write }) => `${key}:${write(at)}`).join(",")}}`;
    }
    case Type.Map:
      return mapWriter(field, data, take);
    case Type.List:
    case Type.LargeList:
    case Type.FixedSizeList: {
      const offsets = listOffsets(data);
      const write = writer(children[0] as Field, data.children[0]!, take);
      return (at) => `[${range(offsets[at]!, offsets[at + 1]!).map(write).join(",")}]`;
    }
    default:
      return scalarWriter(take(field, data));
  }
}

/** Writes a map as an object. Keys become strings, because JSON has no other keys. */
function mapWriter(field: Field, data: Data, take: TakeOver): Write {
  const entries = field.type.children[0] as Field;
  const [keyField, valueField] = entries.type.children as [Field, Field];
  const [keys, values] = data.children[0]!.children as [Data, Data];
  const offsets = listOffsets(data);
  const key = writer(keyField, keys, take);
  const value = writer(valueField, values, take);
  return (at) => {
    const members = new Map<string, string>();
    for (const entry of range(offsets[at]!, offsets[at + 1]!)) {
      const name = asText(key(entry));
      // Postgres would silently keep only the last value.
      if (members.has(name)) {
        throw new CellProblem(-1, `a map has the key ${name} twice, and an object can't; make it a list`);
      }
      members.set(name, value(entry));
    }
    return `{${Array.from(members, (member) => member.join(":")).join(",")}}`;
  };
}

function asText(json: string): string {
  return json.startsWith('"') ? json : JSON.stringify(json);
}

function scalarWriter(column: ColumnData): Write {
  const read = valueReader({ ...column, type: plainType(column) });
  return (at) => scalarJson(read(at), column);
}

/** Reads JSON unparsed, and timestamps as text, so that they keep their microseconds. */
function plainType({ type }: ColumnData): ColumnData["type"] {
  if (type.kind === "json") return { kind: "text" };
  return type.kind === "timestamp" ? { kind: "timestamp", utc: false } : type;
}

function scalarJson(value: unknown, { type }: ColumnData): string {
  switch (typeof value) {
    case "bigint":
      return String(value);
    case "number":
      if (Object.is(value, -0)) return "-0"; // `JSON.stringify` drops the sign
      return Number.isFinite(value) ? JSON.stringify(value) : JSON.stringify(String(value));
    case "string":
      if (type.kind === "decimal" || type.kind === "json") return value;
      if (type.kind !== "timestamp") return JSON.stringify(value);
      return JSON.stringify(`${value.replace(" ", "T")}${type.utc ? "+00:00" : ""}`);
    default:
      return JSON.stringify(value instanceof Uint8Array ? `\\x${value.toHex()}` : value);
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

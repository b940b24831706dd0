import { type Data, type Field, Type } from "npm:apache-arrow@21.2.0";
import { CellProblem, type ColumnData, problemAt } from "../../columns/batch.ts";
import { valueReader } from "../../columns/value.ts";
import { listOffsets, texts, type Values } from "./values.ts";

/** Returns the JSON of the value at a position. */
type JsonWriter = (at: number) => string;

/** Converts the values of a field that is not nested. */
type FieldConverter = (field: Field, data: Data) => ColumnData;

/** Returns a function that converts the structs, maps or nested lists of a field to JSON. */
export function jsonTexts(field: Field, convert: FieldConverter): (data: Data) => Values {
  return (data) => texts(data, problemAt(() => presentWriter(field, data, convert), () => -1));
}

function writer(field: Field, data: Data, convert: FieldConverter): JsonWriter {
  const write = presentWriter(field, data, convert);
  return (at) => data.getValid(at) ? write(at) : "null";
}

/** Writes values that are not NULL. */
function presentWriter(field: Field, data: Data, convert: FieldConverter): JsonWriter {
  const { children } = field.type;
  switch (field.type.typeId) {
    case Type.Struct: {
      const fields = (children as Field[]).map((child, index) => ({
        key: JSON.stringify(child.name),
        write: writer(child, data.children[index]!, convert),
      }));
      return (at) => `{${fields.map(({ key, write }) => `${key}:${write(at)}`).join(",")}}`;
    }
    case Type.Map:
      return mapWriter(field, data, convert);
    case Type.List:
    case Type.LargeList:
    case Type.FixedSizeList: {
      const offsets = listOffsets(data);
      const write = writer(children[0] as Field, data.children[0]!, convert);
      return (at) => `[${range(offsets[at]!, offsets[at + 1]!).map(write).join(",")}]`;
    }
    default:
      return scalarWriter(convert(field, data));
  }
}

/** Writes a map as an object. Its keys become strings, because JSON has no other keys. */
function mapWriter(field: Field, data: Data, convert: FieldConverter): JsonWriter {
  const entries = field.type.children[0] as Field;
  const [keyField, valueField] = entries.type.children as [Field, Field];
  const [keys, values] = data.children[0]!.children as [Data, Data];
  const offsets = listOffsets(data);
  const key = writer(keyField, keys, convert);
  const value = writer(valueField, values, convert);
  return (at) => {
    const members = new Map<string, string>();
    for (const entry of range(offsets[at]!, offsets[at + 1]!)) {
      const name = asKey(key(entry));
      // Postgres would silently keep the last value only.
      if (members.has(name)) {
        throw new CellProblem(-1, `a map has the key ${name} twice, which JSON does not allow; make it a list`);
      }
      members.set(name, value(entry));
    }
    return `{${Array.from(members, (member) => member.join(":")).join(",")}}`;
  };
}

function asKey(json: string): string {
  return json.startsWith('"') ? json : JSON.stringify(json);
}

function scalarWriter(column: ColumnData): JsonWriter {
  const read = valueReader({ ...column, type: unparsedType(column) });
  return (at) => scalarJson(read(at), column);
}

/** Chooses the type with which JSON is read without parsing, and timestamps as text, which keeps their microseconds. */
function unparsedType({ type }: ColumnData): ColumnData["type"] {
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

import { quoteInBackticks } from "../../core/sql_text.ts";
import type { DatabaseClient, DescribedColumn } from "./database_client.ts";

/** How a value is read from Postgres and written. */
type Kind =
  | "boolean"
  | "short"
  | "int"
  | "long"
  | "float"
  | "double"
  | "decimal"
  | "string"
  | "uuid"
  | "binary"
  | "date"
  | "timestamp"
  | "timestampNtz"
  | "dayTime"
  | "yearMonth"
  | "json"
  | "jsonb"
  | "array"
  | "struct"
  | "void";

/** A type of a SQL warehouse. */
export interface WarehouseType {
  kind: Kind;
  /** `type_name` in a manifest, such as `LONG`. */
  name: string;
  /** `type_text` in a manifest, such as `BIGINT` or `ARRAY<BIGINT>`. */
  text: string;
  /** The precision of a DECIMAL. */
  precision?: number;
  /** The scale of a DECIMAL. */
  scale?: number;
  /** The element type of an ARRAY. */
  element?: WarehouseType;
  /** The fields of a STRUCT. */
  fields?: { name: string; type: WarehouseType }[];
  /** Whether Postgres sends the values as text. They can't be in an ARRAY or a STRUCT. @default {false} */
  asText?: boolean;
}

const STRING: WarehouseType = { kind: "string", name: "STRING", text: "STRING" };
const AS_TEXT: WarehouseType = { ...STRING, asText: true };
const YEAR_MONTH: WarehouseType = { kind: "yearMonth", name: "INTERVAL", text: "INTERVAL YEAR TO MONTH" };
const DAY_TIME: WarehouseType = { kind: "dayTime", name: "INTERVAL", text: "INTERVAL DAY TO SECOND" };

/** The types by the oid of the Postgres type, from pg_type.dat. */
const SCALARS: Record<number, WarehouseType> = {
  16: { kind: "boolean", name: "BOOLEAN", text: "BOOLEAN" },
  17: { kind: "binary", name: "BINARY", text: "BINARY" },
  18: STRING,
  19: STRING,
  20: { kind: "long", name: "LONG", text: "BIGINT" },
  21: { kind: "short", name: "SHORT", text: "SMALLINT" },
  23: { kind: "int", name: "INT", text: "INT" },
  25: STRING,
  114: { kind: "json", name: "VARIANT", text: "VARIANT" },
  700: { kind: "float", name: "FLOAT", text: "FLOAT" },
  701: { kind: "double", name: "DOUBLE", text: "DOUBLE" },
  705: STRING,
  1042: STRING,
  1043: STRING,
  1082: { kind: "date", name: "DATE", text: "DATE" },
  1114: { kind: "timestampNtz", name: "TIMESTAMP_NTZ", text: "TIMESTAMP_NTZ" },
  1184: { kind: "timestamp", name: "TIMESTAMP", text: "TIMESTAMP" },
  2278: { kind: "void", name: "NULL", text: "VOID" },
  2950: { ...STRING, kind: "uuid" },
  3802: { kind: "jsonb", name: "VARIANT", text: "VARIANT" },
};
const NUMERIC = 1700;
const INTERVAL = 1186;

/** A Postgres type that is not in the table, such as an array, a composite type, an enum or a domain. */
interface CatalogType {
  /** `typtype`. */
  kind: string;
  /** The oid of an array's elements; 0 for other types. */
  element: number;
  /** The oid of a domain's base type; 0 for other types. */
  base: number;
  baseModifier: number;
  attributes: [name: string, oid: number, modifier: number][];
}

/** Finds the types of a result's columns. A type that a warehouse does not have becomes STRING, with Postgres's text. */
export async function readColumnTypes(
  client: DatabaseClient,
  columns: readonly DescribedColumn[],
): Promise<WarehouseType[]> {
  const catalog = new Map<number, CatalogType>();
  for (let missing = missingOids(columns.map(({ oid }) => oid), catalog); missing.length > 0;) {
    const rows = await client.query(catalogQuery(missing));
    if (rows.length === 0) break; // the types have been dropped meanwhile
    for (const row of rows) {
      const [oid, kind, element, base, baseModifier, attributes] = row as string[];
      catalog.set(Number(oid), {
        kind: kind!,
        element: Number(element),
        base: Number(base),
        baseModifier: Number(baseModifier),
        attributes: JSON.parse(attributes!),
      });
    }
    const parts = [...catalog.values()].flatMap(({ element, base, attributes }) => [
      element,
      base,
      ...attributes.map(([, oid]) => oid),
    ]);
    missing = missingOids(parts, catalog);
  }
  return columns.map(({ oid, modifier }) => typeOf(oid, modifier, catalog));
}

/** The oids of types that must be read from the catalog. */
function missingOids(oids: number[], catalog: ReadonlyMap<number, CatalogType>): number[] {
  const isKnown = (oid: number) => oid === 0 || oid in SCALARS || [NUMERIC, INTERVAL].includes(oid) || catalog.has(oid);
  return [...new Set(oids)].filter((oid) => !isKnown(oid));
}

function catalogQuery(oids: number[]): string {
  return `SELECT t.oid, t.typtype, CASE WHEN t.typcategory OPERATOR(pg_catalog.=) 'A' THEN t.typelem ELSE 0 END,
    t.typbasetype, t.typtypmod, COALESCE((SELECT pg_catalog.json_agg(
      pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid
      AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped), '[]')
    FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) ANY ('{${oids}}'::pg_catalog.oid[])`;
}

function typeOf(oid: number, modifier: number, catalog: ReadonlyMap<number, CatalogType>): WarehouseType {
  const scalar = SCALARS[oid];
  if (scalar !== undefined) return scalar;
  if (oid === NUMERIC) return decimal(modifier);
  if (oid === INTERVAL) return isYearMonth(modifier) ? YEAR_MONTH : DAY_TIME;
  const type = catalog.get(oid);
  if (type === undefined) return AS_TEXT;
  if (type.base > 0) return typeOf(type.base, type.baseModifier, catalog);
  if (type.kind === "e") return STRING;
  if (type.element > 0) return array(typeOf(type.element, modifier, catalog));
  if (type.kind !== "c") return AS_TEXT;
  return struct(type.attributes.map(([name, oid, modifier]) => ({ name, type: typeOf(oid, modifier, catalog) })));
}

/** An ARRAY, or a STRING if Postgres sends the elements as text. */
function array(element: WarehouseType): WarehouseType {
  if (element.asText) return AS_TEXT;
  return { kind: "array", name: "ARRAY", text: `ARRAY<${element.text}>`, element };
}

function struct(fields: NonNullable<WarehouseType["fields"]>): WarehouseType {
  if (fields.some(({ type }) => type.asText)) return AS_TEXT;
  const texts = fields.map(({ name, type }) => `${/^\w+$/.test(name) ? name : quoteInBackticks(name)}: ${type.text}`);
  return { kind: "struct", name: "STRUCT", text: `STRUCT<${texts.join(", ")}>`, fields };
}

const MAX_PRECISION = 38;

/** The DECIMAL for a `numeric`. Without a precision it is DECIMAL(38, 18), as in Spark. */
function decimal(modifier: number): WarehouseType {
  const declared = modifier < 4
    ? [MAX_PRECISION, 18]
    : [(modifier - 4) >> 16 & 0xffff, (modifier - 4 & 0x7ff ^ 1024) - 1024];
  const scale = Math.min(Math.max(declared[1]!, 0), MAX_PRECISION);
  const precision = Math.min(Math.max(declared[0]! - Math.min(declared[1]!, 0), scale), MAX_PRECISION);
  return { kind: "decimal", name: "DECIMAL", text: `DECIMAL(${precision},${scale})`, precision, scale };
}

/** Whether an interval has only years and months, which are bits 1 and 2 of the range in its modifier. */
function isYearMonth(modifier: number): boolean {
  const range = modifier >> 16 & 0x7fff;
  return modifier >= 0 && range !== 0 && (range & ~0b110) === 0;
}

/** `schema.columns` of a manifest. */
export function schemaColumns(columns: readonly DescribedColumn[], types: readonly WarehouseType[]): unknown[] {
  return columns.map(({ name }, position) => {
    const { name: type_name, text: type_text, precision, scale } = types[position]!;
    const decimal = precision === undefined ? {} : { type_precision: precision, type_scale: scale };
    const interval = type_name === "INTERVAL" ? { type_interval_type: type_text.replace("INTERVAL ", "") } : {};
    return { name, type_text, type_name, ...decimal, ...interval, position };
  });
}

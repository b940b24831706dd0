import type { Field } from "../query/fields.ts";
import { isBuiltIn } from "../query/type_names.ts";

/** How a column's values are laid out. */
export type Scale = "number" | "time" | "text";

/** A column that may be drawn. */
export interface PlotColumn {
  /** Its key in a row, by which it is called. */
  name: string;
  /** Its place, from 1. */
  position: number;
  /** Its Postgres type. */
  type: string;
  /** Whether every Postgres has the type; another of the same name may be anything. */
  builtIn: boolean;
  scale: Scale;
}

const NUMBERS = new Set(["int2", "int4", "int8", "float4", "float8", "numeric"]);
const TIMES = new Set(["date", "timestamp", "timestamptz"]);

/** The columns of a result; what is neither a number nor a point in time is a category. */
export function plotColumns(fields: readonly Field[]): PlotColumn[] {
  return fields.map(({ key: name, type, oid }, index) => {
    const builtIn = isBuiltIn(oid);
    const scale = !builtIn ? "text" : NUMBERS.has(type) ? "number" : TIMES.has(type) ? "time" : "text";
    return { name, position: index + 1, type, builtIn, scale };
  });
}

/** Whether all values are whole numbers. */
export function isWhole({ type }: PlotColumn): boolean {
  return type.startsWith("int");
}

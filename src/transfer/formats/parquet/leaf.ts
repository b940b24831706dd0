import type { ColumnType } from "../../column_type.ts";

/** What Parquet stores (parquet.thrift, `Type`). */
export const Physical = { boolean: 0, int32: 1, int64: 2, float: 4, double: 5, bytes: 6, fixed: 7 } as const;

/** A column as Parquet stores it: of a list its elements. */
export interface Leaf {
  /** The column's name. */
  name: string;
  /** The names that lead there from the root. */
  path: readonly string[];
  /** The type of the values, or of a list's elements. */
  type: ColumnType;
  /** Whether it is a list of them. */
  list: boolean;
  /** What is stored. */
  physical: number;
  /** The bytes of a value of `Physical.fixed`. */
  width?: number;
}

/** The most digits of a decimal that 32 and 64 bits hold. */
const DIGITS_32 = 9;
const DIGITS_64 = 18;

const FIXED_WIDTH = 16;

/** How a column is stored. */
export function leafOf(name: string, type: ColumnType): Leaf {
  const list = type.kind === "list";
  const element = list ? type.element : type;
  const physical = physicalType(element);
  return {
    name,
    path: list ? [name, "list", "element"] : [name],
    type: element,
    list,
    physical,
    ...(physical === Physical.fixed ? { width: FIXED_WIDTH } : {}),
  };
}

function physicalType(type: ColumnType): number {
  switch (type.kind) {
    case "bool":
      return Physical.boolean;
    case "int16":
    case "int32":
    case "uint32":
    case "date":
      return Physical.int32;
    case "int64":
    case "time":
    case "timestamp":
      return Physical.int64;
    case "float32":
      return Physical.float;
    case "float64":
      return Physical.double;
    case "decimal":
      return type.precision <= DIGITS_32
        ? Physical.int32
        : type.precision <= DIGITS_64
        ? Physical.int64
        : Physical.fixed;
    case "uuid":
      return Physical.fixed;
    default:
      return Physical.bytes;
  }
}

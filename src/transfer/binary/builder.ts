import { BUILT_IN } from "../../query/type_names.ts";
import type { BatchColumn, ColumnData } from "../batch.ts";
import type { ColumnType } from "../column_type.ts";
import type { Block } from "./block.ts";
import { BytesBuilder } from "./bytes.ts";
import { decimal } from "./decimal.ts";
import { FixedBuilder } from "./fixed.ts";
import { ListBuilder } from "./list.ts";
import { FIXED } from "./storage.ts";

/** Collects the values of one column. */
export interface Builder {
  /** How many bytes each value has on the wire; -1 where that differs. */
  readonly width: number;
  /**
   * Takes values of a block.
   *
   * @param from The first one's place in its index.
   * @param count How many.
   * @throws {CellProblem} Where one can't be kept.
   */
  append(block: Block, from: number, count: number): void;
  /** What was collected; starts anew. */
  take(): Omit<ColumnData, "name" | "type">;
}

/** The builder for a column. */
export function builderFor({ oid, type }: Pick<BatchColumn, "oid" | "type">): Builder {
  if (type.kind !== "list") return scalarBuilder(oid, type);
  const element = elementOid(oid);
  return new ListBuilder(scalarBuilder(element, type.element), element, type.element);
}

function scalarBuilder(oid: number, type: ColumnType): Builder {
  switch (type.kind) {
    case "text":
    case "binary":
      return new BytesBuilder(0);
    case "json":
      return new BytesBuilder(oid === BUILT_IN["jsonb"]![0] ? 1 : 0);
    case "decimal":
      return new FixedBuilder(decimal(type.scale));
    case "list":
      throw new TypeError("Postgres has no lists of lists");
    default:
      return FIXED[type.kind]();
  }
}

function elementOid(array: number): number {
  for (const [oid, arrayOid] of Object.values(BUILT_IN)) if (arrayOid === array) return oid;
  throw new TypeError(`${array} is no array`);
}

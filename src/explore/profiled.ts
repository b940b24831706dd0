import { cellText } from "../notebook/cell.ts";
import { barsPicture } from "../notebook/picture.ts";
import { elapsedText, type TableOptions } from "../notebook/table.ts";
import { fieldsFor, type Listing } from "./listing.ts";
import { countText } from "../amount_text.ts";

/** One row of `profile()`: what is in a column. */
export interface ColumnProfile {
  /** The column's name. */
  column: string;
  /** Its type, such as `int4`. */
  type: string;
  /**
   * Of numbers and of dates and times how many there are in each twelfth of the way from the least to the greatest; `null`
   * for other types. What is infinite, or no number, is in none.
   */
  histogram: number[] | null;
  /** Its values that are not NULL. */
  count: number;
  /** Its NULLs. */
  nulls: number;
  /** Its different values; of json, arrays and the like, its different texts. */
  distinct: number;
  /** The least value, of text by its code points; `null` for types without a useful order. */
  min: unknown;
  /** A quarter of the values are at most this. For numbers interpolated and a `number`, for dates and times one of them, else `null`. */
  p25: unknown;
  /** Half of the values are at most this; as `p25`. */
  median: unknown;
  /** Three quarters of the values are at most this; as `p25`. */
  p75: unknown;
  /** The greatest value; as `min`. */
  max: unknown;
  /** The mean of numbers; else `null`. */
  mean: number | null;
  /** Up to five values that are there most often, the most frequent first. Long texts are cut after 1,000 characters. */
  top: { value: unknown; count: number }[];
}

/** What `profile()` knows beside the columns. */
export interface ProfileFacts {
  /** The rows that were looked at. */
  readonly rows: number;
  /** The table's rows, estimated; for what was looked at whole, and for queries, `null`. */
  readonly of: number | null;
  /** Whether there are, or may be, more rows than were looked at. */
  readonly sampled: boolean;
}

/** A profile: an array with a row for each column, that draws itself. */
export type Profile = Listing<ColumnProfile> & ProfileFacts;

/** The fields of a profile's rows. */
export const PROFILE_FIELDS = fieldsFor({
  ...{ column: "text", type: "text", histogram: "json", count: "int8", nulls: "int8", distinct: "int8" },
  ...{ min: "text", p25: "text", median: "text", p75: "text", max: "text", mean: "float8", top: "json" },
});

/** How a profile is drawn: a line for each column; what it was made of below. */
export function drawProfile(
  facts: ProfileFacts,
  columns: readonly ColumnProfile[],
  elapsed: number,
): TableOptions {
  const types = { top: "text", histogram: "text" } as Record<string, string>;
  return {
    columns: PROFILE_FIELDS.map(({ name, type }) => ({ name, type: types[name] ?? type })),
    rows: columns.map(({ column, type, histogram, count, nulls, distinct, min, p25, median, p75, max, mean, top }) => [
      ...[column, type, bars(histogram, top)],
      ...[count, nulls, distinct].map((number) => number.toLocaleString("en-US")),
      ...[min ?? "", ...[p25, median, p75].map(valueText), max ?? "", valueText(mean)],
      topText(top),
    ]),
    footer: `${countText(columns.length, "column")} ${basis(facts)}, ${elapsedText(elapsed)}`,
  };
}

/** Other types have bars of what is there most often. */
function bars(histogram: number[] | null, top: ColumnProfile["top"]): unknown {
  const counts = histogram ?? (top.length > 1 && top[0]!.count > 1 ? top.map(({ count }) => count) : []);
  return counts.length === 0 ? "" : barsPicture(counts);
}

function basis({ rows, of, sampled }: ProfileFacts): string {
  if (!sampled) return `of ${countText(rows, "row")}`;
  if (of === null) return `on the first ${countText(rows, "row")}, there may be more`;
  return `on a sample of ${rows.toLocaleString("en-US")} of about ${countText(of, "row")}`;
}

/** Half a dozen digits tell what was computed; the value in the array has them all. */
function valueText(value: unknown): unknown {
  if (value === null) return "";
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** Characters of a frequent value that are drawn. */
const SHOWN = 40;

function topText(top: ColumnProfile["top"]): string {
  if (top.length > 1 && top[0]!.count === 1) return "each once";
  const texts = top.map(({ value, count }) => {
    const { text, cut } = cellText(value, "", SHOWN)!;
    return `${text}${cut ? "…" : ""} (${count.toLocaleString("en-US")})`;
  });
  return texts.join(", ");
}

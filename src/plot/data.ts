import type { ChannelName } from "./measure.ts";

/** What an axis, the colors or the charts beside each other show. */
export interface Axis {
  /** What it is called. */
  title: string;
  type: "quantitative" | "temporal" | "nominal" | "ordinal";
  /** Whether a value reaches from `x` to `x2`. */
  ranged?: boolean;
  /** The texts or numbers in the order in which they are shown. */
  order?: (string | number)[];
  /** Whether its parts add up, so that they can be stacked. */
  additive?: boolean;
}

/** What a chart draws: its rows by the names of the channels, all computed. */
export interface ChartData {
  rows: Record<string, string | number>[];
  axes: { [Name in ChannelName]?: Axis };
  /** What was left out, cut or put together. */
  notes: string[];
  /** How many rows it was computed of, where that is known. */
  from: number | undefined;
}

/** The form in which a chart takes times. */
export function isoTime(time: number): string {
  return new Date(time).toISOString().replace(".000Z", "Z");
}

import { cellText } from "../notebook/cell.ts";
import type { PlotColumn } from "./column.ts";
import type { PlotValue } from "./source.ts";

const [FIRST, LAST] = [Date.parse("0001-01-02T00:00Z"), Date.parse("9999-12-30T00:00Z")];

/** A point in time in milliseconds since 1970, what has no time zone as if in UTC; `null` for what no chart has a form of. */
export function timeValue(value: unknown): number | null {
  const time = value instanceof Date ? value.getTime() : typeof value === "string" ? Date.parse(isoText(value)) : NaN;
  return time >= FIRST && time <= LAST ? time : null;
}

function isoText(text: string): string {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return text; // which JavaScript takes to be in UTC
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/.test(text)) return "";
  return `${text.replace(" ", "T")}Z`;
}

/** Beyond this no number has a place on an axis: the distance of two would have no form. */
export const LARGEST = 1e300;
/** What is nearer to 0 than this is 0: no two ticks would be apart. */
export const SMALLEST = 1e-300;

/** A number; `null` for what has no place on an axis. */
export function numberValue(value: unknown): number | null {
  if (value === null || value === undefined || value === "" || typeof value === "object") return null;
  const number = Number(value);
  if (!(Math.abs(number) <= LARGEST)) return null;
  return Math.abs(number) < SMALLEST ? 0 : number;
}

/** Characters of a text that are told apart. */
export const LONGEST = 500;

/** A value of a row as a chart of this scale has it. */
export function plotValue(value: unknown, { type, scale }: Pick<PlotColumn, "type" | "scale">): PlotValue {
  if (scale === "number") return numberValue(value);
  return scale === "time" ? timeValue(value) : cellText(value, type, LONGEST)?.text ?? null;
}

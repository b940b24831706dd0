import { suggestName, unknownOption } from "../core/closest.ts";
import { LakebaseError } from "../core/errors.ts";
import { typeText } from "../core/text.ts";

/** The form in which a chart draws its rows. */
export type PlotMark = "bar" | "line" | "area" | "point" | "histogram" | "box" | "heatmap";

/** Options of `plot()`. */
export interface PlotOptions {
  /**
   * The form in which the rows are drawn.
   *
   * @default {chosen by the types of the columns: a histogram of a number, a line over time, bars of a number by a text, points of two numbers, bars that count a text, a heat map of two texts}
   */
  mark?: PlotMark;
  /**
   * A column, or a number that is computed from a column: `avg(fare)`, `sum`, `min`, `max`, `median`, `stddev`,
   * `count(fare)`, `count()`. For a query, the database computes it.
   */
  x?: string;
  /**
   * A column or a computed number, like {@linkcode x}. Bars and areas draw a column's sum for each `x`; lines draw its
   * mean.
   */
  y?: string;
  /** A column. Each of its ten most frequent values gets a color. In a heat map, the color shows this column or number. */
  color?: string;
  /** A column. Each of its twelve most frequent values gets a chart. */
  facet?: string;
  /** The text above the chart. @default {the drawn columns, such as `avg(fare) by zone`} */
  title?: string;
  /** The width in pixels. @default {480, or more for many bars} */
  width?: number;
  /** The height in pixels. @default {280} */
  height?: number;
  /**
   * A part of a Vega-Lite specification, which is merged into the specification of the chart. The fields of the data are `x`,
   * `y`, `color`, `facet`, and `x2` and `y2` for the end of a bin.
   */
  spec?: Record<string, unknown>;
}

/** All marks. */
const MARKS: readonly PlotMark[] = ["bar", "line", "area", "point", "histogram", "box", "heatmap"];

const TEXT_OPTIONS = ["x", "y", "color", "facet", "title"] as const;
const SIZE_OPTIONS = ["width", "height"] as const;
const OPTIONS: readonly string[] = ["mark", ...TEXT_OPTIONS, ...SIZE_OPTIONS, "spec"] satisfies (keyof PlotOptions)[];

/** The maximum width and height in pixels. A larger picture fits neither a page nor an output. */
const MAX_SIZE = 4000;

/**
 * Checks the options of a call.
 *
 * @throws {LakebaseError} `BAD_PARAMETER`, with the value found and the value expected.
 */
export function checkPlotOptions(options: PlotOptions): PlotOptions {
  if (!isObject(options)) throw cannotPlot('the options must be an object such as { x: "zone", y: "avg(fare)" }');
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name)) throw cannotPlot(unknownOption(name, OPTIONS));
  }
  const { mark, spec }: { mark?: unknown; spec?: unknown } = options;
  if (mark !== undefined && !MARKS.includes(mark as PlotMark)) {
    throw cannotPlot(`there is no mark ${shownName(String(mark))}; ${suggestName(String(mark), MARKS, "marks")}`);
  }
  for (const name of TEXT_OPTIONS) {
    const text: unknown = options[name];
    if (text === undefined || (typeof text === "string" && (text !== "" || name === "title"))) continue;
    const expected = name === "title" ? "a text" : "a column's name; for x and y also a computation such as avg(fare)";
    throw cannotPlot(`${name} is ${text === "" ? "empty" : typeText(text)}; it must be ${expected}`);
  }
  for (const name of SIZE_OPTIONS) checkSize(name, options[name]);
  if (spec !== undefined && !isObject(spec)) {
    throw cannotPlot('spec must be an object of Vega-Lite, such as { encoding: { y: { scale: { type: "log" } } } }');
  }
  if (spec !== undefined && Object.hasOwn(spec, "data")) {
    throw cannotPlot("spec has data, but the chart draws the rows of the query");
  }
  return options;
}

function checkSize(name: string, size: unknown): void {
  if (size === undefined || (typeof size === "number" && size >= 1 && size <= MAX_SIZE)) return;
  throw cannotPlot(
    `${name} is ${typeof size === "number" ? size : typeText(size)}; it must be 1 to ${MAX_SIZE} pixels`,
  );
}

/** Whether a value is an object and not a list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Makes the error for a chart that can't be drawn.
 *
 * @param state The problem, as the end of a sentence.
 */
export function cannotPlot(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot plot: ${state}`, { cause });
}

/** A name in quotes, cut for an error. */
export function shownName(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

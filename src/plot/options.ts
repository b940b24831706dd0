import { suggestName, unknownOption } from "../core/closest.ts";
import { LakebaseError } from "../core/errors.ts";

/** How a chart draws its rows. */
export type PlotMark = "bar" | "line" | "area" | "point" | "histogram" | "box" | "heatmap";

/** What `plot()` draws, and how. */
export interface PlotOptions {
  /**
   * How the rows are drawn.
   *
   * @default {by the types of the columns: a histogram of one number, a line over time, bars of a number by a text, points of two numbers, bars that count one text, a heat map of two}
   */
  mark?: PlotMark;
  /**
   * A column, or a number that is computed from one: `avg(fare)`, `sum`, `min`, `max`, `median`, `stddev`, `count(fare)`,
   * `count()`. For a query, the database computes it.
   */
  x?: string;
  /** As {@linkcode x}. For a plain column, bars and areas draw the sum for each `x`, and lines the mean. */
  y?: string;
  /** A column: each of its values, at most the ten most frequent, gets a color. In a heat map, what the color shows. */
  color?: string;
  /** A column: each of its values, at most the twelve most frequent, gets a chart of its own. */
  facet?: string;
  /** The text above the chart. @default {what is drawn, such as `avg(fare) by zone`} */
  title?: string;
  /** The width in pixels. @default {480, or more for many bars} */
  width?: number;
  /** The height in pixels. @default {280} */
  height?: number;
  /**
   * A part of a Vega-Lite specification, merged into the chart's own. The fields of the data are `x`, `y`, `color`, `facet`,
   * and for the end of a bin `x2` and `y2`.
   */
  spec?: Record<string, unknown>;
}

/** All marks. */
export const MARKS: readonly PlotMark[] = ["bar", "line", "area", "point", "histogram", "box", "heatmap"];

const TEXTS = ["x", "y", "color", "facet", "title"] as const;
const SIZES = ["width", "height"] as const;
const NAMES: readonly string[] = ["mark", ...TEXTS, ...SIZES, "spec"] satisfies (keyof PlotOptions)[];

/** The most pixels: a larger picture fits neither a page nor an output. */
const LARGEST = 4000;

/**
 * Checks the options of a call.
 *
 * @throws {LakebaseError} `BAD_PARAMETER`, with what was found and what is wanted.
 */
export function checkPlotOptions(options: PlotOptions): PlotOptions {
  if (!isPlain(options)) throw cannotPlot('the options must be an object such as { x: "zone", y: "avg(fare)" }');
  for (const name of Object.keys(options)) {
    if (!NAMES.includes(name)) throw cannotPlot(unknownOption(name, NAMES));
  }
  const { mark, spec }: { mark?: unknown; spec?: unknown } = options;
  if (mark !== undefined && !MARKS.includes(mark as PlotMark)) {
    throw cannotPlot(`there is no mark ${quoted(String(mark))}; ${suggestName(String(mark), MARKS, "marks")}`);
  }
  for (const name of TEXTS) {
    const text: unknown = options[name];
    if (text === undefined || (typeof text === "string" && (text !== "" || name === "title"))) continue;
    const wanted = name === "title" ? "a text" : "a column's name, or for x and y such as avg(fare)";
    throw cannotPlot(
      `${name} is ${text === "" ? "empty" : text === null ? "null" : `a ${typeof text}`}; it must be ${wanted}`,
    );
  }
  for (const name of SIZES) checkSize(name, options[name]);
  if (spec !== undefined && !isPlain(spec)) {
    throw cannotPlot('spec must be an object of Vega-Lite, such as { encoding: { y: { scale: { type: "log" } } } }');
  }
  if (spec !== undefined && Object.hasOwn(spec, "data")) {
    throw cannotPlot("spec has data, but the chart draws the rows of the query");
  }
  return options;
}

function checkSize(name: string, size: unknown): void {
  if (size === undefined || (typeof size === "number" && size >= 1 && size <= LARGEST)) return;
  throw cannotPlot(
    `${name} is ${typeof size === "number" ? size : `a ${typeof size}`}; it must be 1 to ${LARGEST} pixels`,
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The error for a chart that can't be drawn.
 *
 * @param state What is wrong, as the end of a sentence.
 */
export function cannotPlot(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot plot: ${state}`, { cause });
}

/** A name as an error shows it. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

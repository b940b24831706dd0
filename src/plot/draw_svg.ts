import process from "node:process";
import { cannotPlot } from "./failure.ts";
import type { Spec } from "./vega_spec.ts";

type Vega = typeof import("vega");
type VegaLite = typeof import("vega-lite");

let libraries: Promise<[Vega, VegaLite]> | undefined;

/**
 * Draws Vega-Lite.
 *
 * @returns SVG.
 * @throws {LakebaseError} `BAD_PARAMETER` for what is no Vega-Lite, and for a chart that would load something.
 */
export async function drawSvg(spec: Spec): Promise<string> {
  const [vega, vegaLite] = await (libraries ??= load());
  const loader = Object.assign(vega.loader(), { load: refuse, sanitize: refuse, file: refuse, http: refuse });
  try {
    const { spec: compiled } = vegaLite.compile(spec as unknown as Parameters<VegaLite["compile"]>[0], { logger: SILENT });
    const view = new vega.View(vega.parse(compiled), { renderer: "none", loader, logger: SILENT });
    try {
      return await view.toSVG();
    } finally {
      view.finalize();
    }
  } catch (error) {
    throw cannotPlot(`its Vega-Lite can't be drawn (${(error as Error).message})`, error);
  }
}

/** What is drawn is here already; a link or an address in a text leads nowhere. */
function refuse(address: string): Promise<never> {
  return Promise.reject(new Error(`it refers to ${String(address).slice(0, 100)}; a chart loads nothing`));
}

/** Warnings are about a chart with no data, or are seen in the chart. */
const SILENT = {
  level: () => SILENT,
  error: (...messages: unknown[]) => {
    throw new Error(messages.map((message) => message instanceof Error ? message.message : String(message)).join(" "));
  },
  warn: () => SILENT,
  info: () => SILENT,
  debug: () => SILENT,
} as never;

/** One of the libraries that Vega loads, and does not use here, has a warning for Node's developers printed. */
async function load(): Promise<[Vega, VegaLite]> {
  const { noDeprecation = false } = process;
  process.noDeprecation = true;
  try {
    return await Promise.all([import("vega"), import("vega-lite")]);
  } finally {
    process.noDeprecation = noDeprecation;
  }
}

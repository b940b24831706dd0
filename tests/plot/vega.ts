// @ts-types="../../src/plot/vega/globals.d.ts"
import "../../src/plot/vega/vega.min.js";
// @ts-types="../../src/plot/vega/globals.d.ts"
import "../../src/plot/vega/vega-lite.min.js";
import type { Vega, VegaLite } from "../../src/plot/vega/globals.d.ts";

/** Vega and Vega-Lite, as the worker loads them. */
export const { vega, vegaLite } = globalThis as unknown as { vega: Vega; vegaLite: VegaLite };

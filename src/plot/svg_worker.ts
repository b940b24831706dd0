/**
 * Draws charts in a worker.
 *
 * @module
 */

import { parentPort } from "node:worker_threads";
// These are files of this module, because even `deno task` would fetch Vega's 84 packages, which have 9 MB.
// @ts-types="./vega/globals.d.ts"
import "./vega/vega.min.js";
// @ts-types="./vega/globals.d.ts"
import "./vega/vega-lite.min.js"; // uses the global `vega`
import type { Logger, Vega, VegaLite } from "./vega/globals.d.ts";

/** A drawn chart, or the reason why it can't be drawn. */
export type DrawnSvg = { svg: string } | { failure: string };

const { vega, vegaLite } = globalThis as unknown as { vega: Vega; vegaLite: VegaLite };

/** The part of a web worker's scope that is used here. */
interface WorkerScope {
  onmessage: (event: MessageEvent<string>) => void;
  postMessage: (drawn: DrawnSvg) => void;
}

if (parentPort === null) {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }) => void tryToDraw(data).then((drawn) => scope.postMessage(drawn));
} else {
  const port = parentPort;
  port.on("message", (spec: string) => void tryToDraw(spec).then((drawn) => port.postMessage(drawn)));
}

async function tryToDraw(spec: string): Promise<DrawnSvg> {
  try {
    return { svg: await draw(spec) };
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

async function draw(spec: string): Promise<string> {
  let refused: string | undefined; // Vega continues without a resource that it can't load
  const refuse = (address: string) => {
    refused ??= String(address).slice(0, 100);
    return Promise.reject(new Error("a chart loads nothing"));
  };
  const loader = Object.assign(vega.loader(), { load: refuse, file: refuse, http: refuse });
  const { spec: compiled } = vegaLite.compile(JSON.parse(spec), { logger: SILENT });
  const view = new vega.View(vega.parse(compiled), { renderer: "none", loader, logger: SILENT });
  try {
    const svg = roundCoordinates(await view.toSVG());
    if (refused !== undefined) throw new Error(`it refers to ${refused}; a chart loads nothing`);
    return svg;
  } finally {
    view.finalize();
  }
}

/** Rounds to hundredths of a pixel. Otherwise, half of a large picture would be digits. */
function roundCoordinates(svg: string): string {
  return svg.replace(
    / (?:d|transform)="[^"]*"/g,
    (attribute) => attribute.replace(/\d+\.\d{3,}/g, (number) => String(Math.round(Number(number) * 100) / 100)),
  );
}

/** Ignores warnings, which concern charts without data, or what is visible in the chart. */
const SILENT: Logger = {
  level: () => SILENT,
  error: (...messages: unknown[]) => {
    throw new Error(messages.map((message) => message instanceof Error ? message.message : String(message)).join(" "));
  },
  warn: () => SILENT,
  info: () => SILENT,
  debug: () => SILENT,
};

import { Worker } from "node:worker_threads";
import { workerUrl } from "../core/late.ts";
import { giveTurn } from "../core/turns.ts";
import { until } from "../sql/stop.ts";
import { cannotPlot } from "./options.ts";
import type { DrawnSvg } from "./svg_worker.ts";
import type { Spec } from "./vega_spec.ts";

/** The worker's heap limit in MB: a chart can be written so that it would fill the memory. */
const HEAP_MB = 512;

/** A worker that has loaded Vega, for the next chart. It does not keep the program alive. */
let idle: Worker | undefined;

/**
 * Draws a Vega-Lite chart as SVG, in a worker: loading Vega and drawing take hundreds of milliseconds, in which nothing else of
 * the program would run.
 *
 * @param signal Ends the drawing.
 * @returns SVG.
 * @throws {LakebaseError} `BAD_PARAMETER` if it is not Vega-Lite, or if it would load something. The signal's reason.
 */
export async function drawSvg(spec: Spec, signal?: AbortSignal): Promise<string> {
  const text = JSON.stringify(spec);
  if (idle === undefined) await giveTurn(); // Deno holds the thread while it makes a worker
  const worker = idle ?? newWorker();
  idle = undefined;
  let answer: DrawnSvg;
  try {
    answer = await until(draw(worker, text), signal);
  } catch (error) {
    await worker.terminate();
    throw error;
  }
  worker.removeAllListeners();
  if (idle === undefined) {
    worker.unref();
    idle = worker;
  } else await worker.terminate();
  if ("svg" in answer) return answer.svg;
  throw cannotPlot(`its Vega-Lite can't be drawn (${answer.failure})`);
}

function newWorker(): Worker {
  return new Worker(workerUrl(import.meta.resolve("./svg_worker.ts")), {
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
}

function draw(worker: Worker, spec: string): Promise<DrawnSvg> {
  const { promise, resolve, reject } = Promise.withResolvers<DrawnSvg>();
  const ended = (message: string) => reject(cannotPlot(`the drawing of its Vega-Lite has ended (${message})`));
  worker.ref();
  worker.on("message", resolve);
  worker.on("error", ({ message }: Error) => ended(message));
  worker.on("exit", () => ended("it used too much memory"));
  worker.postMessage(spec);
  return promise;
}

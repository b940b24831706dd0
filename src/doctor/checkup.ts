import { redact } from "../core/errors.ts";
import { fieldsFor, type ListingParts } from "../sql/result.ts";
import { type StopOptions, stoppable } from "../sql/stop.ts";
import { type CheckState, extraSteps, type Finding, STEPS } from "./steps.ts";

/** Options of {@linkcode runSteps}. */
export interface CheckOptions extends StopOptions {
  /** Makes the message of an error. @default {with the options' names in TypeScript} */
  messageOf?: (error: unknown) => string;
}

/**
 * Runs each step of connecting separately, from the settings to a query. The steps after one that fails are skipped.
 *
 * @param initial The settings, before the first step.
 * @param options What ends the checkup, and the form of its errors.
 */
export async function runSteps(initial: CheckState, options: CheckOptions = {}): Promise<CheckupParts> {
  using stop = stoppable(options, "the checkup");
  await using state = initial;
  const steps: CheckStep[] = [];
  let failed: string | undefined;
  for (const [step, run] of [...STEPS, ...extraSteps(state)]) {
    stop.signal?.throwIfAborted();
    using timeout = withTimeout(state, stop.signal);
    const started = performance.now();
    const finding = failed === undefined
      ? await run(state, timeout.signal).catch((error: unknown): Finding => failure(error, options.messageOf))
      : { outcome: "skipped" as const, detail: `${failed} failed` };
    stop.signal?.throwIfAborted();
    const { outcome = "ok", detail } = typeof finding === "string" ? { detail: finding } : finding;
    if (outcome === "failed" && STEPS.some(([name]) => name === step)) failed = step;
    steps.push({ step, outcome, detail, ms: outcome === "skipped" ? null : round(performance.now() - started) });
  }
  return reportSteps(steps);
}

/** Ends a step that hangs after `connectTimeout`. A timer of `AbortSignal.timeout()` would keep the program running. */
function withTimeout({ settings }: CheckState, stopped: AbortSignal | undefined): Disposable & { signal: AbortSignal } {
  const late = new AbortController();
  const abort = () => late.abort(new DOMException("The step took too long", "TimeoutError"));
  const timer = setTimeout(abort, settings.connectTimeout * 1000);
  return {
    signal: stopped === undefined ? late.signal : AbortSignal.any([late.signal, stopped]),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

function failure(error: unknown, messageFor = messageOf): Finding {
  const isTimeout = error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError");
  return {
    outcome: "failed",
    detail: isTimeout ? "no answer. Check the host, the port, the network and the VPN" : messageFor(error),
  };
}

/** The message of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** One step of a checkup. */
export interface CheckStep {
  /** The name of the step, such as `dns`. */
  step: string;
  /** `skipped` if an earlier step failed, or if this kind of login does not need the step. */
  outcome: "ok" | "warning" | "failed" | "skipped";
  /** The finding. For a failure it also says what to do. */
  detail: string;
  /** The milliseconds that the step took; `null` if it was skipped. */
  ms: number | null;
}

/** The result of all steps of a checkup. */
export interface CheckFacts {
  /** Whether no step failed. */
  ok: boolean;
}

/** The steps in their order and their drawing, from which the API makes a `Checkup`. */
type CheckupParts = ListingParts<CheckStep, CheckFacts>;

/** Makes a report of the steps that ran. Secrets are removed from the details, which may quote the server or the workspace. */
export function reportSteps(completed: readonly CheckStep[]): CheckupParts {
  const steps = completed.map((step) => ({ ...step, detail: redact(step.detail) }));
  const fields = fieldsFor({ step: "text", outcome: "text", detail: "text", ms: "float8" });
  const failed = steps.find(({ outcome }) => outcome === "failed");
  const footer = failed === undefined ? "everything works" : `failed at ${failed.step}`;
  const elapsed = steps.reduce((sum, { ms }) => sum + (ms ?? 0), 0);
  return {
    rows: steps,
    fields,
    elapsed,
    facts: { ok: failed === undefined },
    draw: (rows) => ({
      columns: fields,
      rows: rows.map(({ step, outcome, detail, ms }) => [step, outcome, detail, ms]),
      maxCell: 500,
      footer,
    }),
    write: (rows) => `${rows.map(stepLine).join("\n")}\n(${footer})`,
  };
}

/** The line of a step, of any length. A text table would cut the detail, which says what to do. */
function stepLine({ step, outcome, detail, ms }: CheckStep): string {
  return `${outcome.padEnd(8)}${step.padEnd(12)}${(ms === null ? "" : `${ms} ms`).padStart(10)}  ${detail}`;
}

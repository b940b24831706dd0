import type { StopOptions } from "../query/stop.ts";
import { stoppable } from "../query/stop.ts";
import { type CheckStep, type Checkup, makeCheckup } from "./checkup.ts";
import { type Examination, type Finding, STEPS } from "./steps.ts";

/**
 * Takes every step from the settings to an answered query, each by itself, and says of the first that fails what to do.
 *
 * @param examination What is examined.
 * @param options What may stop it.
 */
export async function check(examination: Examination, options: StopOptions = {}): Promise<Checkup> {
  using stop = stoppable(options);
  await using patient = examination;
  const steps: CheckStep[] = [];
  let failed: string | undefined;
  for (const [step, take] of STEPS) {
    stop.signal?.throwIfAborted();
    const started = performance.now();
    const finding = failed === undefined
      ? await take(patient, limited(patient, stop.signal)).catch((error: unknown): Finding => failure(error))
      : { outcome: "skipped" as const, detail: `${failed} failed` };
    stop.signal?.throwIfAborted();
    const { outcome = "ok", detail } = typeof finding === "string" ? { detail: finding } : finding;
    if (outcome === "failed") failed = step;
    steps.push({ step, outcome, detail, ms: outcome === "skipped" ? null : round(performance.now() - started) });
  }
  return makeCheckup(steps);
}

/** What can hang is given up after as long as connecting may take. */
function limited({ settings }: Examination, stopped: AbortSignal | undefined): AbortSignal {
  const late = AbortSignal.timeout(settings.connectTimeout * 1000);
  return stopped === undefined ? late : AbortSignal.any([late, stopped]);
}

function failure(error: unknown): Finding {
  const detail = !(error instanceof Error)
    ? String(error)
    : error.name === "AbortError" || error.name === "TimeoutError"
    ? "no answer. Check the host, the port, the network and the VPN"
    : error.message;
  return { outcome: "failed", detail };
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

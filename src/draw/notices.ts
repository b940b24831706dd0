import { printable } from "../core/text.ts";
import { displayLive, displayNow, inNotebook, type LiveDisplay } from "./notebook.ts";

/** Tells a person at a notebook, once, why connecting takes a while. */
export interface WaitingNotice {
  /** A try failed and there will be another. */
  failed: () => void;
  /** It is connected. */
  connected: () => void;
}

/**
 * A notice for one connection; it says nothing outside a notebook.
 *
 * @param name What is being connected to.
 */
export function announceWaiting(name: string): WaitingNotice {
  const started = Date.now();
  let notice: Promise<LiveDisplay> | undefined;
  const text = (line: string) => ({ "text/plain": line });
  return {
    failed: () => {
      if (!inNotebook()) return;
      notice ??= displayLive(text(`Waking ${name} ...`));
      notice.catch(() => {});
    },
    connected: () => {
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      notice?.then((display) => display.update(text(`Woke ${name} in ${seconds} s`))).catch(() => {});
    },
  };
}

/**
 * Tells a person at a notebook what a statement connects to when no cell said so.
 *
 * @param line What is shown.
 */
export async function announceConnection(line: string): Promise<void> {
  if (inNotebook()) await displayNow({ "text/plain": line });
}

/** What of a `.env` a connection goes by. */
export interface EnvFileNotice {
  /** The file. */
  path: string;
  /** The variables that were taken from it. */
  taken: readonly string[];
  /** Those that were not, each with the reason. */
  refused: readonly (readonly [name: string, reason: string])[];
}

const announced = new Set<string>();

/** Says once what was taken from a `.env`: in a notebook in the cell, else on standard error. Names only, no values. */
export function announceEnvFile({ path, taken, refused }: EnvFileNotice): void {
  const said = [
    ...(taken.length === 0 ? [] : [`From ${path}: ${taken.join(", ")}`]),
    ...refused.map(([name, reason]) => `Not taken from ${path}: ${name}, since ${reason}`),
    ...(taken.includes("LAKEBASE_LOCAL") ? ["The database is one on this machine, which keeps no data"] : []),
  ].join(". ");
  if (announced.has(said)) return;
  announced.add(said);
  if (inNotebook()) displayNow({ "text/plain": `${printable(said)}.` }).catch(() => {});
  else Deno.stderr.writeSync(new TextEncoder().encode(`lakebase: ${printable(said)}.\n`));
}

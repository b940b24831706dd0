import type { ConnectFailure } from "../net/failure.ts";
import { displayLive, displayNow, inNotebook, type LiveDisplay } from "./display.ts";

/** Tells a person at a notebook, once, why connecting takes a while. */
export interface WaitingNotice {
  /** A try failed and there will be another. */
  failed: (failure: ConnectFailure) => void;
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

import { redact } from "../core/redact.ts";
import { printable } from "../core/text.ts";
import { displayLive, displayNow, inNotebook, type LiveDisplay } from "./notebook.ts";

/** Says once in a notebook why connecting takes a while. */
export interface WaitingNotice {
  /** An attempt failed, and another one will follow. */
  failed: () => void;
  /** The connection is open. */
  connected: () => void;
}

/**
 * A notice for one connection. Outside a notebook it shows nothing.
 *
 * @param name The endpoint or host.
 * @param wakes Whether a compute may be waking there. A server on this machine does not sleep.
 */
export function announceWaiting(name: string, wakes: boolean): WaitingNotice {
  const [doing, done] = wakes ? ["Waking", "Woke"] : ["Trying again to reach", "Reached"];
  const started = Date.now();
  let notice: Promise<LiveDisplay> | undefined;
  const text = (line: string) => ({ "text/plain": line });
  return {
    failed: () => {
      if (!inNotebook()) return;
      notice ??= displayLive(text(`${doing} ${name} ...`));
      notice.catch(() => {});
    },
    connected: () => {
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      notice?.then((display) => display.update(text(`${done} ${name} in ${seconds} s`))).catch(() => {});
    },
  };
}

/**
 * Says that a SQL warehouse has to start first: in the cell, or on a terminal.
 *
 * @param name The warehouse.
 * @param reason Why it has to.
 * @returns Call it once the warehouse has answered.
 */
export function announceStart(name: string, reason: string): () => void {
  const started = Date.now();
  const line = printable(`Starting warehouse ${name}, ${reason} ...`);
  if (!inNotebook()) {
    if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(new TextEncoder().encode(`lakebase: ${line}\n`));
    return () => {};
  }
  const shown = displayLive({ "text/plain": line });
  shown.catch(() => {});
  return () => {
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    const text = printable(`Started warehouse ${name}, ${reason}, in ${seconds} s`);
    shown.then((display) => display.update({ "text/plain": text })).catch(() => {});
  };
}

/**
 * Shows in a notebook where a statement connects to, if no cell called `connect()`.
 *
 * @param line What is shown.
 */
export async function announceConnection(line: string): Promise<void> {
  if (inNotebook()) await displayNow({ "text/plain": line });
}

/** Work that is shown when it takes longer than a second. */
export interface WorkNotice {
  /** Shows the outcome in the place of the work, or takes the work away. */
  end: (outcome?: string) => Promise<void>;
}

const SHOWN_AFTER_MS = 1000;

/**
 * Shows what takes long, in the cell or on a terminal.
 *
 * @param line What is done, such as `Making a branch of production`.
 */
export function announceWork(line: string): WorkNotice {
  const started = Date.now();
  const seconds = () => `${((Date.now() - started) / 1000).toFixed(1)} s`;
  let display: Promise<LiveDisplay> | undefined;
  let onTerminal = false;
  const timer = setTimeout(() => {
    if (inNotebook()) {
      display = displayLive({ "text/plain": `${line} ...` });
      display.catch(() => {});
    } else if (Deno.stderr.isTerminal()) {
      onTerminal = true;
      writeError(`\r${printable(line)} ...`);
    }
  }, SHOWN_AFTER_MS);
  return {
    end: async (outcome) => {
      clearTimeout(timer);
      if (onTerminal) writeError("\r\x1b[K");
      const text = outcome === undefined ? `${line}: not done, after ${seconds()}` : `${outcome} in ${seconds()}`;
      await display?.then((shown) => shown.update({ "text/plain": text })).catch(() => {});
    },
  };
}

/** Writes to standard error at once: the program may be ending. */
function writeError(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch {
    // Standard error is closed.
  }
}

/**
 * Names what could not be cleaned up, in the cell or on standard error.
 *
 * @param lines One for each thing that is left.
 * @param ending Whether the program ends, so that a cell shows nothing any more.
 */
export async function announceLeft(lines: readonly string[], ending = false): Promise<void> {
  const text = lines.map((line) => printable(redact(line))).join("\n");
  if (!ending && inNotebook()) return await displayNow({ "text/plain": text }).catch(() => {});
  writeError(`lakebase: ${text}\n`);
}

/** The use that a connection makes of a `.env`. */
export interface EnvFileNotice {
  /** The file. */
  path: string;
  /** The variables that are used. */
  taken: readonly string[];
  /** The other variables, each with the reason. */
  refused: readonly (readonly [name: string, reason: string])[];
}

const announced = new Set<string>();

/** Reports once which variables of a `.env` are used, in the cell or on standard error: their names, not their values. */
export function announceEnvFile({ path, taken, refused }: EnvFileNotice): void {
  const said = [
    ...(taken.length === 0 ? [] : [`From ${path}: ${taken.join(", ")}`]),
    ...refused.map(([name, reason]) => `Not taken from ${path}: ${name}, since ${reason}`),
    ...(taken.includes("LAKEBASE_LOCAL") ? ["This database is on this machine and keeps no data"] : []),
  ].join(". ");
  if (announced.has(said)) return;
  announced.add(said);
  if (inNotebook()) displayNow({ "text/plain": `${printable(said)}.` }).catch(() => {});
  else Deno.stderr.writeSync(new TextEncoder().encode(`lakebase: ${printable(said)}.\n`));
}

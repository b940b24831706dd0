import { redact } from "../core/redact.ts";
import { printable } from "../core/text.ts";
import { type Bundle, clearOutputs, displayLive, displayNow, inNotebook, type LiveDisplay } from "./notebook.ts";

/** A notice in a notebook that says why connecting takes long. It is shown once. */
interface WaitingNotice {
  /** Tells the notice that an attempt failed and another one will follow. */
  failed: () => void;
  /** Tells the notice that the connection is open. */
  connected: () => void;
}

/**
 * Makes the notice of a connection. Outside of a notebook it shows nothing.
 *
 * @param name The endpoint or host.
 * @param wakes Whether a compute may be waking there. A server on this machine does not sleep.
 */
export function announceWaiting(name: string, wakes: boolean): WaitingNotice {
  const [doing, done] = wakes ? ["Waking", "Woke"] : ["Trying again to reach", "Reached"];
  const started = Date.now();
  let notice: Promise<LiveDisplay> | undefined;
  return {
    failed: () => {
      if (inNotebook()) notice ??= ignoringFailure(displayLive(textBundle(`${doing} ${name} ...`)));
    },
    connected: () => {
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      if (notice !== undefined) ignoringFailure(update(notice, `${done} ${name} in ${seconds} s`));
    },
  };
}

function textBundle(text: string): Bundle {
  return { "text/plain": text };
}

async function update(notice: Promise<LiveDisplay>, text: string): Promise<void> {
  await (await notice).update(textBundle(text));
}

/** Ignores the failure of a notice, which must not fail the work that the notice is about. */
function ignoringFailure<T>(shown: Promise<T>): Promise<T> {
  shown.catch(() => {});
  return shown;
}

/**
 * Shows in the cell or on a terminal that a SQL warehouse must start first.
 *
 * @param name The warehouse.
 * @param reason The reason why it must start, as the end of a sentence.
 * @returns Call it once the warehouse has answered.
 */
export function announceStart(name: string, reason: string): () => void {
  const started = Date.now();
  const line = printable(`Starting warehouse ${name}, ${reason} ...`);
  if (!inNotebook()) {
    if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(new TextEncoder().encode(`lakebase: ${line}\n`));
    return () => {};
  }
  const notice = ignoringFailure(displayLive(textBundle(line)));
  return () => {
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    ignoringFailure(update(notice, printable(`Started warehouse ${name}, ${reason}, in ${seconds} s`)));
  };
}

/**
 * Shows a line about a connection in the running cell. Outside of a notebook it shows nothing.
 *
 * @param line The line, such as the server to which a statement connects if no cell has called `connect()`.
 */
export async function announceConnection(line: string): Promise<void> {
  if (inNotebook()) await displayNow(textBundle(line));
}

/** A notice of work that takes longer than a second. */
interface WorkNotice {
  /** Replaces the notice by the outcome, or removes it. */
  end: (outcome?: string) => Promise<void>;
}

const SHOWN_AFTER_MS = 1000;

/**
 * Shows work that takes longer than a second, in the cell or on a terminal.
 *
 * @param line The work, such as `Making a branch of production`.
 */
export function announceWork(line: string): WorkNotice {
  const started = Date.now();
  const seconds = () => `${((Date.now() - started) / 1000).toFixed(1)} s`;
  let notice: Promise<LiveDisplay> | undefined;
  let onTerminal = false;
  const timer = setTimeout(() => {
    if (inNotebook()) notice = ignoringFailure(displayLive(textBundle(`${line} ...`)));
    else if (Deno.stderr.isTerminal()) {
      onTerminal = true;
      writeError(`\r${printable(line)} ...`);
    }
  }, SHOWN_AFTER_MS);
  return {
    end: async (outcome) => {
      clearTimeout(timer);
      if (onTerminal) writeError("\r\x1b[K");
      const text = outcome === undefined ? `${line}: not done, after ${seconds()}` : `${outcome} in ${seconds()}`;
      if (notice !== undefined) await update(notice, text).catch(() => {}); // see ignoringFailure
    },
  };
}

/**
 * Shows the statement of a cell that takes longer than a second, and for how long it has run. The cell must have no other
 * output yet.
 *
 * @param statement The statement, in one line.
 * @returns Call it at the end: it removes the notice.
 */
export function announceStatement(statement: string): () => Promise<void> {
  const started = Date.now();
  let notice: Promise<LiveDisplay> | undefined;
  const timer = setInterval(() => {
    const text = textBundle(`Running ${statement} ... ${Math.round((Date.now() - started) / 1000)} s`);
    if (notice === undefined) notice = ignoringFailure(displayLive(text));
    else ignoringFailure(notice.then((display) => display.update(text)));
  }, SHOWN_AFTER_MS);
  return async () => {
    clearInterval(timer);
    if (notice === undefined) return;
    await notice.then(clearOutputs).catch(() => {}); // see ignoringFailure
  };
}

/** Writes to standard error synchronously, because the program may be ending. */
function writeError(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch {
    // Standard error is closed.
  }
}

/**
 * Names the objects that could not be deleted, in the cell or on standard error.
 *
 * @param lines A line for each object that still exists.
 * @param ending Whether the program is ending, so that a cell no longer shows outputs.
 */
export async function announceLeftovers(lines: readonly string[], ending = false): Promise<void> {
  const text = lines.map((line) => printable(redact(line))).join("\n");
  if (!ending && inNotebook()) return await displayNow(textBundle(text)).catch(() => {}); // see ignoringFailure
  writeError(`lakebase: ${text}\n`);
}

/** The use of a `.env` by a connection. */
interface EnvFileNotice {
  /** The file. */
  path: string;
  /** The variables that are used. */
  used: readonly string[];
  /** The variables that are never taken from a `.env`, each with the reason. */
  refused: readonly (readonly [name: string, reason: string])[];
}

const announced = new Set<string>();

/** Reports once which variables of a `.env` are used, in the cell or on standard error: their names, not their values. */
export function announceEnvFile({ path, used, refused }: EnvFileNotice): void {
  const text = [
    ...(used.length === 0 ? [] : [`From ${path}: ${used.join(", ")}`]),
    ...refused.map(([name, reason]) => `Not taken from ${path}: ${name}, since ${reason}`),
    ...(used.includes("LAKEBASE_LOCAL") ? ["This database is on this machine and keeps no data"] : []),
  ].join(". ");
  if (announced.has(text)) return;
  announced.add(text);
  if (inNotebook()) ignoringFailure(displayNow(textBundle(`${printable(text)}.`)));
  else Deno.stderr.writeSync(new TextEncoder().encode(`lakebase: ${printable(text)}.\n`));
}

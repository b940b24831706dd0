import type { Cells } from "./cells.ts";
import type { RunningCell } from "./running_cell.ts";

/** The child answers SIGINT within this time, also on a loaded machine, unless its thread is busy. */
const ANSWER_MS = 1000;
/** The time in which the waits of a cell end: queries at once, others a second later; see the prelude. */
const CANCEL_MS = 1800;
/** The time in which terminated code ends. */
const UNWIND_MS = 300;

const MAX_TRIES = 3;

const CANNOT_STOP = "Stop: this cell did not end, and goes on. Restart the kernel to end it.";

/** What a Stop needs. */
export interface InterruptOptions {
  cells: Cells;
  /** Sends SIGINT to the child. */
  signal: () => void;
  /** Resolves with whether the child answers SIGINT within `ms`. */
  answers: (ms: number) => Promise<boolean>;
  /** Terminates the code that the child's thread is running. A child that waits would never run code again. */
  terminate: () => void;
}

/** Stops the running cell: cancels or rejects what it waits for, or terminates a busy loop. */
export async function interrupt(options: InterruptOptions): Promise<void> {
  const { cells, signal } = options;
  const cell = cells.running;
  cells.abort();
  if (cell === undefined || cell.stopping) return signal();
  cell.interrupted = cell.stopping = true;
  await stop(cell, options);
  cell.stopping = false;
}

async function stop(cell: RunningCell, options: InterruptOptions): Promise<void> {
  // Code that waited during one try may be busy during the next, and garbage collection may need a second SIGINT.
  for (let tries = 0; tries < MAX_TRIES; tries++) if (await tryStop(cell, options)) return;
  options.cells.notify(CANNOT_STOP);
}

/** Tries once to stop the cell. Returns whether the cell has ended. */
async function tryStop(cell: RunningCell, { cells, signal, answers, terminate }: InterruptOptions): Promise<boolean> {
  const answered = answers(ANSWER_MS);
  signal();
  if (await answered) return await ended(cells, cell, CANCEL_MS);
  if (cells.running !== cell) return true;
  terminate();
  if (await ended(cells, cell, UNWIND_MS)) return true;
  // Code after an `await` ends without an error; then garbage collection of the cell's promise ends the cell.
  signal();
  return await ended(cells, cell, CANCEL_MS);
}

async function ended(cells: Cells, cell: RunningCell, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (cells.running === cell && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return cells.running !== cell;
}

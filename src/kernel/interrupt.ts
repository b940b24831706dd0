import type { Cells } from "./cells.ts";
import type { RunningCell } from "./running_cell.ts";

/** The child answers SIGINT within this whenever its event loop turns. */
const ANSWER_MS = 500;
/** What the cell waits for has ended within this: a query at once, another wait a second later, all else soon after. */
const CANCEL_MS = 1800;
const UNWIND_MS = 300;

const CANNOT_STOP = "Stop: this cell did not end, and goes on. Restart the kernel to end it.";

/** What a Stop works on. */
export interface InterruptOptions {
  cells: Cells;
  /** Sends SIGINT to the child. */
  signal: () => void;
  /** Resolves with whether the child answers SIGINT within `ms`. */
  answers: (ms: number) => Promise<boolean>;
  /** Has the child end the code that its thread is busy with. It must not be waiting: it would never run again. */
  terminate: () => void;
}

/** Presses Stop: what the cell waits for is canceled or given up, a loop that never waits is ended. */
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
  // What waited at first may be busy by now.
  if (await tryStop(cell, options) || await tryStop(cell, options)) return;
  options.cells.notify(CANNOT_STOP);
}

/** Whether the cell has ended. */
async function tryStop(cell: RunningCell, { cells, signal, answers, terminate }: InterruptOptions): Promise<boolean> {
  const answered = answers(ANSWER_MS);
  signal();
  if (await answered) return await ended(cells, cell, CANCEL_MS);
  if (cells.running !== cell) return true;
  terminate();
  if (await ended(cells, cell, UNWIND_MS)) return true;
  // Code behind an `await` is ended without a word; the cell's promise is then garbage, and its collection ends the cell.
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

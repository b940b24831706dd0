import type { Cells } from "./cells.ts";
import type { RunningCell } from "./running_cell.ts";

/** The child answers SIGINT within this whenever its event loop turns. */
const ANSWER_MS = 500;
/** A query is canceled well within this. */
const CANCEL_MS = 1500;
const UNWIND_MS = 300;

const WAITS = "Stop: this cell waits for something that is not a query, and Deno cannot end a wait. " +
  "It goes on; restart the kernel to end it.";
const STUCK = "Stop: this cell did not end. Restart the kernel to end it.";

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

/** Presses Stop: what the cell waits for is canceled, a loop that never waits is ended. */
export async function interrupt(options: InterruptOptions): Promise<void> {
  const { cells, signal } = options;
  const cell = cells.running;
  cells.abort();
  if (cell === undefined || cell.stopping) return signal();
  cell.interrupted = cell.stopping = true;
  await stop(cell, options);
  cell.stopping = false;
}

async function stop(cell: RunningCell, { cells, signal, answers, terminate }: InterruptOptions): Promise<void> {
  const answered = answers(ANSWER_MS);
  signal();
  if (await answered) {
    await ended(cells, cell, CANCEL_MS);
    if (cells.running === cell) cells.tell(WAITS);
    return;
  }
  if (cells.running !== cell) return;
  terminate();
  if (await ended(cells, cell, UNWIND_MS)) return;
  // Code behind an `await` is ended without a word; the cell's promise is then garbage, and its collection ends the cell.
  signal();
  if (!await ended(cells, cell, CANCEL_MS)) cells.tell(STUCK);
}

async function ended(cells: Cells, cell: RunningCell, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (cells.running === cell && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return cells.running !== cell;
}

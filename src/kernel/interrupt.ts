import type { Cells } from "./cells.ts";
import type { RunningCell } from "./running_cell.ts";

/** The child answers SIGINT within this time on a machine that has time for it, unless its thread is busy. */
const ANSWER_MS = 1000;
/** What the child can use of the processor before it answers, unless its thread is busy; on a busy machine this takes long. */
const ANSWER_PROCESSOR_MS = 250;
/** A thread that uses no processor time and does not answer in this time is blocked, such as in `Atomics.wait()`. */
const BLOCKED_MS = 5000;
/** The time in which the waits of a cell end: queries at once, others a second later; see the prelude. */
const CANCEL_MS = 1800;
/** The time in which terminated code ends. */
const UNWIND_MS = 300;

/** So many tries suffice unless the machine is overloaded; then the person is told, and the tries go on. */
const TRIES_BEFORE_NOTICE = 3;
/** The time from Stop to the last try. */
const LIMIT_MS = 60_000;

const CANNOT_STOP = "Stop: this cell did not end, and goes on. Restart the kernel to end it.";

/** What a Stop needs. */
export interface InterruptOptions {
  cells: Cells;
  /** Sends SIGINT to the child. */
  signal: () => void;
  /** Resolves with whether the child answers SIGINT within `ms`. */
  answers: (ms: number) => Promise<boolean>;
  /** The milliseconds of processor time that the child has used; `undefined` where the system does not tell. */
  processorTime: () => number | undefined;
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
  const deadline = performance.now() + LIMIT_MS;
  for (let tries = 1; !await tryStop(cell, options); tries++) {
    if (tries === TRIES_BEFORE_NOTICE) options.cells.notify(CANNOT_STOP);
    if (performance.now() > deadline) return;
  }
}

/**
 * Tries once to stop the cell. Returns whether the cell has ended.
 *
 * Deno 2.9 does not recover from `terminate` while its own JavaScript is calling the busy code, such as the callback of a timer:
 * it goes on terminating whatever the child runs, until a next cell, which can't begin. Then only a restart helps.
 */
async function tryStop(cell: RunningCell, options: InterruptOptions): Promise<boolean> {
  const { cells, signal, terminate } = options;
  if (await answersStop(options)) return await ended(cells, cell, CANCEL_MS);
  if (cells.running !== cell) return true;
  terminate();
  if (await ended(cells, cell, UNWIND_MS)) return true;
  // Code after an `await` ends without an error; then garbage collection of the cell's promise ends the cell.
  signal();
  return await ended(cells, cell, CANCEL_MS);
}

/** Sends SIGINT. Returns whether the child answers, which a busy or blocked thread does not. */
async function answersStop({ signal, answers, processorTime }: InterruptOptions): Promise<boolean> {
  const before = processorTime();
  const started = performance.now();
  const answer = answers(before === undefined ? ANSWER_MS : BLOCKED_MS);
  signal();
  if (before === undefined) return await answer;
  const poll = () => new Promise<undefined>((resolve) => setTimeout(resolve, 50, undefined));
  for (;;) {
    const answered = await Promise.race([answer, poll()]);
    if (answered !== undefined) return answered;
    const used = (processorTime() ?? Infinity) - before;
    if (used > ANSWER_PROCESSOR_MS && performance.now() - started > ANSWER_MS) return false;
  }
}

async function ended(cells: Cells, cell: RunningCell, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (cells.running === cell && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return cells.running !== cell;
}

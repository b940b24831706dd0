import type { CellFailure } from "./failure.ts";
import type { Envelope, Header } from "./message.ts";

/** The cell that runs, and its state; see `Cells` for the states. */
export class RunningCell {
  /** The header of its `execute_request`. */
  readonly header: Header;
  /** The cell as the person wrote it. */
  readonly source: string;
  /** The code after magics were rewritten. */
  readonly code: string;
  /** The code that the child got. Stop can end its waits. */
  sent: string;
  readonly silent: boolean;
  /** Whether the cell goes into the history. */
  readonly inHistory: boolean;
  /** Whether a failure aborts the waiting cells. */
  readonly stopOnError: boolean;
  /** Whether Stop was pressed while the cell ran. */
  interrupted = false;
  /** Whether a Stop is in progress. */
  stopping = false;
  /** Whether the cell failed; `undefined` before the child's reply. */
  failed: boolean | undefined;
  /** Whether the child's reply has come, and the reason of a failure was found. */
  replyHandled = false;
  /** Whether the cell runs a second time, because the first code did not parse. */
  rerun = false;
  /**
   * The state of the child's outputs. `drawn`: the end of the display has reported that all were sent. `flushing`: the child
   * was asked to report it, and `flushed`: it has done so.
   */
  outputs: "arriving" | "drawn" | "flushing" | "flushed" = "arriving";
  /** The error of displaying the last value. The child counts such a cell as successful. */
  drawingError: Record<string, unknown> | undefined;
  /** Forwards the child's reply, which waits for the end of the display. */
  sendReply: (() => void) | undefined;
  /** An error that the child has not published. */
  failure: CellFailure | undefined;
  /** The child's `busy` message, until it is published. */
  readonly busy: Uint8Array[] = [];
  /** The child's errors, held back because they may overtake earlier outputs. */
  readonly errors: Uint8Array[] = [];
  /** The child's `idle`, held back for the same reason. */
  idle: Uint8Array | undefined;

  constructor(request: Envelope, content: Record<string, unknown>, { code, sent }: { code: string; sent: string }) {
    this.header = request.header;
    this.source = typeof content["code"] === "string" ? content["code"] : "";
    this.code = code;
    this.sent = sent;
    this.silent = content["silent"] === true;
    this.inHistory = !this.silent && content["store_history"] !== false;
    this.stopOnError = content["stop_on_error"] !== false;
  }

  /** Whether the child has sent all outputs. */
  get outputsComplete(): boolean {
    return this.outputs === "drawn" || this.outputs === "flushed";
  }

  /** Whether all messages of the cell have arrived. */
  get isComplete(): boolean {
    return this.replyHandled && this.outputsComplete && this.idle !== undefined;
  }

  /** Whether `parent` is the header of this cell's request. */
  owns(parent: Header): boolean {
    return parent.msg_id !== undefined && parent.msg_id === this.header.msg_id;
  }
}

/** The child answers SIGINT within this time if the machine is not overloaded and its thread is not busy. */
const ANSWER_MS = 1000;
/**
 * The processor time that the child may use before it answers, unless its thread is busy. On a busy machine it takes long to
 * get this much.
 */
const ANSWER_PROCESSOR_MS = 250;
/** A thread that uses no processor time and does not answer in this time is blocked, such as in `Atomics.wait()`. */
const BLOCKED_MS = 5000;
/** The time in which the waits of a cell end: queries at once, others a second later; see the prelude. */
const CANCEL_MS = 1800;
/** The time in which terminated code ends. */
const UNWIND_MS = 300;

/** Enough tries for a machine that is not overloaded. After them, the person gets a notice, and the tries continue. */
const TRIES_BEFORE_NOTICE = 3;
/** The time from Stop to the last try. */
const LIMIT_MS = 60_000;

const CANNOT_STOP = "Stop: this cell did not end and is still running. Restart the kernel to end it.";

/** The part of `Cells` that a Stop needs. */
interface StoppableCells {
  readonly running: RunningCell | undefined;
  /** Aborts the waiting cells. */
  abort(): void;
  /** Shows a text on stderr of the running cell. */
  notify(text: string): void;
}

/** The dependencies of a Stop. */
interface InterruptOptions {
  cells: StoppableCells;
  /** Sends SIGINT to the child. */
  signal: () => void;
  /** Resolves with whether the child answers SIGINT within `ms`. */
  answers: (ms: number) => Promise<boolean>;
  /** The milliseconds of processor time that the child has used; `undefined` where the system does not give it. */
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
 * Deno 2.9 does not recover if `terminate` hits code that its own JavaScript called, such as the callback of a timer:
 * it keeps terminating everything that the child runs until the next cell, which can't begin. Then only a restart
 * helps.
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

async function ended(cells: StoppableCells, cell: RunningCell, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (cells.running === cell && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return cells.running !== cell;
}

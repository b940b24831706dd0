import type { Cells } from "./cells.ts";
import type { CellFailure } from "./failure.ts";
import type { Envelope, Header } from "./message.ts";

/** What a cell was asked to do, and what became of it so far. */
export class RunningCell {
  /** Its `execute_request`'s. */
  readonly header: Header;
  /** The cell as it was written. */
  readonly source: string;
  /** The cell as code, its magics written out. */
  readonly code: string;
  /** What the child was given: the code, with waits that Stop can end. */
  sent: string;
  readonly silent: boolean;
  /** Whether it goes into the history. */
  readonly remembered: boolean;
  /** Whether a failure ends the cells that wait behind it. */
  readonly stopOnError: boolean;
  /** Whether Stop was pressed while it ran. */
  interrupted = false;
  /** Whether a Stop is at work on it. */
  stopping = false;
  /** Whether it failed; `undefined` while the child has not replied. */
  failed: boolean | undefined;
  /** Whether its reply has been passed on, with its reason found. */
  replied = false;
  /** Whether it is run a second time, since what was sent at first was no code. */
  again = false;
  /** Whether the child was asked to tell that it has sent all of its outputs. */
  draining = false;
  /** Whether the child has sent all of its outputs. */
  drained = false;
  /** What the drawing of its last value failed with: to the child the cell has succeeded. */
  drawing: Record<string, unknown> | undefined;
  /** Passes on the child's reply, which waits until the drawing has ended. */
  answer: (() => void) | undefined;
  /** An error that the child gave no message about. */
  failure: CellFailure | undefined;
  /** The child's `busy`, until it is sent on. */
  readonly busy: Uint8Array[] = [];
  /** The child's errors, which may overtake outputs that came before them. */
  readonly errors: Uint8Array[] = [];
  /** The child's `idle`, which may overtake outputs too. */
  idle: Uint8Array | undefined;

  constructor(request: Envelope, content: Record<string, unknown>, { code, sent }: { code: string; sent: string }) {
    this.header = request.header;
    this.source = typeof content["code"] === "string" ? content["code"] : "";
    this.code = code;
    this.sent = sent;
    this.silent = content["silent"] === true;
    this.remembered = !this.silent && content["store_history"] !== false;
    this.stopOnError = content["stop_on_error"] !== false;
  }

  /** Whether everything that belongs to it has arrived. */
  get ended(): boolean {
    return this.replied && this.drained && this.idle !== undefined;
  }

  /** Whether `parent` is this cell's request. */
  owns(parent: Header): boolean {
    return parent.msg_id !== undefined && parent.msg_id === this.header.msg_id;
  }
}

/** The child answers SIGINT within this whenever its event loop turns. */
const ANSWER_MS = 500;
/** What the cell waits for has ended within this: a query at once, another wait a second later, all else soon after. */
const WAITS_MS = 1800;
const UNWIND_MS = 300;

const STUCK = "Stop: this cell did not end, and goes on. Restart the kernel to end it.";

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
  if (await tried(cell, options) || await tried(cell, options)) return;
  options.cells.tell(STUCK);
}

/** Whether the cell has ended. */
async function tried(cell: RunningCell, { cells, signal, answers, terminate }: InterruptOptions): Promise<boolean> {
  const answered = answers(ANSWER_MS);
  signal();
  if (await answered) return await ended(cells, cell, WAITS_MS);
  if (cells.running !== cell) return true;
  terminate();
  if (await ended(cells, cell, UNWIND_MS)) return true;
  // Code behind an `await` is ended without a word; the cell's promise is then garbage, and its collection ends the cell.
  signal();
  return await ended(cells, cell, WAITS_MS);
}

async function ended(cells: Cells, cell: RunningCell, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (cells.running === cell && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return cells.running !== cell;
}

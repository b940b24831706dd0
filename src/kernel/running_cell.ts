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
  readonly inHistory: boolean;
  /** Whether a failure ends the cells that wait behind it. */
  readonly stopOnError: boolean;
  /** Whether Stop was pressed while it ran. */
  interrupted = false;
  /** Whether a Stop is at work on it. */
  stopping = false;
  /** Whether it failed; `undefined` while the child has not replied. */
  failed: boolean | undefined;
  /** Whether its reply has been passed on, with its reason found. */
  replyHandled = false;
  /** Whether it is run a second time, since what was sent at first was no code. */
  rerun = false;
  /** Whether the child was asked to tell that it has sent all of its outputs. */
  flushRequested = false;
  /** Whether the child has sent all of its outputs. */
  outputsComplete = false;
  /** What the drawing of its last value failed with: to the child the cell has succeeded. */
  drawingError: Record<string, unknown> | undefined;
  /** Passes on the child's reply, which waits until the drawing has ended. */
  sendReply: (() => void) | undefined;
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
    this.inHistory = !this.silent && content["store_history"] !== false;
    this.stopOnError = content["stop_on_error"] !== false;
  }

  /** Whether everything that belongs to it has arrived. */
  get endsWithin(): boolean {
    return this.replyHandled && this.outputsComplete && this.idle !== undefined;
  }

  /** Whether `parent` is this cell's request. */
  owns(parent: Header): boolean {
    return parent.msg_id !== undefined && parent.msg_id === this.header.msg_id;
  }
}

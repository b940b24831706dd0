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
  /** Whether the child's reply has come and the reason of a failure was found. */
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

import { joinBytes } from "../core/bytes.ts";
import { makeStoppable } from "./await_rewrite.ts";
import { codeCompleteness } from "./editor.ts";
import {
  betterTraceback,
  type CellFailure,
  failure,
  importedSpecifiers,
  isUnexplained,
  parseFailure,
  STOPPED,
  UNEXPLAINED,
} from "./failure.ts";
import type { InternalRequests } from "./child.ts";
import { contentOf, type Envelope, metadataOf, type Signer } from "./message.ts";
import { BROADCAST, clientNameCode, DONE, doneCode, importsCode, mayImportClient } from "./prelude.ts";
import { RunningCell } from "./running_cell.ts";
import type { ZmtpConnection } from "./zmtp_connection.ts";

/** A frontend's message on the shell channel. */
export interface FrontendRequest {
  envelope: Envelope;
  content: Record<string, unknown>;
  /** The connection of the frontend that sent it. */
  from: Pick<ZmtpConnection, "send" | "identity">;
}

/** Options of {@linkcode Cells}. */
interface CellsOptions {
  signer: Signer;
  internal: InternalRequests;
  /** Sends a message to every frontend. */
  publish: (message: Uint8Array, delay?: number) => void;
  /** Sends a request to the child's shell channel; its reply goes back to the frontend that asked. */
  send: (request: FrontendRequest, message: Uint8Array) => void;
  /** Asks the child by a signal to report that all outputs are sent; `false` when a signal can't ask for it. */
  requestFlush: () => boolean;
  /** Keeps a cell that ran, by its execution count. */
  remember: (line: number, source: string) => void;
  /** Makes the code that the child runs for a cell. */
  rewrite: (source: string) => string;
  /** The URL of the client's main module. */
  client: string;
}

/** When the child sends nothing for this time, the last message of a cell counts as lost. */
const SILENCE_MS = 5000;
/** The time that a cell's first messages may wait, to be written together with its outputs. */
const BUSY_DELAY_MS = 5;

/**
 * Sends the child one cell at a time, and publishes the cell's messages in the order in which they happened. The child has
 * two writers, one for outputs and one for everything else, so errors and `idle` can overtake earlier outputs.
 *
 * The states of a cell (the fields are those of `RunningCell`):
 * 1. Waiting: in the queue, until the child is ready and the cells before it have ended.
 * 2. Running: sent to the child. Outputs are published at once; errors and the child's `idle` are held back.
 *    If the child could not parse the code only because of this kernel's changes, the cell is sent again as it was written
 *    (`rerun`).
 * 3. Replied: the child's reply has come, and the reason of an unexplained error was found (`replyHandled`). The reply of
 *    a successful cell still waits for the display of its value, which may fail (`sendReply`).
 * 4. Outputs complete (`outputs`): the end of the display reports that all outputs were sent (`drawn`), or the child is asked
 *    for this report (`flushing`) and gives it (`flushed`).
 * 5. Ended: 3 and 4 are done and the child's `idle` has come, in any order; or the child was silent for
 *    {@linkcode SILENCE_MS} after its reply and `idle`; or the child's process ended. Errors and `idle` are published, and
 *    the next cell is sent.
 */
export class Cells {
  readonly #options: CellsOptions;
  #waiting: FrontendRequest[] = [];
  #running: { cell: RunningCell; request: FrontendRequest } | undefined;
  /** The last cell that was sent. Outputs that belong to no cell are published as outputs of this one. */
  #lastCell: RunningCell | undefined;
  #count = 0;
  /** Whether cells can import the client by its name. */
  #clientNamed = false;
  /** Whether the child reports the end of displaying a value without a request. */
  #reportsDrawn = false;
  /** Whether the child is ready. Cells wait until then. */
  started = false;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether reading the child's output is paused, because a frontend is slow. */
  outputPaused = false;

  constructor(options: CellsOptions) {
    this.#options = options;
  }

  /** The cell that runs. */
  get running(): RunningCell | undefined {
    return this.#running?.cell;
  }

  /** The identity of the frontend whose cell runs; empty when unknown. */
  get frontend(): string {
    return this.#running?.request.from.identity ?? "";
  }

  /**
   * Starts to run cells: the child is ready.
   *
   * @param reportsDrawn Whether the child reports the end of displaying a value without a request.
   */
  start(reportsDrawn: boolean): void {
    this.#reportsDrawn = reportsDrawn;
    this.started = true;
    this.#next();
  }

  /** Adds a request to the queue. */
  push(request: FrontendRequest): void {
    this.#waiting.push(request);
    this.#next();
  }

  /** Aborts the waiting cells. */
  abort(): void {
    const { signer, publish } = this.#options;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ envelope }) => envelope.header.msg_type !== "execute_request");
    for (const { envelope: { header }, from } of waiting) {
      if (header.msg_type !== "execute_request") continue;
      publish(signer.make("status", { execution_state: "busy" }, header));
      from.send(signer.make("execute_reply", { status: "aborted" }, header));
      publish(signer.make("status", { execution_state: "idle" }, header));
    }
  }

  /** Shows a text on stderr of the running cell. */
  notify(text: string): void {
    const { signer, publish } = this.#options;
    if (this.running) publish(signer.make("stream", { name: "stderr", text: `${text}\n` }, this.running.header));
  }

  /** Fails the running cell and aborts the waiting cells, after the child has ended. */
  end(reason: CellFailure): void {
    const running = this.#running;
    if (running !== undefined) {
      const { cell, request } = running;
      const { signer } = this.#options;
      const content = { status: "error", execution_count: null, ...reason };
      if (!cell.replyHandled) request.from.send(signer.make("execute_reply", content, cell.header));
      cell.failure ??= cell.replyHandled ? undefined : reason;
      this.#finish(cell);
    }
    this.abort();
  }

  /** Handles the child's reply to a request. */
  async onReply(request: FrontendRequest, envelope: Envelope): Promise<void> {
    const cell = this.running;
    if (cell === undefined || !cell.owns(envelope.parent)) {
      return request.from.send(await this.#improvedReply(request, envelope));
    }
    const content = contentOf(envelope);
    cell.failed = content["status"] === "error";
    const unexplained = isUnexplained(content);
    if (unexplained) {
      if (await wasBrokenByRewrite(cell)) return await this.#runUnmodified(request, cell);
      cell.failure = await findReason(cell, this.#options.internal);
    }
    // After a successful cell, the end of its display reports that all outputs are sent, unless Stop ended the display.
    if (!this.#reportsDrawn || cell.failed || cell.silent || cell.interrupted) this.#requestFlush(cell);
    if (unexplained) {
      request.from.send(this.#options.signer.edit(envelope, { content: { ...content, ...cell.failure } }));
    } else if (cell.failed) request.from.send(this.#withBetterTraceback(cell, envelope, content));
    else cell.sendReply = () => this.#sendReply(request, cell, envelope);
    const { execution_count: line } = content;
    if (cell.inHistory && typeof line === "number") this.#options.remember(line, cell.source);
    cell.replyHandled = true;
    this.#finishIfEnded();
  }

  /** The child's reply to a request that is not a cell. */
  async #improvedReply({ content: { code } }: FrontendRequest, envelope: Envelope): Promise<Uint8Array> {
    const type = envelope.header.msg_type;
    if (type === "complete_reply") return this.#withoutInternalNames(envelope);
    if (type !== "is_complete_reply" || typeof code !== "string") return envelope.raw;
    if (contentOf(envelope)["status"] !== "complete") return envelope.raw; // the child checks only brackets and quotes
    const status = await codeCompleteness(code);
    if (status === "complete") return envelope.raw;
    const content = status === "incomplete" ? { status, indent: "" } : { status };
    return this.#options.signer.edit(envelope, { content });
  }

  /** Removes this kernel's internal names from completions. */
  #withoutInternalNames(envelope: Envelope): Uint8Array {
    const content = contentOf(envelope);
    const matches = Array.isArray(content["matches"]) ? content["matches"] : [];
    const others = matches.filter((match) => typeof match !== "string" || !/ waits|Symbol\(lakebase/.test(match));
    if (others.length === matches.length) return envelope.raw;
    return this.#options.signer.edit(envelope, { content: { ...content, matches: others } });
  }

  /** Sends the reply. If the display of the last value failed, such as a bare query, the cell has failed: `nbconvert` must stop. */
  #sendReply(request: FrontendRequest, cell: RunningCell, envelope: Envelope): void {
    cell.sendReply = undefined;
    if (cell.drawingError === undefined) return request.from.send(envelope.raw);
    cell.failed = true;
    const content = { ...contentOf(envelope), ...cell.drawingError, status: "error" };
    const better = betterTraceback(content, cell.code) ?? content;
    request.from.send(this.#options.signer.edit(envelope, { content: better }));
  }

  /** Handles a message from the child's iopub channel. */
  onOutput(envelope: Envelope): void {
    const { internal, signer, publish } = this.#options;
    const type = envelope.header.msg_type ?? "";
    if (type === DONE) return this.#onDone(envelope);
    const cell = this.running;
    let { raw } = envelope;
    let belongsToCell = cell?.owns(envelope.parent) ?? false;
    if (internal.owns(envelope.parent)) {
      if (type === "status" || type === "execute_input" || type === "error" || this.#lastCell === undefined) return;
      raw = signer.edit(envelope, { parent: this.#lastCell.header });
      belongsToCell = cell === this.#lastCell;
    }
    if (cell === undefined || !belongsToCell) return publish(raw);
    if (type === "status") this.#onStatus(cell, envelope);
    else if (type === "error") this.#onError(cell, envelope);
    else if (type === "execute_input") {
      if (!cell.rerun) publish(joinBytes([...cell.busy, this.#withSource(cell, envelope)]), BUSY_DELAY_MS);
    } else publish(raw);
  }

  #onStatus(cell: RunningCell, envelope: Envelope): void {
    if (contentOf(envelope)["execution_state"] === "idle") {
      cell.idle = envelope.raw;
      this.#finishIfEnded();
    } else cell.busy.push(envelope.raw); // to be sent together with `execute_input`, which follows at once
  }

  /** Handles an error, which is the last output of a cell that fails. The flush is requested before the reply arrives. */
  #onError(cell: RunningCell, envelope: Envelope): void {
    if (metadataOf(envelope)[BROADCAST] !== true) {
      cell.drawingError = contentOf(envelope); // if the cell itself failed, the reply has the same error
      this.#requestFlush(cell);
    }
    cell.errors.push(this.#withBetterTraceback(cell, envelope));
  }

  /** Replaces the code by the person's own code, which frontends show. */
  #withSource(cell: RunningCell, envelope: Envelope): Uint8Array {
    if (cell.sent === cell.source) return envelope.raw;
    return this.#options.signer.edit(envelope, { content: { ...contentOf(envelope), code: cell.source } });
  }

  #withBetterTraceback(
    { code }: RunningCell,
    envelope: Envelope,
    content = contentOf(envelope),
  ): Uint8Array<ArrayBuffer> {
    const better = betterTraceback(content, code);
    return better === undefined ? envelope.raw : this.#options.signer.edit(envelope, { content: better });
  }

  #onDone(envelope: Envelope): void {
    const content = contentOf(envelope);
    this.#options.internal.onBroadcast(content);
    const cell = this.running;
    if (cell === undefined || !cell.owns(envelope.parent)) return;
    const report = cell.outputs === "flushing" || cell.outputs === "flushed" ? "flushed" : "drawn";
    if (content["n"] !== report) return;
    cell.outputs = report;
    this.#finishIfEnded();
  }

  /**
   * Asks the child to report the end of the cell's outputs. The cell waits for the answer even if the display has already
   * reported the end: the answer could otherwise come while the next cell runs, and end that cell.
   */
  #requestFlush(cell: RunningCell): void {
    if (cell.outputs === "flushing" || cell.outputs === "flushed") return;
    cell.outputs = "flushing";
    if (this.#options.requestFlush()) return;
    this.#options.internal.execute(doneCode).then(() => {
      cell.outputs = "flushed";
      this.#finishIfEnded();
    });
  }

  async #runUnmodified(request: FrontendRequest, cell: RunningCell): Promise<void> {
    const { send, internal, signer } = this.#options;
    await internal.execute(doneCode); // its answer comes after the `idle` of the first run
    cell.rerun = true;
    cell.idle = cell.failed = undefined;
    cell.sent = cell.code;
    const content = { ...request.content, code: cell.code, store_history: false }; // the first run has increased the execution count
    send(request, signer.edit(request.envelope, { content }));
  }

  #finishIfEnded(): void {
    const cell = this.running;
    if (cell === undefined) return;
    if (cell.outputsComplete) cell.sendReply?.();
    if (cell.isComplete) this.#finish(cell);
    else if (cell.replyHandled && cell.idle !== undefined) this.restartSilenceTimer();
  }

  /** Restarts the wait for a cell's last message; called whenever the child sends something. */
  restartSilenceTimer(): void {
    const cell = this.running;
    clearTimeout(this.#silenceTimer);
    if (!cell?.replyHandled || cell.idle === undefined) return;
    this.#silenceTimer = setTimeout(
      () => this.outputPaused ? this.restartSilenceTimer() : this.#finish(cell),
      SILENCE_MS,
    );
  }

  #finish(cell: RunningCell): void {
    const { signer, publish } = this.#options;
    if (this.running !== cell) return;
    clearTimeout(this.#silenceTimer);
    cell.sendReply?.();
    for (const error of cell.errors) publish(error);
    if (cell.failure) publish(signer.make("error", cell.failure, cell.header));
    publish(cell.idle ?? signer.make("status", { execution_state: "idle" }, cell.header));
    this.#running = undefined;
    if (cell.failed && cell.stopOnError) this.abort();
    this.#next();
  }

  #next(): void {
    const { send } = this.#options;
    while (this.started && this.#running === undefined && this.#waiting.length > 0) {
      const request = this.#waiting.shift()!;
      if (request.envelope.header.msg_type === "execute_request") this.#run(request);
      else send(request, request.envelope.raw);
    }
  }

  #run(request: FrontendRequest): void {
    const { send, rewrite, signer } = this.#options;
    const { envelope, content } = request;
    const source = typeof content["code"] === "string" ? content["code"] : "";
    const code = rewrite(source);
    const sent = tryMakeStoppable(code, ++this.#count);
    const cell = new RunningCell(envelope, content, { code, sent });
    this.#running = { cell, request };
    this.#lastCell = cell;
    const message = sent === source ? envelope.raw : signer.edit(envelope, { content: { ...content, code: sent } });
    if (this.#clientNamed || !mayImportClient(sent)) return send(request, message);
    this.#clientNamed = true; // only when a cell needs it, since the hook takes a tenth of the kernel's start
    const named = this.#options.internal.execute((n) => `${clientNameCode(this.#options.client)}\n${doneCode(n)}`);
    named.then(() => this.running === cell && send(request, message));
  }
}

/** The code with waits that Stop can end. After an internal error the code stays unchanged, so that the queue continues. */
function tryMakeStoppable(code: string, cell: number): string {
  try {
    return makeStoppable(code, cell);
  } catch {
    return code;
  }
}

/** Whether the cell's code parses, but the code that this kernel made of it does not. */
async function wasBrokenByRewrite({ interrupted, code, sent }: RunningCell): Promise<boolean> {
  if (interrupted || sent === code) return false;
  return await parseFailure(sent) !== undefined && await parseFailure(code) === undefined;
}

/** Finds the reason why a cell failed, when the Deno kernel gives no reason. */
async function findReason(
  { interrupted, code, source }: RunningCell,
  internal: InternalRequests,
): Promise<CellFailure> {
  if (interrupted) return STOPPED;
  const unparsed = await parseFailure(code, source);
  if (unparsed !== undefined) return unparsed;
  const specifiers = importedSpecifiers(code);
  if (specifiers.length === 0) return UNEXPLAINED;
  const answer = await internal.execute((n) => importsCode(n, specifiers));
  const { name, message } = answer ?? {};
  return typeof name === "string" && typeof message === "string" ? failure(name, message) : UNEXPLAINED;
}

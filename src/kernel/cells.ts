import { joinBytes } from "../core/bytes.ts";
import { makeStoppable } from "./await_rewrite.ts";
import {
  betterTraceback,
  type CellFailure,
  failure,
  importedSpecifiers,
  isUnexplained,
  moduleNameCode,
  namesModule,
  parseFailure,
  STOPPED,
  UNEXPLAINED,
} from "./failure.ts";
import type { InternalRequests } from "./internal_requests.ts";
import { CellHistory } from "./history.ts";
import { contentOf, type Envelope, metadataOf, type Signer } from "./message.ts";
import { BROADCAST, DONE, doneCode, importsCode } from "./prelude.ts";
import { RunningCell } from "./running_cell.ts";
import type { ZmtpConnection } from "./zmtp_connection.ts";

/** A frontend's message on the shell channel. */
export interface FrontendRequest {
  envelope: Envelope;
  content: Record<string, unknown>;
  /** The frontend that asked. */
  from: Pick<ZmtpConnection, "send" | "identity">;
}

/** What the cells need of the rest of the kernel. */
export interface CellsOptions {
  signer: Signer;
  internal: InternalRequests;
  /** Sends to every frontend. */
  publish: (message: Uint8Array, delay?: number) => void;
  /** Sends to the child's shell, where the reply is to go back to the one who asked. */
  send: (request: FrontendRequest, message: Uint8Array) => void;
  /** Has the child tell that all outputs are sent, without a cell; `false` where that can't be asked so. */
  requestFlush: () => boolean;
  /** What the child is to be given instead of a cell. */
  rewrite: (source: string) => string;
  /** The URL of the client's main module. */
  client: string;
}

/** Whether the child calls code complete that does not parse: it looks at brackets only. */
async function isWronglyComplete({ content: { code } }: FrontendRequest, envelope: Envelope): Promise<boolean> {
  if (envelope.header.msg_type !== "is_complete_reply" || typeof code !== "string") return false;
  if (contentOf(envelope)["status"] !== "complete" || code.includes("%sql") || code.length > MAX_CHECKED_LENGTH) {
    return false;
  }
  return await parseFailure(code).catch(() => undefined) !== undefined;
}

/** Characters of code that is parsed while a person waits for the next line. */
const MAX_CHECKED_LENGTH = 100_000;

/** A cell whose last message is not there after so much silence has lost it. */
const SILENCE_MS = 5000;
/** How long the beginning of a cell may wait for what follows. */
const BUSY_DELAY_MS = 5;

/**
 * Gives the child one cell at a time, and publishes what it says of it in the order in which it happened. The child has two
 * writers, one for outputs and one for everything else, so that its own order is not to be trusted.
 */
export class Cells {
  /** The cells that ran. */
  readonly history = new CellHistory();
  readonly #options: CellsOptions;
  #waiting: FrontendRequest[] = [];
  #running: { cell: RunningCell; request: FrontendRequest } | undefined;
  /** The cell that outputs belong to which come without one. */
  #lastCell: RunningCell | undefined;
  #count = 0;
  #moduleNamed = false;
  /** Whether the end of a drawing is told by itself. */
  #reportsDrawn = false;
  /** Whether the child is ready; cells wait until it is. */
  started = false;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;
  /** Whether the child is not listened to just now, for a frontend that is slow. */
  outputPaused = false;

  constructor(options: CellsOptions) {
    this.#options = options;
  }

  /** The cell that runs. */
  get running(): RunningCell | undefined {
    return this.#running?.cell;
  }

  /** The identity of the frontend whose cell runs; empty where it isn't known. */
  get asker(): string {
    return this.#running?.request.from.identity ?? "";
  }

  /** The child is ready. */
  start(drawnTells: boolean): void {
    this.#reportsDrawn = drawnTells;
    this.started = true;
    this.#next();
  }

  /** Takes a request, to be passed on when its turn comes. */
  push(request: FrontendRequest): void {
    this.#waiting.push(request);
    this.#next();
  }

  /** Answers the cells that wait without running them. */
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

  /** Tells the person at the running cell something. */
  notify(text: string): void {
    const { signer, publish } = this.#options;
    if (this.running) publish(signer.make("stream", { name: "stderr", text: `${text}\n` }, this.running.header));
  }

  /** Ends the running cell, and those that wait, where the child can't. */
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

  /** The child's reply to a request; `request` is what was asked. */
  async onReply(request: FrontendRequest, envelope: Envelope): Promise<void> {
    const cell = this.running;
    if (cell === undefined || !cell.owns(envelope.parent)) {
      if (await isWronglyComplete(request, envelope)) {
        return request.from.send(this.#options.signer.edit(envelope, { content: { status: "invalid" } }));
      }
      return request.from.send(this.#withoutInternalNames(envelope));
    }
    const content = contentOf(envelope);
    cell.failed = content["status"] === "error";
    const unexplained = isUnexplained(content);
    if (unexplained) {
      if (await wasBrokenByRewrite(cell)) return await this.#runUnmodified(request, cell);
      cell.failure = await findReason(cell, this.#options.internal);
    }
    // Else the drawing tells it; Stop may have cut that off. The child works on it meanwhile.
    if (!this.#reportsDrawn || cell.failed || cell.silent || cell.interrupted) this.#requestFlush(cell);
    if (unexplained) {
      request.from.send(this.#options.signer.edit(envelope, { content: { ...content, ...cell.failure } }));
    } else if (cell.failed) request.from.send(this.#withBetterTraceback(cell, envelope, content));
    else cell.sendReply = () => this.#sendReply(request, cell, envelope);
    const { execution_count: line } = content;
    if (cell.inHistory && typeof line === "number") this.history.add(line, cell.source);
    cell.replyHandled = true;
    this.#finishIfEnded();
  }

  /** A reply, of which completions name nothing of this kernel's own: it is called as nobody would call a variable. */
  #withoutInternalNames(envelope: Envelope): Uint8Array {
    if (envelope.header.msg_type !== "complete_reply") return envelope.raw;
    const content = contentOf(envelope);
    const matches = Array.isArray(content["matches"]) ? content["matches"] : [];
    const others = matches.filter((match) => typeof match !== "string" || !/ waits|Symbol\(lakebase/.test(match));
    if (others.length === matches.length) return envelope.raw;
    return this.#options.signer.edit(envelope, { content: { ...content, matches: others } });
  }

  /** A bare query that failed has failed its cell: what runs a notebook unattended has to stop there. */
  #sendReply(request: FrontendRequest, cell: RunningCell, envelope: Envelope): void {
    cell.sendReply = undefined;
    if (cell.drawingError === undefined) return request.from.send(envelope.raw);
    cell.failed = true;
    const content = { ...contentOf(envelope), ...cell.drawingError, status: "error" };
    const better = betterTraceback(content, cell.code) ?? content;
    request.from.send(this.#options.signer.edit(envelope, { content: better }));
  }

  /** A message of the child's for every frontend. */
  onOutput(envelope: Envelope): void {
    const { internal, signer, publish } = this.#options;
    const type = envelope.header.msg_type ?? "";
    if (type === DONE) return this.#onDone(envelope);
    const cell = this.running;
    let { raw } = envelope;
    let own = cell?.owns(envelope.parent) ?? false;
    if (internal.owns(envelope.parent)) {
      if (type === "status" || type === "execute_input" || type === "error" || this.#lastCell === undefined) return;
      raw = signer.edit(envelope, { parent: this.#lastCell.header });
      own = cell === this.#lastCell;
    }
    if (cell === undefined || !own) return publish(raw);
    if (type === "status") this.#onStatus(cell, envelope);
    else if (type === "error") this.#onError(cell, envelope);
    else if (type === "execute_input") {
      cell.rerun || publish(joinBytes([...cell.busy, this.#withSource(cell, envelope)]), BUSY_DELAY_MS);
    } else publish(raw);
  }

  #onStatus(cell: RunningCell, envelope: Envelope): void {
    if (contentOf(envelope)["execution_state"] === "idle") {
      cell.idle = envelope.raw;
      this.#finishIfEnded();
    } else cell.busy.push(envelope.raw); // the cell's own text follows at once: one write less
  }

  /** The child's last word of a cell that fails: the end of the outputs is asked for without waiting for the reply. */
  #onError(cell: RunningCell, envelope: Envelope): void {
    if (metadataOf(envelope)[BROADCAST] !== true) {
      cell.drawingError = contentOf(envelope); // or the cell's own failure, of which the reply tells as well
      this.#requestFlush(cell);
    }
    cell.errors.push(this.#withBetterTraceback(cell, envelope));
  }

  /** The cell's text as the person wrote it, which is what all frontends and the history are to see. */
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
    if (content["n"] !== (cell.flushRequested ? "flushed" : "drawn")) return;
    cell.outputsComplete = true;
    this.#finishIfEnded();
  }

  /**
   * Has the child tell the end of the cell's outputs. The cell waits for that answer even where its drawing has told it too:
   * the child takes the question for the end of the cell that runs, which must not be the next one.
   */
  #requestFlush(cell: RunningCell): void {
    if (cell.flushRequested) return;
    cell.flushRequested = true;
    cell.outputsComplete = false;
    if (this.#options.requestFlush()) return;
    this.#options.internal.execute(doneCode).then(() => {
      cell.outputsComplete = true;
      this.#finishIfEnded();
    });
  }

  async #runUnmodified(request: FrontendRequest, cell: RunningCell): Promise<void> {
    const { send, internal, signer } = this.#options;
    await internal.execute(doneCode); // behind the first run's `idle`
    cell.rerun = true;
    cell.idle = cell.failed = undefined;
    cell.sent = cell.code;
    const content = { ...request.content, code: cell.code, store_history: false }; // it has its number
    send(request, signer.edit(request.envelope, { content }));
  }

  #finishIfEnded(): void {
    const cell = this.running;
    if (cell === undefined) return;
    if (cell.outputsComplete) cell.sendReply?.();
    if (cell.endsWithin) this.#finish(cell);
    else if (cell.replyHandled && cell.idle !== undefined) this.restartSilenceTimer();
  }

  /** Puts off giving up the rest of a cell; called for whatever the child says. */
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
    if (this.#moduleNamed || !namesModule(sent)) return send(request, message);
    this.#moduleNamed = true; // only now: the hook takes a tenth of the kernel's start
    const named = this.#options.internal.execute((n) => `${moduleNameCode(this.#options.client)}\n${doneCode(n)}`);
    named.then(() => this.running === cell && send(request, message));
  }
}

/** A fault of this kernel's own must not take the cell's turn with it. */
function tryMakeStoppable(code: string, cell: number): string {
  try {
    return makeStoppable(code, cell);
  } catch {
    return code;
  }
}

/** Whether a cell that could not begin is code itself, but what was made of it is not. */
export async function wasBrokenByRewrite({ interrupted, code, sent }: RunningCell): Promise<boolean> {
  if (interrupted || sent === code) return false;
  return await parseFailure(sent) !== undefined && await parseFailure(code) === undefined;
}

/** Why a cell ended for which the Deno kernel gives no reason. */
export async function findReason(
  { interrupted, code, source }: RunningCell,
  hidden: InternalRequests,
): Promise<CellFailure> {
  if (interrupted) return STOPPED;
  const unparsed = await parseFailure(code, source);
  if (unparsed !== undefined) return unparsed;
  const specifiers = importedSpecifiers(code);
  if (specifiers.length === 0) return UNEXPLAINED;
  const answer = await hidden.execute((n) => importsCode(n, specifiers));
  const { name, message } = answer ?? {};
  return typeof name === "string" && typeof message === "string" ? failure(name, message) : UNEXPLAINED;
}

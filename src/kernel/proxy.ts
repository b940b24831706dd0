import { type Catalog, parseCatalog, REFRESH_CATALOG } from "./catalog.ts";
import { Cells, type FrontendRequest } from "./cells.ts";
import { type Child, type InternalAnswer, InternalRequests } from "./child.ts";
import { editorReply } from "./editor.ts";
import type { ChannelName } from "./connection_file.ts";
import type { CellFailure } from "./failure.ts";
import { contentOf, type Envelope, openMessage, type Signer } from "./message.ts";
import { DONE, doneCode, INTERRUPTED, preludeCode } from "./prelude.ts";
import { CellHistory, PendingRequests, Prompts, Publisher } from "./frontends.ts";
import { interrupt } from "./running_cell.ts";
import { IopubReader } from "./message_reader.ts";
import { ZmtpConnection } from "./zmtp_connection.ts";
import { encodeMessage, type Message } from "./zmtp.ts";

/** Options of {@linkcode KernelProxy.connect}. */
interface ProxyOptions {
  child: Child;
  signer: Signer;
  /** The URL of the client's main module. */
  client: string;
  /** Makes the code that the child runs for a cell. */
  rewrite: (source: string) => string;
  /** The notebook's variables that may hold connections. */
  connections: () => readonly string[];
  /** Reports a problem on stderr. */
  warn: (text: string) => void;
}

/** The connections to the child. `internal` is a second one to the shell channel. */
type ChildConnections = Record<"shell" | "internal" | "control" | "stdin" | "iopub", ZmtpConnection>;

/** The time to wait for the prelude's answer before it is sent again. */
const PRELUDE_RETRY_MS = 1000;
/** The time that the child gets to end after a `shutdown_request`. */
const SHUTDOWN_MS = 3000;
/** The part of {@linkcode SHUTDOWN_MS} in which the notebook deletes what it has created. */
const CLEAN_UP_MS = 2000;
/** Code that calls the function that the client sets in the child while there is something to delete. */
const CLEAN_UP = 'await globalThis[Symbol.for("lakebase.end")]?.();';
/** The age at which the catalog is refreshed when an editor asks for it. */
const REFRESH_MS = 15_000;
/** The time that frontends get to read the last messages after the child has ended. */
const FLUSH_MS = 3000;
/** The prefix of the message types that code in the child sends to this kernel. Frontends never get such messages. */
const INTERNAL_PREFIX = "lakebase_";

/** The maximum bytes of a request. It is read before its signature can be checked. */
const MAX_REQUEST_BYTES = 1 << 28;

/**
 * Stands between the frontends and a Deno kernel, the child. Messages that need no change are forwarded byte for byte.
 *
 * The states of a proxy:
 * 1. Connected ({@linkcode KernelProxy.connect}): frontends can connect and ask for the kernel info; cells wait.
 * 2. Ready (after {@linkcode KernelProxy.prepare} has run the prelude): cells run one at a time; see `Cells`. Stop works.
 * 3. Shutting down (`shuttingDown`, after a frontend's `shutdown_request`): the child ends itself, or is killed after
 *    {@linkcode SHUTDOWN_MS}.
 * 4. Ended (the child's process is gone): {@linkcode KernelProxy.end} fails the running cell and the waiting ones.
 *
 * `main.ts` moves a proxy through them, and closes it.
 */
export class KernelProxy {
  readonly #options: ProxyOptions;
  readonly #child: ChildConnections;
  readonly #publisher: Publisher;
  readonly #prompts: Prompts;
  readonly #internal: InternalRequests;
  readonly #history = new CellHistory();
  readonly #cells: Cells;
  readonly #pending = { shell: new PendingRequests(), control: new PendingRequests() };
  #kernelInfo: Promise<InternalAnswer> | undefined;
  #catalog: Catalog | undefined;
  /** The time of the last refresh of the catalog; `Infinity` during a refresh. */
  #refreshedAt = -Infinity;
  #onInterruptAnswer: (() => void) | undefined;
  /** Whether a frontend has asked for a shutdown. */
  shuttingDown = false;

  private constructor(options: ProxyOptions, connections: ChildConnections) {
    const { signer, warn, rewrite } = options;
    this.#options = options;
    this.#child = connections;
    this.#publisher = new Publisher(warn);
    this.#prompts = new Prompts(signer, (message) => connections.stdin.send(message));
    this.#internal = new InternalRequests(signer, (message) => connections.internal.send(message));
    this.#cells = new Cells({
      signer,
      internal: this.#internal,
      remember: (line, source) => this.#history.add(line, source),
      rewrite,
      client: options.client,
      requestFlush: () => options.child.requestFlush(),
      publish: (message, delay) => this.#publisher.publish(message, delay),
      send: (request, message) => this.#send("shell", request, message),
    });
  }

  /** Connects to the child. Frontends can be served from then on; their cells wait until the child is ready. */
  static async connect(options: ProxyOptions): Promise<KernelProxy> {
    const open = async (channel: ChannelName, socket: "DEALER" | "SUB") =>
      await ZmtpConnection.open(await options.child.connect(channel), socket);
    // Internal requests have their own connection: TCP delays the second of two replies that follow each other on one.
    const [iopub, shell, internal, control, stdin] = await Promise.all([
      open("iopub", "SUB"),
      open("shell", "DEALER"),
      open("shell", "DEALER"),
      open("control", "DEALER"),
      open("stdin", "DEALER"),
    ]);
    iopub.send(encodeMessage([Uint8Array.of(1)])); // subscribes to everything
    const proxy = new KernelProxy(options, { shell, internal, control, stdin, iopub });
    proxy.#listen();
    return proxy;
  }

  /** Runs the prelude until its answer arrives. Answers are lost before the child has accepted the iopub connection. */
  async prepare(): Promise<void> {
    this.#kernelInfo = this.#internal.kernelInfo();
    for (;;) {
      const answer = this.#internal.execute(preludeCode);
      const timeout = new Promise<"timeout">((resolve) => setTimeout(resolve, PRELUDE_RETRY_MS, "timeout"));
      const outcome = await Promise.race([answer, timeout, this.#options.child.status.then(() => undefined)]);
      if (outcome === "timeout") continue;
      return this.#cells.start(outcome?.["reportsDrawn"] === true);
    }
  }

  /** Serves one connection of a frontend until it is closed. */
  async serve(channel: ChannelName, conn: Deno.TcpConn): Promise<void> {
    if (channel === "hb") return await this.#serveHeartbeat(conn);
    using connection = await ZmtpConnection.open(conn, channel === "iopub" ? "PUB" : "ROUTER");
    if (channel === "iopub") await this.#publisher.serve(connection);
    else if (channel === "stdin") await this.#prompts.serve(connection);
    else await this.#serveRequests(channel, connection);
  }

  /** Handles Stop: ends what the running cell does. */
  async interrupt(): Promise<void> {
    if (!this.#cells.started) return; // the child has no SIGINT listener yet, so the signal would end it
    const { child, signer } = this.#options;
    this.#prompts.cancel();
    await interrupt({
      cells: this.#cells,
      signal: () => child.signal("SIGINT"),
      answers: (ms) => this.#answersWithin(ms),
      processorTime: () => child.processorTime(),
      terminate: () => this.#child.control.send(signer.make("interrupt_request", {})),
    });
  }

  /** Fails the running cell after the child has ended. */
  async end(reason: CellFailure): Promise<void> {
    this.#cells.end(reason);
    await this.#publisher.flush(FLUSH_MS);
  }

  /** Closes the connections to the child. */
  close(): void {
    for (const connection of Object.values(this.#child)) connection[Symbol.dispose]();
  }

  #listen(): void {
    const { shell, internal, control, stdin } = this.#child;
    this.#receive(shell, (envelope) => this.#onShell(envelope));
    this.#receive(internal, (envelope) => this.#internal.onReply(envelope, contentOf(envelope)));
    this.#receive(control, (envelope) => this.#pending.control.take(envelope)?.from.send(envelope.raw));
    this.#receive(stdin, (envelope) => this.#prompts.ask(envelope.raw, this.#cells.frontend));
    this.#receiveOutputs();
  }

  async #receive(connection: ZmtpConnection, handle: (envelope: Envelope) => void | Promise<void>): Promise<void> {
    for await (const message of connection.messages()) {
      const envelope = openMessage(message);
      if (envelope === undefined) continue;
      Promise.try(handle, envelope).catch((error) => this.#options.warn(`a message was lost: ${error.message}`));
    }
  }

  async #receiveOutputs(): Promise<void> {
    const { signer, warn } = this.#options;
    const reader = new IopubReader({
      isSigned: (message) => {
        const envelope = openMessage(message);
        return envelope !== undefined && signer.verifies(envelope);
      },
      onError: (error) => warn(`some output of the Deno kernel was lost: ${error.message}`),
    });
    for await (const chunk of this.#child.iopub.chunks()) {
      for (const message of reader.push(chunk)) this.#onOutput(message);
      this.#cells.outputPaused = true;
      await this.#publisher.waitForRoom();
      this.#cells.outputPaused = false;
      this.#cells.restartSilenceTimer();
    }
  }

  #onOutput(message: Message): void {
    const envelope = openMessage(message);
    if (envelope === undefined) return;
    const type = envelope.header.msg_type ?? "";
    if (type === INTERRUPTED) this.#onInterruptAnswer?.();
    else if (type === "lakebase_catalog") this.#catalog = parseCatalog(contentOf(envelope)) ?? this.#catalog;
    if (!type.startsWith(INTERNAL_PREFIX) || type === DONE) this.#cells.onOutput(envelope);
  }

  async #onShell(envelope: Envelope): Promise<void> {
    const request = this.#pending.shell.take(envelope);
    if (request !== undefined) await this.#cells.onReply(request, envelope);
  }

  async #serveRequests(channel: "shell" | "control", connection: ZmtpConnection): Promise<void> {
    const { signer, warn } = this.#options;
    for await (const message of connection.messages(MAX_REQUEST_BYTES)) {
      const envelope = message.command ? undefined : openMessage(message);
      if (envelope === undefined) warn(`dropped a message on ${channel} that is not a Jupyter message`);
      else if (!signer.verifies(envelope)) warn(`dropped a message on ${channel} with a wrong signature`);
      else this.#onRequest(channel, { envelope, content: contentOf(envelope), from: connection });
      await connection.room(1 << 26);
    }
  }

  #onRequest(channel: "shell" | "control", request: FrontendRequest): void {
    const { signer } = this.#options;
    const { envelope: { header }, envelope, from } = request;
    if (channel === "shell") {
      if (header.msg_type === "kernel_info_request" && !this.#cells.started) this.#replyKernelInfo(request);
      else if (!this.#replyFromKernel(request)) this.#cells.push(request);
    } else if (header.msg_type === "interrupt_request") {
      this.interrupt();
      from.send(signer.make("interrupt_reply", { status: "ok" }, header));
    } else {
      if (header.msg_type === "shutdown_request") void this.#shutDown(request);
      else this.#send("control", request, envelope.raw);
    }
  }

  /** Gives the notebook time to delete what it has created, such as branches, and forwards the request. */
  async #shutDown(request: FrontendRequest): Promise<void> {
    this.shuttingDown = true;
    setTimeout(() => this.#options.child.signal("SIGKILL"), SHUTDOWN_MS);
    if (this.#cells.started && this.#cells.running === undefined) {
      const ended = this.#internal.execute((n) => `${CLEAN_UP}\n${doneCode(n)}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([ended, new Promise((resolve) => timer = setTimeout(resolve, CLEAN_UP_MS))]);
      clearTimeout(timer);
    }
    this.#send("control", request, request.envelope.raw);
  }

  /** Answers before the child is ready: the kernel info is a frontend's first request, and needs no prelude. */
  async #replyKernelInfo(request: FrontendRequest): Promise<void> {
    const content = await this.#kernelInfo;
    if (content === undefined) this.#cells.push(request);
    else this.#reply(request, { type: "kernel_info_reply", content });
  }

  /** Answers a request that does not need the child, even while a cell runs. Returns whether it has answered. */
  #replyFromKernel(request: FrontendRequest): boolean {
    const { envelope: { header }, content } = request;
    const isHistory = header.msg_type === "history_request";
    const answer = isHistory
      ? { type: "history_reply", content: this.#history.reply(content) }
      : editorReply(header.msg_type, content, this.#catalog, this.#options.connections());
    if (answer === undefined) return false;
    if (!isHistory) void this.#refreshCatalog();
    this.#reply(request, answer);
    return true;
  }

  #reply({ envelope: { header }, from }: FrontendRequest, answer: { type: string; content: unknown }): void {
    const { signer } = this.#options;
    // While a cell runs, frontends would take the status for the status of the cell.
    const cellRuns = this.#cells.running !== undefined;
    const status = (state: string) => signer.make("status", { execution_state: state }, header);
    if (!cellRuns) this.#publisher.publish(status("busy"));
    from.send(signer.make(answer.type, answer.content, header));
    if (!cellRuns) this.#publisher.publish(status("idle"));
  }

  /** Refreshes the catalog: a cell of TypeScript may have connected, or changed tables. */
  async #refreshCatalog(): Promise<void> {
    const fresh = this.#catalog !== undefined && Date.now() - this.#refreshedAt < REFRESH_MS;
    if (fresh || this.#refreshedAt === Infinity || this.#cells.running !== undefined) return;
    this.#refreshedAt = Infinity;
    await this.#internal.execute((n) => `${REFRESH_CATALOG}\n${doneCode(n)}`);
    this.#refreshedAt = Date.now();
  }

  #send(channel: "shell" | "control", request: FrontendRequest, message: Uint8Array): void {
    this.#pending[channel].add(request);
    this.#child[channel].send(message);
  }

  #answersWithin(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms, false);
      this.#onInterruptAnswer = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  /** Forwards heartbeats to the child, so that frontends see whether the child answers. */
  async #serveHeartbeat(conn: Deno.TcpConn): Promise<void> {
    const beat = await this.#options.child.connect("hb");
    await Promise.allSettled([conn.readable.pipeTo(beat.writable), beat.readable.pipeTo(conn.writable)]);
  }
}

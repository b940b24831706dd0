import { type Catalog, parseCatalog, REFRESH_CATALOG } from "./catalog.ts";
import { Cells, type FrontendRequest } from "./cells.ts";
import type { Child } from "./child.ts";
import { editorReply } from "./editor.ts";
import type { ChannelName } from "./connection_file.ts";
import type { CellFailure } from "./failure.ts";
import { type InternalAnswer, InternalRequests } from "./internal_requests.ts";
import { contentOf, type Envelope, openMessage, type Signer } from "./message.ts";
import { doneCode, INTERRUPTED, preludeCode } from "./prelude.ts";
import { PendingRequests, Prompts, Publisher } from "./frontends.ts";
import { interrupt } from "./interrupt.ts";
import { ZmtpConnection } from "./zmtp_connection.ts";
import { IopubReader } from "./iopub_reader.ts";
import { encodeMessage, type Message } from "./zmtp.ts";

/** What a proxy stands between. */
export interface ProxyOptions {
  child: Child;
  signer: Signer;
  /** The URL of the client's main module. */
  client: string;
  /** What the child is to be given instead of a cell. */
  rewrite: (source: string) => string;
  /** Variables of the notebook that may hold connections. */
  connections: () => readonly string[];
  /** Told what goes wrong on the wire. */
  warn: (text: string) => void;
}

/** The connections to the child. */
type ChildConnections = Record<"shell" | "hidden" | "control" | "stdin" | "iopub", ZmtpConnection>;

/** How often the child is asked anew whether it is there. */
const PRELUDE_RETRY_MS = 1000;
const SHUTDOWN_MS = 3000;
/** How old the catalog may be when an editor asks. */
const REFRESH_MS = 15_000;
const FLUSH_MS = 3000;
/** The messages with which the child's code speaks to this kernel begin so; no frontend sees them. */
const INTERNAL_PREFIX = "lakebase_";

/** Bytes of a frontend's request; whose it is, only the whole of it shows. */
const MAX_REQUEST_BYTES = 1 << 28;

/** Stands between the frontends and a Deno kernel: passes on what it does not have to change, byte for byte. */
export class KernelProxy {
  readonly #options: ProxyOptions;
  readonly #child: ChildConnections;
  readonly #publisher: Publisher;
  readonly #prompts: Prompts;
  readonly #internal: InternalRequests;
  readonly #cells: Cells;
  readonly #pending = { shell: new PendingRequests(), control: new PendingRequests() };
  #kernelInfo: Promise<InternalAnswer> | undefined;
  #catalog: Catalog | undefined;
  #refreshedAt = -Infinity;
  #onInterruptAnswer: (() => void) | undefined;
  /** Whether a frontend asked for the end. */
  shuttingDown = false;

  private constructor(options: ProxyOptions, wires: ChildConnections) {
    const { signer, warn, rewrite } = options;
    this.#options = options;
    this.#child = wires;
    this.#publisher = new Publisher(warn);
    this.#prompts = new Prompts(signer, (message) => wires.stdin.send(message));
    this.#internal = new InternalRequests(signer, (message) => wires.hidden.send(message));
    this.#cells = new Cells({
      signer,
      internal: this.#internal,
      rewrite,
      client: options.client,
      requestFlush: () => options.child.requestFlush(),
      publish: (message, delay) => this.#publisher.publish(message, delay),
      send: (request, message) => this.#send("shell", request, message),
    });
  }

  /** Connects to the child; frontends can be served from then on, and wait until it is ready. */
  static async connect(options: ProxyOptions): Promise<KernelProxy> {
    const dial = async (channel: ChannelName, socket: "DEALER" | "SUB") =>
      await ZmtpConnection.open(await options.child.connect(channel), socket);
    // What is hidden has a connection of its own: where two replies follow each other on one, TCP holds the second back.
    const [iopub, shell, hidden, control, stdin] = await Promise.all([
      dial("iopub", "SUB"),
      dial("shell", "DEALER"),
      dial("shell", "DEALER"),
      dial("control", "DEALER"),
      dial("stdin", "DEALER"),
    ]);
    iopub.send(encodeMessage([Uint8Array.of(1)])); // subscribes to everything
    const proxy = new KernelProxy(options, { shell, hidden, control, stdin, iopub });
    proxy.#listen();
    return proxy;
  }

  /** Readies the child for cells: its output has to be heard first, and its connections are not made in one moment. */
  async prepare(): Promise<void> {
    this.#kernelInfo = this.#internal.kernelInfo();
    for (;;) {
      const answer = this.#internal.execute(preludeCode);
      const late = new Promise<"late">((resolve) => setTimeout(resolve, PRELUDE_RETRY_MS, "late"));
      const first = await Promise.race([answer, late, this.#options.child.status.then(() => undefined)]);
      if (first === "late") continue;
      return this.#cells.start(first?.["drawn"] === true);
    }
  }

  /** Serves one connection of a frontend until it hangs up. */
  async serve(channel: ChannelName, conn: Deno.TcpConn): Promise<void> {
    if (channel === "hb") return await this.#serveHeartbeat(conn);
    using wire = await ZmtpConnection.open(conn, channel === "iopub" ? "PUB" : "ROUTER");
    if (channel === "iopub") await this.#publisher.serve(wire);
    else if (channel === "stdin") await this.#prompts.serve(wire);
    else await this.#serveRequests(channel, wire);
  }

  /** Presses Stop. */
  async interrupt(): Promise<void> {
    if (!this.#cells.started) return; // nothing in the child heeds SIGINT yet
    const { child, signer } = this.#options;
    this.#prompts.cancel();
    await interrupt({
      cells: this.#cells,
      signal: () => child.signal("SIGINT"),
      answers: (ms) => this.#answersWithin(ms),
      terminate: () => this.#child.control.send(signer.make("interrupt_request", {})),
    });
  }

  /** Ends what runs with an error, once the child has gone. */
  async end(reason: CellFailure): Promise<void> {
    this.#cells.end(reason);
    await this.#publisher.flush(FLUSH_MS);
  }

  /** Hangs up on the child. */
  close(): void {
    for (const wire of Object.values(this.#child)) wire[Symbol.dispose]();
  }

  #listen(): void {
    const { shell, hidden, control, stdin } = this.#child;
    this.#receive(shell, (envelope) => this.#onShell(envelope));
    this.#receive(hidden, (envelope) => this.#internal.onReply(envelope, contentOf(envelope)));
    this.#receive(control, (envelope) => this.#pending.control.take(envelope)?.from.send(envelope.raw));
    this.#receive(stdin, (envelope) => this.#prompts.ask(envelope.raw, this.#cells.asker));
    this.#receiveOutputs();
  }

  async #receive(wire: ZmtpConnection, heed: (envelope: Envelope) => void | Promise<void>): Promise<void> {
    for await (const message of wire.messages()) {
      const envelope = openMessage(message);
      if (envelope === undefined) continue;
      Promise.try(heed, envelope).catch((error) => this.#options.warn(`a message was lost: ${error.message}`));
    }
  }

  async #receiveOutputs(): Promise<void> {
    const { signer, warn } = this.#options;
    const unweaver = new IopubReader({
      isSigned: (message) => {
        const envelope = openMessage(message);
        return envelope !== undefined && signer.verifies(envelope);
      },
      onError: (error) => warn(`some output of the Deno kernel was lost: ${error.message}`),
    });
    for await (const chunk of this.#child.iopub.chunks()) {
      for (const message of unweaver.push(chunk)) this.#onOutput(message);
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
    if (!type.startsWith(INTERNAL_PREFIX) || type === "lakebase_done") this.#cells.onOutput(envelope);
  }

  async #onShell(envelope: Envelope): Promise<void> {
    const request = this.#pending.shell.take(envelope);
    if (request !== undefined) await this.#cells.onReply(request, envelope);
  }

  async #serveRequests(channel: "shell" | "control", wire: ZmtpConnection): Promise<void> {
    const { signer, warn } = this.#options;
    for await (const message of wire.messages(MAX_REQUEST_BYTES)) {
      const envelope = message.command ? undefined : openMessage(message);
      if (envelope === undefined) warn(`dropped something on ${channel} that is no Jupyter message`);
      else if (!signer.verifies(envelope)) warn(`dropped a message on ${channel} with a wrong signature`);
      else this.#onRequest(channel, { envelope, content: contentOf(envelope), from: wire });
      await wire.room(1 << 26);
    }
  }

  #onRequest(channel: "shell" | "control", request: FrontendRequest): void {
    const { signer, child } = this.#options;
    const { envelope: { header }, envelope, from } = request;
    if (channel === "shell") {
      if (header.msg_type === "kernel_info_request" && !this.#cells.started) this.#replyKernelInfo(request);
      else if (!this.#replyFromKernel(request)) this.#cells.push(request);
    } else if (header.msg_type === "interrupt_request") {
      this.interrupt();
      from.send(signer.make("interrupt_reply", { status: "ok" }, header));
    } else {
      if (header.msg_type === "shutdown_request") {
        this.shuttingDown = true;
        setTimeout(() => child.signal("SIGKILL"), SHUTDOWN_MS);
      }
      this.#send("control", request, envelope.raw);
    }
  }

  /** Frontends ask it first of all: they need not wait until the child is ready for cells. */
  async #replyKernelInfo(request: FrontendRequest): Promise<void> {
    const content = await this.#kernelInfo;
    if (content === undefined) this.#cells.push(request);
    else this.#reply(request, { type: "kernel_info_reply", content });
  }

  /** Answers what needs no child, also while a cell runs. */
  #replyFromKernel(request: FrontendRequest): boolean {
    const { envelope: { header }, content } = request;
    const past = header.msg_type === "history_request";
    const answer = past
      ? { type: "history_reply", content: this.#cells.history.reply(content) }
      : editorReply(header.msg_type, content, this.#catalog, this.#options.connections());
    if (answer === undefined) return false;
    if (!past) void this.#refreshCatalog();
    this.#reply(request, answer);
    return true;
  }

  #reply({ envelope: { header }, from }: FrontendRequest, answer: { type: string; content: unknown }): void {
    const { signer } = this.#options;
    // A status would be taken for the running cell's.
    const quiet = this.#cells.running !== undefined;
    const status = (state: string) => signer.make("status", { execution_state: state }, header);
    if (!quiet) this.#publisher.publish(status("busy"));
    from.send(signer.make(answer.type, answer.content, header));
    if (!quiet) this.#publisher.publish(status("idle"));
  }

  /** A notebook may have connected, or changed tables, without any `%%sql` cell. */
  async #refreshCatalog(): Promise<void> {
    const fresh = this.#catalog !== undefined && Date.now() - this.#refreshedAt < REFRESH_MS;
    if (fresh || this.#refreshedAt === Infinity || this.#cells.running !== undefined) return;
    this.#refreshedAt = Infinity; // one at a time
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

  /** A heart-beat is the child's own. */
  async #serveHeartbeat(conn: Deno.TcpConn): Promise<void> {
    const beat = await this.#options.child.connect("hb");
    await Promise.allSettled([conn.readable.pipeTo(beat.writable), beat.readable.pipeTo(conn.writable)]);
  }
}

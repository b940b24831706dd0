import { type Catalogue, parseCatalogue, REFRESH_CATALOGUE } from "./catalog.ts";
import { Cells, type Request } from "./cells.ts";
import type { Child } from "./child.ts";
import { editorReply } from "./completion.ts";
import type { ChannelName } from "./connection_file.ts";
import type { CellFailure } from "./failure.ts";
import { Hidden, type HiddenAnswer } from "./hidden.ts";
import { contentOf, type Envelope, openMessage, type Signer } from "./message.ts";
import { doneCode, INTERRUPTED, preludeCode } from "./prelude.ts";
import { Prompts, Publisher, Replies } from "./replies.ts";
import { interrupt } from "./running_cell.ts";
import { Wire } from "./socket.ts";
import { Unweaver } from "./unweave.ts";
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
type Wires = Record<"shell" | "hidden" | "control" | "stdin" | "iopub", Wire>;

/** How often the child is asked anew whether it is there. */
const READY_MS = 1000;
const SHUTDOWN_MS = 3000;
/** How old the catalogue may be when an editor asks. */
const REFRESH_MS = 15_000;
const FLUSH_MS = 3000;
/** The messages with which the child's code speaks to this kernel begin so; no frontend sees them. */
const OWN = "lakebase_";

/** Bytes of a frontend's request; whose it is, only the whole of it shows. */
const MOST_REQUEST_BYTES = 1 << 28;

/** Stands between the frontends and a Deno kernel: passes on what it does not have to change, byte for byte. */
export class Proxy {
  readonly #options: ProxyOptions;
  readonly #wires: Wires;
  readonly #publisher: Publisher;
  readonly #prompts: Prompts;
  readonly #hidden: Hidden;
  readonly #cells: Cells;
  readonly #replies = { shell: new Replies(), control: new Replies() };
  #kernelInfo: Promise<HiddenAnswer> | undefined;
  #catalogue: Catalogue | undefined;
  #refreshed = -Infinity;
  #onAnswer: (() => void) | undefined;
  /** Whether a frontend asked for the end. */
  shuttingDown = false;

  private constructor(options: ProxyOptions, wires: Wires) {
    const { signer, warn, rewrite } = options;
    this.#options = options;
    this.#wires = wires;
    this.#publisher = new Publisher(warn);
    this.#prompts = new Prompts(signer, (message) => wires.stdin.send(message));
    this.#hidden = new Hidden(signer, (message) => wires.hidden.send(message));
    this.#cells = new Cells({
      signer,
      hidden: this.#hidden,
      rewrite,
      client: options.client,
      asksForEnd: () => options.child.asksForEnd(),
      publish: (message, delay) => this.#publisher.publish(message, delay),
      ask: (request, message) => this.#ask("shell", request, message),
    });
  }

  /** Connects to the child; frontends can be served from then on, and wait until it is ready. */
  static async connect(options: ProxyOptions): Promise<Proxy> {
    const dial = async (channel: ChannelName, socket: "DEALER" | "SUB") =>
      await Wire.open(await options.child.connect(channel), socket);
    // What is hidden has a connection of its own: where two replies follow each other on one, TCP holds the second back.
    const [iopub, shell, hidden, control, stdin] = await Promise.all([
      dial("iopub", "SUB"),
      dial("shell", "DEALER"),
      dial("shell", "DEALER"),
      dial("control", "DEALER"),
      dial("stdin", "DEALER"),
    ]);
    iopub.send(encodeMessage([Uint8Array.of(1)])); // subscribes to everything
    const proxy = new Proxy(options, { shell, hidden, control, stdin, iopub });
    proxy.#listen();
    return proxy;
  }

  /** Readies the child for cells: its output has to be heard first, and its connections are not made in one moment. */
  async prepare(): Promise<void> {
    this.#kernelInfo = this.#hidden.kernelInfo();
    for (;;) {
      const answer = this.#hidden.run(preludeCode);
      const late = new Promise<"late">((resolve) => setTimeout(resolve, READY_MS, "late"));
      const first = await Promise.race([answer, late, this.#options.child.status.then(() => undefined)]);
      if (first === "late") continue;
      return this.#cells.start(first?.["drawn"] === true);
    }
  }

  /** Serves one connection of a frontend until it hangs up. */
  async serve(channel: ChannelName, conn: Deno.TcpConn): Promise<void> {
    if (channel === "hb") return await this.#beat(conn);
    using wire = await Wire.open(conn, channel === "iopub" ? "PUB" : "ROUTER");
    if (channel === "iopub") await this.#publisher.serve(wire);
    else if (channel === "stdin") await this.#prompts.serve(wire);
    else await this.#take(channel, wire);
  }

  /** Presses Stop. */
  async interrupt(): Promise<void> {
    if (!this.#cells.started) return; // nothing in the child heeds SIGINT yet
    const { child, signer } = this.#options;
    this.#prompts.cancel();
    await interrupt({
      cells: this.#cells,
      signal: () => child.signal("SIGINT"),
      answers: (ms) => this.#answers(ms),
      terminate: () => this.#wires.control.send(signer.make("interrupt_request", {})),
    });
  }

  /** Ends what runs with an error, once the child has gone. */
  async end(reason: CellFailure): Promise<void> {
    this.#cells.end(reason);
    await this.#publisher.flush(FLUSH_MS);
  }

  /** Hangs up on the child. */
  close(): void {
    for (const wire of Object.values(this.#wires)) wire[Symbol.dispose]();
  }

  #listen(): void {
    const { shell, hidden, control, stdin } = this.#wires;
    this.#hear(shell, (envelope) => this.#onShell(envelope));
    this.#hear(hidden, (envelope) => this.#hidden.replied(envelope, contentOf(envelope)));
    this.#hear(control, (envelope) => this.#replies.control.take(envelope)?.from.send(envelope.raw));
    this.#hear(stdin, (envelope) => this.#prompts.ask(envelope.raw, this.#cells.asker));
    this.#hearOutputs();
  }

  async #hear(wire: Wire, heed: (envelope: Envelope) => void | Promise<void>): Promise<void> {
    for await (const message of wire.messages()) {
      const envelope = openMessage(message);
      if (envelope === undefined) continue;
      Promise.try(heed, envelope).catch((error) => this.#options.warn(`a message was lost: ${error.message}`));
    }
  }

  async #hearOutputs(): Promise<void> {
    const { signer, warn } = this.#options;
    const unweaver = new Unweaver({
      genuine: (message) => {
        const envelope = openMessage(message);
        return envelope !== undefined && signer.holds(envelope);
      },
      garbled: (error) => warn(`some output of the Deno kernel was lost: ${error.message}`),
    });
    for await (const chunk of this.#wires.iopub.chunks()) {
      for (const message of unweaver.push(chunk)) this.#onOutput(message);
      this.#cells.deaf = true;
      await this.#publisher.room();
      this.#cells.deaf = false;
      this.#cells.stillTalking();
    }
  }

  #onOutput(message: Message): void {
    const envelope = openMessage(message);
    if (envelope === undefined) return;
    const type = envelope.header.msg_type ?? "";
    if (type === INTERRUPTED) this.#onAnswer?.();
    else if (type === "lakebase_catalogue") this.#catalogue = parseCatalogue(contentOf(envelope)) ?? this.#catalogue;
    if (!type.startsWith(OWN) || type === "lakebase_done") this.#cells.onOutput(envelope);
  }

  async #onShell(envelope: Envelope): Promise<void> {
    const request = this.#replies.shell.take(envelope);
    if (request !== undefined) await this.#cells.onReply(request, envelope);
  }

  async #take(channel: "shell" | "control", wire: Wire): Promise<void> {
    const { signer, warn } = this.#options;
    for await (const message of wire.messages(MOST_REQUEST_BYTES)) {
      const envelope = message.command ? undefined : openMessage(message);
      if (envelope === undefined) warn(`dropped something on ${channel} that is no Jupyter message`);
      else if (!signer.holds(envelope)) warn(`dropped a message on ${channel} with a wrong signature`);
      else this.#onRequest(channel, { envelope, content: contentOf(envelope), from: wire });
      await wire.room(1 << 26);
    }
  }

  #onRequest(channel: "shell" | "control", request: Request): void {
    const { signer, child } = this.#options;
    const { envelope: { header }, envelope, from } = request;
    if (channel === "shell") {
      if (header.msg_type === "kernel_info_request" && !this.#cells.started) this.#introduce(request);
      else if (!this.#replyHere(request)) this.#cells.push(request);
    } else if (header.msg_type === "interrupt_request") {
      this.interrupt();
      from.send(signer.make("interrupt_reply", { status: "ok" }, header));
    } else {
      if (header.msg_type === "shutdown_request") {
        this.shuttingDown = true;
        setTimeout(() => child.signal("SIGKILL"), SHUTDOWN_MS);
      }
      this.#ask("control", request, envelope.raw);
    }
  }

  /** Frontends ask it first of all: they need not wait until the child is ready for cells. */
  async #introduce(request: Request): Promise<void> {
    const content = await this.#kernelInfo;
    if (content === undefined) this.#cells.push(request);
    else this.#reply(request, { type: "kernel_info_reply", content });
  }

  /** Answers what needs no child, also while a cell runs. */
  #replyHere(request: Request): boolean {
    const { envelope: { header }, content } = request;
    const past = header.msg_type === "history_request";
    const answer = past
      ? { type: "history_reply", content: this.#cells.history.reply(content) }
      : editorReply(header.msg_type, content, this.#catalogue, this.#options.connections());
    if (answer === undefined) return false;
    if (!past) void this.#refresh();
    this.#reply(request, answer);
    return true;
  }

  #reply({ envelope: { header }, from }: Request, answer: { type: string; content: unknown }): void {
    const { signer } = this.#options;
    // A status would be taken for the running cell's.
    const quiet = this.#cells.running !== undefined;
    const status = (state: string) => signer.make("status", { execution_state: state }, header);
    if (!quiet) this.#publisher.publish(status("busy"));
    from.send(signer.make(answer.type, answer.content, header));
    if (!quiet) this.#publisher.publish(status("idle"));
  }

  /** A notebook may have connected, or changed tables, without any `%%sql` cell. */
  async #refresh(): Promise<void> {
    const fresh = this.#catalogue !== undefined && Date.now() - this.#refreshed < REFRESH_MS;
    if (fresh || this.#refreshed === Infinity || this.#cells.running !== undefined) return;
    this.#refreshed = Infinity; // one at a time
    await this.#hidden.run((n) => `${REFRESH_CATALOGUE}\n${doneCode(n)}`);
    this.#refreshed = Date.now();
  }

  #ask(channel: "shell" | "control", request: Request, message: Uint8Array): void {
    this.#replies[channel].expect(request);
    this.#wires[channel].send(message);
  }

  #answers(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms, false);
      this.#onAnswer = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  /** A heart-beat is the child's own. */
  async #beat(conn: Deno.TcpConn): Promise<void> {
    const beat = await this.#options.child.connect("hb");
    await Promise.allSettled([conn.readable.pipeTo(beat.writable), beat.readable.pipeTo(conn.writable)]);
  }
}

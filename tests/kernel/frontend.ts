import { eventually } from "../support/eventually.ts";
import type { ChannelName, ConnectionInfo } from "../../src/kernel/connection_file.ts";
import { contentOf, type Envelope, openMessage, type Signer } from "../../src/kernel/message.ts";
import { ZmtpConnection } from "../../src/kernel/zmtp_connection.ts";
import { encodeMessage } from "../../src/kernel/zmtp.ts";

export interface Output {
  type: string;
  content: Record<string, unknown>;
  /** Whether the message came after its request's `idle`. */
  late: boolean;
}

export interface Execution {
  reply: Record<string, unknown>;
  /** The messages of the cell, without its statuses. */
  outputs: Output[];
  /** Milliseconds until the reply and until `idle`. */
  replyAt: number;
  idleAt: number;
}

interface PendingRequest {
  started: number;
  outputs: Output[];
  replyAt: number;
  idleAt: number;
  reply: Record<string, unknown> | undefined;
  settle: () => void;
}

type Connections = Record<Exclude<ChannelName, "hb">, ZmtpConnection>;

/** A frontend of a kernel that reads and writes bytes. */
export class Frontend implements Disposable {
  readonly connections: Connections;
  readonly signer: Signer;
  /** All messages of the iopub channel, which every frontend gets. */
  readonly published: Envelope[] = [];
  /** Messages with a wrong signature. */
  invalid = 0;
  /** While this promise is pending, nothing is read. */
  reading: Promise<unknown> = Promise.resolve();
  onInput: ((envelope: Envelope) => void) | undefined;
  /** Rejects when the kernel sends unreadable bytes. */
  readonly #unreadable = Promise.withResolvers<never>();
  readonly #pending = new Map<string, PendingRequest>();

  private constructor(connections: Connections, signer: Signer) {
    this.connections = connections;
    this.signer = signer;
    this.#unreadable.promise.catch(() => {}); // it rejects the requests that wait for a reply
    this.#receive(connections.shell, (envelope) => this.#onReply(envelope));
    this.#receive(connections.control, (envelope) => this.#onReply(envelope));
    this.#receive(connections.iopub, (envelope) => this.#onOutput(envelope));
    this.#receive(connections.stdin, (envelope) => this.onInput?.(envelope));
  }

  static async connect(info: ConnectionInfo, signer: Signer, identity: string): Promise<Frontend> {
    const id = new TextEncoder().encode(identity);
    const open = async (channel: ChannelName) =>
      ZmtpConnection.open(await openTcp(info, channel), socketType(channel), id);
    const [iopub, shell, control, stdin] = await Promise.all([
      open("iopub"),
      open("shell"),
      open("control"),
      open("stdin"),
    ]);
    iopub.send(encodeMessage([Uint8Array.of(1)]));
    const frontend = new Frontend({ iopub, shell, control, stdin }, signer);
    await eventually("the kernel publishes to the frontend", async () => {
      await frontend.request("shell", "kernel_info_request");
      return frontend.published.length > 0;
    });
    return frontend;
  }

  /** Sends a request and waits for its reply. */
  async request(channel: "shell" | "control", type: string, content: unknown = {}): Promise<Record<string, unknown>> {
    return (await this.#ask(channel, type, content, false)).reply;
  }

  /** Runs a cell and waits for its reply and its `idle`. */
  async execute(code: string, options: Record<string, unknown> = {}): Promise<Execution> {
    return await this.#ask("shell", "execute_request", executeContent(code, options), true);
  }

  [Symbol.dispose](): void {
    for (const connection of Object.values(this.connections)) connection[Symbol.dispose]();
  }

  async #ask(channel: "shell" | "control", type: string, content: unknown, untilIdle: boolean): Promise<Execution> {
    const id = crypto.randomUUID();
    const ended = Promise.withResolvers<void>();
    const pending: PendingRequest = {
      started: performance.now(),
      outputs: [],
      replyAt: NaN,
      idleAt: untilIdle ? NaN : 0,
      reply: undefined,
      settle: () => pending.reply && !Number.isNaN(pending.idleAt) && ended.resolve(),
    };
    this.#pending.set(id, pending);
    this.connections[channel].send(this.signer.make(type, content, {}, id));
    await Promise.race([ended.promise, this.#unreadable.promise]);
    const { outputs, replyAt, idleAt, reply } = pending;
    return { outputs, replyAt, idleAt, reply: reply! };
  }

  async #receive(connection: ZmtpConnection, handle: (envelope: Envelope) => void): Promise<void> {
    try {
      for await (const message of connection.messages()) {
        await this.reading;
        const envelope = openMessage(message);
        if (envelope === undefined || !this.signer.verifies(envelope)) this.invalid++;
        else handle(envelope);
      }
    } catch (error) {
      this.#unreadable.reject(error);
    }
  }

  #onReply(envelope: Envelope): void {
    const pending = this.#pending.get(envelope.parent.msg_id ?? "");
    if (pending === undefined) return;
    pending.replyAt = performance.now() - pending.started;
    pending.reply = contentOf(envelope);
    pending.settle();
  }

  #onOutput(envelope: Envelope): void {
    this.published.push(envelope);
    const pending = this.#pending.get(envelope.parent.msg_id ?? "");
    if (pending === undefined) return;
    const type = envelope.header.msg_type ?? "";
    const content = contentOf(envelope);
    if (type !== "status") pending.outputs.push({ type, content, late: pending.idleAt > 0 });
    else if (content["execution_state"] === "idle") {
      pending.idleAt = performance.now() - pending.started;
      pending.settle();
    }
  }
}

/** The content of an `execute_request`. */
export function executeContent(code: string, options: Record<string, unknown> = {}): Record<string, unknown> {
  const defaults = {
    silent: false,
    store_history: true,
    user_expressions: {},
    allow_stdin: false,
    stop_on_error: true,
  };
  return { code, ...defaults, ...options };
}

function socketType(channel: ChannelName): "SUB" | "DEALER" {
  return channel === "iopub" ? "SUB" : "DEALER";
}

async function openTcp({ ip, ports }: ConnectionInfo, channel: ChannelName): Promise<Deno.TcpConn> {
  let conn: Deno.TcpConn | undefined;
  await eventually(`the kernel listens on ${channel}`, async () => {
    conn = await Deno.connect({ hostname: ip, port: ports[channel] }).catch(() => undefined);
    return conn !== undefined;
  });
  return conn!;
}

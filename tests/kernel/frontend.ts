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

interface Waiting {
  started: number;
  outputs: Output[];
  replyAt: number;
  idleAt: number;
  reply: Record<string, unknown> | undefined;
  settle: () => void;
}

type Wires = Record<Exclude<ChannelName, "hb">, ZmtpConnection>;

/** A frontend of a kernel that reads and writes bytes. */
export class Frontend implements Disposable {
  readonly wires: Wires;
  readonly signer: Signer;
  /** All messages on iopub, for any frontend. */
  readonly heard: Envelope[] = [];
  /** Messages with a wrong signature. */
  invalid = 0;
  /** While this promise is pending, nothing is read. */
  reading: Promise<unknown> = Promise.resolve();
  onInput: ((envelope: Envelope) => void) | undefined;
  /** Rejects when the kernel sends unreadable bytes. */
  readonly #garbled = Promise.withResolvers<never>();
  readonly #waiting = new Map<string, Waiting>();

  private constructor(wires: Wires, signer: Signer) {
    this.wires = wires;
    this.signer = signer;
    this.#garbled.promise.catch(() => {}); // whoever waits for a reply is told
    this.#hear(wires.shell, (envelope) => this.#onReply(envelope));
    this.#hear(wires.control, (envelope) => this.#onReply(envelope));
    this.#hear(wires.iopub, (envelope) => this.#onOutput(envelope));
    this.#hear(wires.stdin, (envelope) => this.onInput?.(envelope));
  }

  static async connect(info: ConnectionInfo, signer: Signer, identity: string): Promise<Frontend> {
    const id = new TextEncoder().encode(identity);
    const open = async (channel: ChannelName) => ZmtpConnection.open(await dial(info, channel), kind(channel), id);
    const [iopub, shell, control, stdin] = await Promise.all([
      open("iopub"),
      open("shell"),
      open("control"),
      open("stdin"),
    ]);
    iopub.send(encodeMessage([Uint8Array.of(1)]));
    const frontend = new Frontend({ iopub, shell, control, stdin }, signer);
    await eventually("the kernel publishes to it", async () => {
      await frontend.request("shell", "kernel_info_request");
      return frontend.heard.length > 0;
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
    for (const wire of Object.values(this.wires)) wire[Symbol.dispose]();
  }

  async #ask(channel: "shell" | "control", type: string, content: unknown, idle: boolean): Promise<Execution> {
    const id = crypto.randomUUID();
    const ended = Promise.withResolvers<void>();
    const waiting: Waiting = {
      started: performance.now(),
      outputs: [],
      replyAt: NaN,
      idleAt: idle ? NaN : 0,
      reply: undefined,
      settle: () => waiting.reply && !Number.isNaN(waiting.idleAt) && ended.resolve(),
    };
    this.#waiting.set(id, waiting);
    this.wires[channel].send(this.signer.make(type, content, {}, id));
    await Promise.race([ended.promise, this.#garbled.promise]);
    const { outputs, replyAt, idleAt, reply } = waiting;
    return { outputs, replyAt, idleAt, reply: reply! };
  }

  async #hear(wire: ZmtpConnection, heed: (envelope: Envelope) => void): Promise<void> {
    try {
      for await (const message of wire.messages()) {
        await this.reading;
        const envelope = openMessage(message);
        if (envelope === undefined || !this.signer.verifies(envelope)) this.invalid++;
        else heed(envelope);
      }
    } catch (error) {
      this.#garbled.reject(error);
    }
  }

  #onReply(envelope: Envelope): void {
    const waiting = this.#waiting.get(envelope.parent.msg_id ?? "");
    if (waiting === undefined) return;
    waiting.replyAt = performance.now() - waiting.started;
    waiting.reply = contentOf(envelope);
    waiting.settle();
  }

  #onOutput(envelope: Envelope): void {
    this.heard.push(envelope);
    const waiting = this.#waiting.get(envelope.parent.msg_id ?? "");
    if (waiting === undefined) return;
    const type = envelope.header.msg_type ?? "";
    const content = contentOf(envelope);
    if (type !== "status") waiting.outputs.push({ type, content, late: waiting.idleAt > 0 });
    else if (content["execution_state"] === "idle") {
      waiting.idleAt = performance.now() - waiting.started;
      waiting.settle();
    }
  }
}

/** The content of an `execute_request`. */
export function executeContent(code: string, options: Record<string, unknown> = {}): Record<string, unknown> {
  const usual = { silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: true };
  return { code, ...usual, ...options };
}

function kind(channel: ChannelName): "SUB" | "DEALER" {
  return channel === "iopub" ? "SUB" : "DEALER";
}

async function dial({ ip, ports }: ConnectionInfo, channel: ChannelName): Promise<Deno.TcpConn> {
  let made: Deno.TcpConn | undefined;
  await eventually(`the kernel listens on ${channel}`, async () => {
    made = await Deno.connect({ hostname: ip, port: ports[channel] }).catch(() => undefined);
    return made !== undefined;
  });
  return made!;
}

import { type ChannelName, connectionFileText, loopbackInfo } from "./connection_file.ts";
import type { Envelope, Header, Signer } from "./message.ts";

/** The time between two tries to connect to a child that is starting. */
const RETRY_MS = 4;

/**
 * The stack size of the child's threads, in bytes. Deno's parser recurses on long sums and nested brackets, and a stack
 * overflow would end the process with all its variables. Only the part of the stack that is used takes memory.
 */
export const STACK = { variable: "RUST_MIN_STACK", bytes: String(256 << 20) };

/**
 * The signal that asks the child to report when all outputs of a cell have been sent. It takes a quarter of the time of an
 * internal cell. A process ignores this signal by default.
 */
export const FLUSH_SIGNAL = "SIGURG";

/** A `deno jupyter` process in its own process group, so that only this kernel sends it signals. */
export interface Child extends AsyncDisposable {
  pid: number;
  /** Resolves when the process has ended. */
  status: Promise<Deno.CommandStatus>;
  /**
   * Connects to a channel as soon as the child listens on it.
   *
   * @throws {Error} When the child has ended.
   */
  connect(channel: ChannelName): Promise<Deno.TcpConn>;
  /** Sends a signal to the child and to the processes that its cells started. */
  signal(name: Deno.Signal): void;
  /** The milliseconds of processor time that the child has used; `undefined` where the system does not give it. */
  processorTime(): number | undefined;
  /** Asks the child to report when all outputs are sent and it is not busy; `false` when a signal can't ask for it. */
  requestFlush(): boolean;
}

/** Options of {@linkcode startChild}. */
interface ChildOptions {
  /** The signature key. It is the key of this kernel, so that messages can be forwarded unchanged. */
  key: string;
  /** The path of the Deno program. */
  deno: string;
}

/** Starts `deno jupyter` on free ports. */
export async function startChild({ key, deno }: ChildOptions): Promise<Child> {
  const info = loopbackInfo(key);
  const file = await Deno.makeTempFile({ prefix: "lakebase-kernel-", suffix: ".json" });
  await Deno.writeTextFile(file, connectionFileText(info), { mode: 0o600 });
  let fileRemoved: Promise<void> | undefined;
  const removeFile = () => fileRemoved ??= Deno.remove(file).catch(() => {}); // the system cleans its temporary folder
  let process;
  try {
    process = spawn(deno, file);
  } catch (error) {
    await removeFile();
    throw new Error(`Cannot start the Deno kernel: ${(error as Error).message}`);
  }
  const watchdog = startWatchdog(process.pid);
  let ended = false;
  const status = process.status.then((status) => {
    ended = true;
    watchdog?.kill("SIGKILL"); // before another process can get this process ID
    watchdog?.stdin.close().catch(() => {}); // the watchdog was killed, so the pipe is broken
    return status;
  });
  const signal = (name: Deno.Signal) => {
    if (!ended || name === "SIGKILL") signalGroup(process.pid, name);
  };
  return {
    pid: process.pid,
    status,
    signal,
    processorTime: () => processorTime(process.pid),
    requestFlush: () => Deno.build.os !== "windows" && !ended && sendSignal(process.pid, FLUSH_SIGNAL),
    async connect(channel) {
      const conn = await connect(info.ip, info.ports[channel], () => ended);
      removeFile(); // the child has read it by now
      return conn;
    },
    async [Symbol.asyncDispose]() {
      signal("SIGKILL");
      await Promise.all([status, watchdog?.status, removeFile()]);
    },
  };
}

function signalGroup(pid: number, name: Deno.Signal): void {
  if (Deno.build.os !== "windows") sendSignal(-pid, name);
  // Windows has no process groups, and ends a process to which another one sends SIGINT.
  else if (name === "SIGKILL") sendSignal(pid, name);
}

/** Returns whether the process or group exists. */
function sendSignal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

/** `/proc` counts hundredths of a second on every Linux. */
const TICK_MS = 10;

function processorTime(pid: number): number | undefined {
  if (Deno.build.os !== "linux") return undefined;
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The second field, a name in parentheses, may have blanks. The times are the 14th and the 15th field.
    const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
    return (user! + system!) * TICK_MS;
  } catch {
    return undefined;
  }
}

function spawn(deno: string, connectionFile: string): Deno.ChildProcess {
  return new Deno.Command(deno, {
    args: ["jupyter", "--kernel", "--conn", connectionFile],
    env: { [STACK.variable]: Deno.env.get(STACK.variable) ?? STACK.bytes },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
    detached: true,
  }).spawn();
}

/**
 * Starts a shell that kills the child when this process ends for any reason, which closes the pipe to the shell. The child
 * can't watch the pipe itself while its thread is busy. Windows has no such shell.
 */
function startWatchdog(pid: number): Deno.ChildProcess | undefined {
  if (Deno.build.os === "windows") return undefined;
  return new Deno.Command("/bin/sh", {
    args: ["-c", 'read _; kill -9 "-$0"', String(pid)],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
    clearEnv: true,
    cwd: "/",
  }).spawn();
}

async function connect(hostname: string, port: number, ended: () => boolean): Promise<Deno.TcpConn> {
  while (!ended()) {
    try {
      return await Deno.connect({ hostname, port });
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  throw new Error("Cannot start the Deno kernel: it ended at once; its own message is above");
}

/** The answer to an internal request; `undefined` when its code failed. */
export type InternalAnswer = Record<string, unknown> | undefined;

/** Requests that this kernel sends to the child itself, invisible to frontends. */
export class InternalRequests {
  readonly #send: (message: Uint8Array) => void;
  readonly #signer: Signer;
  readonly #prefix = `internal-${crypto.randomUUID()}-`;
  readonly #waiting = new Map<number, (answer: InternalAnswer) => void>();
  #last = 0;

  /** @param send Sends a message on the child's shell channel. */
  constructor(signer: Signer, send: (message: Uint8Array) => void) {
    this.#signer = signer;
    this.#send = send;
  }

  /**
   * Runs code after all earlier requests.
   *
   * @param code Makes the code for a number. The code must answer with this number.
   */
  execute(code: (n: number) => string): Promise<InternalAnswer> {
    const n = ++this.#last;
    const content = {
      code: code(n),
      silent: true,
      store_history: false,
      user_expressions: {},
      allow_stdin: false,
      stop_on_error: false,
    };
    return this.#ask(n, "execute_request", content);
  }

  /** Requests the child's kernel info. */
  kernelInfo(): Promise<InternalAnswer> {
    return this.#ask(++this.#last, "kernel_info_request", {});
  }

  #ask(n: number, type: string, content: unknown): Promise<InternalAnswer> {
    return new Promise((resolve) => {
      this.#waiting.set(n, resolve);
      this.#send(this.#signer.make(type, content, {}, this.#prefix + n));
    });
  }

  /** Whether a message belongs to an internal request. */
  owns(parent: Header): boolean {
    return parent.msg_id?.startsWith(this.#prefix) ?? false;
  }

  /** Handles an answer that the code broadcast. */
  onBroadcast(content: Record<string, unknown>): void {
    this.#settle(content["n"], content);
  }

  /** Handles the child's reply. The reply to code has no answer, so it matters only when the code failed. */
  onReply(envelope: Envelope, content: Record<string, unknown>): void {
    const n = Number(envelope.parent.msg_id?.slice(this.#prefix.length));
    if (envelope.header.msg_type === "kernel_info_reply") this.#settle(n, content);
    else if (content["status"] !== "ok") this.#settle(n, undefined);
  }

  #settle(n: unknown, answer: InternalAnswer): void {
    if (typeof n !== "number") return;
    const resolve = this.#waiting.get(n);
    this.#waiting.delete(n);
    resolve?.(answer);
  }
}

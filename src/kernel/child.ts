import { type ChannelName, connectionFileText, loopbackInfo } from "./connection_file.ts";

const RETRY_MS = 4;

/**
 * Bytes of stack for each of its threads. Deno's parser needs much for long sums and nested brackets; without it, it ends
 * the process and all variables. Only what is used takes memory.
 */
export const STACK = { variable: "RUST_MIN_STACK", bytes: String(256 << 20) };

/**
 * Asks the child whether all outputs of a cell are sent. It takes a fourth of the time that a hidden cell takes, and by
 * default a process does not heed it.
 */
export const FLUSH_SIGNAL = "SIGURG";

/** A Deno kernel of our own, in a session of its own: no signal reaches it but through us. */
export interface Child extends AsyncDisposable {
  pid: number;
  /** Resolves when it has ended. */
  status: Promise<Deno.CommandStatus>;
  /**
   * Connects to one of its channels, as soon as it listens.
   *
   * @throws {Error} When it has ended.
   */
  connect(channel: ChannelName): Promise<Deno.TcpConn>;
  /** Sends a signal to it and to the processes that its cells started. */
  signal(name: Deno.Signal): void;
  /** Has it tell that all outputs are sent, when it is not busy; `false` where that can't be asked so. */
  requestFlush(): boolean;
}

/** How to start it. */
export interface ChildOptions {
  /** The key of its signatures; the same as ours, so that messages can be passed on as they are. */
  key: string;
  /** The program. */
  deno: string;
}

/** Starts `deno jupyter` on ports of its own. */
export async function startChild({ key, deno }: ChildOptions): Promise<Child> {
  const info = loopbackInfo(key);
  const file = await Deno.makeTempFile({ prefix: "lakebase-kernel-", suffix: ".json" });
  await Deno.writeTextFile(file, connectionFileText(info), { mode: 0o600 });
  let fileRemoved: Promise<void> | undefined;
  const removeFile = () => fileRemoved ??= Deno.remove(file).catch(() => {});
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
    watchdog?.kill("SIGKILL"); // before the process's number can be another's
    watchdog?.stdin.close().catch(() => {});
    return status;
  });
  const signal = (name: Deno.Signal) => {
    if (!ended || name === "SIGKILL") signalGroup(process.pid, name);
  };
  return {
    pid: process.pid,
    status,
    signal,
    requestFlush: () => Deno.build.os !== "windows" && !ended && sendSignal(process.pid, FLUSH_SIGNAL),
    async connect(channel) {
      const conn = await connect(info.ip, info.ports[channel], () => ended);
      removeFile(); // it has been read by now
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
  // Windows knows no groups, and no SIGINT for another process: it would end it.
  else if (name === "SIGKILL") sendSignal(pid, name);
}

/** Whether there was somebody to send it to. */
function sendSignal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch {
    return false;
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
 * Ends the child when this process is gone, however it went: its end of the pipe then closes. A shell can do that even
 * where the child's own thread is busy. Windows has no such shell.
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
  throw new Error("Cannot start the Deno kernel: it ended at once; what it said is above");
}

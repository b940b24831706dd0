/**
 * The kernel "Deno + SQL" for Jupyter, as Jupyter starts it: `deno run -A main.ts <connection file>`.
 *
 * @module
 */

import { type Child, startChild } from "./child.ts";
import { type ChannelName, CHANNELS, type ConnectionInfo, readConnectionFile } from "./connection_file.ts";
import { failure } from "./failure.ts";
import type { KernelProxy } from "./proxy.ts";

/** Options of {@linkcode runKernel}. */
interface KernelOptions {
  /** The path of the connection file that Jupyter wrote. */
  connectionFile: string;
  /** The Deno that runs the cells. @default {Deno.execPath()} */
  deno?: string;
  /** Seconds to wait for the kernel to start. @default {60} */
  timeout?: number;
}

/** Exit codes. A signal gives 128 plus its number. */
const EXIT = { ok: 0, failure: 1, usage: 2, hangup: 129, terminated: 143 } as const;
/** Time for frontends to read the last message before the connection closes. */
const LAST_MESSAGE_MS = 250;
/** The time between two checks that the parent process still runs. */
const PARENT_CHECK_MS = 1000;
/** The client's main module. */
const CLIENT = new URL("../../mod.ts", import.meta.url).href;

/**
 * Runs a kernel until a frontend shuts it down, a signal ends it, or its Deno process dies.
 *
 * @param options The connection file and the Deno to start.
 * @returns The exit code: 0 after a shutdown, 1 when the Deno process died, 129 or 143 after a signal.
 * @throws {Error} When the kernel can't start; the message says why.
 */
export async function runKernel(options: KernelOptions): Promise<number> {
  const { connectionFile, deno = Deno.execPath(), timeout = 60 } = options;
  const info = await readConnectionFile(connectionFile);
  using stack = new DisposableStack();
  const listeners = CHANNELS.map((channel) => [channel, stack.adopt(listen(info, channel), close)] as const);
  const signals = listenForSignals(stack);
  await using child = await startChild({ key: info.key, deno });
  const connecting = connect(child, info.key);
  // `connecting` may settle after the race below, which reports its failure.
  connecting.then((proxy) => stack.disposed ? proxy.close() : stack.defer(() => proxy.close()), () => {});
  const timedOut = rejectAfter(timeout, stack);
  const proxy = await Promise.race([connecting, signals.end, timedOut]);
  if (typeof proxy === "number") return proxy;
  signals.onStop = () => void proxy.interrupt();
  for (const [channel, listener] of listeners) accept(proxy, channel, listener);
  const stopped = await Promise.race([proxy.prepare(), signals.end, timedOut]);
  if (typeof stopped === "number") return stopped;
  const end = await Promise.race([child.status, signals.end]);
  if (typeof end === "number") return end;
  if (proxy.shuttingDown) return EXIT.ok;
  await reportExit(proxy, end);
  return EXIT.failure;
}

/** Connects to the child. The modules load while the child starts, because loading takes as long as starting. */
async function connect(child: Child, key: string): Promise<KernelProxy> {
  const [{ KernelProxy }, { Signer }, { codeForChild }, { ConnectionNames }] = await Promise.all([
    import("./proxy.ts"),
    import("./message.ts"),
    import("./magic.ts"),
    import("./catalog.ts"),
  ]);
  const names = new ConnectionNames();
  const rewrite = (source: string) => {
    names.addFrom(source);
    return codeForChild(source, CLIENT);
  };
  return await KernelProxy.connect({
    child,
    signer: new Signer(key),
    client: CLIENT,
    rewrite,
    connections: () => names.all,
    warn,
  });
}

async function reportExit(proxy: KernelProxy, { signal, code }: Deno.CommandStatus): Promise<void> {
  const how = signal ? `by ${signal}` : `with code ${code}`;
  warn(`the Deno process ended ${how}`);
  await proxy.end(failure("KernelDied", `The Deno process of this notebook ended ${how}; its variables are lost`));
  await new Promise((resolve) => setTimeout(resolve, LAST_MESSAGE_MS));
}

interface Signals {
  /** Called on SIGINT, which means Stop. */
  onStop: () => void;
  /** Resolves with an exit code when a signal asks the kernel to end. */
  end: Promise<number>;
}

function listenForSignals(stack: DisposableStack): Signals {
  const { promise, resolve } = Promise.withResolvers<number>();
  const signals: Signals = { onStop: () => {}, end: promise };
  const listenFor = (name: Deno.Signal, listener: () => void) => {
    Deno.addSignalListener(name, listener);
    stack.defer(() => Deno.removeSignalListener(name, listener));
  };
  listenFor("SIGINT", () => signals.onStop());
  if (Deno.build.os !== "windows") {
    listenFor("SIGTERM", () => resolve(EXIT.terminated));
    listenFor("SIGHUP", () => resolve(EXIT.hangup));
    watchParent(() => resolve(EXIT.hangup), stack);
  }
  return signals;
}

/**
 * Ends the kernel when Jupyter is killed, since nothing else would end it. Jupyter sets `JPY_PARENT_PID` for its kernels. If
 * Jupyter is process 1, an orphaned kernel has the same parent as before, so it can't be recognized.
 */
function watchParent(onGone: () => void, stack: DisposableStack): void {
  if (!(Number(Deno.env.get("JPY_PARENT_PID")) > 1)) return;
  const parent = Deno.ppid;
  const timer = setInterval(() => {
    if (Deno.ppid === 1 || Deno.ppid !== parent) onGone();
  }, PARENT_CHECK_MS);
  Deno.unrefTimer(timer);
  stack.defer(() => clearInterval(timer));
}

/** Rejects if the Deno kernel has not started after `seconds`. */
function rejectAfter(seconds: number, stack: DisposableStack): Promise<never> {
  return new Promise((_, reject) => {
    const error = new Error(`Cannot start the Deno kernel: it has not answered for ${seconds} s`);
    stack.adopt(setTimeout(() => reject(error), seconds * 1000), clearTimeout);
  });
}

function listen({ ip, ports }: ConnectionInfo, channel: ChannelName): Deno.TcpListener {
  const port = ports[channel];
  try {
    return Deno.listen({ hostname: ip, port });
  } catch (error) {
    const state = error instanceof Deno.errors.AddrInUse ? "another program uses it" : (error as Error).message;
    throw new Error(`Cannot listen on port ${port} of ${ip} (${channel}): ${state}`);
  }
}

async function accept(proxy: KernelProxy, channel: ChannelName, listener: Deno.TcpListener): Promise<void> {
  for await (const conn of listener) {
    proxy.serve(channel, conn).catch((error) =>
      warn(`closed the connection of a frontend (${channel}): ${error.message}`)
    );
  }
}

function close(listener: Deno.TcpListener): void {
  listener.close();
}

function warn(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`lakebase kernel: ${text}\n`));
}

if (import.meta.main) {
  const [connectionFile, ...more] = Deno.args;
  if (connectionFile === undefined || more.length > 0) {
    warn("expected one argument: the path of the connection file that Jupyter wrote");
    Deno.exit(EXIT.usage);
  }
  let code;
  try {
    code = await runKernel({ connectionFile });
  } catch (error) {
    warn((error as Error).message);
    code = EXIT.failure;
  }
  Deno.exit(code);
}

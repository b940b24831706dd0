/**
 * The kernel "Deno + SQL" for Jupyter, as Jupyter starts it: `deno run -A main.ts <connection file>`.
 *
 * @module
 */

import { type Child, startChild } from "./child.ts";
import { type ChannelName, CHANNELS, type ConnectionInfo, readConnectionFile } from "./connection_file.ts";
import { failure } from "./failure.ts";
import type { KernelProxy } from "./proxy.ts";

/** What a kernel is started with. */
export interface KernelOptions {
  /** The path of the file in which Jupyter wrote down where to listen. */
  connectionFile: string;
  /** The Deno that runs the cells. @default {Deno.execPath()} */
  deno?: string;
  /** Seconds that it may take to start. @default {60} */
  timeout?: number;
}

/** Exit codes: an orderly end, a failure, wrong usage; 128 and more for a signal. */
const EXIT = { ok: 0, failure: 1, usage: 2, hangup: 129, terminated: 143 } as const;
/** For frontends to read why the kernel ended, before they see that it did. */
const LAST_MESSAGE_MS = 250;
/** How often this looks whether who started it is still there. */
const PARENT_CHECK_MS = 1000;
/** Above the modules of this kernel. */
const CLIENT = new URL("../../mod.ts", import.meta.url).href;

/**
 * Runs a kernel until a frontend shuts it down, a signal ends it, or its Deno process dies.
 *
 * @param options Where the frontends are.
 * @returns The exit code: 0 after a shutdown, 1 when the Deno process died, 129 or 143 after a signal.
 * @throws {Error} When it can't start; the message tells the person why.
 */
export async function runKernel(options: KernelOptions): Promise<number> {
  const { connectionFile, deno = Deno.execPath(), timeout = 60 } = options;
  const info = await readConnectionFile(connectionFile);
  using stack = new DisposableStack();
  const listeners = CHANNELS.map((channel) => [channel, stack.adopt(listen(info, channel), close)] as const);
  const signals = listenForSignals(stack);
  await using child = await startChild({ key: info.key, deno });
  const connecting = connect(child, info.key);
  connecting.then((proxy) => stack.disposed ? proxy.close() : stack.defer(() => proxy.close()), () => {});
  const timedOut = rejectAfter(timeout, stack);
  const proxy = await Promise.race([connecting, signals.end, timedOut]);
  if (typeof proxy === "number") return proxy;
  signals.onStop = () => void proxy.interrupt();
  for (const [channel, listener] of listeners) accept(proxy, channel, listener);
  const stopped = await Promise.race([proxy.prepare(), signals.end, timedOut]);
  if (typeof stopped === "number") return stopped;
  const ended = await Promise.race([child.status, signals.end]);
  if (typeof ended === "number") return ended;
  if (proxy.shuttingDown) return EXIT.ok;
  await reportDeath(proxy, ended);
  return EXIT.failure;
}

/** Its modules take as long to load as the child takes to start. */
async function connect(child: Child, key: string): Promise<KernelProxy> {
  const [{ KernelProxy }, { Signer }, { codeForChild }, { ConnectionNames }] = await Promise.all([
    import("./proxy.ts"),
    import("./message.ts"),
    import("./rewrite.ts"),
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

async function reportDeath(proxy: KernelProxy, { signal, code }: Deno.CommandStatus): Promise<void> {
  const how = signal ? `by ${signal}` : `with code ${code}`;
  warn(`the Deno process ended ${how}`);
  await proxy.end(failure("KernelDied", `The Deno process of this notebook ended ${how}; its variables are lost`));
  await new Promise((resolve) => setTimeout(resolve, LAST_MESSAGE_MS));
}

interface Signals {
  /** Called for SIGINT, which is Stop. */
  onStop: () => void;
  /** Resolves, with an exit code, when a signal asks for the end. */
  end: Promise<number>;
}

function listenForSignals(stack: DisposableStack): Signals {
  const { promise, resolve } = Promise.withResolvers<number>();
  const signals: Signals = { onStop: () => {}, end: promise };
  const heed = (name: Deno.Signal, heeded: () => void) => {
    Deno.addSignalListener(name, heeded);
    stack.defer(() => Deno.removeSignalListener(name, heeded));
  };
  heed("SIGINT", () => signals.onStop());
  if (Deno.build.os !== "windows") {
    heed("SIGTERM", () => resolve(EXIT.terminated));
    heed("SIGHUP", () => resolve(EXIT.hangup));
    watchParent(() => resolve(EXIT.hangup), stack);
  }
  return signals;
}

/**
 * Jupyter names itself to its kernels, which are to end with it: when it dies hard, nobody is left to tell them. Where it
 * is the first process, a kernel that lost its parent looks like one that has it.
 */
function watchParent(gone: () => void, stack: DisposableStack): void {
  if (!(Number(Deno.env.get("JPY_PARENT_PID")) > 1)) return;
  const parent = Deno.ppid;
  const timer = setInterval(() => {
    if (Deno.ppid === 1 || Deno.ppid !== parent) gone();
  }, PARENT_CHECK_MS);
  Deno.unrefTimer(timer);
  stack.defer(() => clearInterval(timer));
}

/** Rejects when the Deno kernel takes too long to start. */
function rejectAfter(seconds: number, stack: DisposableStack): Promise<never> {
  return new Promise((_, reject) => {
    const error = new Error(`Cannot start the Deno kernel: it does not answer after ${seconds} s`);
    stack.adopt(setTimeout(() => reject(error), seconds * 1000), clearTimeout);
  });
}

function listen({ ip, ports }: ConnectionInfo, channel: ChannelName): Deno.TcpListener {
  const port = ports[channel];
  try {
    return Deno.listen({ hostname: ip, port });
  } catch (error) {
    const state = error instanceof Deno.errors.AddrInUse ? "it is taken" : (error as Error).message;
    throw new Error(`Cannot listen on port ${port} of ${ip} (${channel}): ${state}`);
  }
}

async function accept(proxy: KernelProxy, channel: ChannelName, listener: Deno.TcpListener): Promise<void> {
  for await (const conn of listener) {
    proxy.serve(channel, conn).catch((error) => warn(`hung up on a frontend (${channel}): ${error.message}`));
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
    warn("wanted is one argument, the connection file that Jupyter wrote");
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

import type { Account } from "./account.ts";
import { ignoreNotFound } from "./files.ts";

export interface ServerCommand {
  command: string;
  args: string[];
  /** The file that its output goes to. */
  log: string;
  cwd: string;
  env?: Record<string, string>;
  account?: Account;
}

/** A server started by a test, and ended by it. */
export class ServerProcess {
  readonly #child: Deno.ChildProcess;
  readonly #log: string;
  #running = true;

  private constructor(child: Deno.ChildProcess, log: string) {
    this.#child = child;
    this.#log = log;
    child.status.then(() => this.#running = false);
  }

  /** A shell sends the output to the log, so that no read of a pipe is left pending in the test. */
  static async start({ command, args, log, cwd, env = {}, account = {} }: ServerCommand): Promise<ServerProcess> {
    // What an earlier run logged would look like this one being ready.
    await Deno.remove(log).catch(ignoreNotFound);
    const child = new Deno.Command("sh", {
      args: ["-c", 'exec "$@" >"$0" 2>&1', log, command, ...args],
      cwd,
      env,
      ...account,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    return new ServerProcess(child, log);
  }

  /** What it has written so far. */
  async log(): Promise<string> {
    return await Deno.readTextFile(this.#log).catch(() => "");
  }

  /** Waits until `probe` says yes; false when the server ended first or took longer than `patience` milliseconds. */
  async ready(probe: () => Promise<boolean>, patience = 60_000): Promise<boolean> {
    const deadline = Date.now() + patience;
    while (this.#running && Date.now() < deadline) {
      if (await probe()) return true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return false;
  }

  /** Sends a signal and waits for the end; one that hasn't ended after `patience` milliseconds is killed. */
  async end(signal: Deno.Signal, patience = 20_000): Promise<void> {
    if (!this.#running) return;
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), patience);
    try {
      await this.#child.status;
    } finally {
      clearTimeout(timer);
    }
  }
}

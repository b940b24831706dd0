import { ignoreNotFound } from "./files.ts";

/** A user of this machine, as options of `Deno.Command`. */
export interface Account {
  uid?: number;
  gid?: number;
}

/** The account for a server that refuses to run as root; empty if this process is not root. */
export function unprivilegedAccount(): Account {
  if (Deno.uid() !== 0) return {};
  const accounts = Deno.readTextFileSync("/etc/passwd").split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((fields) => fields[0] === name);
    if (account) return { uid: Number(account[2]), gid: Number(account[3]) };
  }
  throw new Error("running as root, and there is no account postgres or nobody to run the server as");
}

export interface ServerCommand {
  command: string;
  args: string[];
  /** The file for the output. */
  log: string;
  cwd: string;
  env?: Record<string, string>;
  account?: Account;
}

/** A server that a test starts and ends. */
export class ServerProcess {
  readonly #child: Deno.ChildProcess;
  readonly #log: string;
  #running = true;

  private constructor(child: Deno.ChildProcess, log: string) {
    this.#child = child;
    this.#log = log;
    child.status.then(() => this.#running = false);
  }

  /** A shell sends the output to the log, so that no read of a pipe stays pending in the test. */
  static async start({ command, args, log, cwd, env = {}, account = {} }: ServerCommand): Promise<ServerProcess> {
    // The log of an earlier run would look as if this server were ready.
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

  /** The output so far. */
  async log(): Promise<string> {
    return await Deno.readTextFile(this.#log).catch(() => "");
  }

  /**
   * Waits until `probe` returns true. Returns false if the server ended first or took longer than `limit`
   * milliseconds.
   */
  async ready(probe: () => Promise<boolean>, limit = 60_000): Promise<boolean> {
    const deadline = Date.now() + limit;
    while (this.#running && Date.now() < deadline) {
      if (await probe()) return true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return false;
  }

  /** Sends a signal and waits for the end. Kills a server that has not ended after `limit` milliseconds. */
  async end(signal: Deno.Signal, limit = 60_000): Promise<void> {
    if (!this.#running) return;
    this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), limit);
    try {
      await this.#child.status;
    } finally {
      clearTimeout(timer);
    }
  }
}

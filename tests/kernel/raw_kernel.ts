import { connectionFileText, type ConnectionInfo, loopbackInfo } from "../../src/kernel/connection_file.ts";
import { kernelSpec } from "../../src/kernel/install.ts";
import { Signer } from "../../src/kernel/message.ts";
import { Frontend } from "./frontend.ts";

/** The command of this module's kernel. The connection file follows as the last argument. */
export const OURS: readonly string[] = kernelSpec({
  deno: Deno.execPath(),
  main: new URL("../../src/kernel/main.ts", import.meta.url).href,
  displayName: "",
}).argv.slice(0, -1);

/** The command of Deno's own kernel. */
export const STOCK: readonly string[] = [Deno.execPath(), "jupyter", "--kernel", "--conn"];

export interface RawKernelOptions {
  command?: readonly string[];
  cwd?: string;
  env?: Record<string, string>;
  /** The connection info of the kernel; free ports by default. */
  info?: ConnectionInfo;
}

/** A kernel's process that a test speaks to without a Jupyter library. */
export class RawKernel implements AsyncDisposable {
  readonly info: ConnectionInfo;
  readonly process: Deno.ChildProcess;
  readonly signer: Signer;
  readonly #folder: string;

  private constructor(info: ConnectionInfo, process: Deno.ChildProcess, folder: string) {
    this.info = info;
    this.process = process;
    this.signer = new Signer(info.key);
    this.#folder = folder;
  }

  static async start(options: RawKernelOptions = {}): Promise<RawKernel> {
    const { command = OURS, cwd, env = {}, info = loopbackInfo(crypto.randomUUID()) } = options;
    const folder = await Deno.makeTempDir({ prefix: "lakebase-raw-" });
    await Deno.writeTextFile(`${folder}/connection.json`, connectionFileText(info));
    const [program, ...args] = command;
    // A shell sends standard error to a file, so that no read of a pipe stays pending in the test.
    const process = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" 2>"$0"', `${folder}/stderr`, program!, ...args, `${folder}/connection.json`],
      cwd: cwd ?? folder,
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    return new RawKernel(info, process, folder);
  }

  /** The text that the kernel has written to stderr so far. */
  get stderr(): string {
    return Deno.readTextFileSync(`${this.#folder}/stderr`);
  }

  /** Connects all channels, as a frontend does, and waits until the kernel answers. */
  async frontend(identity: string = crypto.randomUUID()): Promise<Frontend> {
    const ended = this.process.status.then(({ code }) => {
      throw new Error(`the kernel ended with code ${code}: ${this.stderr}`);
    });
    return await Promise.race([Frontend.connect(this.info, this.signer, identity), ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.process.kill("SIGTERM");
    } catch { /* it has ended */ }
    await this.process.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

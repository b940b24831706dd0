/**
 * A process that reads a JSON request from each line of its standard input, and writes the answer as a line of standard
 * output. It handles one request after the other.
 */
export class LineServer {
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<Uint8Array>;
  readonly #requests: WritableStreamDefaultWriter<Uint8Array>;
  #last: Promise<unknown> = Promise.resolve();

  /** Starts the process. `name` is its name in errors. */
  constructor(name: string, command: string, options: Deno.CommandOptions) {
    this.#name = name;
    this.#child = new Deno.Command(command, { ...options, stdin: "piped", stdout: "piped" }).spawn();
    this.#lines = this.#child.stdout.getReader();
    this.#requests = this.#child.stdin.getWriter();
  }

  ask<Answer>(request: unknown): Promise<Answer> {
    const asked = this.#last.then(() => this.#exchange<Answer>(request));
    this.#last = asked.catch(() => {});
    return asked;
  }

  async close(): Promise<void> {
    await this.#requests.close();
    await this.#lines.cancel();
    await this.#child.status;
  }

  async #exchange<Answer>(request: unknown): Promise<Answer> {
    await this.#requests.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    const decoder = new TextDecoder();
    let line = "";
    while (!line.endsWith("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`${this.#name} has ended`);
      line += decoder.decode(value, { stream: true });
    }
    const { answer, failure } = JSON.parse(line);
    if (failure !== undefined) throw new Error(`${this.#name} failed:\n${failure}`);
    return answer;
  }
}

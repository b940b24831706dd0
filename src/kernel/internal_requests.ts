import type { Envelope, Header, Signer } from "./message.ts";

/** What code in the child answered with, or `undefined` where it failed. */
export type InternalAnswer = Record<string, unknown> | undefined;

/** Code that this kernel runs in the child on its own account, unseen by any frontend. */
export class InternalRequests {
  readonly #send: (message: Uint8Array) => void;
  readonly #signer: Signer;
  readonly #prefix = `hidden-${crypto.randomUUID()}-`;
  readonly #waiting = new Map<number, (answer: InternalAnswer) => void>();
  #last = 0;

  /** @param send Sends to the child's shell. */
  constructor(signer: Signer, send: (message: Uint8Array) => void) {
    this.#signer = signer;
    this.#send = send;
  }

  /**
   * Runs code, behind all that the child was asked before.
   *
   * @param code Makes the code, which has to answer with the number that it is given.
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

  /** What the child says of itself. */
  kernelInfo(): Promise<InternalAnswer> {
    return this.#ask(++this.#last, "kernel_info_request", {});
  }

  #ask(n: number, type: string, content: unknown): Promise<InternalAnswer> {
    return new Promise((resolve) => {
      this.#waiting.set(n, resolve);
      this.#send(this.#signer.make(type, content, {}, this.#prefix + n));
    });
  }

  /** Whether a message belongs to such a request. */
  owns(parent: Header): boolean {
    return parent.msg_id?.startsWith(this.#prefix) ?? false;
  }

  /** The answer, as the code broadcast it. */
  onBroadcast(content: Record<string, unknown>): void {
    this.#settle(content["n"], content);
  }

  /** The child's own reply, which to code matters only where it failed. */
  onReply(envelope: Envelope, content: Record<string, unknown>): void {
    const n = Number(envelope.parent.msg_id?.slice(this.#prefix.length));
    if (envelope.header.msg_type === "kernel_info_reply") this.#settle(n, content);
    else if (content["status"] !== "ok") this.#settle(n, undefined);
  }

  /** Waits for no answer any more. */
  giveUp(): void {
    for (const n of [...this.#waiting.keys()]) this.#settle(n, undefined);
  }

  #settle(n: unknown, answer: InternalAnswer): void {
    if (typeof n !== "number") return;
    const resolve = this.#waiting.get(n);
    this.#waiting.delete(n);
    resolve?.(answer);
  }
}

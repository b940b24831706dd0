import type { Envelope, Header, Signer } from "./message.ts";

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

  /** Handles the child's reply. A reply to code has no answer: it matters only when the code failed. */
  onReply(envelope: Envelope, content: Record<string, unknown>): void {
    const n = Number(envelope.parent.msg_id?.slice(this.#prefix.length));
    if (envelope.header.msg_type === "kernel_info_reply") this.#settle(n, content);
    else if (content["status"] !== "ok") this.#settle(n, undefined);
  }

  /** Resolves all pending requests without an answer. */
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

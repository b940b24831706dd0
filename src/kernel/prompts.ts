import type { Signer } from "./message.ts";
import type { Wire } from "./wire.ts";

/** How long a frontend that has just come may take to connect its stdin. */
const JOIN_MS = 100;
/** Bytes of an answer to a prompt. */
const MOST_ANSWER_BYTES = 1 << 24;

/** The stdin channel: the child's `prompt()` goes to the frontend whose cell runs, and its answer back. */
export class Prompts {
  readonly #frontends = new Set<Wire>();
  readonly #signer: Signer;
  readonly #answer: (message: Uint8Array) => void;
  /** Those that have been asked and may answer. */
  #asked: Set<Wire> | undefined;

  /** @param answer Sends to the child. */
  constructor(signer: Signer, answer: (message: Uint8Array) => void) {
    this.#signer = signer;
    this.#answer = answer;
  }

  /** Serves one frontend until it hangs up. */
  async serve(wire: Wire): Promise<void> {
    this.#frontends.add(wire);
    try {
      for await (const { raw, command } of wire.messages(MOST_ANSWER_BYTES)) {
        if (command) continue;
        this.#asked = undefined;
        this.#answer(raw);
      }
    } finally {
      this.#frontends.delete(wire);
      this.#asked?.delete(wire);
      if (this.#asked?.size === 0) this.cancel();
    }
  }

  /** Passes a prompt on to the frontend of that identity, or to all where it isn't known. */
  async ask(prompt: Uint8Array, identity: string): Promise<void> {
    if (this.#frontends.size === 0) await new Promise((resolve) => setTimeout(resolve, JOIN_MS));
    const own = [...this.#frontends].filter((wire) => identity !== "" && wire.identity === identity);
    this.#asked = new Set(own.length > 0 ? own : this.#frontends);
    for (const wire of this.#asked) wire.send(prompt);
    if (this.#asked.size === 0) this.cancel();
  }

  /** Answers a prompt with nothing: `prompt()` then returns `null`. The child waits for it with its thread. */
  cancel(): void {
    if (this.#asked === undefined) return;
    this.#asked = undefined;
    this.#answer(this.#signer.make("input_reply", { value: null }));
  }
}

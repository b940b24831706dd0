import type { Statement } from "./fragment.ts";
import { sendOpening } from "./opening.ts";
import { Result } from "./result.ts";
import { Exchange, type Reading, type Wire } from "./wire.ts";

/** How much of a statement is run. */
export interface ExecutionOptions extends Reading {
  /** Refuses several statements in one before any of them runs. */
  single?: boolean | undefined;
}

/** A statement that is run in one exchange. */
export class Execution extends Exchange {
  readonly #statement: Statement;
  readonly #simple: boolean;

  /** Made of a statement; `pg` submits it. */
  constructor(statement: Statement, options: ExecutionOptions) {
    super(options);
    this.#statement = statement;
    this.#simple = statement.values.length === 0 && !options.single;
  }

  /** What runs. */
  get text(): string {
    return this.#statement.text;
  }

  protected override gather(): unknown[] {
    return new Result();
  }

  protected override send(wire: Wire): void {
    const { text, values, prefix = "" } = this.#statement;
    if (this.#simple) return wire.query(prefix + text);
    sendOpening(wire, { text: prefix + text, values, rows: 0, last: "sync" });
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (!this.#simple) this.wire.sync(); // the server has passed over the first one, as it does while it copies in
  }
}

import type { Statement } from "./fragment.ts";
import { sendOpening } from "./opening.ts";
import { Result } from "./result.ts";
import { Exchange, type Reading, type Wire } from "./wire.ts";

/** How much of a statement is run. */
export interface ExecutionOptions extends Reading {
  /** Rows at most, in one round trip: `Sync` behind `Execute` ends the portal, so the rest is neither computed nor sent. */
  limit?: number | undefined;
  /** Refuses several statements in one before any of them runs. */
  single?: boolean | undefined;
}

/** A statement that is run in one exchange. */
export class Execution extends Exchange {
  readonly #statement: Statement;
  readonly #options: ExecutionOptions;
  readonly #simple: boolean;
  #parsed = false;
  #onParsed: (() => void) | undefined;

  /** Made of a statement; `pg` submits it. */
  constructor(statement: Statement, options: ExecutionOptions) {
    super(options);
    this.#statement = statement;
    this.#options = options;
    this.#simple = statement.values.length === 0 && options.limit === undefined && !options.single;
  }

  /** What runs. */
  get text(): string {
    return this.#statement.text;
  }

  /** Whether it failed before any of it ran, and might be several statements, which the extended protocol refuses. */
  mayBeSeveral(error: unknown): boolean {
    const { code } = (error ?? {}) as { code?: unknown };
    return code === "42601" && !this.#parsed && this.#maybeSeveral;
  }

  get #maybeSeveral(): boolean {
    const { limit, single } = this.#options;
    return limit !== undefined && !single && this.#statement.values.length === 0;
  }

  protected override gather(): unknown[] {
    return new Result();
  }

  protected override send(wire: Wire): void {
    const { text, values, prefix = "" } = this.#statement;
    if (this.#simple) return wire.query(prefix + text);
    if (this.#maybeSeveral) wire.once("parseComplete", this.#onParsed = () => this.#parsed = true);
    sendOpening(wire, { text: prefix + text, values, rows: this.#options.limit ?? 0, last: "sync" });
  }

  protected override finish(): void {
    if (this.#onParsed !== undefined) this.wire.removeListener("parseComplete", this.#onParsed);
    super.finish();
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (!this.#simple) this.wire.sync(); // the server has passed over the first one, as it does while it copies in
  }
}

import type { Statement } from "./fragment.ts";
import { sendOpening } from "./opening.ts";
import { Exchange, type Reading, type Wire } from "./wire.ts";

/** How a portal is read. */
export interface PortalOptions extends Reading {
  /**
   * Whether a transaction holds it open: then every batch is an exchange of its own, and other statements may run in
   * between. Else the exchange goes on until the last batch.
   */
  held: boolean;
}

let lastPortal = 0;

/** A statement whose rows are read in batches. */
export class Portal extends Exchange {
  readonly #statement: Statement;
  readonly #held: boolean;
  readonly #name: string;
  #state: "new" | "open" | "closing" | "closed" = "new";
  #rows = 1;

  /** Made of a statement; `pg` submits it. */
  constructor(statement: Statement, options: PortalOptions) {
    super(options);
    this.#statement = statement;
    this.#held = options.held;
    this.#name = options.held ? `lakebase_${++lastPortal}` : "";
  }

  /** What runs. */
  get text(): string {
    return this.#statement.text;
  }

  /** Whether it must still be closed. */
  get open(): boolean {
    return this.#state === "open";
  }

  /**
   * Prepares the next batch. What is returned says whether it must be submitted; else it is under way.
   *
   * @param rows Rows at most.
   */
  next(rows: number): boolean {
    this.renew();
    this.#rows = rows;
    this.rows = [];
    this.bytes = 0;
    if (this.lost) return false;
    if (this.#state === "new" || this.#held) return true;
    this.#execute(this.wire);
    return false;
  }

  /** Prepares its end; as {@linkcode next}. */
  close(): boolean {
    this.renew();
    this.#state = "closing";
    if (this.lost) return false;
    if (this.#held) return true;
    this.#sendClose(this.wire);
    return false;
  }

  protected override get owesSync(): boolean {
    return !this.#held && this.#state === "open";
  }

  protected override send(wire: Wire): void {
    if (this.#state === "closing") return this.#sendClose(wire);
    if (this.#state !== "new") return this.#execute(wire);
    const { text, values } = this.#statement;
    sendOpening(wire, { text, values, portal: this.#name, rows: this.#rows, last: this.#held ? "sync" : "flush" });
    this.#state = "open";
  }

  override handlePortalSuspended(): void {
    super.handlePortalSuspended();
    if (!this.#held) this.pause();
  }

  override handleCommandComplete(message: { text: string }): void {
    super.handleCommandComplete(message);
    this.#complete();
  }

  override handleEmptyQuery(): void {
    this.#complete();
  }

  override handleCopyInResponse(): void {
    super.handleCopyInResponse();
    if (this.#held) this.wire.sync(); // the server has passed over the first one, as it does while it copies in
  }

  override handleError(error: unknown, wire?: Wire): void {
    super.handleError(error, wire);
    this.#state = "closed";
  }

  #complete(): void {
    if (!this.#held && this.#state !== "closing") this.wire.sync();
    this.#state = "closed";
  }

  #execute(wire: Wire): void {
    wire.execute({ portal: this.#name, rows: this.#rows });
    if (this.#held) wire.sync();
    else wire.flush();
  }

  #sendClose(wire: Wire): void {
    wire.close({ type: "P", name: this.#name });
    wire.sync();
  }
}

import { Exchange, type ReadOptions, type Wire } from "./exchange.ts";
import { type Opening, sendClose, sendOpening, sendOpenings } from "./execution.ts";
import type { Statement } from "./fragment.ts";
import type { WireRow } from "./result.ts";
import { EXPLAIN, isExplainable, SideEffects } from "./side_effects.ts";

/** The most bytes of rows that are kept when a statement has to run to its end. */
const MAX_KEPT_BYTES = 4_000_000;

/** The most characters of a statement with its values that are sent twice to save a round trip. */
const MAX_SENT_TWICE = 10_000;

/** How much of a statement a drawing shows. */
interface FirstRowsOptions extends ReadOptions {
  /** The number of rows that are shown. */
  rows: number;
  /** Whether the statement had no more rows than `rows` the last time. Then it runs to its end in one round trip. */
  whole: boolean;
}

let lastPortal = 0;

/**
 * Reads the first rows of a statement whose text only reads. A function that the statement calls may still write, lock or
 * end a session, and the effects of a statement must not depend on the number of rows that are shown. So the server stops
 * after one row more than is shown, and is asked, in the same transaction, for the statement's side effects. If there are
 * none, the statement ends there; otherwise it runs to its end, once, as in psql.
 *
 * A statement that reads a table probably has more rows, so the request for its plan goes before it in the same write.
 */
export class FirstRows extends Exchange {
  /** The number of rows that have arrived so far, kept or not. */
  count = 0;
  /** Whether the statement ran to its end. */
  complete = false;
  readonly #statement: Statement;
  readonly #rows: number;
  readonly #whole: boolean;
  readonly #portal: string;
  readonly #sideEffects: SideEffects;
  /**
   * Whether the messages of the server belong to the statement or to the questions about its side effects. A statement is
   * "ending" once its end was sent; rows of it may still arrive.
   */
  #phase: "running" | "asking" | "ending" = "running";
  #isSuspended = false;

  /** Creates an exchange for one statement; `pg` submits it. */
  constructor(statement: Statement, options: FirstRowsOptions) {
    super(options);
    this.#statement = statement;
    this.#rows = options.rows;
    this.#whole = options.whole;
    this.#portal = options.whole ? "" : `lakebase_first_${++lastPortal}`;
    this.#sideEffects = new SideEffects(statement);
  }

  /** The text of the statement. */
  get text(): string {
    return this.#statement.text;
  }

  protected override get owesSync(): boolean {
    return !this.#whole && this.#phase !== "ending";
  }

  protected override send(wire: Wire): void {
    const { text, values } = this.#statement;
    const portal = this.#portal;
    if (this.#whole) return sendOpening(wire, { text, values, portal, rows: 0, last: "sync" });
    const first: Opening = { text, values, portal, rows: this.#rows + 1, last: "flush" }; // one more tells whether there are more
    if (!this.#asksFirst()) return sendOpening(wire, first);
    this.#phase = "asking";
    sendOpenings(wire, [...flushed(this.#sideEffects.firstQuestions()), first]);
  }

  /** Whether the questions go before the statement. */
  #asksFirst(): boolean {
    const { text, values } = this.#statement;
    const size = values.reduce((sum, value) => sum + (value?.length ?? 0), text.length);
    return this.#rows > 1 && size <= MAX_SENT_TWICE && isExplainable(text) && /\bfrom\b|^\s*table\b/i.test(text);
  }

  override handleRowDescription(message: Parameters<Exchange["handleRowDescription"]>[0]): void {
    if (this.#phase !== "asking") super.handleRowDescription(message);
  }

  override handleDataRow(message: { fields: WireRow; length: number }): void {
    if (this.#phase === "asking") return this.#sideEffects.addRow(message.fields);
    this.count++;
    if (this.bytes <= MAX_KEPT_BYTES) super.handleDataRow(message);
    else if (this.rows.length > this.#rows) this.rows.length = this.#rows;
  }

  override handlePortalSuspended(): void {
    this.#isSuspended = true;
    this.more = true;
    if (this.#phase === "ending") return;
    if (this.#sideEffects.isAnswered) this.#decide();
    else if (isExplainable(this.text)) this.#ask(this.#sideEffects.firstQuestions());
    else this.#runToEnd(); // SHOW and EXPLAIN have already taken effect
  }

  /** Corrects the position of an error in the request for the plan, which has `EXPLAIN ...` before the statement. */
  override handleError(error: unknown, wire?: Wire): void {
    const failure = error as { position?: string } | null;
    if (this.#phase === "asking" && this.#sideEffects.awaitsPlan && failure?.position !== undefined) {
      failure.position = String(Number(failure.position) - EXPLAIN.length);
    }
    super.handleError(error, wire);
  }

  override handleCommandComplete(message: { text: string }): void {
    if (this.#phase === "asking") return this.#endAnswer();
    super.handleCommandComplete(message);
    this.tag = this.tag.replace(/\d+$/, String(this.count)); // the server counts only the last batch
    this.complete = true;
    this.more = this.rows.length < this.count;
    this.#end();
  }

  override handleEmptyQuery(): void {
    this.#end();
  }

  /** Drops the notices of the request for the plan, which repeat the statement's own. */
  override addNotice(notice: Parameters<Exchange["addNotice"]>[0]): void {
    if (this.#phase !== "asking") super.addNotice(notice);
  }

  #endAnswer(): void {
    if (!this.#sideEffects.endAnswer()) return;
    if (this.#isSuspended) return this.#decide();
    this.#phase = "running"; // the rows of the statement follow
    if (this.#sideEffects.verdict() === "none") this.#end(); // the server takes the end while the statement runs
  }

  /** Ends the statement, runs it to its end, or asks what the decision still needs. */
  #decide(): void {
    const verdict = this.#sideEffects.verdict();
    if (verdict === "none") this.#end();
    else if (verdict === "possible") this.#runToEnd();
    else this.#ask(this.#sideEffects.nextQuestions());
  }

  #ask(questions: readonly Opening[]): void {
    this.#phase = "asking";
    sendOpenings(this.wire, flushed(questions));
  }

  #runToEnd(): void {
    this.#phase = "running";
    this.wire.execute({ portal: this.#portal, rows: 0 });
    this.wire.flush();
  }

  #end(): void {
    if (this.#whole || this.#phase === "ending") return;
    this.#phase = "ending";
    sendClose(this.wire, this.#portal); // within a transaction the portal would stay open
  }
}

/** Asks the server to send its answer to the last question before it goes on. */
function flushed(questions: readonly Opening[]): Opening[] {
  return questions.map((question, index) => index < questions.length - 1 ? question : { ...question, last: "flush" });
}

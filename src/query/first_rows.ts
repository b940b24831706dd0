import { answeredWrites, NAMES_QUESTION, namesCalled, namesIn, OWN_QUESTION, PLAN, planWrites } from "./only_reads.ts";
import { firstWord } from "../sql_text.ts";
import type { WireRow } from "./fields.ts";
import type { Statement } from "./fragment.ts";
import { sendOpening } from "./opening.ts";
import { Result } from "./result.ts";
import { Exchange, type Reading, type Wire } from "./wire.ts";

/** Bytes of rows that are kept, of a statement that has to run to its end. */
const KEPT_BYTES = 4_000_000;

/** What the server can say a plan of. */
const EXPLAINED = new Set(["select", "values", "table", "with"]);

/** How much of a statement is shown. */
export interface FirstRowsOptions extends Reading {
  /** Rows that are shown. */
  rows: number;
  /** Whether it had no more rows than that before: then it is run to its end in one round trip. */
  whole: boolean;
}

let lastPortal = 0;

/**
 * The first rows of a statement that reads, as far as its text tells. What it does must not depend on how many rows are
 * shown, and a function that it calls may write, lock or end a session. So the statement waits at the row behind those
 * that are shown, while the server is asked, in the same transaction, what its plan calls. A plan that calls nothing
 * VOLATILE ends there; any other statement runs to its end, once, as in psql.
 */
export class FirstRows extends Exchange {
  /** Rows of the statement so far, kept or not. */
  count = 0;
  /** Whether it ended by itself, and was not left at the rows that are shown. */
  complete = false;
  readonly #statement: Statement;
  readonly #rows: number;
  readonly #whole: boolean;
  readonly #portal: string;
  #phase: "running" | "asking" | "ending" = "running";
  #plan = "";
  #questions = 0;
  #asked = new Set<string>();
  #answers: WireRow[] = [];
  #planned = false;
  #askedOwn = false;

  /** Made of one statement; `pg` submits it. */
  constructor(statement: Statement, options: FirstRowsOptions) {
    super(options);
    this.#statement = statement;
    this.#rows = options.rows;
    this.#whole = options.whole;
    this.#portal = options.whole ? "" : `lakebase_first_${++lastPortal}`;
  }

  /** What runs. */
  get text(): string {
    return this.#statement.text;
  }

  protected override gather(): unknown[] {
    return new Result();
  }

  protected override get owesSync(): boolean {
    return !this.#whole && this.#phase !== "ending";
  }

  protected override send(wire: Wire): void {
    const { text, values } = this.#statement;
    const portal = this.#portal;
    if (this.#whole) sendOpening(wire, { text, values, portal, rows: 0, last: "sync" });
    else sendOpening(wire, { text, values, portal, rows: this.#rows + 1, last: "flush" }); // the last row is not known as such
  }

  override handleRowDescription(message: Parameters<Exchange["handleRowDescription"]>[0]): void {
    if (this.#phase !== "asking") super.handleRowDescription(message);
  }

  override handleDataRow(message: { fields: WireRow; length: number }): void {
    if (this.#phase === "asking") return this.#hearAnswer(message.fields);
    this.count++;
    if (this.bytes <= KEPT_BYTES) super.handleDataRow(message);
    else if (this.rows.length > this.#rows) this.rows.length = this.#rows;
  }

  override handlePortalSuspended(): void {
    if (EXPLAINED.has(firstWord(this.#statement.text)) && !/^\s*;/.test(this.#statement.text)) this.#askForPlan();
    else this.#runOn(); // SHOW and EXPLAIN have done what they do
  }

  override handleCommandComplete(message: { text: string }): void {
    if (this.#phase === "asking") return this.#answered();
    super.handleCommandComplete(message);
    this.tag = this.tag.replace(/\d+$/, String(this.count)); // the server counts anew in each batch
    this.complete = true;
    this.more = this.rows.length < this.count;
    this.#end();
  }

  override handleEmptyQuery(): void {
    this.#end();
  }

  #askForPlan(): void {
    this.#phase = "asking";
    const { text, values } = this.#statement;
    this.#ask(PLAN + text, values);
    this.#askNames(namesIn(text)); // in the same breath
  }

  #askNames(names: Iterable<string>): void {
    const asked = [...names];
    for (const name of asked) this.#asked.add(name);
    this.#ask(NAMES_QUESTION, [`{${asked.map((name) => `"${name}"`).join(",")}}`]);
  }

  #ask(text: string, values: Statement["values"]): void {
    this.#questions++;
    sendOpening(this.wire, { text, values, rows: 0, last: "flush" });
  }

  #hearAnswer(row: WireRow): void {
    if (!this.#planned) this.#plan += `${row[0]}\n`;
    else this.#answers.push(row);
  }

  #answered(): void {
    this.#planned = true;
    if (--this.#questions > 0) return;
    const called = namesCalled(this.#plan);
    if (planWrites(this.#plan) || answeredWrites(this.#answers, called, this.#plan)) return this.#runOn();
    const unknown = called.difference(this.#asked);
    if (unknown.size > 0) this.#askNames(unknown); // what a view calls is not in the statement's own text
    const own = this.#answers.some(([kind]) => kind === "own");
    if (own && !this.#askedOwn) {
      this.#askedOwn = true;
      this.#ask(OWN_QUESTION, []);
    }
    if (this.#questions > 0) return;
    this.more = true;
    this.#end();
  }

  #runOn(): void {
    this.#phase = "running";
    this.wire.execute({ portal: this.#portal, rows: 0 });
    this.wire.flush();
  }

  #end(): void {
    if (this.#whole || this.#phase === "ending") return;
    this.#phase = "ending";
    this.wire.close({ type: "P", name: this.#portal }); // within a transaction it would stay
    this.wire.sync();
  }
}

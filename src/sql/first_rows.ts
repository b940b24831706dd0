import { firstWord, sqlTokens } from "../core/sql_text.ts";
import { Exchange, type Reading, type Wire } from "./exchange.ts";
import { sendOpening } from "./execution.ts";
import type { Statement } from "./fragment.ts";
import type { WireRow } from "./result.ts";

/** Bytes of rows that are kept, of a statement that has to run to its end. */
const KEPT_BYTES = 4_000_000;

/** Statements that the server can give a plan of, by their first word. */
const EXPLAINED = new Set(["select", "values", "table", "with"]);

/** Characters of a statement and its values that are worth sending twice to save a round trip. */
const LONGEST_SENT_TWICE = 10_000;

/** How much of a statement is shown. */
export interface FirstRowsOptions extends Reading {
  /** Rows that are shown. */
  rows: number;
  /** Whether it had no more rows than that before: then it is run to its end in one round trip. */
  whole: boolean;
}

let lastPortal = 0;

/**
 * The first rows of a statement that only reads, as far as its text shows. What a statement does must not depend on how many
 * rows are shown, and a function that it calls may write, lock or end a session. So the statement waits after one row more
 * than is shown, and the server tells, in the same transaction, what the plan calls. If the plan calls nothing VOLATILE, the
 * statement ends there; otherwise it runs to its end, once, as in psql.
 *
 * A drawn statement that reads a table probably has more rows, so its plan is asked for in the same write, in front of it.
 */
export class FirstRows extends Exchange {
  /** Rows of the statement so far, kept or not. */
  count = 0;
  /** Whether the statement ran to its end. */
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
  #suspended = false;
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

  protected override get owesSync(): boolean {
    return !this.#whole && this.#phase !== "ending";
  }

  protected override send(wire: Wire): void {
    const { text, values } = this.#statement;
    const portal = this.#portal;
    if (this.#whole) return sendOpening(wire, { text, values, portal, rows: 0, last: "sync" });
    wire.stream.cork?.();
    if (this.#asksFirst()) this.#askForPlan();
    sendOpening(wire, { text, values, portal, rows: this.#rows + 1, last: "flush" }); // the last row is not known as such
    wire.stream.uncork?.();
  }

  #asksFirst(): boolean {
    const { text, values } = this.#statement;
    const size = values.reduce((sum, value) => sum + (value?.length ?? 0), text.length);
    return this.#rows > 1 && size <= LONGEST_SENT_TWICE && this.#isExplained() && /\bfrom\b|^\s*table\b/i.test(text);
  }

  #isExplained(): boolean {
    const { text } = this.#statement;
    return EXPLAINED.has(firstWord(text)) && !/^\s*;/.test(text);
  }

  override handleRowDescription(message: Parameters<Exchange["handleRowDescription"]>[0]): void {
    if (this.#phase !== "asking") super.handleRowDescription(message);
  }

  override handleDataRow(message: { fields: WireRow; length: number }): void {
    if (this.#phase === "asking") return this.#addAnswer(message.fields);
    this.count++;
    if (this.bytes <= KEPT_BYTES) super.handleDataRow(message);
    else if (this.rows.length > this.#rows) this.rows.length = this.#rows;
  }

  override handlePortalSuspended(): void {
    this.#suspended = true;
    if (this.#planned) this.#decide();
    else if (this.#isExplained()) this.#askForPlan();
    else this.#runOn(); // SHOW and EXPLAIN have done what they do
  }

  /** The plan is of the same statement behind another word: the position of an error is counted without that. */
  override handleError(error: unknown, wire?: Wire): void {
    const failure = error as { position?: string } | null;
    if (this.#phase === "asking" && !this.#planned && failure?.position !== undefined) {
      failure.position = String(Number(failure.position) - PLAN.length);
    }
    super.handleError(error, wire);
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

  /** Planning the statement once more would repeat its notices. */
  override addNotice(notice: Parameters<Exchange["addNotice"]>[0]): void {
    if (this.#phase !== "asking") super.addNotice(notice);
  }

  #askForPlan(): void {
    this.#phase = "asking";
    const { text, values } = this.#statement;
    this.#ask(PLAN + text, values);
    this.#askNames(namesIn(text)); // in the same round trip
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

  #addAnswer(row: WireRow): void {
    if (!this.#planned) this.#plan += `${row[0]}\n`;
    else this.#answers.push(row);
  }

  #answered(): void {
    this.#planned = true;
    if (--this.#questions > 0) return;
    if (this.#suspended) this.#decide();
    else this.#phase = "running"; // the rows of the statement follow
  }

  /** Ends the statement, runs it to its end, or asks for what is still needed to know which. */
  #decide(): void {
    this.#phase = "asking";
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

const READS = new Set(["select", "values", "table", "show", "explain", "with"]);
/** What writes in a `SELECT`, and in a `WITH` or an `EXPLAIN ANALYZE`. */
const WRITES = new Set(["into", "insert", "update", "delete", "merge", "create", "execute"]);

/**
 * Whether a text is one statement that only reads, as far as the text tells: a function that it calls may write. Anything in
 * doubt counts as no such.
 */
export function onlyReads({ text }: Pick<Statement, "text">): boolean {
  // Whether a back-slash escapes in quotes is a setting of the server.
  return [false, true].every((escapes) => {
    const tokens = sqlTokens(text, { escapes }).filter(({ kind }) => kind !== "space" && kind !== "comment").toArray();
    const words = tokens.filter(({ kind }) => kind === "word")
      .map(({ start, end }) => text.slice(start, end).toLowerCase());
    const end = tokens.findIndex(({ start }) => text[start] === ";");
    const several = end !== -1 && tokens.slice(end).some(({ start }) => text[start] !== ";");
    return !several && READS.has(words[0] ?? "") && !words.some((word) => WRITES.has(word));
  });
}

/** Asks for the plan of the statement that follows, with every expression in full. */
export const PLAN = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ";

/** The functions of a database's own that may write. A trigger function can't be called. */
const VOLATILE = `oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND provolatile OPERATOR(pg_catalog.=) 'v'
    AND prorettype OPERATOR(pg_catalog.<>) 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid`;

/**
 * Asks which of some names (`$1`) are those of functions that are VOLATILE: those alone may do something, and the server
 * relies on that as well: it calls others as often as it likes (PostgreSQL's manual, "Function Volatility Categories").
 * The clock and new uuids are VOLATILE, but do nothing. `own` where the database has such functions itself.
 */
export const NAMES_QUESTION = `SELECT 'name', proname::pg_catalog.text FROM pg_catalog.pg_proc
  WHERE proname OPERATOR(pg_catalog.=) ANY($1::pg_catalog.text[]) AND provolatile OPERATOR(pg_catalog.=) 'v' AND NOT (
    oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND proname OPERATOR(pg_catalog.=) ANY(
      '{clock_timestamp,timeofday,gen_random_uuid,uuidv4,uuidv7}'::pg_catalog.text[]))
  UNION ALL SELECT 'own', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_proc WHERE ${VOLATILE})`;

/**
 * Asks which aggregates and operators of a database come down to VOLATILE functions of its own; `*` where a cast or a domain
 * does, of which a plan need not tell. It takes the server a millisecond to plan.
 */
export const OWN_QUESTION = `WITH own AS MATERIALIZED (SELECT oid FROM pg_catalog.pg_proc WHERE ${VOLATILE})
  SELECT 'name', p.proname::pg_catalog.text
    FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) a.aggfnoid::pg_catalog.oid
    WHERE a.aggfnoid::pg_catalog.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND EXISTS (
      SELECT FROM own WHERE own.oid OPERATOR(pg_catalog.=) ANY(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
        a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[]))
  UNION ALL SELECT 'operator', o.oprname::pg_catalog.text
    FROM pg_catalog.pg_operator o JOIN own ON o.oprcode::pg_catalog.oid OPERATOR(pg_catalog.=) own.oid
    WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL SELECT '*', '' WHERE
    EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN own ON c.castfunc OPERATOR(pg_catalog.=) own.oid
      WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid) OR
    EXISTS (SELECT FROM own JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) own.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
      JOIN pg_catalog.pg_constraint c ON c.oid OPERATOR(pg_catalog.=) d.objid
      AND c.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)`;

/** From a word's beginning only: each of its ends would be looked for from each of its letters. */
const CALLED = /(?<![a-z0-9_])[a-z_][a-z0-9_]*(?=\()/g;

/** Names in front of a bracket: what a statement calls, and words of SQL. */
export function namesIn(text: string): Set<string> {
  return new Set([...text.toLowerCase().matchAll(CALLED)].map(([name]) => name));
}

/** The names of all that a plan calls, and some that it does not. A name in quotes is not among them: see {@linkcode planWrites}. */
export function namesCalled(plan: string): Set<string> {
  return new Set([...plan.matchAll(CALLED)].map(([name]) => name));
}

/** Whether a plan does more than read by itself: it changes or locks rows, or has others do something that it does not tell. */
export function planWrites(plan: string): boolean {
  return /"Node Type": "(?:ModifyTable|LockRows|Foreign Scan|Custom Scan)"/.test(plan) || /\\"\s*\(/.test(plan);
}

/** Whether a plan calls what the server has told of. */
export function answeredWrites(
  answers: readonly (readonly (string | null)[])[],
  called: ReadonlySet<string>,
  plan: string,
): boolean {
  return answers.some(([kind, name]) =>
    kind === "*" || called.has(name!) || kind === "operator" && plan.includes(name!)
  );
}

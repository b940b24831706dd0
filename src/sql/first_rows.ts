import { firstWord, sqlTokens } from "../core/sql_text.ts";
import { Exchange, type Reading, type Wire } from "./exchange.ts";
import { type Opening, sendClose, sendOpening, sendOpenings } from "./execution.ts";
import type { Statement } from "./fragment.ts";
import type { WireRow } from "./result.ts";

/** The most bytes of rows that are kept when a statement has to run to its end. */
const KEPT_BYTES = 4_000_000;

/** The first words of reading statements that the server can plan. */
const EXPLAINED = new Set(["select", "values", "table", "with"]);

/** The most characters of a statement and its values that are sent twice to save a round trip. */
const LONGEST_SENT_TWICE = 10_000;

/** How much of a statement a drawing shows. */
interface FirstRowsOptions extends Reading {
  /** How many rows are shown. */
  rows: number;
  /** Whether the statement had no more rows than `rows` the last time. Then it runs to its end in one round trip. */
  whole: boolean;
}

let lastPortal = 0;

/**
 * Reads the first rows of a statement that only reads, according to its text. What a statement does must not depend on how
 * many rows are shown, but a function that it calls may write, lock or end a session. So the statement pauses after one row
 * more than is shown, and the server tells, in the same transaction, what the plan calls. If the plan calls nothing
 * VOLATILE, the statement ends there; otherwise it runs to its end, once, as in psql.
 *
 * A statement that reads a table probably has more rows, so the request for its plan goes before it in the same write.
 */
export class FirstRows extends Exchange {
  /** How many rows have arrived so far, kept or not. */
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
  #askedNames = false;
  #askedOwn = false;

  /** Creates an exchange for one statement; `pg` submits it. */
  constructor(statement: Statement, options: FirstRowsOptions) {
    super(options);
    this.#statement = statement;
    this.#rows = options.rows;
    this.#whole = options.whole;
    this.#portal = options.whole ? "" : `lakebase_first_${++lastPortal}`;
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
    const questions = this.#asksFirst() ? this.#planQuestions() : [];
    const first: Opening = { text, values, portal, rows: this.#rows + 1, last: "flush" }; // one more tells whether there are more
    sendOpenings(wire, [...questions, first]);
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
    else if (this.#isExplained()) this.#ask(this.#planQuestions());
    else this.#runOn(); // SHOW and EXPLAIN have already taken effect
  }

  /** Corrects the position of an error in the request for the plan, which has `EXPLAIN ...` before the statement. */
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

  #planQuestions(): Opening[] {
    this.#phase = "asking";
    const { text, values } = this.#statement;
    const plan = { text: PLAN + text, values, rows: 0 };
    this.#questions++;
    return looksPlain(text) ? [plan] : [plan, this.#namesQuestion(namesIn(text))]; // in the same round trip
  }

  #namesQuestion(names: Iterable<string>): Opening {
    this.#askedNames = true;
    this.#questions++;
    const asked = [...names];
    for (const name of asked) this.#asked.add(name);
    return { text: NAMES_QUESTION, values: [`{${asked.map((name) => `"${name}"`).join(",")}}`], rows: 0 };
  }

  #ask(questions: readonly Opening[]): void {
    sendOpenings(
      this.wire,
      questions.map((question, at) => at + 1 < questions.length ? question : { ...question, last: "flush" }),
    );
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

  /** Ends the statement, runs it to its end, or asks for what is still needed to decide. */
  #decide(): void {
    this.#phase = "asking";
    if (!this.#askedNames && isPlainPlan(this.#plan)) return this.#stopHere();
    const called = namesCalled(this.#plan);
    if (planWrites(this.#plan) || answeredWrites(this.#answers, called, this.#plan)) return this.#runOn();
    const unknown = called.difference(this.#asked);
    const questions: Opening[] = [];
    // What a view calls is not in the statement's own text.
    if (unknown.size > 0 || !this.#askedNames) questions.push(this.#namesQuestion(unknown));
    const own = this.#answers.some(([kind]) => kind === "own");
    if (own && !this.#askedOwn) {
      this.#askedOwn = true;
      this.#questions++;
      questions.push({ text: OWN_QUESTION, values: [], rows: 0 });
    }
    if (questions.length > 0) return this.#ask(questions);
    this.#stopHere();
  }

  /** Leaves the other rows to the server, because the statement only reads. */
  #stopHere(): void {
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
    sendClose(this.wire, this.#portal); // within a transaction the portal would stay open
  }
}

const READS = new Set(["select", "values", "table", "show", "explain", "with"]);
/** Words that make a `SELECT`, a `WITH` or an `EXPLAIN ANALYZE` write. */
const WRITES = new Set(["into", "insert", "update", "delete", "merge", "create", "execute"]);

/**
 * Tells whether a text is one statement that, by its words, only reads; a function that it calls may still write. In doubt
 * the answer is `false`.
 */
export function onlyReads({ text }: Pick<Statement, "text">): boolean {
  // A server setting decides whether a backslash escapes within quotes, so both readings must pass.
  return [false, true].every((escapes) => {
    let first: string | undefined;
    let ended = false;
    for (const { kind, start, end } of sqlTokens(text, { escapes })) {
      if (kind === "space" || kind === "comment") continue;
      if (text[start] === ";") ended = true;
      else if (ended) return false; // another statement follows
      if (kind !== "word") continue;
      const word = text.slice(start, end).toLowerCase();
      first ??= word;
      if (WRITES.has(word)) return false;
    }
    return READS.has(first ?? "");
  });
}

/** Asks for the plan of the statement after it, with every expression in full. */
const PLAN = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ";

/** Selects the database's own functions that may write, except trigger functions, which a statement can't call. */
const VOLATILE = `oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND provolatile OPERATOR(pg_catalog.=) 'v'
    AND prorettype OPERATOR(pg_catalog.<>) 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid`;

/**
 * Asks which of some names (`$1`) belong to VOLATILE functions. Only those may have side effects: the server relies on that
 * and calls others as often as it likes (PostgreSQL's manual, "Function Volatility Categories"). The clock and new UUIDs are
 * VOLATILE but have no side effects. A row `own` means that the database itself defines VOLATILE functions.
 */
const NAMES_QUESTION = `SELECT 'name', proname::pg_catalog.text FROM pg_catalog.pg_proc
  WHERE proname OPERATOR(pg_catalog.=) ANY($1::pg_catalog.text[]) AND provolatile OPERATOR(pg_catalog.=) 'v' AND NOT (
    oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND proname OPERATOR(pg_catalog.=) ANY(
      '{clock_timestamp,timeofday,gen_random_uuid,uuidv4,uuidv7}'::pg_catalog.text[]))
  UNION ALL SELECT 'own', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_proc WHERE ${VOLATILE})`;

/**
 * Asks which aggregates and operators of a database call its own VOLATILE functions. A row `*` means that a cast or a
 * domain calls one; a plan need not show those. The server takes a millisecond to plan this query.
 * does, which a plan need not show. The server takes a millisecond to plan this query.
 */
const OWN_QUESTION = `WITH own AS MATERIALIZED (SELECT oid FROM pg_catalog.pg_proc WHERE ${VOLATILE})
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

/** Matches only from the start of a word; a search from each letter would take quadratic time. */
const CALLED = /(?<![a-z0-9_])[a-z_][a-z0-9_]*(?=\()/g;

/** Returns the names before an opening parenthesis: functions that a statement calls, and SQL keywords. */
export function namesIn(text: string): Set<string> {
  return new Set([...text.toLowerCase().matchAll(CALLED)].map(([name]) => name));
}

/** Returns the names of all functions that a plan calls, and some more; quoted names are left to {@linkcode planWrites}. */
export function namesCalled(plan: string): Set<string> {
  return new Set([...plan.matchAll(CALLED)].map(([name]) => name));
}

/**
 * Tells whether a text is most likely a list of columns of tables, whose plan alone shows that it only reads. Then the names of
 * functions need not be asked for, which takes the server as long as the rest.
 */
function looksPlain(text: string): boolean {
  return text.length < 1000 && /^[\w\s.,*;"]+$/.test(text) &&
    !/\b(?:where|join|order|group|having|distinct|union|intersect|except|window|with|values|for)\b/i.test(text);
}

/** The kinds of nodes that call nothing by themselves, and their keys: any other key may have an expression. */
const PLAIN_NODES = new Set(["Seq Scan", "Append", "Gather", "Limit"]);
const PLAIN_KEYS = new Set([
  "Node Type",
  "Parent Relationship",
  "Parallel Aware",
  "Async Capable",
  "Disabled",
  "Plans",
  "Output",
  "Relation Name",
  "Schema",
  "Alias",
  "Workers Planned",
  "Single Copy",
  "Subplans Removed",
]);
const COLUMN = /^(?:\w+|"[^"]*")(?:\.(?:\w+|"[^"]*"))*$/;

/** Tells whether a plan only reads columns of tables: no expression, no order and no grouping, which could call functions. */
export function isPlainPlan(plan: string): boolean {
  const isPlain = (node: PlainNode): boolean =>
    PLAIN_NODES.has(node["Node Type"]) && Object.keys(node).every((key) => PLAIN_KEYS.has(key)) &&
    (node.Output ?? []).every((output) => COLUMN.test(output)) && (node.Plans ?? []).every(isPlain);
  try {
    const [{ Plan, ...others }] = JSON.parse(plan);
    return Object.keys(others).length === 0 && isPlain(Plan);
  } catch {
    return false; // in doubt the server is asked
  }
}

interface PlainNode {
  "Node Type": string;
  Output?: string[];
  Plans?: PlainNode[];
}

/** Tells whether a plan writes or locks rows, or may: a foreign or custom scan or a quoted function could do anything. */
export function planWrites(plan: string): boolean {
  return /"Node Type": "(?:ModifyTable|LockRows|Foreign Scan|Custom Scan)"/.test(plan) || /\\"\s*\(/.test(plan);
}

/** Tells whether a plan calls something that the server's answers name. */
export function answeredWrites(
  answers: readonly (readonly (string | null)[])[],
  called: ReadonlySet<string>,
  plan: string,
): boolean {
  return answers.some(([kind, name]) =>
    kind === "*" || called.has(name!) || kind === "operator" && plan.includes(name!)
  );
}

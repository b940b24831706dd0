import { firstWord, sqlTokens } from "../core/sql_text.ts";
import { Exchange, type ReadOptions, type Wire } from "./exchange.ts";
import { type Opening, sendClose, sendOpening, sendOpenings } from "./execution.ts";
import type { Statement } from "./fragment.ts";
import type { WireRow } from "./result.ts";

/** The most bytes of rows that are kept when a statement has to run to its end. */
const MAX_KEPT_BYTES = 4_000_000;

/** The first words of statements that only read and that EXPLAIN takes. */
const EXPLAINABLE = new Set(["select", "values", "table", "with"]);

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
 * after one row more than is shown, and then returns, in the same transaction, the plan of the statement. If the plan
 * calls nothing VOLATILE, the statement ends there; otherwise it runs to its end, once, as in psql.
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
  /** Whether the messages of the server belong to the statement, to the queries about its plan, or to its end. */
  #phase: "running" | "planning" | "ending" = "running";
  #plan = "";
  /** The queries about the plan whose answers have not ended. */
  #pendingQueries = 0;
  /** The names that the server was asked about, and its answers. */
  readonly #askedNames = new Set<string>();
  readonly #answers: WireRow[] = [];
  #hasPlan = false;
  #isSuspended = false;
  #sentNamesQuery = false;
  #sentOwnFunctionsQuery = false;

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
    const planQueries = this.#plansFirst() ? this.#planQueries() : [];
    const first: Opening = { text, values, portal, rows: this.#rows + 1, last: "flush" }; // one more tells whether there are more
    sendOpenings(wire, [...planQueries, first]);
  }

  /** Whether the request for the plan goes before the statement. */
  #plansFirst(): boolean {
    const { text, values } = this.#statement;
    const size = values.reduce((sum, value) => sum + (value?.length ?? 0), text.length);
    return this.#rows > 1 && size <= MAX_SENT_TWICE && this.#isExplainable() && /\bfrom\b|^\s*table\b/i.test(text);
  }

  #isExplainable(): boolean {
    const { text } = this.#statement;
    return EXPLAINABLE.has(firstWord(text)) && !/^\s*;/.test(text);
  }

  override handleRowDescription(message: Parameters<Exchange["handleRowDescription"]>[0]): void {
    if (this.#phase !== "planning") super.handleRowDescription(message);
  }

  override handleDataRow(message: { fields: WireRow; length: number }): void {
    if (this.#phase === "planning") return this.#addAnswer(message.fields);
    this.count++;
    if (this.bytes <= MAX_KEPT_BYTES) super.handleDataRow(message);
    else if (this.rows.length > this.#rows) this.rows.length = this.#rows;
  }

  override handlePortalSuspended(): void {
    this.#isSuspended = true;
    if (this.#hasPlan) this.#decide();
    else if (this.#isExplainable()) this.#send(this.#planQueries());
    else this.#runToEnd(); // SHOW and EXPLAIN have already taken effect
  }

  /** Corrects the position of an error in the request for the plan, which has `EXPLAIN ...` before the statement. */
  override handleError(error: unknown, wire?: Wire): void {
    const failure = error as { position?: string } | null;
    if (this.#phase === "planning" && !this.#hasPlan && failure?.position !== undefined) {
      failure.position = String(Number(failure.position) - EXPLAIN.length);
    }
    super.handleError(error, wire);
  }

  override handleCommandComplete(message: { text: string }): void {
    if (this.#phase === "planning") return this.#endQuery();
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
    if (this.#phase !== "planning") super.addNotice(notice);
  }

  #planQueries(): Opening[] {
    this.#phase = "planning";
    const { text, values } = this.#statement;
    const plan = { text: EXPLAIN + text, values, rows: 0 };
    this.#pendingQueries++;
    return looksPlain(text) ? [plan] : [plan, this.#namesQuery(namesIn(text))]; // in the same round trip
  }

  #namesQuery(names: Iterable<string>): Opening {
    this.#sentNamesQuery = true;
    this.#pendingQueries++;
    const quoted: string[] = [];
    for (const name of names) {
      this.#askedNames.add(name);
      quoted.push(`"${name}"`);
    }
    return { text: VOLATILE_NAMES_QUERY, values: [`{${quoted.join(",")}}`], rows: 0 };
  }

  #send(queries: readonly Opening[]): void {
    const last = queries.length - 1;
    sendOpenings(this.wire, queries.map((query, index) => index < last ? query : { ...query, last: "flush" }));
  }

  #addAnswer(row: WireRow): void {
    if (!this.#hasPlan) this.#plan += `${row[0]}\n`;
    else this.#answers.push(row);
  }

  #endQuery(): void {
    this.#hasPlan = true;
    if (--this.#pendingQueries > 0) return;
    if (this.#isSuspended) this.#decide();
    else this.#phase = "running"; // the rows of the statement follow
  }

  /** Ends the statement, runs it to its end, or sends the queries that the decision still needs. */
  #decide(): void {
    this.#phase = "planning";
    if (!this.#sentNamesQuery && isPlainPlan(this.#plan)) return this.#stopHere();
    const called = namesCalled(this.#plan);
    if (planWrites(this.#plan) || callsVolatile(this.#answers, called, this.#plan)) return this.#runToEnd();
    const unknown = called.difference(this.#askedNames);
    const queries: Opening[] = [];
    // The statement's own text does not show what a view calls.
    if (unknown.size > 0 || !this.#sentNamesQuery) queries.push(this.#namesQuery(unknown));
    const hasOwnFunctions = this.#answers.some(([kind]) => kind === "own");
    if (hasOwnFunctions && !this.#sentOwnFunctionsQuery) {
      this.#sentOwnFunctionsQuery = true;
      this.#pendingQueries++;
      queries.push({ text: OWN_FUNCTIONS_QUERY, values: [], rows: 0 });
    }
    if (queries.length > 0) return this.#send(queries);
    this.#stopHere();
  }

  /** Leaves the other rows to the server, because the statement only reads. */
  #stopHere(): void {
    this.more = true;
    this.#end();
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

const READS = new Set(["select", "values", "table", "show", "explain", "with"]);
/** Words with which a `SELECT`, a `WITH` or an `EXPLAIN ANALYZE` writes. */
const WRITES = new Set(["into", "insert", "update", "delete", "merge", "create", "execute"]);

/**
 * Tells by its words whether a text is a single statement that only reads; a function that it calls may still write. In
 * doubt the answer is `false`.
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

/** Precedes a statement to get its plan, with every expression in full. */
const EXPLAIN = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ";

/** The condition for the database's own functions that may write, except trigger functions, which no statement can call. */
const VOLATILE = `oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND provolatile OPERATOR(pg_catalog.=) 'v'
    AND prorettype OPERATOR(pg_catalog.<>) 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid`;

/**
 * Selects the names among `$1` that belong to VOLATILE functions. Only those may have side effects: the server relies on that
 * and calls others as often as it likes (PostgreSQL's manual, "Function Volatility Categories"). The clock and new UUIDs are
 * VOLATILE but have no side effects. A row `own` means that the database itself defines VOLATILE functions.
 */
const VOLATILE_NAMES_QUERY = `SELECT 'name', proname::pg_catalog.text FROM pg_catalog.pg_proc
  WHERE proname OPERATOR(pg_catalog.=) ANY($1::pg_catalog.text[]) AND provolatile OPERATOR(pg_catalog.=) 'v' AND NOT (
    oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND proname OPERATOR(pg_catalog.=) ANY(
      '{clock_timestamp,timeofday,gen_random_uuid,uuidv4,uuidv7}'::pg_catalog.text[]))
  UNION ALL SELECT 'own', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_proc WHERE ${VOLATILE})`;

/**
 * Selects the aggregates and operators of a database that call its own VOLATILE functions. A row `*` means that a cast or
 * a domain calls one, which a plan need not show. The server takes a millisecond to plan this query.
 */
const OWN_FUNCTIONS_QUERY = `WITH own AS MATERIALIZED (SELECT oid FROM pg_catalog.pg_proc WHERE ${VOLATILE})
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

/** Returns the names of all functions that a plan calls, and some more; {@linkcode planWrites} looks for quoted names. */
export function namesCalled(plan: string): Set<string> {
  return new Set([...plan.matchAll(CALLED)].map(([name]) => name));
}

/**
 * Tells whether a text most likely lists columns of tables, so that the plan alone shows that the statement only reads.
 * Then the query for the names of functions is not sent, which takes the server as long as the rest.
 */
function looksPlain(text: string): boolean {
  return text.length < 1000 && /^[\w\s.,*;"]+$/.test(text) &&
    !/\b(?:where|join|order|group|having|distinct|union|intersect|except|window|with|values|for)\b/i.test(text);
}

/** The kinds of plan nodes that call no function themselves, and their keys: any other key may have an expression. */
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

/** Tells whether a plan only reads columns of tables, without expressions, sorting or grouping, which could call functions. */
export function isPlainPlan(plan: string): boolean {
  const isPlain = (node: PlainNode): boolean =>
    PLAIN_NODES.has(node["Node Type"]) && Object.keys(node).every((key) => PLAIN_KEYS.has(key)) &&
    (node.Output ?? []).every((output) => COLUMN.test(output)) && (node.Plans ?? []).every(isPlain);
  try {
    const [{ Plan, ...others }] = JSON.parse(plan);
    return Object.keys(others).length === 0 && isPlain(Plan);
  } catch {
    return false; // in doubt, the server has to answer
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

/** Tells whether a plan calls something that the server's answers list as VOLATILE. */
export function callsVolatile(
  answers: readonly (readonly (string | null)[])[],
  called: ReadonlySet<string>,
  plan: string,
): boolean {
  return answers.some(([kind, name]) =>
    kind === "*" || called.has(name!) || kind === "operator" && plan.includes(name!)
  );
}

import { firstWord, sqlTokens } from "../core/sql_text.ts";
import type { Opening } from "./execution.ts";
import type { Statement } from "./fragment.ts";
import type { WireRow } from "./result.ts";

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

/** The first words of statements that only read and that EXPLAIN takes. */
const EXPLAINABLE = new Set(["select", "values", "table", "with"]);

/** Tells by its first word whether the server gives the plan of a text. */
export function isExplainable(text: string): boolean {
  return EXPLAINABLE.has(firstWord(text)) && !/^\s*;/.test(text);
}

/** What the server is asked about a statement: its plan, the functions that it calls, the database's own functions. */
type Topic = "plan" | "names" | "own functions";

/**
 * Finds out from the server whether a statement has side effects. The caller sends the questions, within the transaction
 * of the statement, and passes on the answers.
 */
export class SideEffects {
  readonly #statement: Statement;
  /** The topics whose answers have not ended, in the order of the answers. */
  readonly #pending: Topic[] = [];
  readonly #asked = new Set<Topic>();
  #plan = "";
  /** The names that the server was asked about, and its answers. */
  readonly #askedNames = new Set<string>();
  readonly #answers: WireRow[] = [];

  /** Asks about one statement. */
  constructor(statement: Statement) {
    this.#statement = statement;
  }

  /** Whether the next message of the server belongs to the plan. */
  get awaitsPlan(): boolean {
    return this.#pending[0] === "plan";
  }

  /** The first questions. Most of the time their answers are enough. */
  firstQuestions(): Opening[] {
    const { text, values } = this.#statement;
    const plan = this.#question("plan", { text: EXPLAIN + text, values, rows: 0 });
    return looksPlain(text) ? [plan] : [plan, this.#namesQuestion(namesIn(text))]; // in the same round trip
  }

  /** Takes a row of an answer. */
  addRow(row: WireRow): void {
    if (this.awaitsPlan) this.#plan += `${row[0]}\n`;
    else this.#answers.push(row);
  }

  /** Takes the end of an answer. @returns Whether it was the last one. */
  endAnswer(): boolean {
    this.#pending.shift();
    return this.#pending.length === 0;
  }

  /** Whether the questions that were asked are answered. */
  get isAnswered(): boolean {
    return this.#asked.size > 0 && this.#pending.length === 0;
  }

  /** Whether the statement has side effects, as far as the answers tell. */
  verdict(): "none" | "possible" | "unknown" {
    const asked = this.#asked;
    if (!asked.has("names") && isPlainPlan(this.#plan)) return "none";
    const called = namesCalled(this.#plan);
    if (planWrites(this.#plan) || callsVolatile(this.#answers, called, this.#plan)) return "possible";
    return asked.has("names") && called.isSubsetOf(this.#askedNames) && !this.#missesOwnFunctions ? "none" : "unknown";
  }

  /** The questions that an unknown verdict leaves. */
  nextQuestions(): Opening[] {
    const questions: Opening[] = [];
    // The statement's own text does not show what a view calls.
    const names = namesCalled(this.#plan).difference(this.#askedNames);
    if (names.size > 0 || !this.#asked.has("names")) questions.push(this.#namesQuestion(names));
    if (this.#missesOwnFunctions) {
      questions.push(this.#question("own functions", { text: OWN_FUNCTIONS_QUERY, values: [], rows: 0 }));
    }
    return questions;
  }

  get #missesOwnFunctions(): boolean {
    return !this.#asked.has("own functions") && this.#answers.some(([kind]) => kind === "own");
  }

  #namesQuestion(names: Iterable<string>): Opening {
    const quoted: string[] = [];
    for (const name of names) {
      this.#askedNames.add(name);
      quoted.push(`"${name}"`);
    }
    return this.#question("names", { text: VOLATILE_NAMES_QUERY, values: [`{${quoted.join(",")}}`], rows: 0 });
  }

  #question(topic: Topic, opening: Opening): Opening {
    this.#asked.add(topic);
    this.#pending.push(topic);
    return opening;
  }
}

/** Precedes a statement to get its plan, with every expression in full. */
export const EXPLAIN = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ";

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

import { sqlTokens } from "../sql_text.ts";
import type { Statement } from "./fragment.ts";

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

/** Asks for the plan of the statement behind it, with every expression in full. */
export const PLAN = "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) ";

/**
 * Asks which of some names (`$1`) are those of functions that are VOLATILE: those alone may do something, and the server
 * relies on that as well: it calls others as often as it likes (PostgreSQL's manual, "Function Volatility Categories").
 * The clock and new uuids are VOLATILE, but do nothing. `own` where the database has such functions itself.
 */
export const NAMES_QUESTION = `SELECT 'name', proname::text FROM pg_catalog.pg_proc
  WHERE proname = ANY($1::text[]) AND provolatile = 'v' AND NOT (
    oid < 16384 AND proname IN ('clock_timestamp', 'timeofday', 'gen_random_uuid', 'uuidv4', 'uuidv7'))
  UNION ALL SELECT 'own', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_proc
    WHERE oid >= 16384 AND provolatile = 'v' AND prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype)`;

/**
 * Asks which aggregates and operators of a database come down to VOLATILE functions of its own; `*` where a cast or a domain
 * does, of which a plan need not tell. It takes the server a millisecond to plan.
 */
export const OWN_QUESTION = `WITH own AS MATERIALIZED (
    SELECT oid FROM pg_catalog.pg_proc
    WHERE oid >= 16384 AND provolatile = 'v' AND prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype)
  SELECT 'name', p.proname::text
    FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid
    WHERE a.aggfnoid >= 16384::oid AND EXISTS (SELECT FROM own WHERE own.oid IN (a.aggtransfn, a.aggfinalfn,
      a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn))
  UNION ALL SELECT 'operator', o.oprname::text
    FROM pg_catalog.pg_operator o JOIN own ON o.oprcode = own.oid WHERE o.oid >= 16384
  UNION ALL SELECT '*', '' WHERE
    EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN own ON c.castfunc = own.oid WHERE c.oid >= 16384) OR
    EXISTS (SELECT FROM own JOIN pg_catalog.pg_depend d ON d.refobjid = own.oid
      AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
      JOIN pg_catalog.pg_constraint c ON c.oid = d.objid AND c.contypid <> 0)`;

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

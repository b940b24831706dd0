import { LakebaseError } from "../core/errors.ts";
import { textStatement } from "../sql/fragment.ts";
import type { StatementRows } from "../sql/result.ts";
import { type FindSession, run } from "../sql/run.ts";
import type { StopOptions } from "../sql/stop.ts";
import { suggest } from "../sql/suggestion.ts";
import { parserSource } from "../sql/types.ts";

/** What keeps or shows rows under a name. */
export type TableKind = "table" | "partitioned table" | "view" | "materialized view" | "foreign table";

/** How a look into the database is taken. */
export interface ExploreOptions {
  /** Cancels it on the server; it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Seconds that it may take, the wait for a connection included. @default {no limit but the connection's `statementTimeout`} */
  timeout?: number;
}

const TYPES = parserSource();

/**
 * Runs a statement of this module's own, whose values become JavaScript's in the usual way, whatever parsers the connection
 * was given.
 *
 * @throws {LakebaseError} As `run`.
 */
export async function look<Row>(
  find: FindSession,
  text: string,
  params: readonly unknown[] = [],
  options: StopOptions = {},
): Promise<StatementRows<Row>> {
  return await run<Row>(find, textStatement(text, params), { ...options, types: TYPES });
}

/** Whether a `pg_class` row `c` is of one of these kinds. */
export function kindIs(...kinds: readonly string[]): string {
  return `c.relkind OPERATOR(pg_catalog.=) ANY ('{${kinds.join(",")}}')`;
}

/** What a `pg_class` row `c` is called. */
export const KIND =
  `coalesce(pg_catalog.json_object('{{r,table},{p,partitioned table},{v,view},{m,materialized view},{f,foreign table},
  {S,sequence},{c,composite type}}') OPERATOR(pg_catalog.->>) c.relkind::pg_catalog.text, 'index')`;

/** Rows of a `pg_class` row `c` as of its last analyze; NULL where there was none. */
export const ROWS = `CASE WHEN ${
  kindIs("r", "m", "f")
} AND c.reltuples OPERATOR(pg_catalog.>=) 0 THEN c.reltuples::pg_catalog.int8
  WHEN ${kindIs("p")} THEN (SELECT pg_catalog.sum(leaf.reltuples)::pg_catalog.int8
    FROM pg_catalog.pg_partition_tree(c.oid) AS tree
    JOIN pg_catalog.pg_class AS leaf ON leaf.oid OPERATOR(pg_catalog.=) tree.relid
    WHERE tree.isleaf AND leaf.reltuples OPERATOR(pg_catalog.>=) 0) END`;

/** Bytes of a `pg_class` row `c` with its indexes, TOAST and partitions; NULL for what keeps no rows here. */
export const SIZE = `CASE WHEN ${kindIs("r", "m")} THEN pg_catalog.pg_total_relation_size(c.oid)
  WHEN ${
  kindIs("p")
} THEN (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(tree.relid)), 0)::pg_catalog.int8
    FROM pg_catalog.pg_partition_tree(c.oid) AS tree) END`;

/** Whether a `pg_namespace` row `n` is a person's. */
export const IS_USERS = `NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
  AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'`;

/** The `pg_class` row `c` that the first of the names in `$1` leads to. */
export const NAMED = `(SELECT c.* FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS wanted(name, place)
  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(wanted.name)
  ORDER BY place LIMIT 1) AS c`;

/** What was found under a name. */
export interface Relation {
  /** What it is; more than tables have names. */
  kind: TableKind | "sequence" | "composite type" | "index";
}

/**
 * Makes sure that a name led to something with rows.
 *
 * @throws {LakebaseError} `QUERY_FAILED`, with the SQLSTATE that the server has for it and what was probably meant.
 */
export async function expectTable<R extends Relation>(
  find: FindSession,
  action: string,
  name: string,
  relation: R | undefined,
): Promise<R> {
  const cannot = `Cannot ${action} ${name}`;
  if (relation === undefined) {
    const missing = { code: "42P01", message: `relation "${name}" does not exist` };
    // Where it was missed: nothing has failed there, and PGlite keeps all others waiting while a transaction is open.
    const lookUp = (text: string, values: readonly unknown[]) => look<Record<string, unknown>>(find, text, values, {});
    const meant = await suggest({ lookUp }, missing, "").catch(() => undefined); // a guess is not worth an error of its own
    const hint = meant === undefined ? "" : `\nDid you mean ${meant}?`;
    throw new LakebaseError("QUERY_FAILED", `${cannot}: there is no such table${hint}`, { sqlstate: "42P01" });
  }
  if (["sequence", "composite type", "index"].includes(relation.kind)) {
    throw new LakebaseError("QUERY_FAILED", `${cannot}: it is no table (kind: ${relation.kind})`, {
      sqlstate: "42809",
    });
  }
  return relation;
}

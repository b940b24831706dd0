import { loadModule } from "../core/lazy_import.ts";
import { LakebaseError } from "../core/errors.ts";
import type { DescribedField } from "../sql/execution.ts";
import { textStatement } from "../sql/fragment.ts";
import type { StatementRows } from "../sql/result.ts";
import { type FindSession, run } from "../sql/run.ts";
import type { StopOptions } from "../sql/stop.ts";
import { DEFAULT_TYPES } from "../sql/types.ts";

/** The kind of a named relation that has rows. */
export type TableKind = "table" | "partitioned table" | "view" | "materialized view" | "foreign table";

/** Options of the methods that inspect the database. */
export interface ExploreOptions {
  /** Cancels the call on the server; the call then rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * Seconds that the call may take, including the wait for a connection.
   *
   * @default {no limit except the connection's `statementTimeout`}
   */
  timeout?: number;
}

/**
 * Runs a statement of this module. The default parsers convert its values, not those of the connection.
 *
 * @throws {LakebaseError} The errors of `run()`.
 */
export async function queryCatalog<Row>(
  find: FindSession,
  text: string,
  params: readonly unknown[] = [],
  options: StopOptions = {},
): Promise<StatementRows<Row>> {
  return await run<Row>(find, textStatement(text, params), { ...options, types: DEFAULT_TYPES });
}

/** SQL for whether a `pg_class` row `c` has one of these kinds. */
export function kindIs(...kinds: readonly string[]): string {
  return `c.relkind OPERATOR(pg_catalog.=) ANY ('{${kinds.join(",")}}')`;
}

/** SQL for the kind of a `pg_class` row `c`, in words. */
export const KIND =
  `coalesce(pg_catalog.json_object('{{r,table},{p,partitioned table},{v,view},{m,materialized view},{f,foreign table},
  {S,sequence},{c,composite type}}') OPERATOR(pg_catalog.->>) c.relkind::pg_catalog.text, 'index')`;

/** SQL for the number of rows of a `pg_class` row `c`, as the last ANALYZE estimated it; NULL if there was none. */
export const ROWS = `CASE WHEN ${
  kindIs("r", "m", "f")
} AND c.reltuples OPERATOR(pg_catalog.>=) 0 THEN c.reltuples::pg_catalog.int8
  WHEN ${kindIs("p")} THEN (SELECT pg_catalog.sum(leaf.reltuples)::pg_catalog.int8
    FROM pg_catalog.pg_partition_tree(c.oid) AS tree
    JOIN pg_catalog.pg_class AS leaf ON leaf.oid OPERATOR(pg_catalog.=) tree.relid
    WHERE tree.isleaf AND leaf.reltuples OPERATOR(pg_catalog.>=) 0) END`;

/**
 * SQL for the size of a `pg_class` row `c` in bytes, with its indexes, TOAST and partitions; NULL for a relation without storage,
 * such as a view.
 */
export const SIZE = `CASE WHEN ${kindIs("r", "m")} THEN pg_catalog.pg_total_relation_size(c.oid)
  WHEN ${
  kindIs("p")
} THEN (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(tree.relid)), 0)::pg_catalog.int8
    FROM pg_catalog.pg_partition_tree(c.oid) AS tree) END`;

/** SQL for whether a `pg_namespace` row `n` is not a system schema. */
export const IS_USER_SCHEMA = `NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
  AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'`;

/** SQL for the `pg_class` row `c` of the first name in the array `$1` that exists. */
export const NAMED_RELATION =
  `(SELECT c.* FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS candidate(name, ordinal)
  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(candidate.name)
  ORDER BY ordinal LIMIT 1) AS c`;

/** The relation that a name belongs to. */
export interface Relation {
  /** The kind; indexes and sequences share the names of tables. */
  kind: TableKind | "sequence" | "composite type" | "index";
}

/**
 * Makes sure that a name was found and has rows.
 *
 * @throws {LakebaseError} `QUERY_FAILED`, with the server's SQLSTATE and, for an unknown name, a suggestion.
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
    const { suggest } = await loadModule(() => import("../sql/diagnosis.ts"));
    // On the same session: its transaction did not fail, and PGlite lets no other session run while one is open.
    const queryIfFree = (text: string, values: readonly unknown[]) =>
      queryCatalog<Record<string, unknown>>(find, text, values, {});
    const suggestion = await suggest({ queryIfFree }, missing, "").catch(() => undefined); // the suggestion is optional
    const hint = suggestion === undefined ? "" : `\nDid you mean ${suggestion}?`;
    throw new LakebaseError("QUERY_FAILED", `${cannot}: there is no such table${hint}`, { sqlstate: "42P01" });
  }
  if (["sequence", "composite type", "index"].includes(relation.kind)) {
    throw new LakebaseError("QUERY_FAILED", `${cannot}: it is not a table (kind: ${relation.kind})`, {
      sqlstate: "42809",
    });
  }
  return relation;
}

/** The value of {@linkcode TABLE_COLUMNS}. */
export type TableColumns = [name: string, oid: number, modifier: number][] | null;

/**
 * SQL for the columns of a `pg_class` row `c`, for {@linkcode describedColumns}. NULL if the type of a column is a domain,
 * because the description of a query has the base type instead.
 */
export const TABLE_COLUMNS = `(SELECT CASE WHEN pg_catalog.bool_or(t.typtype OPERATOR(pg_catalog.=) 'd') THEN NULL ELSE
    pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod) ORDER BY a.attnum) END
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)`;

/** Gives the columns as a query's description would; `undefined` if they are not known. */
export function describedColumns(columns: TableColumns): DescribedField[] | undefined {
  return columns?.map(([name, dataTypeID, dataTypeModifier]) => ({ name, dataTypeID, dataTypeModifier }));
}

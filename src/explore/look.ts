import { textStatement } from "../query/fragment.ts";
import type { Result } from "../query/result.ts";
import { type FindSession, run } from "../query/run.ts";
import type { StopOptions } from "../query/stop.ts";
import { parserSource } from "../query/types.ts";

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
): Promise<Result<Row>> {
  return await run<Row>(find, textStatement(text, params), { ...options, types: TYPES });
}

/** What a `pg_class` row `c` is called. */
export const KIND = `CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
  WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'composite type'
  ELSE 'index' END`;

/** Rows of a `pg_class` row `c` as of its last analyze; NULL where there was none. */
export const ROWS = `CASE WHEN c.relkind IN ('r', 'm', 'f') AND c.reltuples >= 0 THEN c.reltuples::int8
  WHEN c.relkind = 'p' THEN (SELECT sum(leaf.reltuples)::int8 FROM pg_partition_tree(c.oid) AS tree
    JOIN pg_class AS leaf ON leaf.oid = tree.relid WHERE tree.isleaf AND leaf.reltuples >= 0) END`;

/** Bytes of a `pg_class` row `c` with its indexes, TOAST and partitions; NULL for what keeps no rows here. */
export const SIZE = `CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid)
  WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_total_relation_size(tree.relid)), 0)::int8
    FROM pg_partition_tree(c.oid) AS tree) END`;

/** Whether a `pg_namespace` row `n` is a person's. */
export const IS_USERS = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;

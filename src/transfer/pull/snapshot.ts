import { kindIs, TABLE_COLUMNS, type TableColumns } from "../../catalog/relation.ts";
import { LakebaseError, quotedOption } from "../../core/errors.ts";
import { Execution } from "../../sql/execution.ts";
import { exchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { DEFAULT_TYPES } from "../../sql/types.ts";

/** The facts that reading a table by its pages needs: a row for each table or partition that has pages. */
export interface SnapshotRow {
  /** The name by which other transactions take the same snapshot. */
  snapshot: string;
  /** The quoted name of the table, with its schema. */
  relation: string;
  /** The columns of the table; only in the first row. */
  columns: TableColumns;
  /** The `pg_class.relkind` of the table. */
  kind: string;
  /** Whether the table is temporary, so that other connections can't see it. */
  temporary: boolean;
  /** Whether tables that are not partitions inherit from it. */
  inherited: boolean;
  /** Whether row-level security applies to this role. */
  secured: boolean;
  /** The server's version, such as 150018. */
  version: number;
  /** Whether the server has one backend for all connections. */
  embedded: boolean;
  /** The quoted name of the partition, or of a plain table; null for a table without partitions. */
  name: string | null;
  /** The `pg_class.relkind` of the partition. */
  leafKind: string;
  /** Whether this role may read the partition. */
  readable: boolean;
  /** The table access method: `heap`, or that of an extension. */
  access: string | null;
  /** The number of pages of the heap. */
  pages: number;
  /** The bytes of the heap and of its TOAST table. */
  bytes: number;
}

/** The code for a relation that can't be locked, such as a foreign table. */
const WRONG_KIND = "42809";

const SNAPSHOT_ROUTINES: ReadonlySet<unknown> = new Set(["ImportSnapshot", "SetTransactionSnapshot"]);

const BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/** `$name` is replaced by a literal, because a query of several statements has no parameters. */
const FACTS =
  `WITH root AS (SELECT * FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $name::pg_catalog.regclass),
leaves AS (
  SELECT tree.relid AS oid, ordinality FROM root, pg_catalog.pg_partition_tree(root.oid) WITH ORDINALITY
    AS tree(relid, parent, isleaf, level, ordinality) WHERE root.relkind OPERATOR(pg_catalog.=) 'p' AND tree.isleaf
  UNION ALL SELECT oid, 0 FROM root WHERE relkind OPERATOR(pg_catalog.=) 'r')
SELECT (SELECT pg_catalog.pg_export_snapshot()) AS snapshot, c.relkind AS kind,
  (SELECT pg_catalog.format('%I.%I', nspname, c.relname) FROM pg_catalog.pg_namespace
    WHERE oid OPERATOR(pg_catalog.=) c.relnamespace) AS relation,
  CASE WHEN pg_catalog.row_number() OVER (ORDER BY leaves.ordinality) OPERATOR(pg_catalog.=) 1
    THEN ${TABLE_COLUMNS} END AS columns,
  c.relpersistence OPERATOR(pg_catalog.=) 't' AS temporary, ${kindIs("r")}
    AND EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent OPERATOR(pg_catalog.=) c.oid) AS inherited,
  pg_catalog.row_security_active(c.oid) AS secured,
  pg_catalog.current_setting('server_version_num')::int AS version,
  pg_catalog.strpos(pg_catalog.version(), 'emscripten') OPERATOR(pg_catalog.>) 0 AS embedded,
  CASE WHEN leaf.oid IS NOT NULL THEN pg_catalog.format('%I.%I', space.nspname, leaf.relname) END AS name,
  leaf.relkind AS "leafKind",
  pg_catalog.has_table_privilege(leaf.oid, 'SELECT') AS readable, access.amname AS access,
  pg_catalog.pg_relation_size(leaf.oid) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::int AS pages,
  pg_catalog.pg_table_size(leaf.oid) AS bytes
FROM root AS c LEFT JOIN leaves ON true
LEFT JOIN pg_catalog.pg_class AS leaf ON leaf.oid OPERATOR(pg_catalog.=) leaves.oid
LEFT JOIN pg_catalog.pg_namespace AS space ON space.oid OPERATOR(pg_catalog.=) leaf.relnamespace
LEFT JOIN pg_catalog.pg_am AS access ON access.oid OPERATOR(pg_catalog.=) leaf.relam ORDER BY leaves.ordinality`;

/**
 * Begins the transaction whose snapshot the others take, and reads the facts about the table in it. It locks the table
 * first, so that nobody rewrites its rows after the snapshot.
 */
export async function exportSnapshot(
  session: Session,
  lease: Lease,
  { name, table }: { name: string; table: string },
  signal: AbortSignal | undefined,
): Promise<SnapshotRow[]> {
  const facts = FACTS.replace("$name", () => literal(table));
  const text = `${BEGIN}; LOCK TABLE ${table} IN ACCESS SHARE MODE; ${facts}`;
  try {
    return await execute<SnapshotRow>(session, lease, text, signal);
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== WRONG_KIND) throw error;
    const kind = `ROLLBACK; SELECT relkind AS kind FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) ${
      literal(table)
    }::pg_catalog.regclass`;
    const [found] = await execute<SnapshotRow>(session, lease, kind, signal);
    throw notInParallel(name, noPages(found?.kind));
  }
}

/** A literal that does not depend on `standard_conforming_strings`. */
function literal(text: string): string {
  return `E'${text.replace(/['\\]/g, "$&$&")}'`;
}

/**
 * Begins a transaction with the snapshot of another one. The COPY is sent together with this text, which saves a round trip.
 * The lock does not wait: it would wait for ever behind a change of the table that itself waits for the first transaction.
 *
 * @param table The quoted name of the table.
 * @param snapshot The name of the exported snapshot.
 */
export function importText(table: string, snapshot: string): string {
  return `${BEGIN}; SET TRANSACTION SNAPSHOT '${snapshot}'; LOCK TABLE ${table} IN ACCESS SHARE MODE NOWAIT; `;
}

/** Whether the server refused a snapshot because its transaction has ended. The SQLSTATE depends on the server's version. */
export function isSnapshotGone(error: unknown): boolean {
  return SNAPSHOT_ROUTINES.has((error as { routine?: unknown } | null)?.routine);
}

async function execute<Row>(session: Session, lease: Lease, text: string, signal: AbortSignal | undefined) {
  const execution = new Execution({ text, values: [] }, { types: DEFAULT_TYPES });
  await exchange(session, lease, signal, execution);
  return execution.rows as Row[];
}

const KINDS: Record<string, string> = {
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
  S: "a sequence",
};

/**
 * The tables to read page by page.
 *
 * @param asked The name of the table in a message.
 * @param rows The facts about the table.
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason if the table can't be read page by page.
 */
export function pagedTables(asked: string, rows: readonly SnapshotRow[]): PagedTable[] {
  const reason = refusal(rows);
  if (reason !== undefined) throw notInParallel(asked, reason);
  // A table without partitions has no rows, but its file still has a header.
  return rows.map(({ name, relation, pages, bytes }) =>
    name === null ? { name: relation, pages: 0, bytes: 0 } : { name, pages, bytes }
  );
}

/** Makes the error for a pull that is not possible with `parallel`. */
export function notInParallel(table: string, reason: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot pull ${table} in parallel: ${reason}. Leave ${quotedOption("parallel")} out`,
  );
}

function refusal(rows: readonly SnapshotRow[]): string | undefined {
  const [root] = rows;
  if (root === undefined) return "there is no such table";
  if (root.embedded) return "the database of a Lakebase on this machine (PGlite) does one thing at a time";
  if (root.version < 140_000) return "the server is older than PostgreSQL 14, which can't read a table by its pages";
  if (root.temporary) return "it is a temporary table, which other connections can't see";
  if (root.inherited) return "other tables inherit from it";
  if (root.kind !== "r" && root.kind !== "p") {
    return noPages(root.kind);
  }
  if (root.kind === "p" && root.secured) {
    return "it has row-level security, and its partitions have their own";
  }
  return rows.map(leafRefusal).find((reason) => reason !== undefined);
}

function noPages(kind = ""): string {
  return `it is ${KINDS[kind] ?? "not a table"}, which has no pages`;
}

function leafRefusal({ kind, name, leafKind, readable, access }: SnapshotRow): string | undefined {
  if (name === null) return undefined;
  const which = kind === "p" ? `its partition ${name}` : "it";
  if (leafKind === "f") return `${which} is a foreign table, which has no pages`;
  if (access !== "heap") return `${which} keeps its rows with the access method "${access}", not in pages`;
  if (!readable) return `your role may read the table, but not ${which} directly`;
  return undefined;
}

/** A table that has pages: a plain table, or a partition. */
export interface PagedTable {
  /** The quoted name, with the schema. */
  name: string;
  /** The number of pages of the heap. */
  pages: number;
  /** The bytes of the heap and of its TOAST table. */
  bytes: number;
}

/** The pages of a table that one COPY reads. */
export interface PageRange {
  /** The quoted name of the table. */
  table: string;
  /** The first page. */
  from: number;
  /** The page after the last one; `undefined` for all pages that follow, because a table may grow. */
  to: number | undefined;
}

/**
 * The approximate bytes of all ranges that are read at the same time. Rows that arrive before their turn are kept in
 * memory.
 */
export const READ_AHEAD_BYTES: number = 32 * 1024 * 1024;
/** The least number of ranges for each connection, if there are enough pages. */
const RANGES_EACH = 4;
/** The least approximate bytes of a range. Starting a COPY costs the server as much as reading this many bytes. */
const MIN_RANGE_BYTES = 256 * 1024;

/**
 * Divides tables into ranges of similar size, in order.
 *
 * @param tables The table, or its partitions.
 * @param parallel The number of connections.
 * @returns Ranges with every page exactly once, and at least one range for each table.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(pageRanges([{ name: '"t"', pages: 100, bytes: 819_200 }], 2), [
 *   { table: '"t"', from: 0, to: 32 },
 *   { table: '"t"', from: 32, to: 64 },
 *   { table: '"t"', from: 64, to: 96 },
 *   { table: '"t"', from: 96, to: undefined },
 * ]);
 * ```
 */
export function pageRanges(tables: readonly PagedTable[], parallel: number): PageRange[] {
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  const size = parallel === 1
    ? Infinity
    : Math.min(READ_AHEAD_BYTES / parallel, Math.max(MIN_RANGE_BYTES, bytes / (parallel * RANGES_EACH)));
  return tables.flatMap((table) => {
    const fitting = table.bytes > size ? Math.floor(table.pages * size / table.bytes) : table.pages;
    const step = Math.max(1, fitting);
    const starts = Array.from({ length: Math.max(1, Math.ceil(table.pages / step)) }, (_, index) => index * step);
    return starts.map((from, index) => ({ table: table.name, from, to: starts[index + 1] }));
  });
}

/** The query for the rows of a range. */
export function rangeQuery(columns: string, { table, from, to }: PageRange): string {
  const end = to === undefined ? "" : ` AND ctid OPERATOR(pg_catalog.<) '(${to},0)'`;
  return `SELECT ${columns} FROM ONLY ${table} WHERE ctid OPERATOR(pg_catalog.>=) '(${from},0)'${end}`;
}

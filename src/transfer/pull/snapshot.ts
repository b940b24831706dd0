import { kindIs, TABLE_COLUMNS, type TableColumns } from "../../catalog/relation.ts";
import { LakebaseError, quotedOption } from "../../core/errors.ts";
import { Execution } from "../../sql/execution.ts";
import { runExchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { DEFAULT_TYPES } from "../../sql/types.ts";
import type { PagedTable } from "./page_ranges.ts";

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
    const kindText = `ROLLBACK; SELECT relkind AS kind FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) ${
      literal(table)
    }::pg_catalog.regclass`;
    const [row] = await execute<SnapshotRow>(session, lease, kindText, signal);
    throw notInParallel(name, noPages(row?.kind));
  }
}

/** A literal that does not depend on `standard_conforming_strings`. */
function literal(text: string): string {
  return `E'${text.replace(/['\\]/g, "$&$&")}'`;
}

/**
 * Gives the SQL that begins a transaction with the snapshot of another one. The COPY is sent together with this text, which
 * saves a round trip. The lock does not wait: it would wait forever behind a change of the table that itself waits for the
 * first transaction.
 *
 * @param table The quoted name of the table.
 * @param snapshot The name of the exported snapshot.
 */
export function importSnapshotText(table: string, snapshot: string): string {
  return `${BEGIN}; SET TRANSACTION SNAPSHOT '${snapshot}'; LOCK TABLE ${table} IN ACCESS SHARE MODE NOWAIT; `;
}

/**
 * Whether the server refused a snapshot because its transaction has ended. The server's routine tells, because the SQLSTATE
 * depends on the server's version.
 */
export function isSnapshotGone(error: unknown): boolean {
  return SNAPSHOT_ROUTINES.has((error as { routine?: unknown } | null)?.routine);
}

async function execute<Row>(session: Session, lease: Lease, text: string, signal: AbortSignal | undefined) {
  const execution = new Execution({ text, values: [] }, { types: DEFAULT_TYPES });
  await runExchange(session, lease, signal, execution);
  return execution.rows as Row[];
}

/** The names of the values of `pg_class.relkind`. */
const KINDS: Readonly<Record<string, string>> = {
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
  S: "a sequence",
};

/**
 * Gives the tables to read page by page: the table itself, or its partitions.
 *
 * @param name The name of the table in a message.
 * @param rows The facts about the table.
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason if the table can't be read page by page.
 */
export function pagedTables(name: string, rows: readonly SnapshotRow[]): PagedTable[] {
  const reason = refusal(rows);
  if (reason !== undefined) throw notInParallel(name, reason);
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

/** Returns the reason why a table can't be read page by page; `undefined` if it can. */
function refusal(rows: readonly SnapshotRow[]): string | undefined {
  const [root] = rows;
  if (root === undefined) return "there is no such table";
  if (root.embedded) return "the database of a Lakebase on this machine (PGlite) does one thing at a time";
  if (root.version < 140_000) return "the server is older than PostgreSQL 14, which can't read a table by its pages";
  if (root.temporary) return "it is a temporary table, which other connections can't see";
  if (root.inherited) return "other tables inherit from it";
  if (root.kind !== "r" && root.kind !== "p") return noPages(root.kind);
  if (root.kind === "p" && root.secured) return "it has row-level security, and its partitions have their own";
  return rows.map(partitionRefusal).find((reason) => reason !== undefined);
}

function noPages(kind = ""): string {
  return `it is ${KINDS[kind] ?? "not a table"}, which has no pages`;
}

function partitionRefusal({ kind, name, leafKind, readable, access }: SnapshotRow): string | undefined {
  if (name === null) return undefined;
  const subject = kind === "p" ? `its partition ${name}` : "it";
  if (leafKind === "f") return `${subject} is a foreign table, which has no pages`;
  if (access !== "heap") return `${subject} keeps its rows with the access method "${access}", not in pages`;
  if (!readable) return `your role may read the table, but not ${subject} directly`;
  return undefined;
}

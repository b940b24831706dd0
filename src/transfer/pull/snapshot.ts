import { kindIs } from "../../catalog/relation.ts";
import { TABLE_COLUMNS, type TableColumns } from "../../catalog/table_columns.ts";
import { LakebaseError, quotedOption } from "../../core/errors.ts";
import { Execution } from "../../sql/execution.ts";
import { exchange } from "../../sql/run.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { parserSource } from "../../sql/types.ts";
import type { PagedTable } from "./parallel.ts";

/** What has to be known of a table to read it by its pages; a row for each table that has pages of its own. */
export interface SnapshotRow {
  /** The name under which other transactions see what this one sees. */
  snapshot: string;
  /** The quoted name of the table that was asked for, with its schema. */
  relation: string;
  /** Its columns; in the first row alone. */
  columns: TableColumns;
  /** Its `pg_class.relkind`. */
  kind: string;
  /** Whether other connections can't see it. */
  temporary: boolean;
  /** Whether other tables inherit from it, not as partitions. */
  inherited: boolean;
  /** Whether policies say which of its rows this role sees. */
  secured: boolean;
  /** The server's version, such as 150018. */
  version: number;
  /** Whether the server has one backend for all connections. */
  embedded: boolean;
  /** The quoted name of the table or partition; null where it has none. */
  name: string | null;
  /** Its `pg_class.relkind`. */
  leafKind: string;
  /** Whether this role may read it. */
  readable: boolean;
  /** How it keeps its rows: `heap`, or what an extension brought. */
  access: string | null;
  /** Pages of its heap. */
  pages: number;
  /** Bytes of it all. */
  bytes: number;
}

const TYPES = parserSource();

/** A foreign table, for one, can't be locked. */
const WRONG_KIND = "42809";

const SNAPSHOT_ROUTINES: ReadonlySet<unknown> = new Set(["ImportSnapshot", "SetTransactionSnapshot"]);

const BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/** `$name` goes in as a literal: of several statements in one, none takes parameters. */
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
 * Begins the transaction whose snapshot the others take, and looks at the table in it. The table is locked first, so that
 * what the snapshot shows is not rewritten meanwhile.
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

/** The same whether the server takes back-slashes for themselves or not. */
function literal(text: string): string {
  return `E'${text.replace(/['\\]/g, "$&$&")}'`;
}

/**
 * Begins a transaction that sees what another one sees; the COPY behind it is sent with it, since over a long line a round
 * trip more is time without rows. The lock does not wait: behind a change of the table that waits for the first transaction,
 * it would wait for ever.
 *
 * @param table Its quoted name.
 * @param snapshot What the first transaction exported.
 */
export function importText(table: string, snapshot: string): string {
  return `${BEGIN}; SET TRANSACTION SNAPSHOT '${snapshot}'; LOCK TABLE ${table} IN ACCESS SHARE MODE NOWAIT; `;
}

/** Whether the server refused a snapshot: the transaction that exported it has ended. The SQLSTATE differs with its version. */
export function isSnapshotGone(error: unknown): boolean {
  return SNAPSHOT_ROUTINES.has((error as { routine?: unknown } | null)?.routine);
}

async function execute<Row>(session: Session, lease: Lease, text: string, signal: AbortSignal | undefined) {
  const execution = new Execution({ text, values: [] }, { types: TYPES });
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
 * @param asked What a person calls the table that was asked for.
 * @param rows What is known of it.
 * @throws {LakebaseError} `BAD_PARAMETER` with the reason where it can't be read so.
 */
export function pagedTables(asked: string, rows: readonly SnapshotRow[]): PagedTable[] {
  const reason = refusal(rows);
  if (reason !== undefined) throw notInParallel(asked, reason);
  // Without a partition there is nothing to read, but a file still has a header.
  return rows.map(({ name, relation, pages, bytes }) =>
    name === null ? { name: relation, pages: 0, bytes: 0 } : { name, pages, bytes }
  );
}

/** A pull that has to do without `parallel`. */
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
    return "policies say which rows of it you see, and its partitions have their own";
  }
  return rows.map(leafRefusal).find((reason) => reason !== undefined);
}

function noPages(kind = ""): string {
  return `it is ${KINDS[kind] ?? "no table"}, without pages to share out`;
}

function leafRefusal({ kind, name, leafKind, readable, access }: SnapshotRow): string | undefined {
  if (name === null) return undefined;
  const which = kind === "p" ? `its partition ${name}` : "it";
  if (leafKind === "f") return `${which} is a foreign table, without pages to share out`;
  if (access !== "heap") return `${which} keeps its rows as "${access}", not in pages`;
  if (!readable) return `your role may read it, but not ${which} by itself`;
  return undefined;
}

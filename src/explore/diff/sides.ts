import { possibleNames } from "../../catalog/names.ts";
import { expectTable, KIND, NAMED_RELATION, queryCatalog, type Relation } from "../../catalog/relation.ts";
import { readOnly } from "../../catalog/source.ts";
import { LakebaseError } from "../../core/errors.ts";
import type { Fragment } from "../../sql/fragment.ts";
import type { FindSession } from "../../sql/run.ts";
import type { StopOptions } from "../../sql/stop.ts";
import { tableName } from "../listings.ts";

/** A value of each of the two databases. */
export interface Pair<T> {
  /** The value of the database whose `diff()` was called. */
  readonly before: T;
  /** The value of the other database. */
  readonly after: T;
}

/** One of the two databases. */
export interface Side {
  /** Finds the database's session. */
  find: FindSession;
  /** The name of the database in drawings. */
  name: string;
}

/** Does the same work on both sides at the same time. */
export async function mapPair<T, R>({ before, after }: Pair<T>, work: (one: T) => Promise<R>): Promise<Pair<R>> {
  const [first, second] = await Promise.all([work(before), work(after)]);
  return { before: first, after: second };
}

/**
 * Runs statements on both databases, each in a read-only transaction that sees one state of its database. If a database
 * already has an open transaction, its statements are part of that transaction.
 *
 * @param settings Settings of the servers, besides those that give equal values equal texts.
 * @throws {LakebaseError} `BAD_PARAMETER` if the databases can't be compared.
 */
export async function onBoth<T>(
  sides: Pair<Side>,
  { signal }: StopOptions,
  settings: Readonly<Record<string, string>>,
  work: (tx: Pair<FindSession>) => Promise<T>,
): Promise<T> {
  checkServers(
    await mapPair(sides, async ({ find }) => (await queryCatalog<ServerFacts>(find, SERVER_FACTS, [], { signal }))[0]!),
  );
  const allSettings = { ...TEXT_SETTINGS, ...settings };
  const [before, after] = [await sides.before.find(), await sides.after.find()];
  return await readOnly(
    before,
    { signal },
    (one) => readOnly(after, { signal }, (other) => work({ before: one, after: other }), allSettings),
    allSettings,
  );
}

/** Settings that change the texts of values, and `jit`: compiling a large query would take longer than it saves. */
const TEXT_SETTINGS = {
  DateStyle: "ISO, MDY",
  IntervalStyle: "postgres",
  TimeZone: "UTC",
  bytea_output: "hex",
  extra_float_digits: "1",
  lc_monetary: "C",
  jit: "off",
};

/** The facts that decide whether two databases can be compared. */
interface ServerFacts {
  /** The encoding of the database. */
  encoding: string;
  /** The hash of a fixed text. */
  hash: string;
  /** When the server started, which identifies its process. */
  started: string;
  /** Whether the server is a PGlite, which has one backend for all connections. */
  embedded: boolean;
}

const SERVER_FACTS = `SELECT pg_catalog.current_setting('server_encoding') AS encoding,
  pg_catalog.hashtextextended('lakebase' COLLATE pg_catalog."C", 0)::pg_catalog.text AS hash,
  extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS started,
  pg_catalog.strpos(pg_catalog.version(), 'emscripten') OPERATOR(pg_catalog.>) 0 AS embedded`;

function checkServers({ before, after }: Pair<ServerFacts>): void {
  const cannot = (state: string) => new LakebaseError("BAD_PARAMETER", `Cannot compare the databases: ${state}`);
  if (before.embedded && after.embedded && before.started === after.started) {
    throw cannot(
      "both connections are to one PGlite, which runs one transaction at a time; diff() needs a branch of this database",
    );
  }
  if (before.encoding !== after.encoding) {
    throw cannot(
      `one has the encoding ${before.encoding}, the other ${after.encoding}, so the bytes of equal texts differ`,
    );
  }
  if (before.hash !== after.hash) {
    throw cannot("the two servers hash texts in different ways (are the processors of different kinds?)");
  }
}

/** A column of a table. */
interface ComparedColumn {
  name: string;
  /** The quoted name. */
  quoted: string;
  /** The type in SQL, such as `numeric(10,2)`. */
  type: string;
}

/** A table of one of the databases, as its catalog describes it. */
interface SideTable extends Relation {
  schema: string;
  name: string;
  /** The quoted name, with the schema. */
  quoted: string;
  columns: ComparedColumn[];
  /** The columns of the primary key, and then those of each other unique index that identifies a row. */
  keys: string[][];
}

/** The parts of a table of both databases that are compared. */
export interface ComparedTable {
  /** The name with its schema, for texts. */
  name: string;
  /** The quoted name with its schema. */
  quoted: string;
  /** The columns that both tables have, in the order of the first table, with those of the key. */
  columns: readonly ComparedColumn[];
  /** The names of the columns that identify a row; `undefined` if no key is the same in both tables. */
  key: readonly string[] | undefined;
  /** The columns that the other table does not have. */
  only: Pair<readonly string[]>;
  /** The columns whose types differ. */
  types: readonly ({ column: string } & Pair<string>)[];
}

/** SQL for the indexes that identify a row: unique indexes of all rows, on plain columns that are never NULL. */
const KEYS = `(SELECT pg_catalog.json_agg((SELECT pg_catalog.json_agg(a.attname ORDER BY k.position)
    FROM pg_catalog.unnest((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]) WITH ORDINALITY AS k(num, position)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.=) k.num)
    ORDER BY NOT i.indisprimary, i.indexrelid)
  FROM pg_catalog.pg_index AS i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid
  AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
    AND a.attnum OPERATOR(pg_catalog.=) ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1])
    AND NOT a.attnotnull))`;

const TABLE = `SELECT n.nspname AS schema, c.relname AS name, ${KIND} AS kind,
  pg_catalog.format('%I.%I', n.nspname, c.relname) AS quoted, coalesce(${KEYS}, '[]') AS keys,
  coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
      'quoted', pg_catalog.quote_ident(a.attname), 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
    AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped), '[]') AS columns
  FROM ${NAMED_RELATION} JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace`;

/**
 * Finds a table in both databases. The first database determines the schema, so that another `search_path` in the second does
 * not find another table.
 *
 * @throws {LakebaseError} `QUERY_FAILED` if a database has no such table; `BAD_PARAMETER` for anything but a table's name.
 */
export async function findComparedTable(tx: Pair<FindSession>, table: string | Fragment): Promise<ComparedTable> {
  const name = tableName(table, "compare", "diff()");
  const before = await readTable(tx.before, "compare", name, possibleNames(name));
  const qualified = `${before.schema}.${before.name}`;
  const after = await readTable(tx.after, "compare with the other database's", qualified, [before.quoted]);
  return commonParts({ before, after });
}

async function readTable(
  tx: FindSession,
  action: string,
  name: string,
  names: readonly string[],
): Promise<SideTable> {
  const [row] = await queryCatalog<SideTable>(tx, TABLE, [names]);
  return await expectTable(tx, action, name, row);
}

/** Finds the columns and the key that two tables have in common. */
function commonParts({ before, after }: Pair<SideTable>): ComparedTable {
  const afterColumns = new Map(after.columns.map((column) => [column.name, column]));
  const beforeNames = new Set(before.columns.map(({ name }) => name));
  const columns = before.columns.filter(({ name }) => afterColumns.has(name));
  if (columns.length === 0 && before.columns.length + after.columns.length > 0) throw noCommonColumn(before);
  const isSame = (one: readonly string[], other: readonly string[]) =>
    one.toSorted().join("\0") === other.toSorted().join("\0");
  return {
    name: `${before.schema}.${before.name}`,
    quoted: before.quoted,
    columns,
    key: before.keys.find((key) => after.keys.some((other) => isSame(key, other))),
    only: {
      before: before.columns.filter(({ name }) => !afterColumns.has(name)).map(({ name }) => name),
      after: after.columns.filter(({ name }) => !beforeNames.has(name)).map(({ name }) => name),
    },
    types: columns.map(({ name, type }) => ({ column: name, before: type, after: afterColumns.get(name)!.type }))
      .filter(({ before, after }) => before !== after),
  };
}

function noCommonColumn({ schema, name }: SideTable): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot compare the rows of ${schema}.${name}: the two tables have no column in common; compare the schemas: db.diff(other)`,
  );
}

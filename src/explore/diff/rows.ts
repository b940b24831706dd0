import type { ExploreOptions } from "../../catalog/relation.ts";
import { Cursor } from "../../sql/cursor.ts";
import { type Fragment, textStatement } from "../../sql/fragment.ts";
import { checkCall, COUNT } from "../../sql/options.ts";
import { type Field, fieldsFor, type ListingParts, RowReader } from "../../sql/result.ts";
import type { FindSession } from "../../sql/run.ts";
import { stoppable } from "../../sql/stop.ts";
import { SERVER_TEXTS } from "../../sql/types.ts";
import { bucketCondition, compareBuckets, type DifferingBuckets, type HashedTable, hashedTable } from "./buckets.ts";
import { drawRows, sortByKey } from "./drawn_rows.ts";
import { type ComparedTable, findComparedTable, mapPair, onBoth, type Pair, type Side } from "./sides.ts";

/** Options of `diff()`. */
export interface DiffOptions extends ExploreOptions {
  /** The maximum number of rows to keep. All rows that differ are counted. Only with a table. @default {1000} */
  limit?: number;
}

/** A row that differs. */
export interface RowDifference {
  /** Whether the row is only in the other database (`added`), only in this one (`removed`), or in both (`changed`). */
  change: "added" | "removed" | "changed";
  /** The values of the key. */
  key: Record<string, unknown>;
  /** The names of the columns that differ; none if the row was added or removed. */
  columns: string[];
  /** The row of this database; `null` if it has none. */
  before: Record<string, unknown> | null;
  /** The row of the other database; `null` if it has none. */
  after: Record<string, unknown> | null;
}

/** The facts of the comparison of a table besides the rows. */
export interface TableDiffFacts {
  /** The table's name with its schema. */
  readonly table: string;
  /** The columns that identify a row; `null` if the two tables share no key, so that whole rows are counted. */
  readonly key: readonly string[] | null;
  /** The number of rows that only the other database has. */
  readonly added: number;
  /** The number of rows that only this database has. */
  readonly removed: number;
  /** The number of rows that both have and that differ; 0 without a key. */
  readonly changed: number;
  /** The number of all rows: `before` in this database, `after` in the other one. */
  readonly total: Pair<number>;
  /** The columns that the other table does not have, so that they were not compared. */
  readonly only: Pair<readonly string[]>;
  /** The columns whose types differ; their values were compared as text. */
  readonly types: readonly ({ column: string } & Pair<string>)[];
  /** The number of rows that came from both servers to find the differences. */
  readonly fetched: number;
}

/**
 * Up to this many rows are fetched with all columns. If there are more, first the hashes are fetched, then the rows that
 * differ.
 */
const MAX_WHOLE_ROWS = 10_000;

/** Compares the rows of a table in two databases. See `Lakebase.diff`. */
export async function diffRows(
  sides: Pair<Side>,
  table: string | Fragment,
  options: DiffOptions,
): Promise<ListingParts<RowDifference, TableDiffFacts>> {
  const { limit = 1000 } = checkCall("compare the tables", options, { limit: COUNT });
  using stop = stoppable(options, "the comparison");
  const started = performance.now();
  const { rows, facts, columnTypes } = await onBoth(sides, stop, {}, async (tx) => {
    const compared = await findComparedTable(tx, table);
    const hashed = hashedTable(compared);
    const { rows: total, differing } = await compareBuckets(tx, hashed);
    const { name, key = null, only, types } = compared;
    const differences = key === null
      ? await countWholeRows(tx, hashed, differing)
      : await findRows({ tx, compared, hashed, differing, limit });
    return { ...differences, facts: { table: name, key, ...differences.counts, total, only, types } };
  });
  stop.succeeded();
  const elapsed = performance.now() - started;
  const names = { before: sides.before.name, after: sides.after.name };
  const draw = (drawn: readonly RowDifference[]) => drawRows(facts, drawn, { names, elapsed, columnTypes });
  return { rows: sortByKey(rows), fields: DIFFERENCE_FIELDS, elapsed, facts, draw };
}

const DIFFERENCE_FIELDS = fieldsFor({ change: "text", key: "json", columns: "json", before: "json", after: "json" });

/** The rows that differ. */
interface Differences {
  /** The rows, up to the limit. */
  rows: RowDifference[];
  /** The numbers of all rows that differ. */
  counts: Pick<TableDiffFacts, "added" | "removed" | "changed" | "fetched">;
  /** The Postgres types of the columns of the rows, by name. */
  columnTypes: ReadonlyMap<string, string>;
}

const NO_DIFFERENCES: Differences = {
  rows: [],
  counts: { added: 0, removed: 0, changed: 0, fetched: 0 },
  columnTypes: new Map(),
};

/** Counts the rows that one side has more often than the other, for tables without a common key. */
async function countWholeRows(
  tx: Pair<FindSession>,
  table: HashedTable,
  differing: DifferingBuckets,
): Promise<Differences> {
  if (differing.rows === 0) return NO_DIFFERENCES;
  const counts = { ...NO_DIFFERENCES.counts };
  const [condition, values] = bucketCondition(table, differing);
  const text =
    `SELECT ${table.keyHash} AS h, ${table.identity} AS k, pg_catalog.count(*) AS n FROM ${table.from} ${condition}
    GROUP BY 1, 2 ORDER BY 1`;
  const { fetched } = await merge(tx, { text, values }, ({ before, after }) => {
    const added = Number(after?.["n"] ?? 0) - Number(before?.["n"] ?? 0);
    if (added > 0) counts.added += added;
    else counts.removed -= added;
  });
  return { ...NO_DIFFERENCES, counts: { ...counts, fetched } };
}

/** The search for the rows of a table that differ by their key. */
interface RowSearch {
  tx: Pair<FindSession>;
  compared: ComparedTable;
  hashed: HashedTable;
  differing: DifferingBuckets;
  /** The maximum number of rows to keep. */
  limit: number;
}

/** Finds the rows that differ. Many rows are first compared by their hashes, and those that differ fetched up to the limit. */
async function findRows(search: RowSearch): Promise<Differences> {
  const { tx, hashed, differing, limit } = search;
  if (differing.rows === 0) return NO_DIFFERENCES;
  const [condition, values] = bucketCondition(hashed, differing);
  if (differing.rows <= MAX_WHOLE_ROWS) return await fetchRows(search, condition, values);
  const counts = { ...NO_DIFFERENCES.counts };
  const keyHashes: string[] = [];
  const text = `SELECT ${hashed.keyHash} AS h, ${hashed.identity} AS k, ${hashed.rowHash} AS c
    FROM ${hashed.from} ${condition} ORDER BY 1`;
  const { fetched } = await merge(tx, { text, values }, ({ before, after }) => {
    const change = changeOf(before, after, () => before!["c"] !== after!["c"]);
    if (change === undefined) return;
    counts[change]++;
    if (keyHashes.length < limit) keyHashes.push((before ?? after)!["h"]!);
  });
  const isKept = `WHERE ${hashed.keyHash} OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])`;
  const kept = await fetchRows(search, isKept, [keyHashes]);
  return { ...kept, counts: { ...counts, fetched: fetched + kept.counts.fetched } };
}

function changeOf(
  before: TextRow | undefined,
  after: TextRow | undefined,
  differ: () => boolean,
): RowDifference["change"] | undefined {
  if (before === undefined) return "added";
  if (after === undefined) return "removed";
  return differ() ? "changed" : undefined;
}

/** Fetches whole rows, and keeps those that differ, up to the limit. */
async function fetchRows(
  { tx, compared: { columns, key }, hashed, limit }: RowSearch,
  condition: string,
  values: readonly unknown[],
): Promise<Differences> {
  const names = columns.map((_, index) => `c${index}`);
  const text = `SELECT ${hashed.keyHash} AS h, ${hashed.identity} AS k, ${
    columns.map(({ quoted }, index) => `t.${quoted} AS c${index}`).join(", ")
  } FROM ${hashed.from} ${condition} ORDER BY 1`;
  const counts = { added: 0, removed: 0, changed: 0 };
  const kept: ({ change: RowDifference["change"] } & RowPair)[] = [];
  const { fetched, fields } = await merge(tx, { text, values }, (pair) => {
    const { before, after } = pair;
    const change = changeOf(before, after, () => names.some((name) => before![name] !== after![name]));
    if (change === undefined) return;
    counts[change]++;
    if (kept.length < limit) kept.push({ change, ...pair });
  });
  const read = {
    before: await valueReader(tx.before, columns, fields.before),
    after: await valueReader(tx.after, columns, fields.after),
  };
  const rows = kept.map(({ change, before, after }): RowDifference => {
    const [one, other] = [before && read.before(before), after && read.after(after)];
    const whole = (other ?? one)!;
    return {
      change,
      key: Object.fromEntries(key!.map((name) => [name, whole[name]])),
      columns: change === "changed"
        ? columns.flatMap(({ name }, index) => before![`c${index}`] === after![`c${index}`] ? [] : name)
        : [],
      before: one ?? null,
      after: other ?? null,
    };
  });
  const readFields = fields.before.length > 0 ? fields.before : fields.after;
  const columnTypes = new Map(columns.map(({ name }, index) => [name, readFields[index + 2]!.type]));
  return { rows, counts: { ...counts, fetched }, columnTypes };
}

/** Makes a function that parses the texts of a row in the same way as a query does. */
async function valueReader(
  find: FindSession,
  columns: ComparedTable["columns"],
  fields: readonly Field[],
): Promise<(row: TextRow) => Record<string, unknown>> {
  const { types, catalog } = await find();
  const named = columns.map(({ name }, index) => ({ ...fields[index + 2]!, name, key: name }));
  const reader = new RowReader(named, types, catalog);
  return (row) => reader.read(columns.map((_, index) => row[`c${index}`]!)) as Record<string, unknown>;
}

/** A row as the server's texts. The rows are in the order of the hash `h`, and `k` distinguishes rows of one hash. */
type TextRow = Readonly<Record<string, string | null>>;

/** The rows of both sides with one key. A side that has no such row is missing. */
interface RowPair {
  before?: TextRow;
  after?: TextRow;
}

/** A statement whose rows are in the order of `h`. */
interface OrderedQuery {
  /** The SQL. */
  text: string;
  /** The parameters. */
  values: readonly unknown[];
}

/** The result of {@linkcode merge}. */
interface MergeResult {
  /** The number of rows that came from both servers. */
  fetched: number;
  /** The columns on each side; none on a side without rows. */
  fields: Pair<readonly Field[]>;
}

/**
 * Runs the same statement on both servers, and reads the rows of both batch by batch. Visits the rows with the same `h` and
 * `k` as a pair, and a row that the other side does not have alone.
 */
async function merge(
  tx: Pair<FindSession>,
  query: OrderedQuery,
  visit: (pair: RowPair) => void,
): Promise<MergeResult> {
  const { before, after } = await mapPair(tx, (find) => OrderedRows.open(find, query));
  await using _before = before;
  await using _after = after;
  const fill = async () => void await Promise.all([before.fill(), after.fill()]);
  for (;;) {
    if (!before.ready || !after.ready) await fill();
    const { hash: here } = before;
    const { hash: there } = after;
    if (here === undefined && there === undefined) break;
    if (there === undefined || here !== undefined && here < there) visit({ before: before.take() });
    else if (here === undefined || there < here) visit({ after: after.take() });
    else {
      const pair = { before: before.take(), after: after.take() };
      if (!before.ready || !after.ready) await fill();
      if (pair.before["k"] === pair.after["k"] && before.hash !== here && after.hash !== here) visit(pair);
      else pairUp([pair.before, ...await before.takeAll(here)], [pair.after, ...await after.takeAll(here)], visit);
    }
  }
  return { fetched: before.taken + after.taken, fields: { before: before.fields, after: after.fields } };
}

/** Pairs the rows of one hash. Nearly always there is one row on each side. */
function pairUp(
  before: readonly TextRow[],
  after: readonly TextRow[],
  visit: (pair: RowPair) => void,
): void {
  const others = new Map(after.map((row) => [row["k"], row]));
  for (const row of before) {
    const other = others.get(row["k"]);
    others.delete(row["k"]);
    visit(other === undefined ? { before: row } : { before: row, after: other });
  }
  for (const row of others.values()) visit({ after: row });
}

/** The rows of a statement. Only one batch of them is in memory. */
class OrderedRows implements AsyncDisposable {
  readonly #cursor: Cursor;
  #rows: readonly TextRow[] = [];
  #next = 0;
  #hash: bigint | undefined;
  /** The number of rows that were taken. */
  taken = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  static async open(find: FindSession, { text, values }: OrderedQuery): Promise<OrderedRows> {
    const session = await find();
    return new OrderedRows(new Cursor(session, textStatement(text, values), session.signal, SERVER_TEXTS));
  }

  /** Whether the next row is in memory, or there are no more rows. */
  get ready(): boolean {
    return this.#next < this.#rows.length || this.#cursor.ended;
  }

  get fields(): readonly Field[] {
    return this.#cursor.answer.fields;
  }

  /** The hash of the next row; `undefined` if there is none. */
  get hash(): bigint | undefined {
    if (this.#next >= this.#rows.length) return undefined;
    return this.#hash ??= BigInt(this.#rows[this.#next]!["h"]!);
  }

  /** Reads the next batch, if the rows in memory are taken. */
  async fill(): Promise<void> {
    while (!this.ready) {
      this.#rows = await this.#cursor.batch() as TextRow[];
      this.#next = 0;
    }
  }

  take(): TextRow {
    this.taken++;
    this.#hash = undefined;
    return this.#rows[this.#next++]!;
  }

  /** Takes all next rows with a hash. */
  async takeAll(hash: bigint): Promise<TextRow[]> {
    const rows: TextRow[] = [];
    while (this.hash === hash) {
      rows.push(this.take());
      if (!this.ready) await this.fill();
    }
    return rows;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cursor[Symbol.asyncDispose]();
  }
}

/**
 * Finds the rows that may differ without fetching the others. The hash of a row's key determines its bucket, so both servers
 * put the row into the same bucket, whatever its types and the collation are. Each server adds up the hashes of the rows in
 * each bucket. Buckets with equal counts and sums are equal. If the buckets that differ have many rows, they are split into
 * smaller ones.
 */

import { queryCatalog } from "../../catalog/relation.ts";
import { plannedRows } from "../../catalog/source.ts";
import type { FindSession } from "../../sql/run.ts";
import { type ComparedTable, mapPair, type Pair } from "./sides.ts";

/** SQL expressions for the hashes of a table's rows. */
export interface HashedTable {
  /** The table, under the alias `t`. */
  from: string;
  /** The text that distinguishes rows with equal hashes: the key, or for rows without a key a second hash of the row. */
  identity: string;
  /** The hash of a row's key, as `int8`. */
  keyHash: string;
  /** The hash of a whole row, as `int8`. */
  rowHash: string;
}

/** Writes the SQL for a table. If the table has no key, all columns together identify a row. */
export function hashedTable({ quoted, columns, key }: ComparedTable): HashedTable {
  const from = `${quoted} AS t`;
  const whole = rowText(columns.map(({ quoted }) => `t.${quoted}`));
  if (key === undefined) return { from, identity: hash(whole, 1), keyHash: hash(whole, 0), rowHash: hash(whole, 0) };
  const keys = columns.filter(({ name }) => key.includes(name));
  const [first] = keys;
  const identity = keys.length === 1 && CAST_TYPES.has(first!.type)
    ? `(t.${first!.quoted}::pg_catalog.text COLLATE pg_catalog."C")`
    : rowText(keys.map(({ quoted, type }) => {
      // Equal numbers, such as 1.0 and 1.00, can have different texts.
      return /^numeric(\([\d,-]+\))?$/.test(type) ? `pg_catalog.trim_scale(t.${quoted})` : `t.${quoted}`;
    }));
  return { from, identity, keyHash: hash(identity, 0), rowHash: hash(whole, 1) };
}

/** Types whose built-in cast gives each value its own text. The cast takes half as long as {@linkcode rowText}. */
const CAST_TYPES = new Set(["smallint", "integer", "bigint", "text", "uuid"]);

/** SQL for the text of a row, which the output functions of its types write. NULL and an empty text differ in it. */
function rowText(columns: readonly string[]): string {
  return `(ROW(${columns.join(", ")})::pg_catalog.text COLLATE pg_catalog."C")`;
}

/**
 * SQL for the hash of a text. Keys and rows have different seeds. Otherwise a row without further columns would have the hash
 * of its key, whose first bits are the same in the whole bucket.
 */
function hash(text: string, seed: number): string {
  return `pg_catalog.hashtextextended(${text}, ${seed}::pg_catalog.int8)`;
}

/** The buckets that differ. */
export interface DifferingBuckets {
  /** The number of bits of the hash, from the highest, that determine the bucket. */
  bits: number;
  /** The numbers of the buckets; `undefined` for all rows, if nearly all buckets differ. */
  buckets: readonly number[] | undefined;
  /** The number of rows in these buckets, on the side that has more of them. */
  rows: number;
}

/** The result of comparing all buckets. */
interface BucketComparison {
  /** The number of all rows. */
  rows: Pair<number>;
  /** The buckets that differ, after splitting. */
  differing: DifferingBuckets;
}

/**
 * The desired rows of a bucket. If a bucket had more, fetching them to find one that differs would cost more than
 * splitting it.
 */
const ROWS_PER_BUCKET = 32;
/** The maximum number of sums that a server sends at a time, to limit the memory. */
const MAX_BUCKETS = 65_536;
const MIN_BITS = 4;
/** The number of a bucket must be exact in JavaScript. */
const MAX_BITS = 50;
/** If more than this fraction of the buckets differ, reading all rows costs less than choosing the rows of these buckets. */
const NEARLY_ALL = 0.9;
/** Up to this many rows are fetched without splitting their buckets, because each split reads the table once more. */
const MAX_UNSPLIT_ROWS = 20_000;

/** Compares the buckets of both tables. */
export async function compareBuckets(tx: Pair<FindSession>, table: HashedTable): Promise<BucketComparison> {
  const planned = await mapPair(tx, (find) => plannedRows(find, table.from));
  const compare = async (scope: BucketSelection) =>
    compareSums(await mapPair(tx, (find) => readSums(find, table, scope)), scope);
  const buckets = Math.min(Math.max(planned.before, planned.after) / ROWS_PER_BUCKET, MAX_BUCKETS);
  let level = await compare({ bits: Math.max(MIN_BITS, bitsFor(buckets)) });
  const { rows } = level;
  for (let bits = splitBits(level); bits !== undefined; bits = splitBits(level)) {
    level = await compare({ bits, within: level.differing });
  }
  return { rows, differing: level.differing };
}

/** The number of bits for at most this many buckets. */
function bitsFor(buckets: number): number {
  return Math.floor(Math.log2(Math.max(1, buckets)));
}

/** The comparison of buckets of one size. */
interface LevelComparison extends BucketComparison {
  /** The number of buckets that have rows. */
  filled: number;
}

/** The number of bits after a split; `undefined` if fetching the rows costs less than splitting. */
function splitBits({ filled, differing: { bits, buckets, rows } }: LevelComparison): number | undefined {
  const count = buckets?.length ?? filled;
  if (rows <= MAX_UNSPLIT_ROWS || count === 0) return undefined;
  const mostlyDifferent = rows / count <= 2 * ROWS_PER_BUCKET && count > filled * NEARLY_ALL;
  const addedBits = Math.min(bitsFor(MAX_BUCKETS / count), bitsFor(rows / count / 4), MAX_BITS - bits);
  return mostlyDifferent || addedBits < 2 ? undefined : bits + addedBits;
}

/** A bucket on one side, with the sum of its rows' hashes. */
interface BucketSum {
  bucket: number;
  rows: number;
  sum: string;
}

/** The buckets to compare. */
interface BucketSelection {
  /** The number of bits that determine a bucket. */
  bits: number;
  /** The larger buckets that are split; missing if all rows are compared. */
  within?: DifferingBuckets;
}

/** Adds up the hashes of the rows in each bucket, on the server. */
async function readSums(
  find: FindSession,
  table: HashedTable,
  { bits, within }: BucketSelection,
): Promise<readonly BucketSum[]> {
  const [condition, values] = within === undefined ? ["", []] : bucketCondition(table, within);
  return await queryCatalog<BucketSum>(
    find,
    `SELECT ${bucketSql(table, bits)} AS bucket, pg_catalog.count(*) AS rows,
      pg_catalog.sum(${table.rowHash})::pg_catalog.text AS sum FROM ${table.from} ${condition} GROUP BY 1`,
    values,
  );
}

/** SQL for the number of a row's bucket. */
function bucketSql({ keyHash }: HashedTable, bits: number): string {
  return `(${keyHash} OPERATOR(pg_catalog.>>) ${64 - bits})`;
}

/** The SQL condition for the rows of buckets, with its parameter. */
export function bucketCondition(
  table: HashedTable,
  { bits, buckets }: DifferingBuckets,
): [condition: string, values: unknown[]] {
  if (buckets === undefined) return ["", []];
  // There are up to 65,536 numbers. Since version 14, the server looks them up in a hash table.
  return [`WHERE ${bucketSql(table, bits)} OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])`, [buckets]];
}

/** Compares the sums of both sides. */
function compareSums(
  { before, after }: Pair<readonly BucketSum[]>,
  { bits, within }: BucketSelection,
): LevelComparison {
  const unpaired = new Map(after.map((sum) => [sum.bucket, sum]));
  const buckets: number[] = [];
  const differingRows = { before: 0, after: 0 };
  const compare = (one: BucketSum | undefined, other: BucketSum | undefined) => {
    if (one?.rows === other?.rows && one?.sum === other?.sum) return;
    buckets.push((one ?? other)!.bucket);
    differingRows.before += one?.rows ?? 0;
    differingRows.after += other?.rows ?? 0;
  };
  for (const sum of before) {
    compare(sum, unpaired.get(sum.bucket));
    unpaired.delete(sum.bucket);
  }
  const filled = before.length + unpaired.size;
  for (const sum of unpaired.values()) compare(undefined, sum);
  const takeAll = within?.buckets === undefined && buckets.length > Math.max(1000, filled * NEARLY_ALL);
  return {
    rows: { before: rowsIn(before), after: rowsIn(after) },
    filled,
    differing: {
      bits,
      buckets: takeAll ? undefined : buckets,
      rows: Math.max(differingRows.before, differingRows.after),
    },
  };
}

function rowsIn(sums: readonly BucketSum[]): number {
  return sums.reduce((total, { rows }) => total + rows, 0);
}

/**
 * Finds the rows that may differ without fetching the others. The hash of a row's key determines its bucket, so both servers
 * put the row into the same bucket, whatever the order of its type or the collation is. Each server adds up the hashes of the
 * rows in each bucket. Buckets with equal counts and sums are equal. If buckets that differ have many rows, they are split into
 * smaller ones.
 */

import { queryCatalog } from "../../catalog/relation.ts";
import { plannedRows } from "../../catalog/source.ts";
import type { FindSession } from "../../sql/run.ts";
import { type ComparedTable, mapPair, type Pair } from "./sides.ts";

/** SQL for the parts of a table that are compared. */
export interface HashedTable {
  /** The table, under the alias `t`. */
  from: string;
  /** The text that tells rows with equal hashes apart: the key, or a second hash of a row that has no key. */
  identity: string;
  /** The hash of a row's key, as `int8`. */
  keyHash: string;
  /** The hash of a whole row, as `int8`. */
  rowHash: string;
}

/** The SQL for a table. All columns identify a row that has no key. */
export function hashedTable({ quoted, columns, key }: ComparedTable): HashedTable {
  const from = `${quoted} AS t`;
  const whole = rowText(columns.map(({ quoted }) => `t.${quoted}`));
  if (key === undefined) return { from, identity: hash(whole, 1), keyHash: hash(whole, 0), rowHash: hash(whole, 0) };
  const keys = columns.filter(({ name }) => key.includes(name));
  const [first] = keys;
  const identity = keys.length === 1 && QUICK.has(first!.type)
    ? `(t.${first!.quoted}::pg_catalog.text COLLATE pg_catalog."C")`
    : rowText(keys.map(({ quoted, type }) => {
      // Equal numbers can differ in the zeros at their ends, and then also in their texts.
      return /^numeric(\([\d,-]+\))?$/.test(type) ? `pg_catalog.trim_scale(t.${quoted})` : `t.${quoted}`;
    }));
  return { from, identity, keyHash: hash(identity, 0), rowHash: hash(whole, 1) };
}

/** Types whose cast to text is built in and gives a unique text. The cast takes half the time of a row's text. */
const QUICK = new Set(["smallint", "integer", "bigint", "text", "uuid"]);

/** The text of a row from the output function of each type. It tells NULL from an empty text, and needs no equality. */
function rowText(columns: readonly string[]): string {
  return `(ROW(${columns.join(", ")})::pg_catalog.text COLLATE pg_catalog."C")`;
}

/** The hash of a text. The seeds of keys and rows differ, so that the sum of a bucket does not repeat its number. */
function hash(text: string, seed: number): string {
  return `pg_catalog.hashtextextended(${text}, ${seed}::pg_catalog.int8)`;
}

/** The buckets that differ, and the number of rows in them. */
export interface Differing {
  /** The number of bits of the hash, from the highest, that determine the bucket. */
  bits: number;
  /** The numbers of the buckets; `undefined` if nearly all buckets differ and reading all rows takes less time. */
  buckets: readonly number[] | undefined;
  /** The number of rows in these buckets, on the side that has more of them. */
  rows: number;
}

/** The result of comparing all buckets. */
interface Compared {
  /** The number of all rows. */
  rows: Pair<number>;
  /** The buckets that differ, after splitting. */
  differing: Differing;
}

/** The rows of a bucket. Fetching more rows to find one that differs costs more than the sums of more buckets. */
const PER_BUCKET = 32;
/** The maximum number of sums that a server sends at a time. It limits the memory. */
const MAX_BUCKETS = 65_536;
const MIN_BITS = 4;
/** The number of a bucket must be exact in JavaScript. */
const MAX_BITS = 50;
/** If more than this part of the buckets differ, reading all rows costs less than finding those of these buckets. */
const NEARLY_ALL = 0.9;
/** Up to this many rows are fetched without splitting, because each split reads the table once more. */
const FETCHED = 20_000;

/** Compares the buckets of both tables. */
export async function compareBuckets(tx: Pair<FindSession>, table: HashedTable): Promise<Compared> {
  const planned = await mapPair(tx, (find) => plannedRows(find, table.from));
  const read = async (scope: Scope) => differences(await mapPair(tx, (find) => sums(find, table, scope)), scope);
  const buckets = Math.min(Math.max(planned.before, planned.after) / PER_BUCKET, MAX_BUCKETS);
  let level = await read({ bits: Math.max(MIN_BITS, bitsOf(buckets)) });
  const { rows } = level;
  for (let bits = splitBits(level); bits !== undefined; bits = splitBits(level)) {
    level = await read({ bits, within: level.differing });
  }
  return { rows, differing: level.differing };
}

/** The number of bits for at most this many buckets. */
function bitsOf(buckets: number): number {
  return Math.floor(Math.log2(Math.max(1, buckets)));
}

interface Level extends Compared {
  /** The number of buckets that have rows. */
  filled: number;
}

/** The number of bits after a split; `undefined` if fetching the rows costs less than splitting. */
function splitBits({ filled, differing: { bits, buckets, rows } }: Level): number | undefined {
  const count = buckets?.length ?? filled;
  if (rows <= FETCHED || count === 0) return undefined;
  const mostlyDifferent = rows / count <= 2 * PER_BUCKET && count > filled * NEARLY_ALL;
  const more = Math.min(bitsOf(MAX_BUCKETS / count), bitsOf(rows / count / 4), MAX_BITS - bits);
  return mostlyDifferent || more < 2 ? undefined : bits + more;
}

interface Sum {
  bucket: number;
  rows: number;
  sum: string;
}

interface Scope {
  bits: number;
  /** Only the rows of these buckets. */
  within?: Differing;
}

/** Adds up the hashes of the rows in each bucket, on the server. */
async function sums(find: FindSession, table: HashedTable, { bits, within }: Scope): Promise<readonly Sum[]> {
  const [condition, values] = within === undefined ? ["", []] : isIn(table, within);
  return await queryCatalog<Sum>(
    find,
    `SELECT ${bucketOf(table, bits)} AS bucket, pg_catalog.count(*) AS rows,
      pg_catalog.sum(${table.rowHash})::pg_catalog.text AS sum FROM ${table.from} ${condition} GROUP BY 1`,
    values,
  );
}

function bucketOf({ keyHash }: HashedTable, bits: number): string {
  return `(${keyHash} OPERATOR(pg_catalog.>>) ${64 - bits})`;
}

/** The condition for the rows of buckets, with its parameter. */
export function isIn(table: HashedTable, { bits, buckets }: Differing): [condition: string, values: unknown[]] {
  if (buckets === undefined) return ["", []];
  // There are up to 65,536 numbers. Since version 14, the server looks them up in a hash table.
  return [`WHERE ${bucketOf(table, bits)} OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])`, [buckets]];
}

/** Compares the sums of both sides. */
function differences({ before, after }: Pair<readonly Sum[]>, { bits, within }: Scope): Level {
  const unpaired = new Map(after.map((sum) => [sum.bucket, sum]));
  const buckets: number[] = [];
  const differingRows = { before: 0, after: 0 };
  const compare = (one: Sum | undefined, other: Sum | undefined) => {
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
  const all = within?.buckets === undefined && buckets.length > Math.max(1000, filled * NEARLY_ALL);
  return {
    rows: { before: rowsIn(before), after: rowsIn(after) },
    filled,
    differing: { bits, buckets: all ? undefined : buckets, rows: Math.max(differingRows.before, differingRows.after) },
  };
}

function rowsIn(sums: readonly Sum[]): number {
  return sums.reduce((all, { rows }) => all + rows, 0);
}

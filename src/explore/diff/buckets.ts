/**
 * Finds the rows that may differ without fetching the others. Each row belongs to a bucket by the hash of its key, so that
 * both servers put it into the same one, whatever the order of its type or the collation. Each server adds up the hashes of
 * the rows in each bucket; buckets with equal counts and sums are equal. Where many rows are in buckets that differ, these
 * are split into smaller ones.
 */

import { queryCatalog } from "../../catalog/relation.ts";
import { plannedRows } from "../../catalog/source.ts";
import type { FindSession } from "../../sql/run.ts";
import { both, type Pair } from "./sides.ts";
import type { ComparedTable } from "./table.ts";

/** SQL for the parts of a table that are compared. */
export interface HashedTable {
  /** The table, under the alias `t`. */
  from: string;
  /** What identifies a row within its hash: the key as text, or a second hash of a row that has no key. */
  identity: string;
  /** The hash of a row's key, as `int8`. */
  place: string;
  /** The hash of a whole row, as `int8`. */
  content: string;
}

/** The SQL for a table. A row that has no key is identified by all of its columns. */
export function hashedTable({ quoted, columns, key }: ComparedTable): HashedTable {
  const from = `${quoted} AS t`;
  const whole = rowText(columns.map(({ quoted }) => `t.${quoted}`));
  if (key === undefined) return { from, identity: hash(whole, 1), place: hash(whole, 0), content: hash(whole, 0) };
  const keys = columns.filter(({ name }) => key.includes(name));
  const [first] = keys;
  const identity = keys.length === 1 && QUICK.has(first!.type)
    ? `(t.${first!.quoted}::pg_catalog.text COLLATE pg_catalog."C")`
    : rowText(keys.map(({ quoted, type }) => {
      // Equal numbers can have different numbers of zeros at their ends, and then different texts.
      return type.startsWith("numeric") ? `pg_catalog.trim_scale(t.${quoted})` : `t.${quoted}`;
    }));
  return { from, identity, place: hash(identity, 0), content: hash(whole, 1) };
}

/** Types whose cast to text is built in and gives a unique text; it takes half the time of a row's text. */
const QUICK = new Set(["smallint", "integer", "bigint", "text", "uuid"]);

/** The text of a row, made by the output function of each type: it tells NULL from an empty text, and needs no equality. */
function rowText(columns: readonly string[]): string {
  return `(ROW(${columns.join(", ")})::pg_catalog.text COLLATE pg_catalog."C")`;
}

/** The hash of a text. The seeds differ, so that the sum of a bucket's contents does not repeat the bucket. */
function hash(text: string, seed: number): string {
  return `pg_catalog.hashtextextended(${text}, ${seed}::pg_catalog.int8)`;
}

/** The buckets that differ, and the rows in all of them. */
export interface Differing {
  /** The bits of the hash, from the highest, that tell the bucket. */
  bits: number;
  /** The numbers of the buckets; `undefined` if nearly all of them differ, so that it is better to read all. */
  buckets: readonly number[] | undefined;
  /** The rows in these buckets, on the side that has more of them. */
  rows: number;
}

/** What the comparison of all buckets found. */
export interface Compared {
  /** The number of all rows. */
  rows: Pair<number>;
  /** The buckets that differ, after splitting. */
  differing: Differing;
}

/** The rows of a bucket that are worth fetching to find one that differs: more would cost more than the sums of the buckets. */
const PER_BUCKET = 32;
/** The most sums that a server sends at a time, which bounds the memory. */
const MOST_BUCKETS = 65_536;
const FEWEST_BITS = 4;
/** A bucket's number must be exact in JavaScript. */
const MOST_BITS = 50;
/** From this part on, to read all rows costs less than to find those of the buckets that differ. */
const NEARLY_ALL = 0.9;
/** Up to this many rows are fetched without splitting: each split reads the table once more. */
const FETCHED = 20_000;

/** Compares the buckets of both tables. */
export async function compareBuckets(tx: Pair<FindSession>, table: HashedTable): Promise<Compared> {
  const planned = await both(tx, (find) => plannedRows(find, table.from));
  const read = async (scope: Scope) => differences(await both(tx, (find) => sums(find, table, scope)), scope);
  const buckets = Math.min(Math.max(planned.before, planned.after) / PER_BUCKET, MOST_BUCKETS);
  let level = await read({ bits: Math.max(FEWEST_BITS, bitsOf(buckets)) });
  const { rows } = level;
  for (let bits = splitBits(level); bits !== undefined; bits = splitBits(level)) {
    level = await read({ bits, within: level.differing });
  }
  return { rows, differing: level.differing };
}

/** The bits that tell at most so many buckets apart. */
function bitsOf(buckets: number): number {
  return Math.floor(Math.log2(Math.max(1, buckets)));
}

interface Level extends Compared {
  /** The number of buckets that have rows. */
  filled: number;
}

/** The number of bits after a split; `undefined` if to fetch the rows costs less than to split. */
export function splitBits({ filled, differing: { bits, buckets, rows } }: Level): number | undefined {
  const count = buckets?.length ?? filled;
  if (rows <= FETCHED || count === 0) return undefined;
  const mostlyDifferent = rows / count <= 2 * PER_BUCKET && count > filled * NEARLY_ALL;
  const more = Math.min(bitsOf(MOST_BUCKETS / count), bitsOf(rows / count / 4), MOST_BITS - bits);
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

/** Has the server add up the hashes of the rows in each bucket. */
async function sums(find: FindSession, table: HashedTable, { bits, within }: Scope): Promise<readonly Sum[]> {
  const [condition, values] = within === undefined ? ["", []] : isIn(table, within);
  return await queryCatalog<Sum>(
    find,
    `SELECT ${bucketOf(table, bits)} AS bucket, pg_catalog.count(*) AS rows,
      pg_catalog.sum(${table.content})::pg_catalog.text AS sum FROM ${table.from} ${condition} GROUP BY 1`,
    values,
  );
}

function bucketOf({ place }: HashedTable, bits: number): string {
  return `(${place} OPERATOR(pg_catalog.>>) ${64 - bits})`;
}

/** The condition for rows of buckets, with its parameter. */
export function isIn(table: HashedTable, { bits, buckets }: Differing): [condition: string, values: unknown[]] {
  if (buckets === undefined) return ["", []];
  // A number per bucket, as many as 65,536: since version 14 the server looks them up in a hash table.
  return [`WHERE ${bucketOf(table, bits)} OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])`, [buckets]];
}

/** Compares the sums of both sides. */
export function differences({ before, after }: Pair<readonly Sum[]>, { bits, within }: Scope): Level {
  const there = new Map(after.map((sum) => [sum.bucket, sum]));
  const buckets: number[] = [];
  const differingRows = { before: 0, after: 0 };
  const note = (one: Sum | undefined, other: Sum | undefined) => {
    if (one?.rows === other?.rows && one?.sum === other?.sum) return;
    buckets.push((one ?? other)!.bucket);
    differingRows.before += one?.rows ?? 0;
    differingRows.after += other?.rows ?? 0;
  };
  for (const sum of before) {
    note(sum, there.get(sum.bucket));
    there.delete(sum.bucket);
  }
  const filled = before.length + there.size;
  for (const sum of there.values()) note(undefined, sum);
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

import { Reader } from "../../sql/cursor.ts";
import { textStatement } from "../../sql/fragment.ts";
import type { Field } from "../../sql/result.ts";
import type { FindSession } from "../../sql/run.ts";
import { asText, type ParserSource } from "../../sql/types.ts";
import { both, type Pair } from "./sides.ts";

/** A row as the server's texts. The rows are ordered by the hash `h`, and `k` tells rows of one hash apart. */
export type TextRow = Readonly<Record<string, string | null>>;

/** Keeps every value as the server's text. */
const TEXTS: ParserSource = { getTypeParser: () => asText };

/** A statement whose rows are in the order of `h`. */
export interface OrderedQuery {
  /** The SQL. */
  text: string;
  /** The parameters. */
  values: readonly unknown[];
}

/** The result of reading the rows of both servers. */
export interface Merged {
  /** The number of rows that came from both servers. */
  fetched: number;
  /** The columns on each side; none if a side had no rows. */
  fields: Pair<readonly Field[]>;
}

/**
 * Reads the same statement on both servers, batch by batch, and visits the rows with the same `h` and `k` as a pair. If one
 * side has no such row, the other row is visited alone.
 */
export async function merge(
  tx: Pair<FindSession>,
  query: OrderedQuery,
  visit: (row: { before?: TextRow; after?: TextRow }) => void,
): Promise<Merged> {
  const { before, after } = await both(tx, (find) => OrderedRows.of(find, query));
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
  visit: (row: { before?: TextRow; after?: TextRow }) => void,
): void {
  const others = new Map(after.map((row) => [row["k"], row]));
  for (const row of before) {
    const other = others.get(row["k"]);
    others.delete(row["k"]);
    visit(other === undefined ? { before: row } : { before: row, after: other });
  }
  for (const row of others.values()) visit({ after: row });
}

/** The rows of a statement. One batch of them is in memory. */
class OrderedRows implements AsyncDisposable {
  readonly #reader: Reader;
  #rows: readonly TextRow[] = [];
  #next = 0;
  #hash: bigint | undefined;
  taken = 0;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  static async of(find: FindSession, { text, values }: OrderedQuery): Promise<OrderedRows> {
    const session = await find();
    return new OrderedRows(new Reader(session, textStatement(text, values), session.signal, TEXTS));
  }

  /** Whether the next row is in memory, or there are no more rows. */
  get ready(): boolean {
    return this.#next < this.#rows.length || this.#reader.ended;
  }

  get fields(): readonly Field[] {
    return this.#reader.answer.fields;
  }

  /** The hash of the next row. */
  get hash(): bigint | undefined {
    if (this.#next >= this.#rows.length) return undefined;
    return this.#hash ??= BigInt(this.#rows[this.#next]!["h"]!);
  }

  async fill(): Promise<void> {
    while (!this.ready) {
      this.#rows = await this.#reader.batch() as TextRow[];
      this.#next = 0;
    }
  }

  take(): TextRow {
    this.taken++;
    this.#hash = undefined;
    return this.#rows[this.#next++]!;
  }

  async takeAll(hash: bigint): Promise<TextRow[]> {
    const rows: TextRow[] = [];
    while (this.hash === hash) {
      rows.push(this.take());
      if (!this.ready) await this.fill();
    }
    return rows;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader[Symbol.asyncDispose]();
  }
}

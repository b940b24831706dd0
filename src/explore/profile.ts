import type { Field } from "../query/fields.ts";
import type { Fragment } from "../query/fragment.ts";
import { checkCall } from "../query/options.ts";
import { type FindSession, run } from "../query/run.ts";
import type { Session } from "../query/session.ts";
import { type StopOptions, stoppable } from "../query/stop.ts";
import { transact } from "../query/transaction.ts";
import { parserSource } from "../query/types.ts";
import type { ExploreOptions } from "./look.ts";
import { type ColumnKind, kindOf } from "./column_kind.ts";
import { makeListing } from "./listing.ts";
import { type ColumnProfile, drawProfile, type Profile, PROFILE_FIELDS } from "./profiled.ts";
import { chooseRows } from "./sample.ts";
import { brackets, type Source, sourceOf } from "./source.ts";
import { type Statistics, toProfile } from "./statistics.ts";
import { statisticsSql } from "./statistics_sql.ts";

/** How a profile is made. */
export interface ProfileOptions extends ExploreOptions {
  /**
   * Rows that are looked at: of a larger table a random sample of about as many, of a query or a view the first ones.
   * `Infinity` looks at all.
   *
   * @default {1_000_000}
   */
  sample?: number;
}

/** A column of what is profiled. */
export interface SourceColumn extends Field {
  /** What can be computed of it. */
  kind: ColumnKind;
}

/** Columns of one statement: each keeps its own working memory on the server until the statement ends. */
const BATCH = 20;

/** Computes what is in each column of a table or of a query's rows; see `Lakebase.profile`. */
export async function profileRows(
  find: FindSession,
  what: string | Fragment,
  options: ProfileOptions,
): Promise<Profile> {
  const { sample = 1_000_000 } = checkCall("make a profile", options, { sample: SAMPLE });
  using stop = stoppable(options);
  const started = performance.now();
  const source = await sourceOf(find, what, stop);
  const columns = await columnsOf(find, source, stop);
  const session = await find();
  const { statistics, of } = await readOnly(session, stop, async (tx) => {
    const { clause, of } = await chooseRows(tx, source, sample);
    return { statistics: await compute(tx, source, columns, clause), of };
  });
  const elapsed = performance.now() - started;
  const rows = statistics.get(0)!.count;
  const profile = columns.map((column, index) => toProfile(column, statistics.get(index + 1)!, rows, session.types));
  const facts = { rows, of, sampled: of !== null || (!source.samples && rows >= sample) };
  const draw = (drawn: readonly ColumnProfile[]) => drawProfile(facts, drawn, elapsed);
  return makeListing({ rows: profile, fields: PROFILE_FIELDS, elapsed, draw }, facts);
}

/** Statements that see one state of the database and may change nothing; in a transaction they are part of that. */
export async function readOnly<T>(session: Session, { signal }: StopOptions, work: (tx: FindSession) => Promise<T>) {
  if (session.transaction !== undefined) return await work(() => session);
  const stop = signal === undefined ? {} : { signal };
  return await transact(session, work, { isolation: "repeatable read", readOnly: true, ...stop });
}

/** The columns of a source; nothing of it is run. */
export async function columnsOf(find: FindSession, source: Source, { signal }: StopOptions): Promise<SourceColumn[]> {
  const [open, close] = brackets(source);
  const statement = {
    prefix: `SELECT * FROM ${open}`,
    text: `${source.text}${close} AS s LIMIT 0`,
    values: source.values,
  };
  const { fields } = await run(find, statement, { signal, drawn: true, single: true });
  return fields.map((field) => ({ ...field, kind: kindOf(field) }));
}

async function compute(
  tx: FindSession,
  source: Source,
  columns: readonly SourceColumn[],
  clause: string,
): Promise<Map<number, Statistics>> {
  const statistics = new Map<number, Statistics>();
  const positions = columns.map(({ kind }, index) => ({ kind, position: index + 1 }));
  const names = (of: typeof positions) => of.map(({ position }) => `c${position}`).join(", ");
  const alias = columns.length === 0 ? "s" : `s(${names(positions)})`;
  const from = brackets(source).join(source.text);
  const options = { types: parserSource(), single: true };
  for (let start = 0; start === 0 || start < positions.length; start += BATCH) {
    const batch = positions.slice(start, start + BATCH);
    const text = statisticsSql(`SELECT ${names(batch)} FROM ${from} AS ${alias} ${clause}`, batch);
    const found = await run<Found>(tx, { text, values: source.values }, options);
    for (const { position, statistics: one } of found) statistics.set(position, one);
  }
  return statistics;
}

interface Found {
  position: number;
  statistics: Statistics;
}

const SAMPLE = [
  (value: unknown) => value === Infinity || (Number.isInteger(value) && value as number > 0),
  "a whole number of rows above 0, or Infinity for all",
] as const;

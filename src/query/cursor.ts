// @ts-types="@types/pg"
import type pg from "pg";
import Cursor from "pg-cursor";
import type { Statement } from "./fragment.ts";
import { fieldsOf, rowMaker, type WireField } from "./result.ts";
import { acquire, cancelable, explain, restore, Unresponsive } from "./run.ts";
import type { Session } from "./session.ts";
import { type StopOptions, stoppable } from "./stop.ts";

/** Rows fetched at a time: over a network, few large batches beat many small ones. */
const BATCH = 5000;

interface Batch {
  rows: unknown[][];
  fields: WireField[];
}

/**
 * Reads a statement's rows batch by batch, in constant memory. Leaving early ends the statement and frees the connection.
 *
 * @throws {LakebaseError} As `run`.
 */
export async function* iterate<Row>(
  session: Session,
  statement: Statement,
  options: StopOptions = {},
): AsyncGenerator<Row, void, void> {
  using stop = stoppable(options);
  const lease = await acquire(session, stop.signal);
  const { client } = lease;
  const cursor = client.query(new Cursor(statement.text, statement.values, { rowMode: "array", types: session.types }));
  let broken: Error | undefined;
  try {
    for (;;) {
      stop.signal.throwIfAborted();
      const { rows, fields } = await cancelable(session, lease, stop.signal, read(cursor));
      yield* rows.map(rowMaker<Row>(fieldsOf(fields)));
      if (rows.length < BATCH) return;
    }
  } catch (error) {
    if (error instanceof Unresponsive) broken = error;
    if (stop.signal.aborted) throw stop.signal.reason;
    throw await explain(session, error, statement);
  } finally {
    broken ??= await end(cursor, session, client);
    lease.release(broken);
  }
}

function read(cursor: Cursor): Promise<Batch> {
  return new Promise((resolve, reject) => {
    cursor.read(BATCH, (error: Error | null, rows: unknown[][], result: { fields?: WireField[] }) => {
      if (error) reject(error);
      else resolve({ rows, fields: result?.fields ?? [] });
    });
  });
}

async function end(cursor: Cursor, session: Session, client: pg.PoolClient): Promise<Error | undefined> {
  try {
    await cursor.close();
    return await restore(session, client);
  } catch (error) {
    return error as Error;
  }
}

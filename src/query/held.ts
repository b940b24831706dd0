import { acquire } from "./cancel.ts";
import { isOpenTransaction, leftTransaction, restore } from "./run.ts";
import { type Lease, type Session, sublease, type TransactionState } from "./session.ts";
import { stoppable } from "./stop.ts";

/**
 * Runs statements one after the other on one connection, each by itself, as psql does: they may begin and end transactions.
 * One that they leave open is rolled back.
 *
 * @param outside Where the connection comes from; not a transaction.
 * @param work Gets a session for the statements.
 * @throws What `work` throws; `LakebaseError` `QUERY_FAILED` where a transaction was left open.
 */
export async function holdConnection<T>(outside: Session, work: (session: Session) => Promise<T>): Promise<T> {
  using stop = stoppable();
  const lease = await acquire(outside, stop.signal, "the statements of a cell");
  try {
    const result = await work(heldOn(lease, outside));
    leftTransaction(outside, lease);
    return result;
  } finally {
    await restore(outside, lease);
    lease.release();
  }
}

function heldOn(lease: Lease, { types, learned, signal, lookUp, cancel, place }: Session): Session {
  const open: TransactionState = { failure: undefined, leave() {} };
  return {
    ...{ types, learned, signal, lookUp, cancel, place },
    get transaction() { // a statement may begin or end one
      if (isOpenTransaction(lease)) return open;
      open.failure = undefined;
      return undefined;
    },
    held: true,
    connections: 1,
    acquire: () => Promise.resolve(sublease(lease, () => {})),
  };
}

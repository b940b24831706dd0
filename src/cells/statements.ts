import { makeSql, type Sql } from "../api/sql.ts";
import { LakebaseError } from "../core/errors.ts";
import { firstWord } from "../core/sql_text.ts";
import { isOpenTransaction, leftTransaction, restore } from "../sql/run.ts";
import { type Lease, type Session, sublease, type TransactionState } from "../sql/session.ts";
import { acquire, stoppable } from "../sql/stop.ts";
import type { SqlCellStatement, SqlCellTarget } from "./sql_cell.ts";

/**
 * Runs the statements of a cell as the server runs several statements of one text: in one transaction, unless they begin or
 * end transactions themselves. Statements with values have to be sent one by one, so the transaction is begun here.
 */
export async function runTogether<T>(
  target: SqlCellTarget,
  statements: SqlCellStatement[],
  session: Session | undefined,
  work: (on: { sql: Sql }) => Promise<T>,
): Promise<T> {
  if (statements.length < 2 || target.transaction === undefined) return await work(target);
  if (session === undefined || !statements.some(controlsTransaction)) return await target.transaction(work);
  return await holdConnection(session, (held) => work({ sql: makeSql(() => Promise.resolve(held)) }));
}

const CONTROLS: ReadonlySet<string> = new Set(["begin", "start", "commit", "end", "rollback", "abort"]);

/** Whether a statement begins or ends a transaction. `ROLLBACK TO` a savepoint does neither. */
function controlsTransaction([strings]: SqlCellStatement): boolean {
  const text = strings.join("");
  const word = firstWord(text);
  return CONTROLS.has(word) && !(word === "rollback" && /\bto\b/i.test(text));
}

/** Adds a hint to the error of a statement, such as VACUUM, that can't run in a transaction. */
export function explainNotTogether(error: unknown): unknown {
  if (!(error instanceof LakebaseError) || error.sqlstate !== "25001") return error;
  const hint = "HINT: The statements of a cell run in one transaction. Put this statement into a cell of its own";
  return new LakebaseError(error.code, `${error.message}\n${hint}`, { cause: error, sqlstate: "25001" });
}

/**
 * Runs statements one after the other on one connection, as psql does: they may begin and end transactions. A transaction that
 * they leave open is rolled back.
 *
 * @param outside The session that the connection comes from; not a transaction.
 * @param work Gets a session for the statements.
 * @throws What `work` throws; `LakebaseError` `QUERY_FAILED` if a transaction was left open.
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

function heldOn(lease: Lease, outside: Session): Session {
  const { types, learned, signal, lookUp, cancel, place, volumes, server } = outside;
  const open: TransactionState = { failure: undefined, leave() {} };
  return {
    types,
    learned,
    signal,
    lookUp,
    cancel,
    place,
    volumes,
    server,
    get transaction() { // not a constant: a statement may begin or end a transaction
      if (isOpenTransaction(lease)) return open;
      open.failure = undefined;
      return undefined;
    },
    held: true,
    connections: 1,
    acquire: () => Promise.resolve(sublease(lease, () => {})),
  };
}

import { LakebaseError } from "../errors.ts";
import { isOpenTransaction } from "../query/run.ts";
import { type Session, sublease, type TransactionState } from "../query/session.ts";
import type { ParserSource } from "../query/types.ts";

/** A session of one connection, as psql has it: `BEGIN`, `SET` and temporary tables hold from one statement to the next. */
export interface ScriptSession extends Session, AsyncDisposable {
  /**
   * Ends it.
   *
   * @throws {LakebaseError} `QUERY_FAILED` where a transaction was left open; it is rolled back.
   */
  end(): Promise<void>;
}

/**
 * Takes a connection for a whole script.
 *
 * @param session Where the connection comes from.
 * @param types How values are read.
 */
export async function scriptSession(session: Session, types: ParserSource): Promise<ScriptSession> {
  const lease = await session.acquire("a script");
  const open: TransactionState = { failure: undefined, leave() {} };
  const borrowed = sublease(lease, () => {});
  const end = async () => {
    const left = lease.broken === undefined && isOpenTransaction(lease);
    if (left) await lease.client.query("ROLLBACK").catch((error: Error) => lease.broken = error);
    lease.broken ??= new Error("its settings and temporary tables are the script's own");
    lease.release();
    lease.release = () => {};
    if (left && open.failure === undefined) throw leftOpen();
  };
  return {
    ...session,
    types,
    get transaction() { // a statement of the script may begin or end one
      if (isOpenTransaction(lease)) return open;
      open.failure = undefined;
      return undefined;
    },
    acquire: () => Promise.resolve(borrowed),
    end,
    [Symbol.asyncDispose]: () => end().catch(() => {}), // what failed before is the better error
  };
}

function leftOpen(): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot leave a transaction open: the SQL ends without COMMIT, so its changes were rolled back. Add COMMIT",
    { sqlstate: "25000" },
  );
}

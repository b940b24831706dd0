import { LakebaseError } from "../errors.ts";
import { cancelable } from "./cancel.ts";
import type { Lease, Session } from "./session.ts";

const SAVEPOINT = "lakebase_again";

/**
 * Runs a statement that has run before, for more of its rows. Its text tells that it reads, but not what the functions that it
 * calls do: so the server is told to refuse whatever would write.
 *
 * @param session Where; a transaction of its own goes on.
 * @param lease The connection.
 * @param signal Stops it.
 * @param work Runs it.
 * @throws {LakebaseError} `QUERY_FAILED` where it would have written a second time; what `work` throws.
 */
export async function runAgain<T>(
  session: Session,
  lease: Lease,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const nested = session.transaction !== undefined;
  const say = (text: string) => cancelable(session, lease, signal, lease.client.query(text));
  await say(nested ? `SAVEPOINT ${SAVEPOINT}; SET LOCAL transaction_read_only = on` : "BEGIN READ ONLY");
  const result = await work().catch(async (error) => {
    if (!nested && lease.broken === undefined) await say("ROLLBACK"); // whoever holds the session does not end what we began
    throw (error as { code?: unknown } | null)?.code === "25006" ? wouldWrite(error) : error;
  });
  await say(nested ? `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}` : "COMMIT");
  return result;
}

function wouldWrite(cause: unknown): LakebaseError {
  return new LakebaseError(
    "QUERY_FAILED",
    "Cannot fetch the other rows: a function that the query calls writes, and the query has run for the first rows. To " +
      "have all of them write await sql`...` before it is drawn, or make a query anew to run it again",
    { cause, sqlstate: "25006" },
  );
}

/** For a statement that has run to its end for its first rows, and had too many to keep them all. */
export function notKept(kept: number, count: number): LakebaseError {
  const all = count.toLocaleString("en-US");
  return new LakebaseError(
    "QUERY_FAILED",
    `Cannot give all ${all} rows: the query has run to its end, once, for the first rows, and only ${kept} were kept. To ` +
      "run it again would do again what its functions do. For all rows write await sql`...` before it is drawn",
  );
}

import { LakebaseError } from "../errors.ts";
import { holdConnection } from "../query/held.ts";
import type { Session } from "../query/session.ts";
import { makeSql, type Sql } from "../query/sql.ts";
import { firstWord } from "../sql_text.ts";
import type { SqlCellStatement, SqlCellTarget } from "./sql_cell.ts";

/**
 * Several statements in one text are one transaction to the server, unless some of them say otherwise. Those with values
 * have to be sent one by one, and are to be no different.
 */
export async function together<T>(
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

/** Whether it begins or ends a transaction; going back to a savepoint does neither. */
function controlsTransaction([strings]: SqlCellStatement): boolean {
  const text = strings.join("");
  const word = firstWord(text);
  return CONTROLS.has(word) && !(word === "rollback" && /\bto\b/i.test(text));
}

/** Such as VACUUM; outside of a transaction only several statements can cause it. */
export function notTogether(error: unknown): unknown {
  if (!(error instanceof LakebaseError) || error.sqlstate !== "25001") return error;
  const hint = "HINT: The statements of a cell are one transaction; give this one a cell of its own";
  return new LakebaseError(error.code, `${error.message}\n${hint}`, { cause: error, sqlstate: "25001" });
}

import { LakebaseError } from "../errors.ts";
import { queryError } from "./error.ts";
import type { Statement } from "./fragment.ts";
import type { Session } from "./session.ts";
import { suggest } from "./suggest.ts";

/**
 * An error for the person who wrote the statement. What is not there is looked for among what is, within a second.
 *
 * @param session Where it ran.
 * @param error What was thrown.
 * @param statement What was run.
 */
export async function explainFailure(session: Session, error: unknown, statement: Statement): Promise<LakebaseError> {
  if (error instanceof LakebaseError) return error;
  const suggestion = await suggest(session, error, statement.text).catch(() => undefined); // not worth an error of its own
  const { transaction } = session;
  const explained = queryError(error, statement, { suggestion, earlier: transaction?.failure });
  if (transaction !== undefined) transaction.failure ??= firstLine(explained.message);
  return explained;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

import { LakebaseError } from "../errors.ts";
import { type FailureContext, queryError } from "./error.ts";
import type { Statement } from "./fragment.ts";
import { explainRefusal } from "./privilege.ts";
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
  const { suggestion, refusal } = await lookInto(session, error, statement.text).catch((): Found => ({})); // not worth an error
  const { transaction } = session;
  const explained = queryError(error, statement, {
    suggestion,
    refusal,
    earlier: transaction?.failure,
    begun: session.held,
  });
  if (transaction !== undefined) transaction.failure ??= firstLine(explained.message);
  return explained;
}

type Found = Pick<FailureContext, "suggestion" | "refusal">;

/** What the database knows of a failure, where it says so within a second. */
async function lookInto(session: Session, error: unknown, text: string): Promise<Found> {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === "42501") return { refusal: await soon(explainRefusal(session, String(message), text)) };
  return { suggestion: await soon(suggest(session, error, text)) };
}

/** A guess has to come at once or not at all. */
const LIMIT_MS = 1000;

async function soon<T>(looking: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), LIMIT_MS);
  looking.catch(() => {});
  try {
    return await Promise.race([looking, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

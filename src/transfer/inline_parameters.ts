import { LakebaseError } from "../errors.ts";
import { cancelable } from "../query/cancel.ts";
import { lookUpOn } from "../query/learned.ts";
import type { Statement } from "../query/fragment.ts";
import type { Lease, Session } from "../query/session.ts";
import { type SqlToken, sqlTokens } from "../sql_text.ts";
import type { Description } from "./description.ts";
import { literal, typeText } from "./literal.ts";

/**
 * A statement with its parameters written in, and without the semicolon at its end: COPY takes neither.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value where no parameter can be.
 */
export async function inlineParameters(
  session: Session,
  lease: Lease,
  { text, values }: Statement,
  { parameters }: Description,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (values.length === 0 && !text.includes(";")) return text;
  const { learned } = session;
  const lookUp = lookUpOn(lease.client);
  const tokens = await cancelable(session, lease, signal, readTokens(text, lookUp));
  const found = new Set(
    tokens.filter(({ kind }) => kind === "parameter").map(({ start, end }) => text.slice(start, end)),
  );
  if (found.size !== values.length || parameters.length !== values.length) throw misplaced();
  const asked = parameters.map((dataTypeID) => ({ name: "", dataTypeID }));
  await cancelable(session, lease, signal, learned.learnTypes(asked, lookUp));
  const literals = values.map((value, index) => {
    const oid = parameters[index]!;
    return literal(value, oid, typeText(oid, learned.types), index + 1);
  });
  return replaced(text, tokens, (token) => token === ";" ? " " : literals[Number(token.slice(1)) - 1] ?? token);
}

/** Whether a back-slash escapes is the server's setting; it is asked only where that makes a difference. */
async function readTokens(text: string, lookUp: ReturnType<typeof lookUpOn>): Promise<SqlToken[]> {
  const tokens = marks(text, false);
  const escaping = marks(text, true);
  if (JSON.stringify(tokens) === JSON.stringify(escaping)) return tokens;
  const [row] = await lookUp("SELECT pg_catalog.current_setting('standard_conforming_strings') AS value", []);
  return row?.["value"] === "on" ? tokens : escaping;
}

/** Its parameters and semicolons. */
function marks(text: string, escapes: boolean): SqlToken[] {
  return [...sqlTokens(text, { escapes }).filter(({ kind, start }) => kind === "parameter" || text[start] === ";")];
}

function replaced(text: string, tokens: readonly SqlToken[], replace: (token: string) => string): string {
  let at = 0;
  const pieces = tokens.map(({ start, end }) => {
    const piece = text.slice(at, start) + replace(text.slice(start, end));
    at = end;
    return piece;
  });
  return pieces.join("") + text.slice(at);
}

function misplaced(): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    "Cannot read the rows: a ${value} stands in quotes or in a comment, where it is no parameter",
  );
}

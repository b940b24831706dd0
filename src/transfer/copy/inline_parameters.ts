import { Buffer } from "node:buffer";
// @ts-types="npm:@types/pg@^8.11.0"
import pg from "npm:pg@^8.23.0";
import type { Description } from "../../catalog/table_columns.ts";
import { LakebaseError } from "../../core/errors.ts";
import { type SqlToken, sqlTokens } from "../../core/sql_text.ts";
import type { Statement } from "../../sql/fragment.ts";
import { lookUpOn } from "../../sql/learned_types.ts";
import type { WireValue } from "../../sql/parameter.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { cancelable } from "../../sql/stop.ts";
import { BUILT_IN, isBuiltIn, typeName } from "../../core/type_names.ts";

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

const BYTEA = BUILT_IN["bytea"]![0];
const TEXTS = new Set(["text", "varchar", "bpchar", "name"].map((name) => BUILT_IN[name]![0]));

/**
 * A parameter's value as SQL, for a statement that can't be given any. It means what the bound value would.
 *
 * @param value The value as it would be bound.
 * @param oid The type that the server has found for the parameter.
 * @param type The type as SQL.
 * @param position The parameter's number, from 1, for the error.
 * @throws {LakebaseError} `BAD_PARAMETER` for bytes that are neither `bytea` nor text.
 */
export function literal(value: WireValue, oid: number, type: string, position: number): string {
  if (value === null) return `(NULL::${type})`;
  if (!Buffer.isBuffer(value)) return `(${pg.escapeLiteral(value).trim()}::${type})`;
  const bytes = `(E'\\\\x${value.toString("hex")}'::pg_catalog.bytea)`;
  if (oid === BYTEA) return bytes;
  if (TEXTS.has(oid)) return `(pg_catalog.convert_from(${bytes}, 'UTF8')::${type})`;
  throw new LakebaseError(
    "BAD_PARAMETER",
    `Cannot read the rows: parameter ${position} is bytes, but the statement takes ${typeName(oid)} there`,
  );
}

/**
 * A type as SQL. Quoted, since `bit` and `char` alone would mean one bit and one character.
 *
 * @param oid The type's oid.
 * @param learned The names of a database's own types, as `format_type` has them.
 */
export function typeText(oid: number, learned: ReadonlyMap<number, string>): string {
  const name = learned.get(oid);
  if (!isBuiltIn(oid)) return name ?? "pg_catalog.text";
  const [, element = "", array = ""] = /^(.*?)((?:\[\])?)$/.exec(typeName(oid))!;
  return `pg_catalog."${element}"${array}`;
}

import { Buffer } from "node:buffer";
// @ts-types="npm:@types/pg@8.23.1"
import pg from "npm:pg@8.23.1";
import { LakebaseError } from "../../core/errors.ts";
import { type SqlToken, sqlTokens } from "../../core/sql_text.ts";
import { hintFor } from "../../sql/advice.ts";
import { type Description, settleEmptyArrays } from "../../sql/description.ts";
import type { Statement } from "../../sql/fragment.ts";
import { lookUpOn } from "../../sql/learned_types.ts";
import type { WireValue } from "../../sql/parameter.ts";
import type { Lease, Session } from "../../sql/session.ts";
import { cancelable } from "../../sql/stop.ts";
import { BUILT_IN, isBuiltIn, typeName } from "../../core/type_names.ts";

/**
 * Replaces the parameters of a statement by literals, and removes the semicolon at its end, because COPY allows neither.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a value in a place where no parameter is possible.
 */
export async function inlineParameters(
  session: Session,
  lease: Lease,
  statement: Statement,
  { parameters }: Description,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { text } = statement;
  if (statement.values.length === 0 && !text.includes(";")) return text;
  const { learned } = session;
  const lookUp = lookUpOn(lease.client);
  const tokens = await cancelable(session, lease, signal, readTokens(text, lookUp));
  const found = new Set(
    tokens.filter(({ kind }) => kind === "parameter").map(({ start, end }) => text.slice(start, end)),
  );
  const count = statement.values.length;
  if (found.size !== count || parameters.length !== count) throw misplaced(statement);
  const values = await cancelable(session, lease, signal, settleEmptyArrays(statement, parameters, lookUp));
  const asked = parameters.map((dataTypeID) => ({ name: "", dataTypeID }));
  await cancelable(session, lease, signal, learned.learnTypes(asked, lookUp));
  const literals = values.map((value, index) => {
    const oid = parameters[index]!;
    return literal(value, oid, quotedType(oid, learned.types), index + 1);
  });
  return replaced(text, tokens, (token) => token === ";" ? " " : literals[Number(token.slice(1)) - 1] ?? token);
}

/** Asks for the server's setting for back-slashes in strings, but only if it makes a difference. */
async function readTokens(text: string, lookUp: ReturnType<typeof lookUpOn>): Promise<SqlToken[]> {
  const tokens = marks(text, false);
  const escaping = marks(text, true);
  if (JSON.stringify(tokens) === JSON.stringify(escaping)) return tokens;
  const [row] = await lookUp("SELECT pg_catalog.current_setting('standard_conforming_strings') AS value", []);
  return row?.["value"] === "on" ? tokens : escaping;
}

/** The parameters and semicolons of a statement. */
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

function misplaced(statement: Statement): LakebaseError {
  const unbound = { code: "42P18", message: "" }; // what the server says of a value that it was sent and that is nowhere
  const state = hintFor(unbound, statement) ?? "a ${value} is in quotes or in a comment, where it can't be a parameter";
  return new LakebaseError("BAD_PARAMETER", `Cannot read the rows: ${state}`);
}

const BYTEA = BUILT_IN["bytea"]![0];
const TEXTS = new Set(["text", "varchar", "bpchar", "name"].map((name) => BUILT_IN[name]![0]));

/**
 * Writes the value of a parameter as a literal that means the same as the bound value.
 *
 * @param value The value as it is bound.
 * @param oid The type of the parameter, as the server describes it.
 * @param type The type as SQL.
 * @param position The number of the parameter, from 1, for the error.
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
 * Writes a type as SQL, in quotes because `bit` and `char` without quotes mean one bit and one character.
 *
 * @param oid The oid of the type.
 * @param learned The names of the database's own types, as `format_type` writes them.
 */
export function quotedType(oid: number, learned: ReadonlyMap<number, string>): string {
  const name = learned.get(oid);
  if (!isBuiltIn(oid)) return name ?? "pg_catalog.text";
  const [, element = "", array = ""] = /^(.*?)((?:\[\])?)$/.exec(typeName(oid))!;
  return `pg_catalog."${element}"${array}`;
}

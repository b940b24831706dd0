import { LakebaseError } from "../core/errors.ts";
import { quoteName, unquoteName } from "../core/sql_text.ts";
import { compile, type Fragment } from "../sql/fragment.ts";

/** The maximum characters of a name with its schema and quotes. Postgres keeps at most 63 bytes of each part. */
const MAX_NAME_LENGTH = 1000;

const PART = /\s*(?:"((?:[^"]|"")+)"|([^".]+))\s*/y;
const SQL_NAME =
  /^\s*(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)(?:\.(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)){0,2}\s*$/u;

/** A name that SQL reads without quotes. */
const BARE = /^[\p{L}_][\p{L}\p{N}_$]*$/u;

/** Folds a name as SQL folds an unquoted name: in a UTF-8 database, Postgres lowercases only A to Z. */
export function fold(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/**
 * Gives the names that a table's name may stand for: the name as it is written, and the name as SQL would fold it.
 *
 * @param name `table` or `schema.table`; either part may be quoted as in SQL.
 * @returns One or two quoted names, as SQL. The first one that exists is the table.
 * @throws {LakebaseError} `BAD_PARAMETER` if the text can't be a name.
 */
export function possibleNames(name: string): string[] {
  if (name.length > MAX_NAME_LENGTH || name.includes("\0")) throw badName(name);
  const parts = partsOfName(name, PART)?.map(([, quoted, bare = ""]) =>
    quoted === undefined ? { text: bare.trim(), quoted: false } : { text: unquoteName(quoted), quoted: true }
  );
  if (parts === undefined || parts.some(({ text }) => text === "")) throw badName(name);
  const asWritten = parts.map(({ text }) => quoteName(text)).join(".");
  // A part that SQL can't read without quotes is not folded: a shell may have removed the quotes of "My Table".
  const folded = parts.map(({ text, quoted }) => quoteName(quoted || !BARE.test(text) ? text : fold(text))).join(".");
  return [...new Set([asWritten, folded])];
}

/**
 * Splits a name at the dots that are not in quotes.
 *
 * @param part A sticky pattern of one part with the spaces around it.
 * @returns The match of each part; `undefined` if the text is not such a name.
 */
export function partsOfName(name: string, part: RegExp): RegExpExecArray[] | undefined {
  const parts: RegExpExecArray[] = [];
  for (let at = 0; at <= name.length; at++) { // also at the end, where a part is missing after a last dot
    part.lastIndex = at;
    const match = part.exec(name);
    if (match === null) return undefined;
    parts.push(match);
    at += match[0].length;
    if (at < name.length && name[at] !== ".") return undefined;
  }
  return parts;
}

/** Gives the name as quoted SQL if it can stand for one name only. Then no round trip has to look it up. */
export function unambiguousName(name: string): string | undefined {
  const [first, second] = possibleNames(name);
  return second === undefined ? first : undefined;
}

/**
 * Gives the name that a fragment consists of, such as one of `sql.id()`; `undefined` if the fragment is not just a name.
 */
export function nameOf(fragment: Fragment): string | undefined {
  const { text, values } = compile(fragment);
  return values.length === 0 && text.length <= MAX_NAME_LENGTH && SQL_NAME.test(text) ? text : undefined;
}

function badName(name: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot look for a table: its name is ${JSON.stringify(name)}; it must be like trips, public.trips or "Odd name"`,
  );
}

/** A pattern of `tables()`, as lists for `LIKE ANY`; `null` matches everything. */
interface Pattern {
  /** Patterns of the schema. */
  schema: string[] | null;
  /** Patterns of the name. */
  name: string[] | null;
}

/**
 * Reads a pattern as psql's `\dt` does.
 *
 * @param pattern `name` or `schema.name`. `*` matches any text and `?` any character, except within double quotes.
 * @throws {LakebaseError} `BAD_PARAMETER` if the pattern has more than two parts, is too long or contains a NUL character.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(parsePattern("app.Trip_*"), { schema: ["app"], name: ["Trip\\_%", "trip\\_%"] });
 * ```
 */
export function parsePattern(pattern: string): Pattern {
  if (typeof pattern !== "string" || pattern.length > MAX_NAME_LENGTH) throw badPattern(pattern);
  const parts = [new PatternPart()];
  for (const [token, quoted] of pattern.matchAll(/"((?:[^"]|"")*)"?|[.*?]|[^".*?]+/g)) {
    const part = parts.at(-1)!;
    if (quoted !== undefined) part.add(escapeLike(unquoteName(quoted)), false);
    else if (token === ".") parts.push(new PatternPart());
    else if (token === "*") part.add("%", false);
    else if (token === "?") part.add("_", false);
    else part.add(escapeLike(token), true);
  }
  if (parts.length > 2 || pattern.includes("\0")) throw badPattern(pattern);
  const [name, schema] = parts.reverse();
  return { schema: schema?.likes() ?? null, name: name!.likes() };
}

/** One part of a pattern, both as it is written and as SQL would fold it. */
class PatternPart {
  #written = "";
  #folded = "";

  add(text: string, folds: boolean): void {
    this.#written += text;
    this.#folded += folds ? fold(text) : text;
  }

  likes(): string[] | null {
    if (/^%*$/.test(this.#written)) return null;
    return [...new Set([this.#written, this.#folded])];
  }
}

function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&");
}

function badPattern(pattern: unknown): LakebaseError {
  const shown = Deno.inspect(pattern, { depth: 1, strAbbreviateSize: 100 });
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot list tables: the pattern is ${shown}; it must be like trips, trip*, public.trips or app.*`,
  );
}

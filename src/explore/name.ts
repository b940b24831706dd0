import { LakebaseError } from "../errors.ts";
import { compile, type Fragment } from "../query/fragment.ts";

/** Characters of a name, its schema and their quotes: a part of a name has at most 63 bytes. */
export const LONGEST_NAME = 1000;

const PART = /\s*(?:"((?:[^"]|"")+)"|([^".]+))\s*/y;
const SQL_NAME =
  /^\s*(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)(?:\.(?:"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)){0,2}\s*$/u;

/** What SQL reads as a name without quotes. */
const BARE = /^[\p{L}_][\p{L}\p{N}_$]*$/u;

/** How SQL reads a name that is not quoted: in a database of UTF-8 it folds these letters alone. */
export function fold(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/**
 * What a table's name may stand for: itself as it is written, or as SQL would fold it.
 *
 * @param name `table`, `schema.table`, or with quotes as in SQL.
 * @returns The readings as SQL, quoted; the first that exists is meant.
 * @throws {LakebaseError} `BAD_PARAMETER` where it can't be a name.
 */
export function readings(name: string): string[] {
  const parts: { text: string; quoted: boolean }[] = [];
  if (name.length > LONGEST_NAME) throw badName(name);
  for (let index = 0; index <= name.length;) {
    PART.lastIndex = index;
    const found = PART.exec(name);
    if (found === null || name.includes("\0")) throw badName(name);
    const [whole, quoted, bare = ""] = found;
    parts.push(quoted === undefined ? { text: bare.trim(), quoted: false } : { text: unquote(quoted), quoted: true });
    index += whole.length;
    if (index < name.length && name[index] !== ".") throw badName(name);
    index++;
  }
  if (parts.some(({ text }) => text === "")) throw badName(name);
  const written = parts.map(({ text }) => quote(text)).join(".");
  // What SQL could not read without quotes, such as a shell takes away from around "My Table", it would not fold either.
  const folded = parts.map(({ text, quoted }) => quote(quoted || !BARE.test(text) ? text : fold(text))).join(".");
  return [...new Set([written, folded])];
}

/** The name as SQL, quoted, where it can stand for one thing alone: then it need not be looked up, which is a round trip. */
export function onlyReading(name: string): string | undefined {
  const [only, other] = readings(name);
  return other === undefined ? only : undefined;
}

/**
 * The name that a fragment is, as `sql.id()` makes it.
 *
 * @param fragment A fragment.
 * @returns Its text; `undefined` where it is more than a name.
 */
export function nameOf(fragment: Fragment): string | undefined {
  const { text, values } = compile(fragment);
  return values.length === 0 && text.length <= LONGEST_NAME && SQL_NAME.test(text) ? text : undefined;
}

function unquote(text: string): string {
  return text.replaceAll('""', '"');
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function badName(name: string): LakebaseError {
  return new LakebaseError(
    "BAD_PARAMETER",
    `Cannot look for a table: its name is ${JSON.stringify(name)}; it must be like trips, public.trips or "Odd name"`,
  );
}

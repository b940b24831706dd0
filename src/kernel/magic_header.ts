import { closest } from "../core/closest.ts";
import { UsageError } from "./failure.ts";

/** Words that begin a statement of PostgreSQL. */
export const STATEMENTS: ReadonlySet<string> = new Set(
  ("abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete " +
    "discard do drop end execute explain fetch grant import insert listen load lock merge move notify prepare " +
    "reassign refresh reindex release reset revoke rollback savepoint security select set show start table truncate " +
    "unlisten update vacuum values with").split(" "),
);

/** The header of a magic: the words between its name and its SQL. */
export interface MagicHeader {
  /** The variable that holds the connection. */
  connection?: string;
  /** The variable in which to store the result. */
  store?: string;
  /** The maximum rows to show. */
  limit?: number;
  /** Show nothing. */
  "no-display"?: true;
  /** Show the plan. */
  explain?: true;
  /** Draw a chart: the mark and the expressions of the axes. */
  plot?: string[];
  /** Write the rows into a CSV file. */
  csv?: string;
  /** Write the rows into a Parquet file. */
  parquet?: string;
  /** Save the statement under a name. */
  save?: string;
  /** The saved statements that this one uses as tables. */
  with?: string[];
}

interface Flag {
  /** The name of its value, if it takes one. */
  value?: string;
  /** The maximum number of words in its value. @default {1} */
  words?: number;
  /** What the flag does, for the help. */
  summary: string;
  /** Sets the flag in a header. */
  set: (header: MagicHeader, value: string, words: string[]) => void;
}

/** The flags by name, without the dashes. */
export const FLAGS: Readonly<Record<string, Flag>> = {
  limit: {
    value: "n",
    summary: "show n rows; the default is 20, or 0 for a result that is stored",
    set: (header, value) => header.limit = rowCount(value),
  },
  "no-display": { summary: "show nothing", set: (header) => header["no-display"] = true },
  explain: { summary: "show the server's plan; the statement does not run", set: (header) => header.explain = true },
  plot: {
    value: "mark x y",
    words: 3,
    summary: "draw a chart, such as --plot bar zone avg(fare)",
    set: (header, _, words) => header.plot = words,
  },
  csv: {
    value: "file",
    summary: "write all rows into a CSV file instead of showing them",
    set: (header, value) => header.csv = fileName("csv", value),
  },
  parquet: {
    value: "file",
    summary: "write all rows into a Parquet file instead of showing them",
    set: (header, value) => header.parquet = fileName("parquet", value),
  },
  save: {
    value: "name",
    summary: "save the query under a name, for --with",
    set: (header, value) => header.save = savedName("save", value),
  },
  with: {
    value: "name",
    summary: "use a saved query as a table of that name; --with a,b uses two",
    set: (header, value) =>
      header.with = [...new Set([...header.with ?? [], ...value.split(",").map((name) => savedName("with", name))])],
  },
};

const SPACE = /[ \t\r]*/y;
const FLAG = /--([A-Za-z][\w-]*)(?:=("[^"\n]*"|'[^'\n]*'|[^\s"']*))?/y;
const VALUE = /[ \t]+("[^"\n]*"|'[^'\n]*'|[^\s"'-][^\s]*|-\d\S*)/y;
const WORD = /[ \t]+(?!--|[^\s<]+[ \t]*<<)("[^"\n]*"|'[^'\n]*'|[^\s"'()\\]+\([^()\n]*\)|[^\s"'(\\][^\s]*)/y;
const STORE = /([^\s<]+)[ \t]*<<(?!<)/y;
const CONNECTION = /[\p{L}_$][\p{L}\p{N}_$]{0,500}(?:\.[\p{L}_$][\p{L}\p{N}_$]{0,500}){0,20}(?=[ \t\r\n]|$)/uy;

/**
 * Reads the header of a magic: `[connection] [name <<] [--flags]`, in any order.
 *
 * @param text The cell.
 * @param start The position after the magic's name.
 * @returns The header, and the position at which the SQL begins.
 * @throws {UsageError} For an invalid header.
 */
export function readHeader(text: string, start: number): { header: MagicHeader; end: number } {
  const header: MagicHeader = {};
  for (let at = start;;) {
    at = match(SPACE, text, at)!.end;
    const next = readFlag(header, text, at) ?? readStore(header, text, at) ?? readConnection(header, text, at);
    if (next === undefined) {
      checkSqlStart(header, text, at);
      return { header, end: at };
    }
    at = next;
  }
}

function readFlag(header: MagicHeader, text: string, at: number): number | undefined {
  const written = match(FLAG, text, at);
  if (written === undefined) return undefined;
  const [, name = "", attached] = written.groups;
  const flag = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
  if (flag === undefined) throw unknownFlag(name);
  if (flag.value === undefined) {
    if (attached !== undefined) throw new UsageError(`Cannot run the magic: --${name} takes no value`);
    flag.set(header, "", []);
    return written.end;
  }
  if (flag.words !== undefined) {
    const { words, end } = readWords(text, written.end, attached === undefined ? [] : [unquoted(attached)], flag.words);
    flag.set(header, "", words);
    return end;
  }
  const value = attached === undefined ? match(VALUE, text, written.end) : { groups: ["", attached], end: written.end };
  flag.set(header, unquoted(value?.groups[1] ?? ""), []);
  return value?.end ?? written.end;
}

function unquoted(text: string): string {
  return text.replace(/^(["'])(.*)\1$/, "$2");
}

/** Reads words up to a statement, another flag or a name for the result. A word may have spaces within brackets. */
function readWords(
  text: string,
  start: number,
  firstWords: string[],
  maxWords: number,
): { words: string[]; end: number } {
  const words = [...firstWords];
  for (let end = start;;) {
    const word = words.length < maxWords ? match(WORD, text, end) : undefined;
    if (word === undefined || STATEMENTS.has(word.groups[1]!.toLowerCase())) return { words, end };
    words.push(unquoted(word.groups[1]!));
    end = word.end;
  }
}

function unknownFlag(name: string): UsageError {
  const similar = closest(name.slice(0, 40), Object.keys(FLAGS));
  return new UsageError(
    `Cannot run the magic: there is no flag --${name}${similar === undefined ? "." : `; did you mean --${similar}?`} ` +
      `The flags: ${flagNames()}`,
  );
}

/** The flags with the names of their values. */
function flagNames(): string {
  return Object.entries(FLAGS).map(([name, { value }]) => `--${name}${value === undefined ? "" : ` ${value}`}`).join(
    ", ",
  );
}

function rowCount(value: string): number {
  const count = Number(value.replaceAll("_", ""));
  if (/^\d/.test(value) && Number.isSafeInteger(count) && count > 0) return count;
  const state = value === "" ? "has no value" : `is ${JSON.stringify(value)}`;
  throw new UsageError(`Cannot run the magic: --limit ${state}; it must be a whole number above 0, such as --limit 50`);
}

function fileName(flag: string, value: string): string {
  if (value !== "" && !STATEMENTS.has(value.toLowerCase())) return value;
  throw new UsageError(`Cannot run the magic: --${flag} has no file; write --${flag} trips.${flag} before the SQL`);
}

/** The name of a saved query. SQL reads it without quotes, so its case does not matter. */
function savedName(flag: string, value: string): string {
  const isStatement = STATEMENTS.has(value.toLowerCase());
  if (/^[a-z_][a-z0-9_]{0,62}$/i.test(value) && !isStatement) return value.toLowerCase();
  const state = value === "" || isStatement ? "has no name" : `is ${JSON.stringify(value)}`;
  throw new UsageError(`Cannot run the magic: --${flag} ${state}; it must be a name such as --${flag} expensive_trips`);
}

function readStore(header: MagicHeader, text: string, at: number): number | undefined {
  const store = match(STORE, text, at);
  if (store === undefined) return undefined;
  const name = store.groups[1]!;
  if (header.store !== undefined) {
    throw new UsageError(`Cannot run the magic: the result has two names, ${header.store} and ${name}; use one`);
  }
  header.store = variableName(name);
  return store.end;
}

const RESERVED: ReadonlySet<string> = new Set(
  ("arguments await break case catch class const continue debugger default delete do else enum eval export extends false " +
    "finally for function if implements import in instanceof interface let new null package private protected public " +
    "return static super switch this throw true try typeof undefined var void while with yield NaN Infinity globalThis Deno")
    .split(" "),
);

function variableName(name: string): string {
  if (/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(name) && !RESERVED.has(name)) return name;
  throw new UsageError(
    `Cannot run the magic: a result can't be stored as ${name}; use a variable's name, such as rows <<`,
  );
}

function readConnection(header: MagicHeader, text: string, at: number): number | undefined {
  const end = match(CONNECTION, text, at)?.end;
  if (end === undefined) return undefined;
  const name = text.slice(at, end);
  if (STATEMENTS.has(name.toLowerCase()) && !isConnectionNamedCopy(name, text, end)) return undefined;
  if (header.connection !== undefined) throw beginsNoStatement(header.connection, name);
  const first = name.split(".")[0]!;
  // `globalThis.db` is a variable as well.
  if (RESERVED.has(first) && !(first === "globalThis" && name !== first)) throw isNoConnection(first);
  header.connection = name;
  return end;
}

/** The beginning of a COPY statement after its first word. */
const REST_OF_COPY = /^\s*(?:"[^"]*"|[^\s("]+)\s*(?:\([^)]*\)\s*)?(?:from|to)\s+(?:'|\$|stdin\b|stdout\b|program\b)/i;

/**
 * Whether `copy` is the name of a connection: a variable with a copy of the database often has this name. In a COPY statement
 * a table follows the word. After a connection, a statement or a flag follows.
 */
function isConnectionNamedCopy(name: string, text: string, end: number): boolean {
  if (name !== "copy") return false;
  const after = match(SPACE, text, end)!.end;
  if (match(FLAG, text, after) !== undefined || match(STORE, text, after) !== undefined) return true;
  const rest = text.slice(end, end + 2000);
  const next = /^\s*([A-Za-z]+|\\)/.exec(rest)?.[1];
  return next !== undefined && (next === "\\" || STATEMENTS.has(next.toLowerCase())) && !REST_OF_COPY.test(rest);
}

function isNoConnection(word: string): UsageError {
  const instead = word === "await" ? "leave it out, because the connection is awaited anyway" : "use a variable's name";
  return new UsageError(`Cannot run the magic: ${word} is not a connection; ${instead}, such as %%sql db`);
}

/** Checks the rest of the line for likely mistakes, since any word that begins no statement counts as a connection. */
function checkSqlStart({ connection }: MagicHeader, text: string, at: number): void {
  const end = text.indexOf("\n", at);
  const line = text.slice(at, end === -1 ? undefined : end);
  if (connection !== undefined && /^[\w'"*=.,]/.test(line) && !/^[A-Za-z]+\b/.test(line)) {
    throw beginsNoStatement(connection, line);
  }
  const flag = /^[^'"$]*\s--([a-z][\w-]*)/.exec(line)?.[1];
  if (flag === undefined || !Object.hasOwn(FLAGS, flag)) return;
  throw new UsageError(
    `Cannot run the magic: --${flag} comes after the SQL begins, where it is a comment; put it before the SQL`,
  );
}

/** Shorter words are similar to too many keywords for a suggestion. */
const MIN_TYPO_LENGTH = 4;

function beginsNoStatement(connection: string, rest: string): UsageError {
  const typos = [connection.slice(0, 40), rest.slice(0, 30)].filter(({ length }) => length >= MIN_TYPO_LENGTH);
  const similar = typos.map((typo) => closest(typo, STATEMENTS)).find((word) => word !== undefined);
  const instead = similar === undefined
    ? "begin with a statement such as SELECT, or name one connection"
    : `did you mean ${similar.toUpperCase()}?`;
  return new UsageError(
    `Cannot run the magic: "${connection}" is taken for a connection, and ${
      JSON.stringify(rest.slice(0, 30))
    } after it ` +
      `begins no SQL statement; ${instead}`,
  );
}

function match(pattern: RegExp, text: string, at: number): { groups: RegExpExecArray; end: number } | undefined {
  pattern.lastIndex = at;
  const groups = pattern.exec(text);
  return groups === null ? undefined : { groups, end: pattern.lastIndex };
}

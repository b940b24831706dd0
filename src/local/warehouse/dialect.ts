import { quoteName, sqlTokens, unquoteName, utf16Index } from "../../core/sql_text.ts";

/** A parameter of a statement. */
export interface Parameter {
  name: string;
  value: string | null;
  /** In capitals, such as `DECIMAL(10,2)`. */
  type: string;
}

/** A statement of a warehouse, translated for Postgres. */
export interface Translation {
  sql: string;
  /** The oids of the types of `$1`, `$2`, ... */
  types: number[];
  /** The values of `$1`, `$2`, ... */
  values: (string | null)[];
  /** Maps a position in `sql`, in characters from 1, to an index in the original statement. */
  indexOf(position: number): number;
}

/** The error for a parameter marker without a parameter. */
export class UnboundParameter extends Error {
  readonly parameter: string;
  /** Index of the marker in the statement. */
  readonly index: number;

  constructor(parameter: string, index: number) {
    super(`no value for :${parameter}`);
    this.name = "UnboundParameter";
    this.parameter = parameter;
    this.index = index;
  }
}

/** The types that a parameter may have, each with the oid of the Postgres type, and a cast if the value needs one. */
const TYPES: Record<string, { oid: number; cast?: (parameter: string, type: string) => string }> = {
  STRING: { oid: 25 },
  BOOLEAN: { oid: 16 },
  TINYINT: { oid: 21 },
  BYTE: { oid: 21 },
  SMALLINT: { oid: 21 },
  SHORT: { oid: 21 },
  INT: { oid: 23 },
  INTEGER: { oid: 23 },
  BIGINT: { oid: 20 },
  LONG: { oid: 20 },
  FLOAT: { oid: 700 },
  REAL: { oid: 700 },
  DOUBLE: { oid: 701 },
  // DECIMAL alone is DECIMAL(10,0)
  DECIMAL: {
    oid: 1700,
    cast: (parameter, type) =>
      `${parameter}::pg_catalog.numeric${type.includes("(") ? type.replace(/^\w+/, "") : "(10,0)"}`,
  },
  DATE: { oid: 1082 },
  TIMESTAMP: { oid: 1184 },
  TIMESTAMP_LTZ: { oid: 1184 },
  TIMESTAMP_NTZ: { oid: 1114 },
  // CAST(string AS BINARY) gives the bytes of the string in UTF-8.
  BINARY: { oid: 25, cast: (parameter) => `pg_catalog.convert_to(${parameter}, 'UTF8')` },
  VOID: { oid: 25 },
};

const ALIASES: Record<string, string> = { DEC: "DECIMAL", NUMERIC: "DECIMAL" };

/** Whether a parameter may have a type such as `DECIMAL(10,2)`. */
export function isParameterType(type: string): boolean {
  const [, name = "", size] = /^(\w+)\s*(\(\s*\d{1,2}\s*(?:,\s*\d{1,2}\s*)?\))?$/.exec(type) ?? [];
  const canonicalName = ALIASES[name] ?? name;
  return Object.hasOwn(TYPES, canonicalName) && (size === undefined || canonicalName === "DECIMAL");
}

/** A token of a warehouse's statement. */
interface Token {
  kind: string;
  start: number;
  end: number;
  /** The text for Postgres; `undefined` if it is the same. */
  replacement?: string;
  /** An identifier without its quotes, or the name of a parameter. */
  name?: string;
}

/**
 * Translates a statement for Postgres: named parameters, identifiers in backticks, three-part names, `X'...'`,
 * `unhex()` and `unbase64()`. Everything else stays as it is.
 *
 * @param catalogs The names of the catalogs in lower case. Each of them means the database.
 * @throws {UnboundParameter} For a `:name` without a parameter.
 */
export function translate(
  statement: string,
  parameters: readonly Parameter[],
  catalogs: ReadonlySet<string>,
): Translation {
  const tokens = [...tokensOf(statement)];
  const binding = new Binding(parameters);
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    if (token.kind === "named parameter") token.replacement = binding.bind(token.name!, token.start);
    else if (token.name !== undefined) dropCatalog(tokens, at, catalogs, statement);
  }
  translateDecodings(tokens, statement);
  let sql = "";
  const starts: number[] = [];
  for (const { start, end, replacement } of tokens) {
    starts.push(sql.length);
    sql += replacement ?? statement.slice(start, end);
  }
  const indexOf = (position: number): number => {
    const index = utf16Index(sql, position - 1);
    let at = starts.findLastIndex((start) => start <= index);
    while (at > 0 && starts[at - 1] === index) at--; // a catalog that was dropped belongs to the next name
    const token = tokens[at];
    if (token === undefined) return 0;
    return token.replacement === undefined ? token.start + index - starts[at]! : token.start;
  };
  return { sql, types: binding.types, values: binding.values, indexOf };
}

/** Numbers the parameters in the order of their first use. */
class Binding {
  readonly types: number[] = [];
  readonly values: (string | null)[] = [];
  readonly #parameters: ReadonlyMap<string, Parameter>;
  readonly #bound = new Map<string, string>();

  constructor(parameters: readonly Parameter[]) {
    this.#parameters = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  }

  /** Returns the SQL for a parameter. */
  bind(name: string, index: number): string {
    const bound = this.#bound.get(name);
    if (bound !== undefined) return bound;
    const parameter = this.#parameters.get(name);
    if (parameter === undefined) throw new UnboundParameter(name, index);
    const base = /^\w+/.exec(parameter.type)![0];
    const { oid, cast } = TYPES[ALIASES[base] ?? base]!;
    this.types.push(oid);
    this.values.push(parameter.value);
    const marker = `$${this.types.length}`;
    const text = cast === undefined ? marker : `(${cast(marker, parameter.type)})`;
    this.#bound.set(name, text);
    return text;
  }
}

/** Splits a statement into tokens. An identifier in backticks and a parameter with its ":" are one token each. */
function* tokensOf(statement: string): Generator<Token> {
  for (let from = 0; from < statement.length;) {
    let backtick: number | undefined;
    let colon: number | undefined; // the index of a ":" that may begin a parameter
    for (const { kind, start, end } of sqlTokens(statement, { start: from })) {
      const text = statement.slice(start, end);
      if (colon !== undefined) {
        const isParameter = kind === "word";
        if (isParameter) yield { kind: "named parameter", start: colon, end, name: text };
        else yield { kind: "symbol", start: colon, end: start };
        colon = undefined;
        if (isParameter) continue;
      }
      if (text === "`") {
        backtick = start;
        break;
      }
      if (text === ":" && statement[start - 1] !== ":" && statement[end] !== ":" && statement[end] !== "=") {
        colon = start;
      } else yield newToken(kind, start, end, text);
    }
    if (colon !== undefined) yield { kind: "symbol", start: colon, end: colon + 1 };
    if (backtick === undefined) return;
    const end = backtickEnd(statement, backtick);
    if (end === undefined) {
      yield { kind: "symbol", start: backtick, end: statement.length };
      return;
    }
    const name = statement.slice(backtick + 1, end - 1).replaceAll("``", "`");
    yield { kind: "name", start: backtick, end, name, replacement: quoteName(name) };
    from = end;
  }
}

function newToken(kind: string, start: number, end: number, text: string): Token {
  if (kind === "word") return { kind, start, end, name: text.toLowerCase() };
  if (kind === "name") return { kind, start, end, name: unquoteName(text.slice(1, -1)) };
  if (kind === "string" && /^x'[\da-f]*'$/i.test(text)) {
    const hex = text.slice(2, -1);
    return { kind, start, end, replacement: `'\\x${hex.length % 2 ? "0" : ""}${hex}'::pg_catalog.bytea` };
  }
  return { kind, start, end };
}

function backtickEnd(statement: string, start: number): number | undefined {
  for (let at = statement.indexOf("`", start + 1); at !== -1; at = statement.indexOf("`", at + 2)) {
    if (statement[at + 1] !== "`") return at + 1;
  }
  return undefined;
}

/** Drops a catalog before `.schema.table`, and in `SCHEMA catalog.schema`. */
function dropCatalog(tokens: Token[], at: number, catalogs: ReadonlySet<string>, statement: string): void {
  const text = (index: number) => tokens[index] && statement.slice(tokens[index].start, tokens[index].end);
  if (!catalogs.has(tokens[at]!.name!.toLowerCase()) || text(at - 1) === "." || text(at + 1) !== ".") return;
  if (tokens[at + 2]?.name === undefined) return;
  const hasThreeParts = text(at + 3) === "." && (tokens[at + 4]?.name !== undefined || text(at + 4) === "*");
  const words = tokens.slice(Math.max(0, at - 8), at).filter(({ kind }) => kind === "word").map(({ name }) => name);
  if (!hasThreeParts && !/\bschema( if( not)? exists)?$/.test(words.join(" "))) return;
  tokens[at]!.replacement = "";
  tokens[at + 1]!.replacement = "";
}

/** The functions that decode a text, each with the name of the format for Postgres's `decode()`. */
const DECODINGS: Record<string, string> = { unhex: "hex", unbase64: "base64" };

/** Replaces `unhex(text)` by `decode(text, 'hex')`. */
function translateDecodings(tokens: Token[], statement: string): void {
  const open: (string | undefined)[] = [];
  for (const [at, token] of tokens.entries()) {
    const text = token.replacement === undefined && token.kind === "symbol"
      ? statement.slice(token.start, token.end)
      : "";
    if (text === "(") {
      const before = tokens[at - 1];
      const encoding = before?.kind === "word" ? DECODINGS[before.name!] : undefined;
      if (encoding !== undefined) before!.replacement = "pg_catalog.decode";
      open.push(encoding);
    } else if (text === ")") {
      const encoding = open.pop();
      if (encoding !== undefined) token.replacement = `, '${encoding}')`;
    }
  }
}

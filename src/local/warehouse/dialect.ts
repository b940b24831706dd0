import { sqlTokens, utf16Index } from "../../core/sql_text.ts";

/** A parameter of a statement. */
export interface Parameter {
  name: string;
  value: string | null;
  /** In capitals, such as `DECIMAL(10,2)`. */
  type: string;
}

/** A warehouse's statement in a form that Postgres can run. */
export interface Translation {
  sql: string;
  /** The types (oids) and the values of `$1`, `$2`, ... */
  types: number[];
  values: (string | null)[];
  /** The index in the warehouse's statement for a position that Postgres reports, in characters from 1. */
  indexOf(position: number): number;
}

/** A parameter marker that has no parameter. */
export class UnboundParameter extends Error {
  readonly parameter: string;
  readonly index: number;

  constructor(parameter: string, index: number) {
    super(`no value for :${parameter}`);
    this.name = "UnboundParameter";
    this.parameter = parameter;
    this.index = index;
  }
}

/** The types that a parameter may have: the oid of the Postgres type, and a cast if the value needs one. */
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
  const known = ALIASES[name] ?? name;
  return Object.hasOwn(TYPES, known) && (size === undefined || known === "DECIMAL");
}

/** A piece of the statement, and its replacement for Postgres. */
interface Piece {
  kind: string;
  start: number;
  end: number;
  /** `undefined` if the text stays the same. */
  replaced?: string;
  /** The name of an identifier, without its quotes. */
  name?: string;
}

/**
 * Translates a statement: named parameters, identifiers in backticks, three-part names, `X'...'` and `unhex()`.
 * Everything else is Postgres's own dialect.
 *
 * @param catalogs Names of catalogs in lower case. Each stands for the database.
 * @throws {UnboundParameter} For a `:name` without a parameter.
 */
export function translate(
  statement: string,
  parameters: readonly Parameter[],
  catalogs: ReadonlySet<string>,
): Translation {
  const pieces = [...piecesOf(statement)];
  const binding = new Binding(parameters);
  for (let at = 0; at < pieces.length; at++) {
    const piece = pieces[at]!;
    if (piece.kind === "parameter name") piece.replaced = binding.bind(piece.name!, piece.start);
    else if (piece.name !== undefined) dropCatalog(pieces, at, catalogs, statement);
  }
  decodings(pieces, statement);
  let sql = "";
  const starts: number[] = [];
  for (const { start, end, replaced } of pieces) {
    starts.push(sql.length);
    sql += replaced ?? statement.slice(start, end);
  }
  const indexOf = (position: number): number => {
    const index = utf16Index(sql, position - 1);
    let at = starts.findLastIndex((start) => start <= index);
    while (at > 0 && starts[at - 1] === index) at--; // a dropped catalog belongs to the name that follows it
    const piece = pieces[at];
    if (piece === undefined) return 0;
    return piece.replaced === undefined ? piece.start + index - starts[at]! : piece.start;
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

  /** The SQL that replaces a parameter. */
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

/** The tokens. An identifier in backticks, a parameter's name or `X'...'` is one piece. */
function* piecesOf(statement: string): Generator<Piece> {
  for (let from = 0; from < statement.length;) {
    let quoted: number | undefined;
    let colon: number | undefined; // the position of a ":" that may begin a parameter
    for (const { kind, start, end } of sqlTokens(statement, { start: from })) {
      const text = statement.slice(start, end);
      if (colon !== undefined) {
        if (kind === "word") yield { kind: "parameter name", start: colon, end, name: text };
        else yield { kind: "symbol", start: colon, end: start };
        const taken = kind === "word";
        colon = undefined;
        if (taken) continue;
      }
      if (text === "`") {
        quoted = start;
        break;
      }
      if (text === ":" && statement[start - 1] !== ":" && statement[end] !== ":" && statement[end] !== "=") {
        colon = start;
      } else yield pieceOf(kind, start, end, text);
    }
    if (colon !== undefined) yield { kind: "symbol", start: colon, end: colon + 1 };
    if (quoted === undefined) return;
    const end = backTickEnd(statement, quoted);
    if (end === undefined) {
      yield { kind: "symbol", start: quoted, end: statement.length };
      return;
    }
    const name = statement.slice(quoted + 1, end - 1).replaceAll("``", "`");
    yield { kind: "name", start: quoted, end, name, replaced: `"${name.replaceAll('"', '""')}"` };
    from = end;
  }
}

function pieceOf(kind: string, start: number, end: number, text: string): Piece {
  if (kind === "word") return { kind, start, end, name: text.toLowerCase() };
  if (kind === "name") return { kind, start, end, name: text.slice(1, -1).replaceAll('""', '"') };
  if (kind === "string" && /^x'[\da-f]*'$/i.test(text)) {
    const hex = text.slice(2, -1);
    return { kind, start, end, replaced: `'\\x${hex.length % 2 ? "0" : ""}${hex}'::pg_catalog.bytea` };
  }
  return { kind, start, end };
}

function backTickEnd(statement: string, start: number): number | undefined {
  for (let at = statement.indexOf("`", start + 1); at !== -1; at = statement.indexOf("`", at + 2)) {
    if (statement[at + 1] !== "`") return at + 1;
  }
  return undefined;
}

/** Drops the catalog of `catalog.schema.table`, and of `SCHEMA catalog.schema`. */
function dropCatalog(pieces: Piece[], at: number, catalogs: ReadonlySet<string>, statement: string): void {
  const text = (index: number) => pieces[index] && statement.slice(pieces[index].start, pieces[index].end);
  if (!catalogs.has(pieces[at]!.name!.toLowerCase()) || text(at - 1) === "." || text(at + 1) !== ".") return;
  if (pieces[at + 2]?.name === undefined) return;
  const longer = text(at + 3) === "." && (pieces[at + 4]?.name !== undefined || text(at + 4) === "*");
  const words = pieces.slice(Math.max(0, at - 8), at).filter(({ kind }) => kind === "word").map(({ name }) => name);
  if (!longer && !/\bschema( if( not)? exists)?$/.test(words.join(" "))) return;
  pieces[at]!.replaced = "";
  pieces[at + 1]!.replaced = "";
}

/** The functions that turn a text into bytes, each with the format name that `decode()` uses. */
const DECODINGS: Record<string, string> = { unhex: "hex", unbase64: "base64" };

/** Replaces `unhex(text)` by `decode(text, 'hex')`. */
function decodings(pieces: Piece[], statement: string): void {
  const open: (string | undefined)[] = [];
  for (const [at, piece] of pieces.entries()) {
    const text = piece.replaced === undefined && piece.kind === "symbol" ? statement.slice(piece.start, piece.end) : "";
    if (text === "(") {
      const before = pieces[at - 1];
      const encoding = before?.kind === "word" ? DECODINGS[before.name!] : undefined;
      if (encoding !== undefined) before!.replaced = "pg_catalog.decode";
      open.push(encoding);
    } else if (text === ")") {
      const encoding = open.pop();
      if (encoding !== undefined) piece.replaced = `, '${encoding}')`;
    }
  }
}

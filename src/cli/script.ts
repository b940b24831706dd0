import { InvalidArgumentError } from "npm:commander@15.1.0";
import { closest } from "../core/closest.ts";
import { Nesting, type SqlToken, sqlTokens } from "../core/sql_text.ts";
import { Fragment, type Statement, textStatement } from "../sql/fragment.ts";
import { badParameter } from "../sql/parameter.ts";
import { until } from "../sql/stop.ts";

/** The sources of the SQL of a command. */
interface SqlSource {
  /** SQL, or `-` for standard input. */
  text?: string | undefined;
  /** A file of SQL, or `-` for standard input. */
  file?: string | undefined;
  /** Values for `$names`. */
  param?: Parameters;
}

/** SQL that is ready to run. */
export interface Script {
  /** The name of its source in an error; `undefined` for the command line. */
  name: string | undefined;
  /** Its statements, in order; at least one. */
  statements: readonly ScriptStatement[];
}

/**
 * Reads the SQL from the command line, a file or standard input.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` if there is no SQL, or if parameters and values do not match.
 */
export async function readScript(
  { text, file, param = new Map() }: SqlSource,
  stopped: AbortSignal,
): Promise<Script> {
  if (text !== undefined && file !== undefined) {
    throw badParameter("there is SQL in the command line and a --file; give only one");
  }
  if (text !== undefined && /^\S+\.sql$/i.test(text)) {
    throw badParameter(`"${text}" is not SQL; did you mean --file ${text}?`);
  }
  if (text === undefined && file === undefined && Deno.stdin.isTerminal()) {
    throw badParameter("there is no SQL; put it in the command line, in a --file, or on standard input");
  }
  const inline = text !== undefined && text !== "-";
  const { name, sql } = inline ? { name: undefined, sql: text } : await until(readSql(file ?? "-"), stopped);
  const statements = parseScript(sql);
  if (statements.length === 0) throw badParameter(`there is no SQL in ${name ?? "the command line"}`);
  const psqlCommand = statements.find(({ strings }) => strings[0]!.startsWith("\\"));
  if (psqlCommand !== undefined) {
    const command = psqlCommand.strings[0]!.split(/\s/, 1)[0];
    throw badParameter(
      `${command} is a command of psql, not SQL; "lakebase tables" and "lakebase --help" show the commands here`,
    );
  }
  checkParameters(statements, param);
  return { name, statements };
}

async function readSql(file: string): Promise<{ name: string; sql: string }> {
  const name = file === "-" ? "standard input" : file;
  try {
    const bytes = file === "-" ? await new Response(Deno.stdin.readable).arrayBuffer() : await Deno.readFile(file);
    return { name, sql: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (cause) {
    const state = cause instanceof Deno.errors.NotFound
      ? "does not exist"
      : `can't be read: ${(cause as Error).message}`;
    throw badParameter(`${name} ${state}`, cause);
  }
}

/** One statement of a script, with the names of its parameters. */
interface ScriptStatement {
  /** The texts around the parameters, one more than `names`. */
  strings: readonly string[];
  /** The names of the parameters in order, such as `zone` for `$zone`. */
  names: readonly string[];
  /** The line of the script on which it begins, from 1. */
  line: number;
}

/**
 * Splits a script at each semicolon that ends a statement, and each statement at its `$name` and `$1`. Quotes and comments
 * are not split.
 *
 * @param text Any number of statements.
 * @returns The statements, without semicolons. Empty statements and those with only comments are left out.
 */
export function parseScript(text: string): ScriptStatement[] {
  const statements: ScriptStatement[] = [];
  let reader = new StatementReader(text, 0);
  const lines = new LineCounter(text);
  const end = (at: number) => {
    if (!reader.isEmpty) statements.push({ ...reader.end(at), line: lines.at(reader.start) });
    reader = new StatementReader(text, at + 1);
  };
  for (const token of sqlTokens(text)) {
    if (token.kind === "symbol" && text[token.start] === ";" && reader.top) end(token.start);
    else reader.take(token);
  }
  end(text.length);
  return statements;
}

/** Collects the tokens of one statement. */
class StatementReader {
  /** The start of the statement, after the space before it. */
  start: number;
  /** Whether the statement has only space and comments. */
  isEmpty = true;
  readonly #text: string;
  readonly #strings: string[] = [];
  readonly #names: string[] = [];
  readonly #nesting = new Nesting();
  #from: number;
  /** The position of the last `$`; -2 if there is none, which no token can follow. */
  #dollar = -2;

  constructor(text: string, start: number) {
    this.#text = text;
    this.start = start;
    this.#from = start;
  }

  /** Whether a semicolon would end the statement here. */
  get top(): boolean {
    return this.#nesting.top;
  }

  take({ kind, start, end }: SqlToken): void {
    if (kind === "space" && start === this.start) this.start = this.#from = end;
    this.isEmpty &&= kind === "space" || kind === "comment";
    const text = this.#text.slice(start, end);
    if (kind === "parameter") {
      this.#parameter(start, end);
    } else if (kind === "word" && this.#dollar === start - 1) {
      this.#parameter(this.#dollar, end);
    } else if (kind === "word") {
      this.#nesting.take(kind, text);
    } else if (kind === "symbol") {
      this.#nesting.take(kind, text);
      if (text === "$") this.#dollar = start;
    }
  }

  #parameter(start: number, end: number): void {
    this.#strings.push(this.#text.slice(this.#from, start));
    this.#names.push(this.#text.slice(start + 1, end));
    this.#from = end;
  }

  end(at: number): Omit<ScriptStatement, "line"> {
    return { strings: [...this.#strings, this.#text.slice(this.#from, at).trimEnd()], names: this.#names };
  }
}

/** Gives the line of each position, in one pass over the text. Positions must ascend. */
class LineCounter {
  readonly #text: string;
  #line = 1;
  #next: number;

  constructor(text: string) {
    this.#text = text;
    this.#next = text.indexOf("\n");
  }

  at(position: number): number {
    for (; this.#next !== -1 && this.#next < position; this.#next = this.#text.indexOf("\n", this.#next + 1)) {
      this.#line++;
    }
    return this.#line;
  }
}

/** The values of parameters, by name. */
export type Parameters = ReadonlyMap<string, string>;

/**
 * Checks that each parameter has a value, and that each value has a parameter.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for a parameter or a value without the other.
 */
export function checkParameters(statements: readonly ScriptStatement[], values: Parameters): void {
  const parameters = new Set(statements.flatMap(({ names }) => names));
  for (const name of parameters) {
    if (!values.has(name)) {
      throw badParameter(`$${name} has no value; give -p ${name}=VALUE${suggestion(name, values.keys())}`);
    }
  }
  for (const name of values.keys()) {
    if (parameters.has(name)) continue;
    throw badParameter(
      `the SQL has no $${name} for -p ${name}=...${
        suggestion(name, parameters)
      } (put the SQL in single quotes: in double quotes ` +
        `the shell replaces $${name})`,
    );
  }
}

function suggestion(name: string, candidates: Iterable<string>): string {
  const similar = closest(name, candidates);
  return similar === undefined ? "" : `; did you mean $${similar}?`;
}

/** A statement with its values. A value that is used twice is bound once. */
export function bindParameters({ strings, names }: ScriptStatement, values: Parameters): Statement {
  const used = [...new Set(names)];
  const text = strings.map((string, index) =>
    index === 0 ? string : `$${used.indexOf(names[index - 1]!) + 1}${string}`
  );
  return textStatement(text.join(""), used.map((name) => values.get(name)));
}

/** A statement with its values, as a fragment of SQL. */
export function toFragment({ strings, names }: ScriptStatement, values: Parameters): Fragment {
  return new Fragment(strings, names.map((name) => values.get(name)));
}

/** Adds a value that is written as `name=value`. */
export function addParameter(text: string, values: Parameters = new Map()): Parameters {
  const [, name, value] = /^\$?(\w+)=([\s\S]*)$/u.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("It must be name=value.");
  if (values.has(name)) throw new InvalidArgumentError(`${name} already has a value.`);
  return new Map([...values, [name, value!]]);
}

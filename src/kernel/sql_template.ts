import { Nesting, type SqlToken, sqlTokens } from "../core/sql_text.ts";
import { lineAt, UsageError } from "./failure.ts";
import { expressionEnd } from "./script_text.ts";

/** The texts of a statement around its values, and the positions of its values in the cell. */
export interface SqlTemplate {
  /** The texts. There is one more text than expressions. */
  strings: string[];
  /** The start and end of each expression, without `${` and `}`. */
  expressions: { start: number; end: number }[];
}

/** The SQL of a magic. */
interface SqlCode {
  /** The number of statements. */
  count: number;
  /** One template for all statements; with values, one for each, because the server binds values only in single statements. */
  statements: SqlTemplate[];
  /** The end of the SQL in the cell. */
  end: number;
}

/**
 * Reads SQL with `${values}`. The text does not change, except that `\${` becomes `${`. Comments have no values.
 *
 * @param text The cell.
 * @param start The start of the SQL.
 * @param line Whether the SQL ends with its line, or before an unmatched closing bracket.
 * @throws {UsageError} For quotes, comments and `${` that are not closed, and for values within quotes.
 */
export function readSql(text: string, start: number, line = false): SqlCode {
  const reader = new TemplateBuilder(text, start);
  for (const token of sqlTokens(text, { start, valueEnd: expressionEnd })) {
    if (line && endsLine(text, token, reader.depth)) {
      const newline = token.kind === "space" ? text.indexOf("\n", token.start) : token.start;
      return reader.end(newline);
    }
    checkToken(text, token, line);
    reader.take(token);
  }
  return reader.end(text.length);
}

function endsLine(text: string, { kind, start, end }: SqlToken, depth: number): boolean {
  if (kind === "space") return text.slice(start, end).includes("\n");
  return kind === "symbol" && depth === 0 && ")]}".includes(text[start]!);
}

function checkToken(text: string, { kind, start, end, closed }: SqlToken, line: boolean): void {
  const refuse = (state: (where: string) => string): never => {
    throw new UsageError(`Cannot run the SQL: ${state(`on line ${lineAt(text, start)}`)}`);
  };
  const written = text.slice(start, end);
  if (!closed) refuse((where) => `${OPENING[kind]} ${where} is not closed`);
  if (kind === "value") {
    if (written.slice(2, -1).trim() === "") refuse((where) => `the \${} ${where} is empty; write an expression in it`);
  } else if (line && written.includes("\n")) {
    refuse((where) => `%sql ends with its line, but ${OPENING[kind]} ${where} continues; use a %%sql cell`);
  } else if (line && isScriptComment(text, start)) {
    refuse((where) => `// ${where} does not begin a comment in SQL; write --`);
  } else if ((kind === "string" || kind === "name") && /(?<!\\)\$\{/.test(written)) {
    refuse((where) =>
      `a value is in the quotes ${where}, where it can't be bound; write ${advice(kind)}, ` +
      "or \\${ for the characters themselves"
    );
  }
}

const OPERATOR: ReadonlySet<string> = new Set("+-*/<>=~!@#%^&|`?");

/** Whether two slashes are not part of a longer operator. */
function isScriptComment(text: string, start: number): boolean {
  return text.startsWith("//", start) &&
    ![text[start - 1], text[start + 2]].some((beside) => beside && OPERATOR.has(beside));
}

const OPENING: Partial<Record<SqlToken["kind"], string>> = {
  comment: "the comment",
  name: 'the name in "quotes"',
  string: "the text in quotes",
  value: "${, or a bracket in it,",
};

function advice(kind: "string" | "name"): string {
  return kind === "name"
    ? "${sql.id(name)} instead of the quoted name"
    : "${value} outside of the quotes, such as 'a' || ${b}";
}

/** Statements whose text may contain parameters. */
const KEEP_PARAMETERS: ReadonlySet<string> = new Set(["create", "explain", "prepare"]);

/** Splits tokens into statements, and statements into texts and values. */
class TemplateBuilder {
  /** The number of open brackets. */
  depth = 0;
  readonly #text: string;
  readonly #statements: SqlTemplate[] = [];
  #template: SqlTemplate = { strings: [], expressions: [] };
  /** The parts of the text before the next value. */
  #parts: string[] = [];
  #from: number;
  /** Whether the statement has only space and comments so far. */
  #isEmpty = true;
  #firstWord = "";
  #parameter: SqlToken | undefined;
  #nesting = new Nesting();

  constructor(text: string, start: number) {
    this.#text = text;
    this.#from = start;
  }

  take(token: SqlToken): void {
    const { kind, start, end } = token;
    const character = this.#text[start];
    if (kind === "symbol" && character === ";" && this.depth === 0 && this.#nesting.top) {
      this.#flush(end);
      return this.#endStatement();
    }
    if (kind === "word" || kind === "symbol") this.#nesting.take(kind, this.#text.slice(start, end));
    if (kind !== "space" && kind !== "comment") this.#isEmpty = false;
    if (kind === "word") this.#firstWord ||= this.#text.slice(start, end).toLowerCase();
    if (kind === "parameter") this.#parameter ??= token;
    if (kind === "symbol" && "([{".includes(character!)) this.depth++;
    if (kind === "symbol" && ")]}".includes(character!)) this.depth = Math.max(0, this.depth - 1);
    if (kind === "value") this.#value(start, end);
    else if (kind === "escape") this.#escape(start);
    else if (kind === "string" || kind === "name") this.#escapesIn(start, end);
  }

  end(at: number): SqlCode {
    this.#flush(at);
    this.#endStatement();
    const all = this.#statements;
    const hasValues = all.some(({ expressions }) => expressions.length > 0);
    const joined = { strings: [all.map(({ strings }) => strings[0]).join("")], expressions: [] };
    return { count: all.length, end: at, statements: all.length < 2 || hasValues ? all : [joined] };
  }

  #value(start: number, end: number): void {
    this.#flush(start);
    this.#template.strings.push(this.#parts.join(""));
    this.#template.expressions.push({ start: start + 2, end: end - 1 });
    this.#parts = [];
    this.#from = end;
  }

  /** Removes a backslash. */
  #escape(at: number): void {
    this.#flush(at);
    this.#from = at + 1;
  }

  #escapesIn(start: number, end: number): void {
    for (const { index } of this.#text.slice(start, end).matchAll(/\\(?=\$\{)/g)) this.#escape(start + index);
  }

  /** Ends a statement. Text without a statement is added to the statement before it, or to the next one. */
  #endStatement(): void {
    this.#checkParameter();
    const last = this.#statements.at(-1);
    if (this.#isEmpty && last === undefined) return;
    const template = this.#template;
    template.strings.push(this.#parts.join(""));
    if (this.#isEmpty) last!.strings.push(`${last!.strings.pop()}${template.strings[0]}`);
    else this.#statements.push(template);
    this.#template = { strings: [], expressions: [] };
    this.#parts = [];
    this.#isEmpty = true;
    this.#firstWord = "";
    this.#parameter = undefined;
    this.#nesting = new Nesting();
  }

  /** Refuses a parameter such as `$1`, which would refer to one of the `${values}`. */
  #checkParameter(): void {
    const parameter = this.#parameter;
    if (parameter === undefined) return;
    if (this.#template.expressions.length === 0 && KEEP_PARAMETERS.has(this.#firstWord)) return;
    const { start, end } = parameter;
    throw new UsageError(
      `Cannot run the SQL: ${this.#text.slice(start, end)} on line ${lineAt(this.#text, start)} ` +
        "has no value in a cell; write ${value} instead",
    );
  }

  #flush(end: number): void {
    if (end > this.#from) this.#parts.push(this.#text.slice(this.#from, end));
    this.#from = Math.max(this.#from, end);
  }
}

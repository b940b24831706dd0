import { Nesting, type SqlToken, sqlTokens } from "../sql_text.ts";

/** One statement of a script, with the names of the parameters that stand in it. */
export interface ScriptStatement {
  /** The text around the parameters; one more than there are names. */
  strings: readonly string[];
  /** `zone` for each `$zone`, in their order. */
  names: readonly string[];
  /** The line of the script that it begins on, from 1. */
  line: number;
}

/**
 * Takes a script apart: at each semicolon that ends a statement, and at each `$name` or `$1`, which can't be anything else
 * in SQL. What stands in quotes or comments is left alone.
 *
 * @param text SQL, of any number of statements.
 * @returns Those that are more than space and comments, without their semicolons.
 */
export function parseScript(text: string): ScriptStatement[] {
  const statements: ScriptStatement[] = [];
  let reader = new StatementReader(text, 0);
  const lines = new LineCounter(text);
  const end = (at: number) => {
    if (!reader.bare) statements.push({ ...reader.end(at), line: lines.at(reader.start) });
    reader = new StatementReader(text, at + 1);
  };
  for (const token of sqlTokens(text)) {
    if (token.kind === "symbol" && text[token.start] === ";" && reader.top) end(token.start);
    else reader.take(token);
  }
  end(text.length);
  return statements;
}

/** Takes the pieces of one statement. */
class StatementReader {
  /** Where it begins, space left out. */
  start: number;
  /** Whether there is nothing in it but space and comments. */
  bare = true;
  readonly #text: string;
  readonly #strings: string[] = [];
  readonly #names: string[] = [];
  readonly #nesting = new Nesting();
  #from: number;
  #dollar = -2; // next to no place

  constructor(text: string, start: number) {
    this.#text = text;
    this.start = start;
    this.#from = start;
  }

  /** Whether a semicolon ends it here. */
  get top(): boolean {
    return this.#nesting.top;
  }

  take({ kind, start, end }: SqlToken): void {
    if (kind === "space" && start === this.start) this.start = this.#from = end;
    this.bare &&= kind === "space" || kind === "comment";
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

/** Which line a place is on; each place lies behind the one before, so that a text is read once. */
class LineCounter {
  readonly #text: string;
  #line = 1;
  #next: number;

  constructor(text: string) {
    this.#text = text;
    this.#next = text.indexOf("\n");
  }

  at(place: number): number {
    for (; this.#next !== -1 && this.#next < place; this.#next = this.#text.indexOf("\n", this.#next + 1)) this.#line++;
    return this.#line;
  }
}

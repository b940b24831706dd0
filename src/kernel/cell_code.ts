import { advice } from "./borrowed_config.ts";
import type { MagicHeader } from "./magic_header.ts";
import type { SqlTemplate } from "./sql_template.ts";

/** What becomes of a result. */
export type Use =
  /** The cell's last expression draws it. */
  | "draw"
  /** It is drawn where it stands. */
  | "show"
  /** It is a value within an expression. */
  | "value";

/** A magic that was read. */
export interface Magic {
  /** As a person calls it. */
  magic: "%%sql" | "%sql";
  header: MagicHeader;
  /** The SQL; or a command such as `\d`, with what stands behind it. */
  run: SqlTemplate[] | { command: string; argument: string };
  /** Where in the cell all of it stands. */
  start: number;
  end: number;
  use: Use;
}

const HOOK = 'globalThis[Symbol.for("lakebase.cell")]';

/**
 * The expression that runs a magic: it awaits the function that the client leaves under a symbol. The SQL is passed as
 * strings, since a template would change line ends, back-ticks and back-slashes. Values stand on the lines where they stood
 * in the cell, so that errors in them name these.
 *
 * @param source The cell.
 * @param magic The magic.
 * @param module The client's URL, where the notebook has none by name.
 */
export function magicCode(source: string, magic: Magic, module: string): string {
  const code = new Lines(source, magic.start);
  const client = `${HOOK} ?? await import("lakebase").then(() => ${HOOK}, () => undefined) ?? ` +
    `await import(${JSON.stringify(module)}).then(() => ${HOOK}${refusal(module)})`;
  code.add(`await (${client})({ ${options(magic)} }`);
  for (const { strings, expressions } of Array.isArray(magic.run) ? magic.run : []) {
    code.add(`, [${JSON.stringify(strings)}, [`);
    for (const { start, end } of expressions) code.addExpression(start, end);
    code.add("]]");
  }
  code.add(")");
  return code.endAt(magic.end);
}

/** A checkout finds what it needs by its import map only, and a notebook elsewhere may have another one. */
function refusal(module: string): string {
  if (!module.startsWith("file:")) return "";
  return `, (cause) => { throw new Error("Cannot load lakebase: " + String(cause.message).split("\\n")[0] + ` +
    `${JSON.stringify(`. ${advice(module)}`)}, { cause }) }`;
}

function options({ magic, header, run, use }: Magic): string {
  const { connection, store, ...flags } = header;
  const plain = { magic, use, ...flags, ...(Array.isArray(run) ? {} : run), connection, store };
  return [
    ...Object.entries(plain).flatMap(([name, value]) =>
      value === undefined ? [] : [`${JSON.stringify(name)}: ${JSON.stringify(value)}`]
    ),
    ...(connection === undefined ? [] : [`find: () => ${connection}`]),
    // Whether it can be assigned to is known before anything runs.
    ...(store === undefined ? [] : [`check: () => ${store} = ${store}`, `keep: (${store}_) => ${store} = ${store}_`]),
  ].join(", ");
}

/** Code whose lines keep up with those of a cell. */
class Lines {
  readonly #source: string;
  readonly #parts: string[] = [];
  /** Up to where the cell's lines were counted. */
  #at: number;
  #behind = 0;

  constructor(source: string, start: number) {
    this.#source = source;
    this.#at = start;
  }

  add(code: string): void {
    this.#parts.push(code);
  }

  addExpression(start: number, end: number): void {
    this.#catchUp(start);
    const expression = this.#source.slice(start, end);
    this.#at = end;
    const comment = expression.includes("//"); // which may go to the end of its line
    if (comment) this.#behind--;
    this.add(`(${expression}${comment ? "\n" : ""}), `);
  }

  endAt(end: number): string {
    this.#catchUp(end);
    return this.#parts.join("");
  }

  #catchUp(to: number): void {
    this.#behind += this.#source.slice(this.#at, to).split("\n").length - 1;
    this.#at = to;
    if (this.#behind > 0) this.add("\n".repeat(this.#behind));
    this.#behind = Math.min(0, this.#behind);
  }
}

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

/** Where the line of the value that is computed is kept, of a cell that is all SQL. */
const LINE = "lakebase_line";

/**
 * The expression that runs a magic: it awaits the function that the client leaves under a symbol. The SQL is passed as
 * strings, since a template would change line ends, back-ticks and back-slashes.
 *
 * @param source The cell.
 * @param magic The magic.
 * @param module The client's URL, where the notebook has none by name.
 */
export function magicCode(source: string, magic: Magic, module: string): string {
  const templates = Array.isArray(magic.run) ? magic.run : [];
  // Within code a value may have a `yield`, which a function around it would take.
  const located = magic.magic === "%%sql" && templates.some(({ expressions }) => expressions.length > 0);
  const client = `${HOOK} ?? await import("lakebase").then(() => ${HOOK}, () => undefined) ?? ` +
    `await import(${JSON.stringify(module)}).then(() => ${HOOK})`;
  const code = [`await (${client})({ ${options(magic)} }`];
  let [line, at] = [1, 0];
  for (const { strings, expressions } of templates) {
    code.push(`, [${JSON.stringify(strings)}, [`);
    for (const { start, end } of expressions) {
      line += source.slice(at, start).split("\n").length - 1;
      at = start;
      const expression = source.slice(start, end);
      const closing = expression.includes("//") ? "\n)" : ")"; // behind a comment
      code.push(located ? `(${LINE} = ${line}, (${expression}${closing}), ` : `(${expression}${closing}, `);
    }
    code.push("]]");
  }
  code.push(located ? `, ...(${LINE} = 0, []))` : ")");
  return located ? locatedCode(code.join("")) : code.join("");
}

/** The lines in an error's trace are those of what the cell became; it is given the cell's own. */
function locatedCode(code: string): string {
  return `await (async () => { let ${LINE} = 0; try { return ${code}; } catch (error) { ` +
    `if (${LINE} > 0 && typeof error?.stack === "string") Reflect.set(error, "stack", ` +
    `error.stack.replace(/\\n +at (async )?<anonymous>[:\\d]+(?=\\n|$)/g, "") + ` +
    `"\\n    in \${...} on line " + ${LINE}); throw error; } })()`;
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

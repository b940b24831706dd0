/** An error as Jupyter's messages carry it. */
export interface CellFailure {
  ename: string;
  evalue: string;
  traceback: string[];
}

/** How the Deno kernel answers a cell that it could not even begin: with no reason, and nothing to see. */
export function isUnexplained(reply: Record<string, unknown>): boolean {
  const { status, evalue, traceback } = reply;
  return status === "error" && evalue === "Execution failed" && Array.isArray(traceback) && traceback.length === 0;
}

/** What a cell that Stop has ended shows. */
export const STOPPED: CellFailure = failure("Interrupted", "Stop ended this cell");

/** What a cell shows that ended without any reason that could be found. */
export const UNEXPLAINED: CellFailure = failure(
  "Error",
  "The cell did not finish: it waited for a promise that nothing can settle any more, or Deno gave no reason",
);

/** A failure with one line of trace. */
export function failure(ename: string, evalue: string): CellFailure {
  return { ename, evalue, traceback: [`${ename}: ${evalue}`] };
}

const PARSE_MS = 10_000;

/**
 * Why a cell does not parse, in the words of Deno's own parser; takes some 10 ms.
 *
 * @param code What the Deno kernel was given.
 * @param source What the person wrote, where that is something else.
 * @returns `undefined` when it does parse.
 */
export async function parseFailure(code: string, source: string = code): Promise<CellFailure | undefined> {
  const script = code === source ? source : (await import("./rewrite.ts")).scriptOnly(source);
  const said = await parserOutput(script, "tsx");
  // The kernel takes for TypeScript what is no TSX, such as `<number> value`.
  if (said === undefined || await parserOutput(script, "ts") === undefined) return undefined;
  return readParserError(said, source);
}

async function parserOutput(code: string, extension: string): Promise<string | undefined> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--no-config", "--ext", extension, "-"],
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0" },
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(PARSE_MS),
  }).spawn();
  const output = process.output();
  await new Blob([code]).stream().pipeTo(process.stdin).catch(() => {}); // it may stop reading
  const { success, stderr } = await output;
  return success ? undefined : new TextDecoder().decode(stderr);
}

/** A parser's message as an error of the cell, with the cell's own lines. */
function readParserError(said: string, source: string): CellFailure | undefined {
  const message = /error: SyntaxError: (.*)/.exec(said)?.[1];
  if (message === undefined) return undefined;
  const [, line, column] = /^ +at file:\S*?:(\d+):(\d+)$/m.exec(said) ?? [];
  if (line === undefined) return failure("SyntaxError", message);
  const lines = source.split("\n");
  const written = (number: string) => `${number} | ${lines[Number(number) - 1] ?? ""}`.trimEnd();
  const excerpt = [...said.matchAll(/^ *(\d*) \|(.*)$/gm)];
  return syntaxError(
    message,
    `line ${line}, column ${column}`,
    excerpt.map(([text, number = ""]) => number === "" ? text : written(number)),
  );
}

function syntaxError(message: string, place: string, excerpt: string[]): CellFailure {
  const evalue = `${message} (${place})`;
  return { ename: "SyntaxError", evalue, traceback: [`SyntaxError: ${evalue}`, ...excerpt] };
}

/** What the static imports of a cell name, in their order. */
export function importedSpecifiers(code: string): string[] {
  const found = code.matchAll(/(?:^|;)[ \t]*import\b(?!\s+type\b)(?:[^"'()]{0,1000}?\bfrom)?\s*(["'])([^"'\n]+)\1/gm);
  return [...new Set([...found].map(([, , specifier]) => specifier!))];
}

/** Code that a magic became, at the start of its cell: in that line there is nothing of the person's. */
const MAGIC = 'await (globalThis[Symbol.for("lakebase.cell")]';
const FRAME = /^\s+at /;
const IN_FIRST_LINE = /^\s+at (?:async )?<anonymous>:1:\d+$/;

/**
 * A better trace for the content of an error, in a message or a reply.
 *
 * @param content As the Deno kernel sent it.
 * @param code The cell, its magics written out.
 * @returns What to send instead; `undefined` where there is nothing to better.
 */
export function betterTraceback(content: Record<string, unknown>, code: string): Record<string, unknown> | undefined {
  const { ename, evalue, traceback } = content;
  if (!Array.isArray(traceback)) return undefined;
  // What was thrown was no Error: frontends show the trace and nothing else.
  if (traceback.join("") === "") return { ...content, traceback: [`${ename}: ${evalue}`] };
  const frames = traceback.filter((line) => FRAME.test(line));
  if (!code.startsWith(MAGIC) || frames.length === 0 || !frames.every((line) => IN_FIRST_LINE.test(line))) {
    return undefined;
  }
  return { ...content, traceback: traceback.filter((line) => !FRAME.test(line)) };
}

/** Whether a cell may name the client. */
export function namesModule(code: string): boolean {
  return code.includes("lakebase");
}

/**
 * For the child, before the first such cell: lets cells name the client wherever the notebook is, since `deno jupyter` takes
 * no configuration but that of its folder. A name that is in the notebook's own import map wins. (Deno resolves the imports
 * of files without asking hooks: those need an import map.)
 *
 * @param client The URL of the client's main module.
 */
export function moduleNameCode(client: string): string {
  const urls = { lakebase: client, "lakebase/local": new URL("src/local/mod.ts", client).href };
  return `(await import("node:module")).registerHooks?.({
  resolve(specifier, context, next) {
    const urls = ${JSON.stringify(urls)};
    if (!Object.hasOwn(urls, specifier)) return next(specifier, context);
    const found = next(specifier, context);
    const missed = !found.url || found.url.endsWith("/" + specifier); // then it is taken for a file beside the notebook
    return missed ? { url: urls[specifier], shortCircuit: true } : found;
  },
});`;
}

/** Characters of a message. */
const MAX_MESSAGE_LENGTH = 1000;

/** A magic that can't be used as it is written; the kernel answers the cell with its message. */
export class UsageError extends Error {
  /** As IPython names it. */
  override name = "UsageError";

  /** Made with what to do; a cell's own words in it are cut, since a cell may be large. */
  constructor(message: string) {
    super(message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}…` : message);
  }
}

/** The number, from 1, of the line that a position is on. */
export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < position; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

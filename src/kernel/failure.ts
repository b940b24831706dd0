/** An error in the form of Jupyter's messages. */
export interface CellFailure {
  ename: string;
  evalue: string;
  traceback: string[];
}

/** Whether a reply is the Deno kernel's reply to a cell that could not start: an error without a reason. */
export function isUnexplained(reply: Record<string, unknown>): boolean {
  const { status, evalue, traceback } = reply;
  return status === "error" && evalue === "Execution failed" && Array.isArray(traceback) && traceback.length === 0;
}

/** The error of a cell that Stop ended. */
export const STOPPED: CellFailure = failure("Interrupted", "Stop ended this cell");

/** The error of a cell that failed when no reason was found. */
export const UNEXPLAINED: CellFailure = failure(
  "Error",
  "The cell did not finish: it waited for a promise that nothing can settle any longer, or Deno gave no reason",
);

/** A failure with a one-line traceback. */
export function failure(ename: string, evalue: string): CellFailure {
  return { ename, evalue, traceback: [`${ename}: ${evalue}`] };
}

/** The time that the parser gets. */
const PARSE_MS = 10_000;

/**
 * The syntax error of a cell, from Deno's own parser. It takes about 10 ms.
 *
 * @param code The code that the Deno kernel got.
 * @param source The cell as the person wrote it, when it differs from the code.
 * @returns `undefined` when the code parses.
 */
export async function parseFailure(code: string, source: string = code): Promise<CellFailure | undefined> {
  const script = code === source ? source : (await import("./magic.ts")).scriptOnly(source);
  const output = await parserOutput(script, "tsx");
  // The Deno kernel falls back to plain TypeScript, which allows `<number> value`.
  if (output === undefined || await parserOutput(script, "ts") === undefined) return undefined;
  return readParserError(output, source);
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
  await new Blob([code]).stream().pipeTo(process.stdin).catch(() => {}); // the process may stop reading early
  const { success, stderr } = await output;
  return success ? undefined : new TextDecoder().decode(stderr);
}

/** Turns the parser's message into an error of the cell, with the lines that the person wrote. */
function readParserError(output: string, source: string): CellFailure | undefined {
  const message = /error: SyntaxError: (.*)/.exec(output)?.[1];
  if (message === undefined) return undefined;
  const [, line, column] = /^ +at file:\S*?:(\d+):(\d+)$/m.exec(output) ?? [];
  if (line === undefined) return failure("SyntaxError", message);
  const lines = source.split("\n");
  const asWritten = (number: string) => `${number} | ${lines[Number(number) - 1] ?? ""}`.trimEnd();
  const excerpt = [...output.matchAll(/^ *(\d*) \|(.*)$/gm)];
  return syntaxError(
    message,
    `line ${line}, column ${column}`,
    excerpt.map(([text, number = ""]) => number === "" ? text : asWritten(number)),
  );
}

function syntaxError(message: string, position: string, excerpt: string[]): CellFailure {
  const evalue = `${message} (${position})`;
  return { ename: "SyntaxError", evalue, traceback: [`SyntaxError: ${evalue}`, ...excerpt] };
}

/** The specifiers of a cell's static imports, in order. */
export function importedSpecifiers(code: string): string[] {
  const imports = code.matchAll(/(?:^|;)[ \t]*import\b(?!\s+type\b)(?:[^"'()]{0,1000}?\bfrom)?\s*(["'])([^"'\n]+)\1/gm);
  return [...new Set([...imports].map(([, , specifier]) => specifier!))];
}

/** The start of the code of a magic. A first line that starts like this has none of the person's code. */
const MAGIC = 'await (globalThis[Symbol.for("lakebase.cell")]';
const FRAME = /^\s+at /;
/** A frame of the magic's code, or of a built-in function that it calls, such as `Array.map`. */
const MAGIC_FRAME = /^\s+at (?:(?:async )?<anonymous>:1:\d+|[\w.]+ \(<anonymous>\))$/;
/** The frame of the prelude's function that displays the value of a cell. The frames below it belong to Deno. */
const DISPLAY_FRAME = /^\s+at async Object\.internals\.broadcastResult \(<anonymous>:\d+:\d+\)$/;

/**
 * Improves the traceback of an error message or reply.
 *
 * @param content The content from the Deno kernel.
 * @param code The cell's code, after magics were rewritten.
 * @returns The content to send instead; `undefined` when the traceback is fine.
 */
export function betterTraceback(content: Record<string, unknown>, code: string): Record<string, unknown> | undefined {
  const { ename, evalue, traceback } = content;
  if (!Array.isArray(traceback)) return undefined;
  // The thrown value is not an Error, and frontends show only the traceback.
  if (traceback.join("") === "") return { ...content, traceback: [`${ename}: ${evalue}`] };
  const display = traceback.findIndex((line) => DISPLAY_FRAME.test(line));
  const lines = display < 0 ? traceback : traceback.slice(0, display);
  const frames = lines.filter((line) => FRAME.test(line));
  const onlyMagic = code.startsWith(MAGIC) && frames.length > 0 && frames.every((line) => MAGIC_FRAME.test(line));
  if (!onlyMagic && display < 0) return undefined;
  return { ...content, traceback: onlyMagic ? lines.filter((line) => !FRAME.test(line)) : lines };
}

/** The maximum characters of a message. */
const MAX_MESSAGE_LENGTH = 1000;

/** The error of a magic that can't run as it is written. Its message is the cell's output. */
export class UsageError extends Error {
  /** The name of such errors in IPython. */
  override name = "UsageError";

  /** @param message The problem and what to do. A long message is cut, because it may quote a large cell. */
  constructor(message: string) {
    super(message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}…` : message);
  }
}

/** The line number of a position, from 1. */
export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < position; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

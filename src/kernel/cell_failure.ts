/** An error as Jupyter's messages carry it. */
export interface CellFailure {
  ename: string;
  evalue: string;
  traceback: string[];
}

/** How the Deno kernel answers a cell that it could not even begin: with no reason, and nothing to see. */
export function hasNoReason(reply: Record<string, unknown>): boolean {
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
  const said = await parserSays(code, "tsx");
  // The kernel takes for TypeScript what is no TSX, such as `<number> value`.
  if (said === undefined || await parserSays(code, "ts") === undefined) return undefined;
  return readParserError(said, code === source ? undefined : source);
}

async function parserSays(code: string, extension: string): Promise<string | undefined> {
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

/**
 * A parser's message as an error of the cell.
 *
 * @param said What `deno fmt` wrote.
 * @param source The cell as it was written, where the parser saw something else: a line is named only if it is in both.
 */
export function readParserError(said: string, source?: string): CellFailure | undefined {
  const message = /error: SyntaxError: (.*)/.exec(said)?.[1];
  if (message === undefined) return undefined;
  const [, line, column] = /^ +at file:\S*?:(\d+):(\d+)$/m.exec(said) ?? [];
  const excerpt = [...said.matchAll(/^ *(\d*) \|(.*)$/gm)];
  const plain = failure("SyntaxError", message);
  if (line === undefined) return plain;
  if (source === undefined) return located(message, `line ${line}, column ${column}`, excerpt.map(([text]) => text));
  const text = excerpt.find(([, number]) => number === line)?.[2]?.slice(1) ?? "";
  const at = text.trim() === "" ? -1 : source.split("\n").indexOf(text);
  return at === -1 ? plain : located(message, `line ${at + 1}`, [`${at + 1} | ${text}`]);
}

function located(message: string, place: string, excerpt: string[]): CellFailure {
  const evalue = `${message} (${place})`;
  return { ename: "SyntaxError", evalue, traceback: [`SyntaxError: ${evalue}`, ...excerpt] };
}

/** What the static imports of a cell name, in their order. */
export function importedSpecifiers(code: string): string[] {
  const found = code.matchAll(/(?:^|;)[ \t]*import\b(?!\s+type\b)(?:[^"'()]*?\bfrom)?\s*(["'])([^"'\n]+)\1/gm);
  return [...new Set([...found].map(([, , specifier]) => specifier!))];
}

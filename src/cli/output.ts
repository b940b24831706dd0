import { printable } from "../core/text.ts";
import { until } from "../sql/stop.ts";

const encoder = new TextEncoder();

/** The terminal commands with which a table dims NULL. No other commands are printed. */
const DIM = new RegExp("(\x1b\\[22?m)");

/**
 * Writes a text. A terminal and standard error get control characters in a visible form, because names, values and errors
 * come from others. A file or a pipe gets the text unchanged.
 */
export async function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): Promise<void> {
  const isShown = to === Deno.stderr || to.isTerminal();
  const safe = isShown ? text.split(DIM).map((part) => DIM.test(part) ? part : printable(part)).join("") : text;
  for (let bytes = encoder.encode(safe); bytes.length > 0;) bytes = bytes.subarray(await to.write(bytes));
}

/** Writes a text, and resolves when more can be written. */
export type Write = (text: string) => Promise<void>;

/**
 * Calls `work` with a function that writes to standard output, or to a file that appears only when it is complete.
 *
 * @param path The file; `undefined` for standard output.
 * @throws What `work` throws, or what a pull to a file throws.
 */
export async function withOutput(
  path: string | undefined,
  stopped: AbortSignal,
  work: (write: Write) => Promise<void>,
): Promise<void> {
  // Stop must not wait for a reader that has stopped reading.
  if (path === undefined) return await work((text) => until(print(Deno.stdout, text), stopped));
  const { openFileTarget } = await import("../transfer/pull/file_target.ts");
  const file = await openFileTarget(path, stopped);
  try {
    await work((text) => until(file.write(encoder.encode(text)), stopped));
    await file.commit(stopped);
  } catch (error) {
    await file.abort(error, stopped);
    throw error;
  }
}

/** Environment variables as lines for a shell. */
export function exportLines(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables).map(([name, value]) => `export ${name}=${shellWord(value)}\n`).join("");
}

/** A text as one word of a shell. */
export function shellWord(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

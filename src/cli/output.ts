import { printable } from "../core/text.ts";
import { until } from "../sql/stop.ts";

const encoder = new TextEncoder();

/** What a table dims NULL with, the only commands to a terminal among what is printed. */
const DIM = new RegExp("(\x1b\\[22?m)");

/**
 * Writes all of a text. What a person sees, on a terminal and on standard error, has no character that a terminal would obey:
 * names, values and errors come from others. What goes to a file or a pipe stays as it is.
 */
export async function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): Promise<void> {
  const seen = to === Deno.stderr || to.isTerminal();
  const safe = seen ? text.split(DIM).map((part) => DIM.test(part) ? part : printable(part)).join("") : text;
  for (let bytes = encoder.encode(safe); bytes.length > 0;) bytes = bytes.subarray(await to.write(bytes));
}

/** Takes text, and waits until it can take more. */
export type Write = (text: string) => Promise<void>;

/**
 * Gives a piece of work something to write to: standard output, or a file that is there only when it is whole.
 *
 * @param path The file; `undefined` for standard output.
 * @throws What `work` throws, or as a pull to a file.
 */
export async function withOutput(
  path: string | undefined,
  stopped: AbortSignal,
  work: (write: Write) => Promise<void>,
): Promise<void> {
  // A reader that does not read must not keep Stop waiting.
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

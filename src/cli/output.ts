import { until } from "../query/cancel.ts";

const encoder = new TextEncoder();

/** Writes all of a text. */
export async function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): Promise<void> {
  for (let bytes = encoder.encode(text); bytes.length > 0;) bytes = bytes.subarray(await to.write(bytes));
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
  const { openFileTarget } = await import("../transfer/file_target.ts");
  const file = await openFileTarget(path, stopped);
  try {
    await work((text) => until(file.write(encoder.encode(text)), stopped));
    await file.commit(stopped);
  } catch (error) {
    await file.abort(error, stopped);
    throw error;
  }
}

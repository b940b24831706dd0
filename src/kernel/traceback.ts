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
export function retraced(content: Record<string, unknown>, code: string): Record<string, unknown> | undefined {
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

/** Characters of a message. */
const LONGEST = 1000;

/** A magic that can't be used as it is written; the kernel answers the cell with its message. */
export class UsageError extends Error {
  /** As IPython names it. */
  override name = "UsageError";

  /** Made with what to do; a cell's own words in it are cut, since a cell may be large. */
  constructor(message: string) {
    super(message.length > LONGEST ? `${message.slice(0, LONGEST)}…` : message);
  }
}

/** The number, from 1, of the line that a position is on. */
export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < position; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

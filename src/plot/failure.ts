import { closest } from "../closest.ts";
import { LakebaseError } from "../errors.ts";

/**
 * The error for a chart that can't be drawn.
 *
 * @param state What is wrong, as the end of a sentence.
 */
export function cannotPlot(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot plot: ${state}`, { cause });
}

/** What was probably meant, or all that there is, as the end of a sentence. */
export function meant(name: string, known: readonly string[], what: string): string {
  const near = closest(name.slice(0, 100), known);
  if (near !== undefined) return `did you mean ${JSON.stringify(near)}?`;
  const shown = known.slice(0, 20).join(", ");
  return `the ${what} are ${shown}${known.length > 20 ? `, and ${known.length - 20} more` : ""}`;
}

/** A name as an error shows it. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

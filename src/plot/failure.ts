import { LakebaseError } from "../errors.ts";

/**
 * The error for a chart that can't be drawn.
 *
 * @param state What is wrong, as the end of a sentence.
 */
export function cannotPlot(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot plot: ${state}`, { cause });
}

/** A name as an error shows it. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

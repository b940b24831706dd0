/** The longest name that is compared, in characters, because a comparison takes quadratic time. */
const MAX_TYPO_LENGTH = 100;

/**
 * Finds the candidate that a misspelled name most likely stands for.
 *
 * @param name The misspelled name.
 * @param candidates The correct names.
 * @returns The nearest candidate; `undefined` if all differ too much.
 */
export function closest(
  name: string,
  candidates: Iterable<string>,
): string | undefined {
  if (name.length > MAX_TYPO_LENGTH) return undefined;
  const limit = Math.max(1, Math.floor(name.length / 3));
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) > limit) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance <= limit && distance < (best?.distance ?? Infinity)) {
      best = { candidate, distance };
    }
  }
  return best?.candidate;
}

/**
 * Suggests the nearest known name, or lists the known names, as the end of a sentence.
 *
 * @param what The plural noun for the names, such as `columns`.
 * @param prefix A prefix for the suggestion, such as `local.`.
 */
export function suggestName(name: string, known: readonly string[], what: string, prefix = ""): string {
  const nearest = closest(name, known);
  if (nearest !== undefined) return `did you mean ${JSON.stringify(prefix + nearest)}?`;
  const shown = known.slice(0, 20).join(", ");
  return `the ${what} are ${shown}${known.length > 20 ? `, and ${known.length - 20} more` : ""}`;
}

/** Describes an unknown option, with a suggestion. `prefix`, such as `local.`, is put before the option's name. */
export function unknownOption(name: string, known: readonly string[], prefix = ""): string {
  return `there is no option "${prefix}${name}"; ${suggestName(name, known, "options", prefix)}`;
}

/** Optimal string alignment distance: two swapped letters count as one edit. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const change = a[row - 1] === b[column - 1] ? 0 : 1;
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current[column] = Math.min(
        current[column - 1]! + 1,
        previous[column]! + 1,
        previous[column - 1]! + change,
        swapped ? beforePrevious[column - 2]! + 1 : Infinity,
      );
    }
    [beforePrevious, previous] = [previous, current];
  }
  return previous[b.length]!;
}

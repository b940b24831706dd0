import { cellMagicEnd } from "./magic.ts";
import { lineMagicSpans } from "./line_magic.ts";

/** The part of a cell that a magic rules. */
export interface CellRegion {
  /** Behind the magic's name. */
  start: number;
  /** Where its SQL ends at the latest. */
  end: number;
}

/**
 * The magic in which a place of a cell lies. Unlike a run it takes a cell that is being written.
 *
 * @param source The cell.
 * @param at The place, in UTF-16 units.
 */
export function magicRegion(source: string, at: number): CellRegion | undefined {
  if (!/%sql/i.test(source)) return undefined;
  try {
    const start = cellMagicEnd(source);
    if (start !== undefined) return start <= at ? { start, end: source.length } : undefined;
  } catch {
    return undefined; // another magic, which is refused when it runs
  }
  return lineMagicSpans(source).find(({ start, end }) => start <= at && at <= end);
}

/** A place in UTF-16 units, of one in code points. */
export function unitsOf(text: string, points: number): number {
  let units = 0;
  for (let count = 0; count < points && units < text.length; count++) {
    units += text.codePointAt(units)! > 0xffff ? 2 : 1;
  }
  return units;
}

/** A place in code points, of one in UTF-16 units. */
export function pointsOf(text: string, units: number): number {
  let points = 0;
  for (let at = 0; at < units; points++) at += text.codePointAt(at)! > 0xffff ? 2 : 1;
  return points;
}

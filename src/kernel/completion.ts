import type { Catalogue } from "./catalogue.ts";
import { magicRegion, pointsOf, unitsOf } from "./cell_region.ts";
import { headerCandidates, magicCandidates } from "./header_completion.ts";
import { type Candidate, sqlCandidates } from "./sql_completion.ts";

/** The content of a `complete_reply`, without its status; places are in code points of the cell. */
export interface Completion {
  matches: string[];
  cursor_start: number;
  cursor_end: number;
  metadata: Record<string, unknown>;
}

/** Nobody reads a longer list. */
const MOST_MATCHES = 500;
/** In longer texts completing would take longer than typing. */
const LONGEST = 200_000;

/**
 * Completes SQL and magics.
 *
 * @param code The cell.
 * @param cursor Where the cursor is, in code points.
 * @param catalogue What the database has, where that is known.
 * @param connections Variables of the notebook that may hold connections.
 * @returns What fits, the likeliest first; `undefined` where the cursor is not in SQL, so that TypeScript is completed.
 */
export function completeSql(
  code: string,
  cursor: number,
  catalogue: Catalogue | undefined,
  connections: readonly string[] = [],
): Completion | undefined {
  if (code.length > LONGEST) return undefined;
  const at = unitsOf(code, cursor);
  const found = magicCandidates(code, at) ?? inMagic(code, at, catalogue, connections);
  if (found === undefined) return undefined;
  const [start, end] = [pointsOf(code, found.start), pointsOf(code, found.end ?? at)];
  const matches = new Map<string, Candidate>();
  for (const candidate of found.candidates) {
    if (matches.size < MOST_MATCHES && !matches.has(candidate.text)) matches.set(candidate.text, candidate);
  }
  return {
    matches: [...matches.keys()],
    cursor_start: start,
    cursor_end: end,
    metadata: {
      _jupyter_types_experimental: [...matches.values()].map(({ text, type, signature }) => ({
        ...{ start, end, text, type },
        ...(signature === undefined ? {} : { signature }),
      })),
    },
  };
}

/** What fits at a place, and where what it would replace begins and, if not at the place, ends. */
export interface Found {
  start: number;
  end?: number;
  candidates: Iterable<Candidate>;
}

function inMagic(
  code: string,
  at: number,
  catalogue: Catalogue | undefined,
  connections: readonly string[],
): Found | undefined {
  const region = magicRegion(code, at);
  if (region === undefined) return undefined;
  return headerCandidates(code, region.start, at, [...connections, ...catalogue?.connections ?? []]) ??
    sqlCandidates(code, region, at, catalogue);
}

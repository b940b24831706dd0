import { type Bundle, DISPLAY, displayNow, inNotebook } from "../draw/notebook.ts";

/**
 * Draws values where they stand, not just as the last expression of a cell: queries, results, plans, connections; arrays of
 * them one by one.
 *
 * @param values What to draw.
 *
 * @example Two tables in one cell
 * ```ts
 * import { connect, show, sql } from "lakebase";
 *
 * await using _db = await connect({ local: true });
 * await show(sql`SELECT 1 AS one`, sql`SELECT 2 AS two`);
 * ```
 */
export async function show(...values: unknown[]): Promise<void> {
  for (const value of values) {
    if (isPlainArray(value)) await show(...value);
    else await showOne(value);
  }
}

function isPlainArray(value: unknown): value is unknown[] {
  return Array.isArray(value) && !(DISPLAY in value);
}

async function showOne(value: unknown): Promise<void> {
  const bundle = await bundleOf(value);
  if (inNotebook()) await displayNow(bundle);
  // deno-lint-ignore no-console -- outside a notebook this is where one would look
  else console.log(bundle["text/plain"]);
}

async function bundleOf(value: unknown): Promise<Bundle> {
  const draw = (value as { [DISPLAY]?: () => Bundle | Promise<Bundle> } | null | undefined)?.[DISPLAY];
  return draw === undefined ? { "text/plain": Deno.inspect(value) } : await draw.call(value);
}

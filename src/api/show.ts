import { type Bundle, DISPLAY, displayNow, inNotebook } from "../draw/notebook.ts";

/**
 * Draws values anywhere in a cell, and not only as its last expression: queries, results, plans, connections. It draws the
 * items of an array one by one.
 *
 * @param values The values to draw.
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
  // deno-lint-ignore no-console -- the only output that there is outside of a notebook
  else console.log(bundle["text/plain"]);
}

async function bundleOf(value: unknown): Promise<Bundle> {
  const draw = (value as { [DISPLAY]?: () => Bundle | Promise<Bundle> } | null | undefined)?.[DISPLAY];
  return draw === undefined ? { "text/plain": Deno.inspect(value) } : await draw.call(value);
}

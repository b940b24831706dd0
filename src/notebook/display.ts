/** What a frontend is given to show, by MIME type. */
export type Bundle = Record<string, string>;

/** The method that the Deno kernel calls on the last value of a cell. */
export const DISPLAY: unique symbol = Symbol.for("Jupyter.display") as never;

/** Whether this runs in a cell of a Deno Jupyter notebook. */
export function inNotebook(): boolean {
  try {
    return Deno.jupyter !== undefined; // throws everywhere else
  } catch {
    return false;
  }
}

/** Something shown that can change later. */
export interface LiveDisplay {
  /** Replaces what is shown. */
  update(bundle: Bundle): Promise<void>;
}

/**
 * Shows something in the running cell, at once.
 *
 * @param bundle What to show.
 * @returns A handle to change it.
 */
export async function displayLive(bundle: Bundle): Promise<LiveDisplay> {
  const id = crypto.randomUUID();
  await broadcast("display_data", bundle, id);
  return { update: (next) => broadcast("update_display_data", next, id) };
}

async function broadcast(type: string, data: Bundle, id: string): Promise<void> {
  await Deno.jupyter.broadcast(type, { data, metadata: {}, transient: { display_id: id } });
}

/**
 * Makes text safe inside HTML, attributes included.
 *
 * @param text Any text.
 */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

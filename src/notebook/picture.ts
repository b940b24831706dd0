/** A cell of a table that is drawn: its HTML is this module's own, with nothing in it that came from a database. */
export interface Picture {
  /** For notebooks. */
  readonly html: string;
  /** For terminals and logs. */
  readonly text: string;
}

/** No value that came from elsewhere is among these, and to ask for it is nothing that a value can answer. */
const pictures = new WeakSet<object>();

/** Whether a cell is a picture. */
export function isPicture(value: unknown): value is Picture {
  return pictures.has(value as object);
}

const BLOCKS = "▁▂▃▄▅▆▇█";
const [WIDTH, HEIGHT, GAP] = [6, 18, 1];

/**
 * Counts as small bars, the greatest of full height; what is there at all can be seen.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(barsPicture([8, 0, 1, 4]).text, "█ ▁▄");
 * ```
 */
export function barsPicture(counts: readonly number[]): Picture {
  const most = Math.max(1, ...counts);
  const text = counts.map((count) => count === 0 ? " " : BLOCKS[Math.ceil((8 * count) / most) - 1]).join("");
  const bars = counts.map((count, index) => {
    const height = count === 0 ? 0 : Math.max(1, Math.round((HEIGHT * count) / most));
    return `<rect x="${index * WIDTH}" y="${HEIGHT - height}" width="${WIDTH - GAP}" height="${height}"/>`;
  });
  const label = `counts: ${counts.map((count) => count.toLocaleString("en-US")).join("; ")}`;
  const html =
    `<svg width="${counts.length * WIDTH}" height="${HEIGHT}" role="img" aria-label="${label}" fill="currentColor" ` +
    `style="display:block;opacity:.7"><title>${label}</title>${bars.join("")}</svg>`;
  const picture = { html, text };
  pictures.add(picture);
  return picture;
}

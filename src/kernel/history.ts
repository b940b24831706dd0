/** The maximum number of cells in the history. */
const MAX_CELLS = 1000;
/** The maximum characters of all cells together. */
const MAX_CHARACTERS = 16 << 20;
/** The number of this kernel's only session. In requests, 0 means the current session and thus the same one. */
const SESSION = 1;

interface Entry {
  /** The cell's execution count. */
  line: number;
  source: string;
}

/** The cells that ran, as the person wrote them. */
export class CellHistory {
  readonly #entries: Entry[] = [];
  #characters = 0;

  /** Adds a cell. */
  add(line: number, source: string): void {
    this.#entries.push({ line, source });
    this.#characters += source.length;
    while (this.#entries.length > MAX_CELLS || this.#characters > MAX_CHARACTERS) {
      this.#characters -= this.#entries.shift()!.source.length;
    }
  }

  /**
   * Answers a `history_request` as IPython does, but without outputs, because outputs are not kept.
   *
   * @param request The content of the request.
   */
  reply(request: Record<string, unknown>): Record<string, unknown> {
    const history = this.#select(request).map(({ line, source }) => {
      return [SESSION, line, request["output"] === true ? [source, null] : source];
    });
    return { status: "ok", history };
  }

  #select(request: Record<string, unknown>): Entry[] {
    const { hist_access_type: type, session, pattern, n, unique } = request;
    if (type === "range") return session === 0 || session === SESSION ? this.#range(request) : [];
    const glob = type === "search" && typeof pattern === "string" ? pattern : "*";
    const found = this.#entries.filter(({ source }) => matches(source, glob));
    const chosen = unique === true ? lastOfEach(found) : found;
    return typeof n === "number" ? chosen.slice(Math.max(0, chosen.length - n)) : chosen;
  }

  /** The cells from line `start` to the one before line `stop`. Negative numbers count from the end. */
  #range({ start, stop }: Record<string, unknown>): Entry[] {
    const end = (this.#entries.at(-1)?.line ?? 0) + 1;
    const line = (value: unknown, otherwise: number) => {
      if (typeof value !== "number") return otherwise;
      return value < 0 ? value + end : value;
    };
    const from = line(start, 0);
    const to = line(stop, end);
    return this.#entries.filter(({ line }) => line >= from && line < to);
  }
}

/** The last of each group of equal cells. */
function lastOfEach(entries: readonly Entry[]): Entry[] {
  const last = new Map(entries.map((entry) => [entry.source, entry]));
  return entries.filter((entry) => last.get(entry.source) === entry);
}

/** Whether a glob with `*` and `?` matches the whole text. The time is at most the product of their lengths. */
function matches(text: string, glob: string): boolean {
  let at = 0;
  let star = -1;
  let from = 0;
  let next = 0;
  while (at < text.length) {
    if (glob[next] === "*") [star, from] = [next++, at];
    else if (next < glob.length && (glob[next] === "?" || glob[next] === text[at])) [next, at] = [next + 1, at + 1];
    else if (star >= 0) [next, at] = [star + 1, ++from];
    else return false;
  }
  return /^\**$/.test(glob.slice(next));
}

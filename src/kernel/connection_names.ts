/** More are not worth a list. */
const MOST = 100;

const CONNECTING =
  /(?:^|[\s;{(,])([\p{L}_$][\p{L}\p{N}_$]*)[ \t]*=\s*(?:await\s+)?(?:[\p{L}_$][\p{L}\p{N}_$]*\.)?connect\s*\(/gu;

/** The variables that a notebook's cells have put connections into, going by their text; for completion only. */
export class ConnectionNames {
  readonly #names = new Set<string>();

  /** Names, the last one first. */
  get all(): string[] {
    return [...this.#names].reverse();
  }

  /** Takes note of a cell that is run. */
  heed(source: string): void {
    if (!source.includes("connect")) return;
    for (const [, name] of source.matchAll(CONNECTING)) {
      this.#names.delete(name!);
      if (this.#names.size < MOST) this.#names.add(name!);
    }
  }
}

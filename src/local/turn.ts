/** Lets one holder go at a time, first come, first served. */
export class Turn<Holder> {
  #holder: Holder | undefined;
  readonly #queue: { holder: Holder; enter: () => void; refuse: (reason: unknown) => void }[] = [];

  /** Who has the turn. */
  get holder(): Holder | undefined {
    return this.#holder;
  }

  /** Resolves once the turn is this holder's; rejects with the given reason where that takes longer than `limit` ms. */
  async take(holder: Holder, limit: number, reason: unknown): Promise<void> {
    if (this.#holder === holder) return;
    if (this.#holder === undefined) {
      this.#holder = holder;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.push({ holder, enter: resolve, refuse: reject });
    const timer = limit === Infinity ? undefined : setTimeout(() => this.refuse(holder, reason), limit);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives the turn to whoever waits longest. Nothing happens where it isn't this holder's. */
  give(holder: Holder): void {
    if (this.#holder !== holder) return;
    const next = this.#queue.shift();
    this.#holder = next?.holder;
    next?.enter();
  }

  /** Sends a waiting holder away with a reason; whether it was waiting. */
  refuse(holder: Holder, reason: unknown): boolean {
    const at = this.#queue.findIndex((waiting) => waiting.holder === holder);
    const [waiting] = at < 0 ? [] : this.#queue.splice(at, 1);
    waiting?.refuse(reason);
    return waiting !== undefined;
  }
}

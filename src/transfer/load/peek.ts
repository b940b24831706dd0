/** A source whose first items have been read. Disposing of it stops the source. */
export interface Peeked<T> extends Disposable {
  /** The items that have been read. */
  readonly head: readonly T[];
  /** Whether `head` holds all items of the source. */
  readonly whole: boolean;
  /** All items, including those in `head`; can be read once. */
  rest(): AsyncIterable<T> | Iterable<T>;
}

/**
 * Reads the first items of a source. A synchronous source stays synchronous, because a promise for each row takes longer than
 * the row.
 *
 * @param source Anything that can be iterated.
 * @param wanted Is called after each item; returns whether to read on.
 */
export async function peek<T>(
  source: AsyncIterable<T> | Iterable<T>,
  wanted: (item: T) => boolean,
): Promise<Peeked<T>> {
  const synchronous = Symbol.iterator in source;
  const iterator = synchronous ? source[Symbol.iterator]() : source[Symbol.asyncIterator]();
  const reading = new Reading<T>(iterator);
  for (let more = true; more;) {
    const next = reading.take(synchronous ? (iterator as Iterator<T>).next() : await iterator.next());
    if (next.done) break;
    reading.head.push(next.value);
    more = wanted(next.value);
  }
  return {
    head: reading.head,
    whole: reading.over,
    rest: () => synchronous ? all(reading) : allAsync(reading),
    [Symbol.dispose]: () => reading.leave(),
  };
}

class Reading<T> {
  readonly head: T[] = [];
  readonly iterator: Iterator<T> | AsyncIterator<T>;
  over = false;

  constructor(iterator: Iterator<T> | AsyncIterator<T>) {
    this.iterator = iterator;
  }

  take(next: IteratorResult<T>): IteratorResult<T> {
    this.over ||= next.done === true;
    return next;
  }

  /** Stops the source without waiting for its end: a source that is waiting itself may never answer. */
  leave(): void {
    if (this.over) return;
    this.over = true;
    (async () => await this.iterator.return?.())().catch(() => {}); // nobody needs more of the source
  }
}

function* all<T>(reading: Reading<T>): Generator<T, void, void> {
  const iterator = reading.iterator as Iterator<T>;
  try {
    yield* reading.head.splice(0);
    while (!reading.over) {
      const next = reading.take(iterator.next());
      if (!next.done) yield next.value;
    }
  } finally {
    reading.leave();
  }
}

async function* allAsync<T>(reading: Reading<T>): AsyncGenerator<T, void, void> {
  const { iterator } = reading;
  try {
    yield* reading.head.splice(0);
    while (!reading.over) {
      const next = reading.take(await iterator.next());
      if (!next.done) yield next.value;
    }
  } finally {
    reading.leave();
  }
}

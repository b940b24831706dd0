/** A source of which the first items have been looked at; disposing of it leaves the source. */
export interface Peeked<T> extends Disposable {
  /** Those items. */
  readonly head: readonly T[];
  /** Whether they are all there is. */
  readonly whole: boolean;
  /** All of them, the first ones too; once. */
  rest(): AsyncIterable<T> | Iterable<T>;
}

/**
 * Looks at the first items of a source. One that is not asynchronous stays so: a promise for each of a million rows takes
 * longer than the row.
 *
 * @param source Anything that can be iterated.
 * @param wanted Whether to go on, after each item.
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

  /** A source that was stopped while it waits never answers, so nobody waits for its end. */
  leave(): void {
    if (this.over) return;
    this.over = true;
    (async () => await this.iterator.return?.())().catch(() => {});
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

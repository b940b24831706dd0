import { STOPPED } from "./failure.ts";

/** A query is canceled well within this; only then are the cell's waits ended. */
const CANCEL_MS = 1000;
/** For the cell to clean up behind a wait that was ended. */
const CLEAN_UP_MS = 300;
/** For what was rejected to run on to its next wait. */
const RUN_ON_MS = 50;

/** The name under which cells' code finds its waits. No person would think of it, and `Symbol` may be a variable of theirs. */
const NAME = JSON.stringify(" waits");

/**
 * The function that a cell's awaited values go through.
 *
 * @param cell The number by which Stop knows it.
 * @param portable Whether the code may run where there are no waits, as in a worker that was given the text of a function: an
 * await there is a plain one. To ask for it takes the child as long as all else that is done here for a cell.
 */
export function waitCode(cell: number, portable: boolean): string {
  return through("one", cell, portable);
}

/** {@linkcode waitCode} for what a `for await` reads. */
export function eachCode(cell: number, portable: boolean): string {
  return through("each", cell, portable);
}

function through(name: string, cell: number, portable: boolean): string {
  return portable
    ? `(globalThis[${NAME}]?.${name}(${cell}) ?? ((value) => value))`
    : `globalThis[${NAME}].${name}(${cell})`;
}

/**
 * Code for the prelude: the cells' waits, and how Stop ends them. A wait is a promise whose own `resolve` and `reject` are
 * what follows the awaited value; V8 sees through that, so that errors keep the lines of the code that awaits. Stop rejects
 * the waits of the cell that runs, and a while later those that it has begun since. What it awaits from then on is never
 * settled and refers to nothing, so that the collection of the cell's promise ends the cell. When the cell has ended, the
 * functions that it defined work again.
 */
export const WAITS = `
  const { setTimeout } = globalThis;
  const { then } = Promise.prototype;
  const waits = new Set();
  const endings = new WeakSet();
  let newest = 0, running = 0, stopping = 0, dead = 0, last;
  const one = (cell) => {
    if (cell > newest) newest = running = cell;
    return last?.cell === cell ? last.wait : (last = { cell, wait: (value) => waitFor(cell, value) }).wait;
  };
  const waitFor = (cell, value) => {
    if (dead === cell) return new Promise(() => {});
    if (value === null || typeof value !== "object" && typeof value !== "function") return value;
    const promise = Promise.resolve(value);
    const wait = { cell };
    return new Promise((resolve, reject) => {
      wait.reject = reject;
      waits.add(wait);
      Reflect.apply(then, Reflect.apply(then, promise, [resolve, reject]), [() => waits.delete(wait)]);
    });
  };
  const each = (cell) => (iterable) => {
    const open = iterable?.[Symbol.asyncIterator];
    if (typeof open !== "function") return iterable;
    return { [Symbol.asyncIterator]() {
      const iterator = Reflect.apply(open, iterable, []);
      const { next } = iterator;
      const read = { next: () => one(cell)(Reflect.apply(next, iterator, [])) };
      if (iterator.return != null) read.return = (value) => iterator.return(value);
      return read;
    } };
  };
  const endWaits = (cell) => {
    for (const wait of [...waits]) {
      if (wait.cell !== cell) continue;
      waits.delete(wait);
      const error = new Error(${JSON.stringify(STOPPED.evalue)});
      error.name = ${JSON.stringify(STOPPED.ename)};
      error.stack = error.name + ": " + error.message;
      endings.add(error);
      wait.reject(error);
    }
  };
  const stop = () => {
    const cell = running;
    if (cell === 0) return;
    if (stopping === cell) return endWaits(cell);
    stopping = cell;
    setTimeout(() => running === cell && endWaits(cell), ${CANCEL_MS});
    setTimeout(() => {
      if (running !== cell) return;
      dead = cell;
      endWaits(cell);
      // What it began since, such as a query in a loop that catches errors, is canceled too.
      setTimeout(() => Deno.kill(Deno.pid, "SIGINT"), ${RUN_ON_MS});
    }, ${CANCEL_MS + CLEAN_UP_MS});
  };
  const over = () => {
    running = stopping = dead = 0;
  };
  Object.defineProperty(globalThis, ${NAME}, { value: Object.freeze({ one, each }) });
`;

import { FLUSH_SIGNAL, STACK } from "./child.ts";
import { STOPPED } from "./failure.ts";

/**
 * Code for the prelude: shows what was thrown where no cell could catch it, such as in a timer's callback, without the
 * frames of Deno's own code. To Deno's kernel it would be the end of whatever cell waits, with no word and for good. An
 * event that a listener of the person's own prevents is theirs; `endings` are Stop's own errors, of which the cell tells.
 */
export const UNCAUGHT = `
  for (const type of ["error", "unhandledrejection"]) {
    addEventListener(type, (event) => {
      let theirs = false;
      event.preventDefault();
      event.preventDefault = () => theirs = true;
      queueMicrotask(() => {
        const thrown = type === "error" ? event.error : event.reason;
        if (theirs || endings.has(thrown)) return;
        const shown = Deno.inspect(thrown, { colors: !Deno.noColor });
        const lines = shown.split("\\n").filter((line) => !/^\\s+at .*\\bext:/.test(line));
        console.error("%s", "Uncaught (in the background) " + lines.join("\\n"));
      });
    });
  }
`;

/** A query is canceled well within this; only then are the cell's waits ended. */
const CANCEL_MS = 1000;
/** For the cell to clean up behind a wait that was ended. */
const CLEAN_UP_MS = 300;
/** For what was rejected to run on to its next wait. */
const SETTLE_MS = 50;

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
  return waitCall("one", cell, portable);
}

/** {@linkcode waitCode} for what a `for await` reads. */
export function eachCode(cell: number, portable: boolean): string {
  return waitCall("each", cell, portable);
}

function waitCall(name: string, cell: number, portable: boolean): string {
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
      setTimeout(() => Deno.kill(Deno.pid, "SIGINT"), ${SETTLE_MS});
    }, ${CANCEL_MS + CLEAN_UP_MS});
  };
  const over = () => {
    running = stopping = dead = 0;
  };
  Object.defineProperty(globalThis, ${NAME}, { value: Object.freeze({ one, each }) });
`;

/** The name, as a symbol of the registry, of what this kernel keeps in the child's global scope. */
export const KERNEL = "lakebase.kernel";

/** The type of the message that ends everything that came before it. */
export const DONE = "lakebase_done";
/** What the metadata of an error have that a cell broadcasts by itself: it is not the cell's end. */
export const BROADCAST = "lakebase_broadcast";
/** The type of the message that answers SIGINT. */
export const INTERRUPTED = "lakebase_interrupted";

const HOOKS = `globalThis[Symbol.for(${JSON.stringify(KERNEL)})]`;

/**
 * Run in the child before the first cell. Its broadcasts go the same way as outputs, in the same order: one behind the
 * last output of a cell tells that they have all been sent. The Deno kernel draws the last value of a cell with an
 * internal function, which is where the broadcast costs next to nothing. It also tells the waits that the cell has ended.
 */
export const PRELUDE = `(() => {
  if (${HOOKS}) return;
  const { broadcast } = Deno.jupyter;
  Deno.jupyter.broadcast = (type, content, more) => broadcast(type, content, type !== "error" ? more : {
    ...more,
    metadata: { ...more?.metadata, ${JSON.stringify(BROADCAST)}: true },
  });
  // It was for this process alone, not for those that cells start.
  if (Deno.env.get("${STACK.variable}") === "${STACK.bytes}") Deno.env.delete("${STACK.variable}");
  ${UNCAUGHT}
  ${WAITS}
  const done = (n, more) => {
    over();
    return broadcast(${JSON.stringify(DONE)}, { n, ...more });
  };
  const drawing = Deno[Deno.internal]?.jupyter;
  const draw = drawing?.broadcastResult;
  const drawn = typeof draw === "function";
  if (drawn) {
    drawing.broadcastResult = async (count, value) => {
      try {
        await draw(count, value);
        value = undefined; // or it would be kept from being forgotten
        globalThis[Symbol.for("lakebase.cell_end")]?.();
      } finally {
        done("drawn");
      }
    };
  }
  const imports = async (n, specifiers) => {
    for (const specifier of specifiers) {
      try {
        await import(specifier);
      } catch (error) {
        return done(n, { name: String(error?.name ?? "Error"), message: String(error?.message ?? error) });
      }
    }
    done(n);
  };
  const refuse = (name, message) => {
    const error = new Error(message);
    error.name = name;
    error.stack = name + ": " + message;
    throw error;
  };
  const collect = async () => {
    const { setFlagsFromString } = await import("node:" + "v8");
    const { runInNewContext } = await import("node:" + "vm");
    setFlagsFromString("--expose-gc");
    runInNewContext("gc")();
  };
  Deno.addSignalListener("SIGINT", () => {
    broadcast(${JSON.stringify(INTERRUPTED)}, {});
    collect().catch(() => {});
    stop();
  });
  if (Deno.build.os !== "windows") Deno.addSignalListener("${FLUSH_SIGNAL}", () => done("flushed"));
  const value = Object.freeze({ done, drawn, imports, refuse });
  Object.defineProperty(globalThis, Symbol.for(${JSON.stringify(KERNEL)}), { value });
})();`;

/** Ends what came before it: the answer is a message {@linkcode DONE} with this number. */
export function doneCode(n: number): string {
  return `${HOOKS}.done(${n})`;
}

/** The same, for the prelude; the answer tells whether the end of a drawing is told by itself. */
export function preludeCode(n: number): string {
  return `${PRELUDE}\n${HOOKS}.done(${n}, { drawn: ${HOOKS}.drawn })`;
}

/** Imports one after the other until one fails; the answer tells its error. */
export function importsCode(n: number, specifiers: readonly string[]): string {
  return `void ${HOOKS}.imports(${n}, ${JSON.stringify(specifiers)})`;
}

/** Fails a cell with an error that has no trace. */
export function refuseCode(name: string, message: string): string {
  return `${HOOKS}.refuse(${JSON.stringify(name)}, ${JSON.stringify(message)})`;
}

/** Writes a text to the cell. */
export function printCode(text: string): string {
  return `console.log("%s", ${JSON.stringify(text)})`;
}

import { FLUSH_SIGNAL, STACK } from "./child.ts";
import { STOPPED } from "./failure.ts";

/**
 * Code of the prelude: shows uncaught errors, such as those of a timer's callback, without the frames of Deno's own code. In
 * Deno's kernel alone, an uncaught error silently ends the waiting cell. When a listener of the person prevents the default,
 * nothing is shown. `stopErrors` are the errors that Stop throws, which the cell itself reports.
 */
const UNCAUGHT = `
  for (const type of ["error", "unhandledrejection"]) {
    addEventListener(type, (event) => {
      let prevented = false;
      event.preventDefault();
      event.preventDefault = () => prevented = true;
      queueMicrotask(() => {
        const thrown = type === "error" ? event.error : event.reason;
        if (prevented || stopErrors.has(thrown)) return;
        const shown = Deno.inspect(thrown, { colors: !Deno.noColor });
        const lines = shown.split("\\n").filter((line) => !/^\\s+at .*\\bext:/.test(line));
        console.error("%s", "Uncaught (in the background) " + lines.join("\\n"));
      });
    });
  }
`;

/** The time for queries to be canceled, before Stop rejects the cell's waits. */
const CANCEL_MS = 1000;
/** The time for the cell's cleanup after its waits were rejected. */
const CLEAN_UP_MS = 300;
/** The time for rejected code to reach its next wait. */
const SETTLE_MS = 50;

/** The global name of the waits in cells' code. A cell may declare a variable `Symbol`, so it is a name that no one uses. */
const NAME = JSON.stringify(" waits");

/**
 * The expression of the function that wraps a cell's awaited values.
 *
 * @param cell The number by which Stop identifies the cell.
 * @param portable Whether the code may run without the prelude, such as in a worker that gets the text of a function. There,
 * an `await` stays plain. The check for the prelude doubles the cost of a cell, so it is left out when it is not needed.
 */
export function waitCode(cell: number, portable: boolean): string {
  return waitCall("one", cell, portable);
}

/** {@linkcode waitCode} for the iterable of a `for await`. */
export function eachCode(cell: number, portable: boolean): string {
  return waitCall("each", cell, portable);
}

function waitCall(name: string, cell: number, portable: boolean): string {
  return portable
    ? `(globalThis[${NAME}]?.${name}(${cell}) ?? ((value) => value))`
    : `globalThis[${NAME}].${name}(${cell})`;
}

/**
 * Code of the prelude: the waits of the cells, and the way in which Stop ends them. A wait is a promise whose `resolve` and
 * `reject` are passed to `then` of the awaited value. V8 follows such promises, so error traces keep the lines of the awaiting
 * code.
 *
 * Stop moves the running cell through these states:
 * - `running`: each wait settles with its value.
 * - `stopping`: after {@linkcode CANCEL_MS} all waits of the cell are rejected; new waits still work, for cleanup.
 * - `dead`: after {@linkcode CLEAN_UP_MS} more, the remaining waits are rejected and new waits never settle. Nothing refers
 *   to them, so garbage collection of the cell's promise ends the cell.
 *
 * When the cell has ended, all three variables are reset, and the functions that it defined work again.
 */
const WAITS = `
  const { setTimeout } = globalThis;
  const { then } = Promise.prototype;
  const waits = new Set();
  const stopErrors = new WeakSet();
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
      stopErrors.add(error);
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
      // Cancels also what the cell has begun since, such as a query in a loop that catches errors.
      setTimeout(() => Deno.kill(Deno.pid, "SIGINT"), ${SETTLE_MS});
    }, ${CANCEL_MS + CLEAN_UP_MS});
  };
  const cellEnded = () => {
    running = stopping = dead = 0;
  };
  Object.defineProperty(globalThis, ${NAME}, { value: Object.freeze({ one, each }) });
`;

/** The key of the global symbol under which the prelude keeps its functions in the child. */
const KERNEL = "lakebase.kernel";

/** The type of the message that reports that all earlier outputs have been sent. */
export const DONE = "lakebase_done";
/** The metadata key of an error that a cell broadcasts itself, which does not end the cell. */
export const BROADCAST = "lakebase_broadcast";
/** The type of the message that answers SIGINT. */
export const INTERRUPTED = "lakebase_interrupted";

const FUNCTIONS = `globalThis[Symbol.for(${JSON.stringify(KERNEL)})]`;

/**
 * The code that runs in the child before the first cell. A broadcast is sent in order with the outputs, so a broadcast after
 * the last output of a cell reports that all outputs have been sent. It is cheapest in the internal function with which the
 * Deno kernel displays the last value of a cell: a signal after the reply makes each cell 0.5 ms slower (median of 500). If
 * Deno has no such function, a signal or an internal cell asks for the broadcast.
 */
const PRELUDE = `(() => {
  if (${FUNCTIONS}) return;
  const { broadcast } = Deno.jupyter;
  Deno.jupyter.broadcast = (type, content, more) => broadcast(type, content, type !== "error" ? more : {
    ...more,
    metadata: { ...more?.metadata, ${JSON.stringify(BROADCAST)}: true },
  });
  // The variable is for this process only, not for the processes that cells start.
  if (Deno.env.get("${STACK.variable}") === "${STACK.bytes}") Deno.env.delete("${STACK.variable}");
  ${UNCAUGHT}
  ${WAITS}
  const done = (n, more) => {
    cellEnded();
    return broadcast(${JSON.stringify(DONE)}, { n, ...more });
  };
  const drawing = Deno[Deno.internal]?.jupyter;
  const draw = drawing?.broadcastResult;
  const drawn = typeof draw === "function";
  if (drawn) {
    drawing.broadcastResult = async (count, value) => {
      try {
        await draw(count, value);
        value = undefined; // so that garbage collection can free it
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
    collect().catch(() => {}); // Stop works without it, but then a cell whose promise is garbage ends later
    stop();
  });
  if (Deno.build.os !== "windows") Deno.addSignalListener("${FLUSH_SIGNAL}", () => done("flushed"));
  const value = Object.freeze({ done, drawn, imports, refuse });
  Object.defineProperty(globalThis, Symbol.for(${JSON.stringify(KERNEL)}), { value });
})();`;

/** Code that sends a message of the type {@linkcode DONE} with this number, after all earlier outputs. */
export function doneCode(n: number): string {
  return `${FUNCTIONS}.done(${n})`;
}

/** Code that runs the prelude. The answer says whether the display of a value reports its end. */
export function preludeCode(n: number): string {
  return `${PRELUDE}\n${FUNCTIONS}.done(${n}, { drawn: ${FUNCTIONS}.drawn })`;
}

/** Code that imports modules one by one until one fails. The answer has the error. */
export function importsCode(n: number, specifiers: readonly string[]): string {
  return `void ${FUNCTIONS}.imports(${n}, ${JSON.stringify(specifiers)})`;
}

/** Code that throws an error without a stack trace. */
export function refuseCode(name: string, message: string): string {
  return `${FUNCTIONS}.refuse(${JSON.stringify(name)}, ${JSON.stringify(message)})`;
}

/** Code that prints a text. */
export function printCode(text: string): string {
  return `console.log("%s", ${JSON.stringify(text)})`;
}

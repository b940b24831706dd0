import { FLUSH_SIGNAL, STACK } from "./child.ts";
import { STOPPED } from "./failure.ts";

/**
 * Code of the prelude that shows uncaught errors, such as those of a timer's callback, without the frames of Deno's own code.
 * Without this code, an uncaught error silently ends the waiting cell. Nothing is shown if the person's own listener prevents
 * the default. `stopErrors` are the errors that Stop throws, which the cell itself reports.
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

/**
 * The name of the global that holds the functions for waits. It begins with a space, so that no variable has it. A symbol
 * would not work in a cell that declares a variable `Symbol`.
 */
const WAITS_GLOBAL = JSON.stringify(" waits");

/**
 * The expression of the function that wraps a cell's awaited values.
 *
 * @param cell The number by which Stop identifies the cell.
 * @param portable Whether the code may run without the prelude, such as in a worker that gets the text of a function. There,
 * the function returns the value as it is. The check for the prelude doubles the cost of a cell, so a cell that does not need
 * the check has none.
 */
export function awaitCode(cell: number, portable: boolean): string {
  return waitCall("await", cell, portable);
}

/** {@linkcode awaitCode} for the iterable of a `for await`. */
export function forAwaitCode(cell: number, portable: boolean): string {
  return waitCall("forAwait", cell, portable);
}

function waitCall(name: "await" | "forAwait", cell: number, portable: boolean): string {
  return portable
    ? `(globalThis[${WAITS_GLOBAL}]?.${name}(${cell}) ?? ((value) => value))`
    : `globalThis[${WAITS_GLOBAL}].${name}(${cell})`;
}

/**
 * Code of the prelude that keeps the waits of the cells, so that Stop can end them. A wait is a promise whose `resolve` and
 * `reject` are passed to `then` of the awaited value. V8 follows such promises, so error traces keep the lines of the awaiting
 * code.
 *
 * The variables hold the numbers of cells; 0 is none. Stop moves the running cell through these states:
 * - `running`: each wait settles with its value.
 * - `stopping`: Stop was pressed.
 * - `rejected`: after {@linkcode CANCEL_MS}, or at a second Stop, all waits of the cell are rejected; new waits still work, for
 *   cleanup.
 * - `dead`: after {@linkcode CLEAN_UP_MS} more, the remaining waits are rejected and new waits never settle. Nothing refers
 *   to them, so garbage collection of the cell's promise ends the cell.
 *
 * When the cell has ended, all four variables are reset, and waits in the functions that it defined work again.
 */
const WAITS = `
  const { setTimeout } = globalThis;
  const { then } = Promise.prototype;
  const waits = new Set();
  const stopErrors = new WeakSet();
  let newest = 0, running = 0, stopping = 0, rejected = 0, dead = 0, latest;
  const awaitIn = (cell) => {
    if (cell > newest) newest = running = cell;
    return latest?.cell === cell ? latest.wait : (latest = { cell, wait: (value) => waitFor(cell, value) }).wait;
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
  const forAwaitIn = (cell) => (iterable) => {
    const open = iterable?.[Symbol.asyncIterator];
    if (typeof open !== "function") return iterable;
    return { [Symbol.asyncIterator]() {
      const iterator = Reflect.apply(open, iterable, []);
      const { next } = iterator;
      const wrapped = { next: () => awaitIn(cell)(Reflect.apply(next, iterator, [])) };
      if (iterator.return != null) wrapped.return = (value) => iterator.return(value);
      return wrapped;
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
  const rejectWaits = (cell) => {
    if (running !== cell || rejected === cell) return;
    rejected = cell;
    endWaits(cell);
    // It begins now and not with Stop: on a busy machine, both timers would be due at once.
    setTimeout(() => {
      if (running !== cell) return;
      dead = cell;
      endWaits(cell);
      // This also cancels what the cell has begun since, such as a query in a loop that catches errors. If the cell has ended
      // meanwhile, it would stop the next cell.
      setTimeout(() => dead === cell && Deno.kill(Deno.pid, "SIGINT"), ${SETTLE_MS});
    }, ${CLEAN_UP_MS});
  };
  const stop = () => {
    const cell = running;
    if (cell === 0) return;
    if (dead === cell) return endWaits(cell);
    if (stopping === cell) return rejectWaits(cell);
    stopping = cell;
    setTimeout(rejectWaits, ${CANCEL_MS}, cell);
  };
  const cellEnded = () => {
    running = stopping = rejected = dead = 0;
  };
  Object.defineProperty(globalThis, ${WAITS_GLOBAL}, { value: Object.freeze({ await: awaitIn, forAwait: forAwaitIn }) });
`;

/** The key of the symbol of the global under which the prelude keeps its functions in the child. */
const KERNEL = "lakebase.kernel";

/** The type of the message that reports that all earlier outputs have been sent. */
export const DONE = "lakebase_done";
/** The metadata key of an error that a cell broadcasts itself. Such an error does not end the cell. */
export const BROADCAST = "lakebase_broadcast";
/** The type of the message that answers SIGINT. */
export const INTERRUPTED = "lakebase_interrupted";

const FUNCTIONS = `globalThis[Symbol.for(${JSON.stringify(KERNEL)})]`;

/**
 * The code that runs in the child before the first cell. A broadcast is sent in order with the outputs, so a broadcast after
 * the last output of a cell reports that all outputs have been sent.
 *
 * The prelude sends it from `broadcastResult`, an internal function with which the Deno kernel displays the last value of each
 * cell. Deno 2.9 calls no public function there: nothing public runs after a cell whose value is `undefined`, or after the
 * display of a value. The public ways make each cell slower: a signal by 0.5 ms (median of 500), an internal cell by more. They
 * are used if a Deno has no such function.
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
  const internals = Deno[Deno.internal]?.jupyter;
  const display = internals?.broadcastResult;
  const reportsDrawn = typeof display === "function";
  if (reportsDrawn) {
    internals.broadcastResult = async (count, value) => {
      try {
        await display(count, value);
        value = undefined; // so that garbage collection can free it before the hook looks for garbage
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
    collect().catch(() => {}); // without it, a cell whose promise is garbage ends later
    stop();
  });
  if (Deno.build.os !== "windows") Deno.addSignalListener("${FLUSH_SIGNAL}", () => done("flushed"));
  const value = Object.freeze({ done, reportsDrawn, imports, refuse });
  Object.defineProperty(globalThis, Symbol.for(${JSON.stringify(KERNEL)}), { value });
})();`;

/** Code that sends a message of the type {@linkcode DONE} with this number, after all earlier outputs. */
export function doneCode(n: number): string {
  return `${FUNCTIONS}.done(${n})`;
}

/** Code that runs the prelude. The answer has `reportsDrawn`: whether the display of a value reports its end. */
export function preludeCode(n: number): string {
  return `${PRELUDE}\n${FUNCTIONS}.done(${n}, { reportsDrawn: ${FUNCTIONS}.reportsDrawn })`;
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

/** Whether a cell may import the client by its name. */
export function mayImportClient(code: string): boolean {
  return code.includes("lakebase");
}

/**
 * Code that lets cells import the client as "lakebase" in any folder, since `deno jupyter` reads only the configuration of
 * the notebook's folder. The notebook's own import map takes precedence. Modules in files need an import map, because Deno
 * does not call hooks for their imports.
 *
 * @param client The URL of the client's main module.
 */
export function clientNameCode(client: string): string {
  const urls = { lakebase: client, "lakebase/local": new URL("src/local/mod.ts", client).href };
  return `(await import("node:module")).registerHooks?.({
  resolve(specifier, context, next) {
    const urls = ${JSON.stringify(urls)};
    if (!Object.hasOwn(urls, specifier)) return next(specifier, context);
    const resolved = next(specifier, context);
    // A name without an entry in the import map resolves to a file in the notebook's folder.
    const unmapped = !resolved.url || resolved.url.endsWith("/" + specifier);
    return unmapped ? { url: urls[specifier], shortCircuit: true } : resolved;
  },
});`;
}

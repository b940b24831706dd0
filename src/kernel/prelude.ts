import { FLUSH, STACK } from "./child.ts";
import { WAITS } from "./waits.ts";

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
  if (Deno.build.os !== "windows") Deno.addSignalListener("${FLUSH}", () => done("flushed"));
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

import process from "node:process";
import { inNotebook, inOwnKernel } from "../draw/notebook.ts";
import type { Fragment } from "./fragment.ts";

/** A statement that was made, and that nothing has run, drawn or put into another one yet. */
interface Made {
  /** It may be kept in a variable and run later: only one that nothing can reach any more is never run. */
  ref: WeakRef<Fragment>;
  strings: readonly string[];
}

const byQuery = new WeakMap<Fragment, Made>();
const waiting = new Set<Made>();
/** Characters of a statement that are shown. */
const SHOWN = 100;
/** How long after a statement was made a notebook looks whether it can still be run. */
const LOOK_MS = 300;

/** Statements that are kept in mind; in a loop without an await all of them are of one line. */
const MOST = 100_000;

/** Whether the end of a cell is told, or never comes: `undefined` until the first statement. */
let watched: "by the kernel" | "by time" | undefined;
let looking = false;
/** Whether one was made since it was last looked: what is kept in a variable is not looked for after each cell. */
let fresh = false;

/** Keeps in mind that a statement was made. */
export function made(query: Fragment): void {
  if (waiting.size >= MOST) return;
  fresh = true;
  const entry = { ref: new WeakRef(query), strings: query.strings };
  byQuery.set(query, entry);
  waiting.add(entry);
  watched ??= watch();
  if (watched === "by time" && !looking) lookLater();
}

/** A statement is run, drawn, or part of another one. */
export function used(query: Fragment): void {
  const entry = byQuery.get(query);
  if (entry === undefined) return;
  waiting.delete(entry);
  byQuery.delete(query);
}

/** What a kernel that has `%%sql` cells calls at the end of a cell. */
const CELL_END = Symbol.for("lakebase.cell_end");

function watch(): "by the kernel" | "by time" {
  Object.defineProperty(globalThis, CELL_END, { value: report, configurable: true });
  addEventListener("unload", () => {
    fresh = true;
    report();
  });
  return inNotebook() && !inOwnKernel() ? "by time" : "by the kernel";
}

/** Deno's own kernel does not tell the end of a cell: then a moment after a statement was made, while nothing runs. */
function lookLater(): void {
  looking = true;
  const timer = setTimeout(() => {
    looking = false;
    report();
  }, LOOK_MS);
  Deno.unrefTimer(timer);
}

/** Says of each statement that nothing can run any more what was forgotten, once for the same line of a program. */
function report(): void {
  if (!fresh || waiting.size === 0 || !collectGarbage()) return;
  fresh = false;
  const lost = new Map<readonly string[], number>();
  for (const entry of waiting) {
    if (entry.ref.deref() !== undefined) continue;
    waiting.delete(entry);
    lost.set(entry.strings, (lost.get(entry.strings) ?? 0) + 1);
  }
  for (const [strings, times] of lost) {
    const often = times === 1 ? "" : ` (${times.toLocaleString("en-US")} times)`;
    // deno-lint-ignore no-console -- nobody waits for it, so there is nobody to throw to
    console.error("%s", `never run${often}: put \`await\` before it: sql\`${shown(strings)}\``);
  }
}

function shown(strings: readonly string[]): string {
  const text = strings.join("${...}").replace(/\s+/g, " ").trim();
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** What nothing can reach is known only then; it takes some ten milliseconds, and only where a statement waits. */
function collectGarbage(): boolean {
  const builtin = (name: string) =>
    process.getBuiltinModule(name) as unknown as Record<string, (text: string) => unknown>;
  try {
    builtin("node:v8")["setFlagsFromString"]!("--expose-gc");
    (builtin("node:vm")["runInNewContext"]!("gc") as () => void)();
    return true;
  } catch {
    return false; // a runtime that forbids it tells nothing
  }
}

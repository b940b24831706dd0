import process from "node:process";
import { firstWord } from "../core/sql_text.ts";
import { inNotebook, inOwnKernel } from "../draw/notebook.ts";
import type { Fragment } from "./fragment.ts";

/** A statement that has not been run, drawn or put into another one yet. */
interface MadeStatement {
  /** A weak reference, which is empty once the statement can no longer run. A statement in a variable may still run later. */
  ref: WeakRef<Fragment>;
  strings: readonly string[];
}

/**
 * The newest statement, and others of this moment. Most are awaited at once: remembering them weakly, or even adding them to a
 * set, costs more than a small query's rows.
 */
let newest: Fragment | undefined;
const recent = new Set<Fragment>();
const byQuery = new WeakMap<Fragment, MadeStatement>();
const waiting = new Set<MadeStatement>();
/** The most characters of a statement that a warning shows. */
const SHOWN = 100;
/** The time after which a notebook checks whether a new statement can still run. */
const LOOK_MS = 300;

/** The most statements that are remembered; a loop without an await makes many from one line. */
const MOST = 100_000;

/** Whether the kernel or a timer starts the checks. `undefined` until the first statement. */
let watched: "by the kernel" | "by time" | undefined;
let checkIsScheduled = false;
/** Whether a statement was made since the last check; without a new one, a check is skipped. */
let hasNewStatement = false;

/** Remembers that a statement was made. */
export function markMade(query: Fragment): void {
  // `await` calls the query's `then` in the next microtask. A check in the microtask after that finds only queries that
  // were not run at once.
  if (newest === undefined && recent.size === 0) queueMicrotask(queueRemember);
  if (newest !== undefined && recent.size < MOST) recent.add(newest); // a loop may make millions in one turn
  newest = query;
}

function queueRemember(): void {
  queueMicrotask(remember);
}

/** Keeps weak references to the statements that were not run at once. */
function remember(): void {
  if (newest !== undefined) recent.add(newest);
  newest = undefined;
  if (recent.size === 0) return;
  for (const query of recent) {
    if (waiting.size >= MOST) break;
    if (!beginsStatement(query)) continue;
    const entry = { ref: new WeakRef(query), strings: query.strings };
    byQuery.set(query, entry);
    waiting.add(entry);
    hasNewStatement = true;
  }
  recent.clear();
  watched ??= watch();
  if (watched === "by time" && hasNewStatement && !checkIsScheduled) scheduleCheck();
}

/** The first words of statements, of Postgres and of a SQL warehouse. */
const COMMANDS = new Set(
  ("abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete discard do " +
    "drop end execute explain fetch grant import insert listen load lock merge move notify prepare reassign refresh reindex " +
    "release reset revoke rollback savepoint security select set show start table truncate unlisten update vacuum values " +
    "with cache clear desc describe msck optimize repair restore uncache use").split(" "),
);

/** The most fragments in which the first word of a statement is looked for. */
const DEEPEST = 10;

/**
 * Whether a text can be a complete statement. Another text, such as a condition, is a part of a statement, and a program
 * may decide not to use it.
 */
function beginsStatement(query: Pick<Fragment, "strings" | "values">): boolean {
  let part: Partial<Pick<Fragment, "strings" | "values">> | undefined = query;
  for (let depth = 0; depth < DEEPEST && part?.strings !== undefined; depth++) {
    const text: string = part.strings[0] ?? "";
    if (text.trim() !== "") return COMMANDS.has(firstWord(text));
    part = part.values?.[0] as typeof part | undefined ?? undefined;
  }
  return false;
}

/** Forgets a statement that is run, drawn or put into another one. */
export function markUsed(query: Fragment): void {
  if (query === newest) {
    newest = undefined;
    return;
  }
  if (recent.delete(query)) return;
  const entry = byQuery.get(query);
  if (entry === undefined) return;
  waiting.delete(entry);
  byQuery.delete(query);
}

/** Names the function that a kernel with `%%sql` cells calls at the end of a cell. */
const CELL_END = Symbol.for("lakebase.cell_end");

function watch(): "by the kernel" | "by time" {
  Object.defineProperty(globalThis, CELL_END, { value: warnOfNeverRun, configurable: true });
  addEventListener("unload", () => {
    hasNewStatement = true;
    warnOfNeverRun();
  });
  return inNotebook() && !inOwnKernel() ? "by time" : "by the kernel";
}

/** Checks a moment after a statement was made, because Deno's own kernel does not report the end of a cell. */
function scheduleCheck(): void {
  checkIsScheduled = true;
  const timer = setTimeout(() => {
    checkIsScheduled = false;
    warnOfNeverRun();
  }, LOOK_MS);
  Deno.unrefTimer(timer);
}

/** Warns about statements that can no longer run, once for each line of the program. */
function warnOfNeverRun(): void {
  if (!hasNewStatement || waiting.size === 0 || !collectGarbage()) return;
  hasNewStatement = false;
  const lost = new Map<readonly string[], number>();
  for (const entry of waiting) {
    if (entry.ref.deref() !== undefined) continue;
    waiting.delete(entry);
    lost.set(entry.strings, (lost.get(entry.strings) ?? 0) + 1);
  }
  for (const [strings, times] of lost) {
    const often = times === 1 ? "" : ` (${times.toLocaleString("en-US")} times)`;
    // deno-lint-ignore no-console -- no caller waits for this, so there is nobody to throw to
    console.error("%s", `never run${often}: put \`await\` before it: sql\`${shortText(strings)}\``);
  }
}

function shortText(strings: readonly string[]): string {
  const text = strings.join("${...}").replace(/\s+/g, " ").trim();
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** Collects garbage, which takes about ten milliseconds. Only after that is it known which statements are unreachable. */
function collectGarbage(): boolean {
  const builtin = (name: string) =>
    process.getBuiltinModule(name) as unknown as Record<string, (text: string) => unknown>;
  try {
    builtin("node:v8")["setFlagsFromString"]!("--expose-gc");
    (builtin("node:vm")["runInNewContext"]!("gc") as () => void)();
    return true;
  } catch {
    return false; // the runtime forbids it, so there are no warnings
  }
}

import process from "node:process";
import { firstWord } from "../core/sql_text.ts";
import { inNotebook, inOwnKernel } from "../draw/notebook.ts";
import type { Fragment } from "./fragment.ts";

/** A statement that has not yet been run, drawn or put into another one. */
interface UnusedStatement {
  /** A weak reference, which is empty once no code can run the statement any more. */
  ref: WeakRef<Fragment>;
  strings: readonly string[];
}

/**
 * The newest statement, and others of the current microtask. Most statements are awaited at once, and a weak reference or
 * even an entry in a set would cost more than the rows of a small query.
 */
let newest: Fragment | undefined;
const recent = new Set<Fragment>();
const unusedByFragment = new WeakMap<Fragment, UnusedStatement>();
const unused = new Set<UnusedStatement>();
/** The most characters of a statement that a warning shows. */
const MAX_SHOWN = 100;
/** The time after which a notebook checks whether a new statement can still run. */
const CHECK_DELAY_MS = 300;

/** The most statements that are remembered: a loop without an await makes many of them. */
const MAX_STATEMENTS = 100_000;

/** What starts the checks. `undefined` until the first statement. */
let trigger: "kernel" | "timer" | undefined;
let checkIsScheduled = false;
/** Whether a statement was made since the last check; otherwise the next check is skipped. */
let hasNewStatement = false;

/** Remembers that a statement was made. */
export function markMade(query: Fragment): void {
  // `await` calls the `then` of a query in the next microtask. The microtask after that finds only queries that were not
  // run at once.
  if (newest === undefined && recent.size === 0) queueMicrotask(rememberInNextMicrotask);
  if (newest !== undefined && recent.size < MAX_STATEMENTS) recent.add(newest); // a loop may make millions in one microtask
  newest = query;
}

function rememberInNextMicrotask(): void {
  queueMicrotask(remember);
}

/** Keeps weak references to the statements that were not run at once. */
function remember(): void {
  if (newest !== undefined) recent.add(newest);
  newest = undefined;
  if (recent.size === 0) return;
  for (const query of recent) {
    if (unused.size >= MAX_STATEMENTS) break;
    if (!beginsStatement(query)) continue;
    const entry = { ref: new WeakRef(query), strings: query.strings };
    unusedByFragment.set(query, entry);
    unused.add(entry);
    hasNewStatement = true;
  }
  recent.clear();
  trigger ??= installTrigger();
  if (trigger === "timer" && hasNewStatement && !checkIsScheduled) scheduleCheck();
}

/** The first words of statements, of Postgres and of a SQL warehouse. */
const COMMANDS = new Set(
  ("abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete discard do " +
    "drop end execute explain fetch grant import insert listen load lock merge move notify prepare reassign refresh reindex " +
    "release reset revoke rollback savepoint security select set show start table truncate unlisten update vacuum values " +
    "with cache clear desc describe msck optimize repair restore uncache use").split(" "),
);

/** The most nested fragments that are searched for the first word of a statement. */
const MAX_DEPTH = 10;

/**
 * Whether a fragment may be a complete statement. Other fragments, such as conditions, are parts of statements, and a program
 * may decide not to use them.
 */
function beginsStatement(query: Pick<Fragment, "strings" | "values">): boolean {
  let part: Partial<Pick<Fragment, "strings" | "values">> | undefined = query;
  for (let depth = 0; depth < MAX_DEPTH && part?.strings !== undefined; depth++) {
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
  const entry = unusedByFragment.get(query);
  if (entry === undefined) return;
  unused.delete(entry);
  unusedByFragment.delete(query);
}

/** Names the function that a kernel with `%%sql` cells calls at the end of a cell. */
const CELL_END = Symbol.for("lakebase.cell_end");

function installTrigger(): "kernel" | "timer" {
  Object.defineProperty(globalThis, CELL_END, { value: warnOfNeverRun, configurable: true });
  addEventListener("unload", () => {
    hasNewStatement = true;
    warnOfNeverRun();
  });
  return inNotebook() && !inOwnKernel() ? "timer" : "kernel";
}

/** Checks a moment after a statement was made, because Deno's own kernel does not report the end of a cell. */
function scheduleCheck(): void {
  checkIsScheduled = true;
  const timer = setTimeout(() => {
    checkIsScheduled = false;
    warnOfNeverRun();
  }, CHECK_DELAY_MS);
  Deno.unrefTimer(timer);
}

/** Warns about statements that can no longer run, once for each line of the program. */
function warnOfNeverRun(): void {
  if (!hasNewStatement || unused.size === 0 || !collectGarbage()) return;
  hasNewStatement = false;
  const lost = new Map<readonly string[], number>();
  for (const entry of unused) {
    if (entry.ref.deref() !== undefined) continue;
    unused.delete(entry);
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
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** Collects garbage, which takes about ten milliseconds, so that the weak references of unreachable statements are empty. */
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

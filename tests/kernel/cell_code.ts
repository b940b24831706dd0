import assert from "node:assert/strict";
import { rewriteCell } from "../../src/kernel/magic.ts";

const SQL_CELLS = Symbol.for("lakebase.cell");

/** The arguments with which a cell calls the client. */
export type Call = [options: Record<string, unknown>, ...statements: [strings: string[], values: unknown[]][]];

/** The code into which a cell is rewritten. */
export function codeOf(cell: string): string {
  const rewritten = rewriteCell(cell, { module: "data:," });
  assert.equal(rewritten.kind, "code", `${JSON.stringify(cell)}: ${JSON.stringify(rewritten)}`);
  return (rewritten as { code: string }).code;
}

/** Runs the rewritten code, and returns its calls of the client. `answer` gives the client's result. */
export async function callsOf(
  cell: string,
  scope: Record<string, unknown> = {},
  answer: () => Promise<unknown> = () => Promise.resolve([]),
): Promise<Call[]> {
  const calls: Call[] = [];
  await run(codeOf(cell), scope, (...call) => calls.push(call), answer);
  return calls;
}

/** The value of a variable after a cell has stored a result in it. */
export async function storedValue(cell: string, name: string, result: unknown): Promise<unknown> {
  return await run(`${codeOf(cell)}\nreturn ${name}`, { [name]: "before" }, (options) => {
    (options["check"] as () => void)();
    (options["keep"] as (value: unknown) => void)(result);
  });
}

async function run(
  code: string,
  scope: Record<string, unknown>,
  onCall: (...call: Call) => unknown,
  answer: () => Promise<unknown> = () => Promise.resolve([]),
): Promise<unknown> {
  Object.defineProperty(globalThis, SQL_CELLS, {
    configurable: true,
    value: (...call: Call) => {
      onCall(...call);
      return answer();
    },
  });
  const AsyncFunction = (async () => {}).constructor as new (...args: string[]) => (...values: unknown[]) => unknown;
  try {
    return await new AsyncFunction(...Object.keys(scope), code)(...Object.values(scope));
  } finally {
    Reflect.deleteProperty(globalThis, SQL_CELLS);
  }
}

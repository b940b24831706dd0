import { type CellRewrite, rewriteCell } from "./magic.ts";
import { DEEPEST, nestsTooDeep } from "./nesting.ts";
import { printCode, refuseCode } from "./prelude.ts";

/**
 * What the child is to be given for a cell. What needs no child is given to it as well, as a cell that prints or fails: so
 * it has its place in the order and its number.
 *
 * @param source The cell as the person wrote it.
 * @param module The URL of the client.
 */
export function rewritten(source: string, module: string): string {
  const code = written(source, module);
  if (!nestsTooDeep(code)) return code;
  const most = `${DEEPEST} are the most that Deno's parser takes`;
  return refuseCode("RangeError", `Cannot run the cell: its brackets are nested too deep; ${most}`);
}

function written(source: string, module: string): string {
  const cell = attempt(source, module);
  switch (cell.kind) {
    case "plain":
      return source;
    case "code":
      return cell.code;
    case "help":
      return printCode(cell.text);
    case "error":
      return refuseCode(cell.name, cell.message);
  }
}

/** A fault of this kernel's own must not take the cell's turn with it. */
function attempt(source: string, module: string): CellRewrite {
  try {
    return rewriteCell(source, { module });
  } catch (error) {
    return { kind: "error", name: "InternalError", message: `Cannot read the cell: ${(error as Error).message}` };
  }
}

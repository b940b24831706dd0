import { type CellFailure, failure, importedSpecifiers, parseFailure, STOPPED, UNEXPLAINED } from "./cell_failure.ts";
import type { Hidden } from "./hidden.ts";
import { importsCode } from "./prelude.ts";
import type { RunningCell } from "./running_cell.ts";

/** Whether a cell that could not begin is code itself, but what was made of it is not. */
export async function misread({ interrupted, code, sent }: RunningCell): Promise<boolean> {
  if (interrupted || sent === code) return false;
  return await parseFailure(sent) !== undefined && await parseFailure(code) === undefined;
}

/** Why a cell ended for which the Deno kernel gives no reason. */
export async function reasonOf({ interrupted, code, source }: RunningCell, hidden: Hidden): Promise<CellFailure> {
  if (interrupted) return STOPPED;
  const unparsed = await parseFailure(code, source);
  if (unparsed !== undefined) return unparsed;
  const specifiers = importedSpecifiers(code);
  if (specifiers.length === 0) return UNEXPLAINED;
  const answer = await hidden.run((n) => importsCode(n, specifiers));
  const { name, message } = answer ?? {};
  return typeof name === "string" && typeof message === "string" ? failure(name, message) : UNEXPLAINED;
}

/**
 * Lakebase from a shell: `deno run -A src/cli.ts --help`.
 *
 * @module
 */

import { errorText, exitCode } from "./cli/exit.ts";
import { print } from "./cli/output.ts";
import { runProgram } from "./cli/program.ts";
import { listenForStop } from "./cli/stop.ts";

/**
 * Runs a command.
 *
 * @param args The words behind the program's name.
 * @returns The exit code: 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C, 143 for SIGTERM, 141 where the reader of
 * the output has left.
 */
export async function main(args: readonly string[]): Promise<number> {
  using stop = listenForStop();
  try {
    return await Promise.race([runProgram(args, stop.signal), stop.overdue]);
  } catch (error) {
    await print(Deno.stderr, errorText(error, Deno.env.get("LAKEBASE_DEBUG") === "1")).catch(() => {}); // nobody to tell
    return stop.code ?? exitCode(error);
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));

/**
 * Lakebase from a shell: `deno run -A src/cli/main.ts --help`.
 *
 * @module
 */

import { LakebaseError } from "../core/errors.ts";
import { errorText, exitCode } from "./errors.ts";
import { print } from "./output.ts";
import { runProgram } from "./program.ts";

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

/** The signals that end a program, by their numbers. Windows has but one of them. */
const SIGNALS: readonly [Deno.Signal, number][] = Deno.build.os === "windows"
  ? [["SIGINT", 2]]
  : [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]];

/** How long a command that was stopped has to cancel its query and to remove its files. */
const LIMIT_MS = 5000;

/** Ctrl-C, or the end that a service manager asks for. */
export interface Stop extends Disposable {
  /** Aborts when it comes. */
  readonly signal: AbortSignal;
  /** The exit code that says so; `undefined` until it comes. */
  readonly code: number | undefined;
  /** Rejects when the command has not ended in time. */
  readonly overdue: Promise<never>;
}

/** Listens for the signals that end a program; a second one ends it at once. */
export function listenForStop(): Stop {
  const controller = new AbortController();
  const overdue = Promise.withResolvers<never>();
  overdue.promise.catch(() => {});
  let code: number | undefined;
  const listeners = SIGNALS.map(([signal, number]) => {
    const listener = () => {
      if (code !== undefined) Deno.exit(128 + number);
      code = 128 + number;
      controller.abort(new LakebaseError("CANCELED", "Canceled"));
      Deno.unrefTimer(setTimeout(() => overdue.reject(controller.signal.reason), LIMIT_MS));
    };
    Deno.addSignalListener(signal, listener);
    return () => Deno.removeSignalListener(signal, listener);
  });
  return {
    signal: controller.signal,
    get code() {
      return code;
    },
    overdue: overdue.promise,
    [Symbol.dispose]: () => listeners.forEach((remove) => remove()),
  };
}

if (import.meta.main) Deno.exit(await main(Deno.args));

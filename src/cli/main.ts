/**
 * The command `lakebase`: query a Databricks Lakebase from a shell, pull tables to files, load files into tables, find out
 * why connecting fails, and install the Jupyter kernel with `%%sql` cells. `lakebase --help` lists its commands.
 *
 * @example
 * ```sh
 * deno task install
 * lakebase query --local 'SELECT version()'
 * lakebase pull trips trips.parquet
 * ```
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
 * @param args The arguments after the program's name.
 * @returns The exit code: 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C, 143 for SIGTERM, 141 when the reader of
 * the output has closed it.
 */
export async function main(args: readonly string[]): Promise<number> {
  using stop = listenForStop();
  try {
    return await Promise.race([runProgram(args, stop.signal), stop.overdue]);
  } catch (error) {
    const text = errorText(error, Deno.env.get("LAKEBASE_DEBUG") === "1");
    await print(Deno.stderr, text).catch(() => {}); // standard error is closed, so nobody can be told
    return stop.code ?? exitCode(error);
  }
}

/** The signals that end a program, with their numbers. Windows has only the first. */
const SIGNALS: readonly [Deno.Signal, number][] = Deno.build.os === "windows"
  ? [["SIGINT", 2]]
  : [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]];

/** The time in which a stopped command must cancel its query and remove its files. */
const STOP_LIMIT_MS = 5000;

/** A request to stop: Ctrl-C, or a signal of a service manager. */
export interface Stop extends Disposable {
  /** Aborts when the request comes. */
  readonly signal: AbortSignal;
  /** The exit code of the signal; `undefined` until it comes. */
  readonly code: number | undefined;
  /** Rejects when the command does not end in time. */
  readonly overdue: Promise<never>;
}

/** Listens for the signals that end a program. A second signal ends it at once. */
export function listenForStop(): Stop {
  const controller = new AbortController();
  const overdue = Promise.withResolvers<never>();
  overdue.promise.catch(() => {}); // a command that has ended no longer waits for it
  let code: number | undefined;
  const listeners = SIGNALS.map(([signal, number]) => {
    const listener = () => {
      if (code !== undefined) Deno.exit(128 + number);
      code = 128 + number;
      controller.abort(new LakebaseError("CANCELED", "Canceled"));
      Deno.unrefTimer(setTimeout(() => overdue.reject(controller.signal.reason), STOP_LIMIT_MS));
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

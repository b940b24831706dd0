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

import { Command, CommanderError } from "npm:commander@15.1.0";
import config from "../../deno.json" with { type: "json" };
import { LakebaseError } from "../core/errors.ts";
import { errorText, EXIT, exitCode, print } from "./output.ts";

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
    await print(Deno.stderr, text).catch(() => {}); // standard error is closed, so nothing can be printed
    return stop.code ?? exitCode(error);
  }
}

/** Sets up a command. */
type Configure = (command: Command, stopped: AbortSignal) => void;

/** The commands; each is loaded when it runs. */
const COMMANDS: Record<string, readonly [summary: string, load: () => Promise<Configure>]> = {
  version: ["Show the server's version", async () => (await import("./inspect.ts")).version],
  query: ["Run SQL and print its rows as a table, CSV or JSON", async () => (await import("./query.ts")).configure],
  pull: ["Write a table or the rows of a query to a file", async () => (await import("./pull.ts")).configure],
  load: ["Load files into a table", async () => (await import("./load.ts")).configure],
  tables: ["List tables and views", async () => (await import("./inspect.ts")).tables],
  branch: [
    "Create, list, compare or drop branches: copies of the whole database",
    async () => (await import("./branch.ts")).configure,
  ],
  doctor: ["Find out why connecting fails", async () => (await import("./inspect.ts")).doctor],
  local: [
    "Run a Lakebase on this machine, for tests and development",
    async () => (await import("./local.ts")).configure,
  ],
  kernel: [
    "Install, list or uninstall the Jupyter kernel with %%sql cells",
    async () => (await import("./kernel.ts")).configure,
  ],
};

const EXAMPLES = `
Exit codes: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C, 141 closed output, 143 SIGTERM.
With LAKEBASE_DEBUG=1, errors print their stack trace.

Examples:
  lakebase query --local 'SELECT version()'
  lakebase query 'SELECT * FROM trips WHERE zone = $zone' -p zone=Harlem
  lakebase pull trips trips.parquet
  lakebase query --help`;

/**
 * Runs a command.
 *
 * @param args The arguments after the program's name.
 * @param stopped Aborts when the command must end.
 * @returns The exit code, unless the command throws.
 * @throws What the command throws.
 */
async function runProgram(args: readonly string[], stopped: AbortSignal): Promise<number> {
  const output = { out: "", err: "" };
  const program = await makeProgram(args, stopped, output);
  try {
    await program.parseAsync(args, { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } finally {
    await print(Deno.stdout, output.out);
    await print(Deno.stderr, output.err);
  }
}

async function makeProgram(args: readonly string[], stopped: AbortSignal, output: { out: string; err: string }) {
  const program = new Command("lakebase");
  program.description("Query a Databricks Lakebase, and move its tables to and from files")
    .version(config.version, "-V, --version", "show the version of this command")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [command]", "Show help for a command")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.out += text,
      writeErr: (text) => output.err += text,
      outputError: (text, write) => write(text.replace(/^error: /, "lakebase: ")),
      getOutHelpWidth: () => 110,
      getErrHelpWidth: () => 110,
    })
    .showHelpAfterError("See lakebase --help");
  const requested = args[0] === "help" ? args[1] : args[0];
  for (const [name, [summary, load]] of Object.entries(COMMANDS)) {
    const command = program.command(name).description(summary).helpOption("-h, --help", "show this help");
    command.showHelpAfterError(`See lakebase ${name} --help`);
    if (name === requested) (await load())(command, stopped);
  }
  return program;
}

/** The signals that end a program, with their numbers. Windows has only the first. */
const SIGNALS: readonly [Deno.Signal, number][] = Deno.build.os === "windows"
  ? [["SIGINT", 2]]
  : [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]];

/** The time in which a stopped command must cancel its query and remove its files. */
const STOP_LIMIT_MS = 5000;

/** A request to stop: Ctrl-C, or a signal of a service manager. */
interface Stop extends Disposable {
  /** Aborts when the request comes. */
  readonly signal: AbortSignal;
  /** The exit code of the signal; `undefined` until it comes. */
  readonly code: number | undefined;
  /** Rejects when the command does not end in time. */
  readonly overdue: Promise<never>;
}

/** Listens for the signals that end a program. A second signal ends it at once. */
function listenForStop(): Stop {
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

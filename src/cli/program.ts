import { Command, CommanderError } from "npm:commander@15.1.0";
import config from "../../deno.json" with { type: "json" };
import { EXIT } from "./errors.ts";
import { print } from "./output.ts";

/** A module that sets up one command. It is loaded when the command runs. */
interface CommandModule {
  configure(command: Command, stopped: AbortSignal): void;
}

const COMMANDS: Record<string, readonly [summary: string, load: () => Promise<CommandModule>]> = {
  version: ["Show the server's version", () => import("./version.ts")],
  query: ["Run SQL and print its rows as a table, CSV or JSON", () => import("./query.ts")],
  pull: ["Write a table or the rows of a query to a file", () => import("./pull.ts")],
  load: ["Load files into a table", () => import("./load.ts")],
  tables: ["List tables and views", () => import("./tables.ts")],
  branch: ["Create, list or drop branches: copies of the whole database", () => import("./branch.ts")],
  doctor: ["Find out why connecting fails", () => import("./doctor.ts")],
  local: ["Run a Lakebase on this machine, for tests and development", () => import("./local.ts")],
  kernel: ["Install, list or uninstall the Jupyter kernel with %%sql cells", () => import("./kernel.ts")],
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
export async function runProgram(args: readonly string[], stopped: AbortSignal): Promise<number> {
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
  const named = args[0] === "help" ? args[1] : args[0];
  for (const [name, [summary, load]] of Object.entries(COMMANDS)) {
    const command = program.command(name).description(summary).helpOption("-h, --help", "show this help");
    command.showHelpAfterError(`See lakebase ${name} --help`);
    if (name === named) (await load()).configure(command, stopped);
  }
  return program;
}

import { Command, CommanderError } from "npm:commander@^15.1.0";
import config from "../../deno.json" with { type: "json" };
import { EXIT } from "./errors.ts";
import { print } from "./output.ts";

/** What makes a command of a name; loaded for the one that is run. */
interface CommandModule {
  configure(command: Command, stopped: AbortSignal): void;
}

const COMMANDS: Record<string, readonly [summary: string, load: () => Promise<CommandModule>]> = {
  version: ["what the server says it is", () => import("./version.ts")],
  query: ["runs SQL and writes its rows as a table, CSV or JSON", () => import("./query.ts")],
  pull: ["pulls a table's or a query's rows to a file", () => import("./pull.ts")],
  load: ["loads a file into a table", () => import("./load.ts")],
  tables: ["lists tables, views and the like", () => import("./tables.ts")],
  doctor: ["finds out why connecting does not work", () => import("./doctor.ts")],
  local: [
    "keeps a Lakebase running on this machine, and prints the environment that leads to it",
    () => import("./local.ts"),
  ],
  kernel: ["installs the Jupyter kernel with %%sql cells, and takes it away", () => import("./kernel.ts")],
};

const EXAMPLES = `
Exit codes: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM, 141 where the reader of the output has left.
With LAKEBASE_DEBUG=1 an error is printed with where it was thrown.

Examples:
  lakebase query --local 'SELECT version()'
  lakebase query 'SELECT * FROM trips WHERE zone = $zone' -p zone=Harlem
  lakebase pull trips trips.parquet
  lakebase query --help`;

/**
 * Runs the command that the words name.
 *
 * @param words What stands behind the program's name.
 * @param stopped Aborts when it is to end.
 * @returns The exit code, where it is not for an error.
 * @throws What the command throws.
 */
export async function runProgram(words: readonly string[], stopped: AbortSignal): Promise<number> {
  const said = { out: "", err: "" };
  const program = await makeProgram(words, stopped, said);
  try {
    await program.parseAsync(words, { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } finally {
    await print(Deno.stdout, said.out);
    await print(Deno.stderr, said.err);
  }
}

async function makeProgram(words: readonly string[], stopped: AbortSignal, said: { out: string; err: string }) {
  const program = new Command("lakebase");
  program.description("Databricks Lakebase from a shell")
    .version(config.version, "-V, --version", "the version of this program")
    .helpOption("-h, --help", "shows this, or with a command's name what that takes")
    .helpCommand("help [command]", "shows what a command takes")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => said.out += text,
      writeErr: (text) => said.err += text,
      outputError: (text, write) => write(text.replace(/^error: /, "lakebase: ")),
      getOutHelpWidth: () => 110,
      getErrHelpWidth: () => 110,
    })
    .showHelpAfterError("See lakebase --help");
  const named = words[0] === "help" ? words[1] : words[0];
  for (const [name, [summary, load]] of Object.entries(COMMANDS)) {
    const command = program.command(name).description(summary).helpOption("-h, --help", "shows this");
    command.showHelpAfterError(`See lakebase ${name} --help`);
    if (name === named) (await load()).configure(command, stopped);
  }
  return program;
}

import { type Command, InvalidArgumentError, Option } from "npm:commander@15.1.0";
import { LakebaseError } from "../core/errors.ts";
import { lazyImport } from "../core/lazy_import.ts";
import { names } from "./connection.ts";
import { exportLines, print } from "./output.ts";

interface LocalValues {
  database?: string;
  dataDir?: string;
  user?: string;
  passwords?: string;
  volumes?: string[];
  volumesDir?: string;
  postgresPort: number;
  workspacePort: number;
}

const EXAMPLES = `
The command serves Databricks' workspace API, and Postgres over TLS, as a Lakebase does. It prints the environment variables
that connect a client to it, and runs until Ctrl-C or SIGTERM.

Examples:
  lakebase local --data-dir .lakebase --passwords passwords > local.env &   # a file of ROLE=PASSWORD lines: app=secret
  until [ -s local.env ]; do sleep 0.1; done; . ./local.env
  lakebase version
  PGUSER=app PGPASSWORD=secret psql -c 'SELECT version()'`;

/** Sets up `lakebase local`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.addOption(
    new Option("--database <url>", "use this Postgres instead of an embedded one")
      .env("LAKEBASE_LOCAL_DATABASE"),
  )
    .option("--data-dir <folder>", "keep the data of the embedded database in this folder (default: keep no data)")
    .option("--user <name>", "name the workspace user, who is also the Postgres role (default: you@example.com)")
    .option(
      "--passwords <file>",
      "let roles log in with the passwords in this file, which has a line ROLE=PASSWORD for each",
    )
    .option("--volumes <names>", "the full names of the Volumes (default: main.raw.landing)", names)
    .option("--volumes-dir <folder>", "keep the files of the Volumes in this folder (default: keep no files)")
    .option("--postgres-port <number>", "serve Postgres on this port; 0 is any free one", port, 0)
    .option("--workspace-port <number>", "serve the workspace API on this port; 0 is any free one", port, 0)
    .addHelpText("after", EXAMPLES)
    .action((values: LocalValues) => {
      if (command.getOptionValueSource("database") === "cli") checkShowsNoPassword(values.database!);
      return local(values, stopped);
    });
}

async function local({ passwords: file, ...options }: LocalValues, stopped: AbortSignal): Promise<void> {
  const passwords = file === undefined ? {} : await readPasswords(file);
  const { startLocal } = await lazyImport<typeof import("../local/mod.ts")>(import.meta.resolve("../local/mod.ts"));
  await using server = await startLocal({ ...options, passwords });
  await print(Deno.stdout, exportLines(server.env));
  if (stopped.aborted) return;
  await new Promise((resolve) => stopped.addEventListener("abort", resolve, { once: true }));
}

/** Refuses a password in the command line, which every user of the machine can see. */
function checkShowsNoPassword(url: string): void {
  const parsed = URL.parse(url);
  if (!parsed?.password && !parsed?.searchParams.has("password")) return;
  throw new LakebaseError(
    "BAD_SETTING",
    "Cannot start: the URL of --database holds a password, and other users of this machine can see the command line; " +
      "put the URL into LAKEBASE_LOCAL_DATABASE",
  );
}

async function readPasswords(file: string): Promise<Record<string, string>> {
  const text = await Deno.readTextFile(file).catch((cause) => {
    throw new LakebaseError("BAD_SETTING", `Cannot read the passwords of "${file}": ${cause.message}`, { cause });
  });
  const lines = text.split(/\r?\n/).map((line, index) => ({ line, number: index + 1 }));
  return Object.fromEntries(
    lines.filter(({ line }) => line.trim() !== "" && !line.startsWith("#")).map(({ line, number }) => {
      const at = line.indexOf("=");
      if (at > 0 && at < line.length - 1) return [line.slice(0, at), line.slice(at + 1)];
      throw new LakebaseError(
        "BAD_SETTING",
        `Cannot read the passwords of "${file}": line ${number} is not ROLE=PASSWORD`,
      );
    }),
  );
}

function port(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
}

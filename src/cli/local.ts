import { type Command, InvalidArgumentError } from "npm:commander@^15.1.0";
import { print } from "./output.ts";

interface LocalValues {
  database?: string;
  dataDir?: string;
  user?: string;
  password?: Record<string, string>;
  postgresPort: number;
  workspacePort: number;
}

const EXAMPLES = `
It runs until Ctrl-C or SIGTERM, and speaks Databricks' workspace API and Postgres over TLS, as a Lakebase does.

Examples:
  lakebase local --data-dir .lakebase --password app=secret > local.env &
  until [ -s local.env ]; do sleep 0.1; done; . ./local.env
  lakebase version
  PGUSER=app PGPASSWORD=secret psql -c 'SELECT version()'`;

/** Makes `lakebase local` of a command. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.option("--database <url>", "stands in front of this Postgres, instead of an embedded one")
    .option("--data-dir <folder>", "keeps the embedded database's data here; else it keeps none")
    .option("--user <name>", "the workspace's user, and Postgres role; you@example.com where nothing is said")
    .option("--password <role=password>", "a role that logs in with a password; may be repeated", addPassword)
    .option("--postgres-port <number>", "0 for any that is free", port, 0)
    .option("--workspace-port <number>", "0 for any that is free", port, 0)
    .addHelpText("after", EXAMPLES)
    .action((values: LocalValues) => local(values, stopped));
}

async function local({ password = {}, ...options }: LocalValues, stopped: AbortSignal): Promise<void> {
  const { startLocal } = await import("../local/mod.ts");
  await using server = await startLocal({ ...options, passwords: password });
  const lines = Object.entries(server.env).map(([name, value]) => `export ${name}=${shellWord(value)}\n`);
  await print(Deno.stdout, lines.join(""));
  if (stopped.aborted) return;
  await new Promise((resolve) => stopped.addEventListener("abort", resolve, { once: true }));
}

function addPassword(text: string, given: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at > 0 && at < text.length - 1) return { ...given, [text.slice(0, at)]: text.slice(at + 1) };
  throw new InvalidArgumentError("It must be ROLE=PASSWORD.");
}

function port(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
}

function shellWord(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

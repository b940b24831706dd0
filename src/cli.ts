/**
 * Lakebase from a shell: `deno run -A src/cli.ts --help`.
 *
 * @module
 */

import { parseArgs } from "node:util";
import config from "../deno.json" with { type: "json" };

const HELP = `lakebase ${config.version}: Databricks Lakebase from a shell

Usage
  lakebase version             what the server answers to SELECT version(), with the settings of connect()
  lakebase local [options]     keeps a Lakebase running on this machine and prints the environment that leads to it

Options of local
  --database URL               stand in front of this Postgres instead of the embedded one
  --data-dir FOLDER            keep the embedded database's data here
  --user NAME                  the workspace's user, and Postgres role (you@example.com)
  --password ROLE=PASSWORD     a role that logs in with a password, for clients without OAuth; may be repeated
  --postgres-port N            0 for any that is free (0)
  --workspace-port N           0 for any that is free (0)

Examples
  lakebase local --data-dir .lakebase --password app=secret > local.env &
  until [ -s local.env ]; do sleep 0.1; done; . ./local.env
  PGUSER=app PGPASSWORD=secret psql -c 'SELECT version()'
`;

/** Exit codes that scripts can tell apart: success, failure, wrong usage, stopped. */
const EXIT = { ok: 0, failure: 1, usage: 2, stopped: 130 } as const;

const COMMANDS: Record<string, (args: string[]) => Promise<number>> = { version, local };

/**
 * Runs a command.
 *
 * @param args The words behind the program's name.
 * @returns The exit code: 0, 1 for a failure, 2 for wrong usage, 130 for Stop.
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "help" || args.includes("--help") || args.includes("-h")) {
    await print(Deno.stdout, HELP);
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return await refuse(`there is no command "${name}"`);
  try {
    return await command(rest);
  } catch (error) {
    if (error instanceof TypeError && "code" in error) return await refuse(error.message); // parseArgs
    await print(Deno.stderr, `${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.failure;
  }
}

async function version(args: string[]): Promise<number> {
  parseArgs({ args, options: {} });
  const { connect } = await import("./connect.ts");
  await using db = await connect();
  await print(Deno.stdout, `${await db.version()}\n`);
  return EXIT.ok;
}

async function local(args: string[]): Promise<number> {
  const text = { type: "string" } as const;
  const options = {
    database: text,
    "data-dir": text,
    user: text,
    password: { type: "string", multiple: true } as const,
    "postgres-port": text,
    "workspace-port": text,
  };
  const { values } = parseArgs({ args, options });
  const { startLocal } = await import("./local/mod.ts");
  await using server = await startLocal({
    ...(values.database === undefined ? {} : { database: values.database }),
    ...(values["data-dir"] === undefined ? {} : { dataDir: values["data-dir"] }),
    ...(values.user === undefined ? {} : { user: values.user }),
    passwords: Object.fromEntries((values.password ?? []).map(rolePassword)),
    postgresPort: port("--postgres-port", values["postgres-port"]),
    workspacePort: port("--workspace-port", values["workspace-port"]),
  });
  const lines = Object.entries(server.env).map(([name, value]) => `export ${name}=${shellWord(value)}\n`);
  await print(Deno.stdout, lines.join(""));
  await stopped();
  return EXIT.ok;
}

function rolePassword(value: string): [role: string, password: string] {
  const at = value.indexOf("=");
  if (at > 0 && at < value.length - 1) return [value.slice(0, at), value.slice(at + 1)];
  throw Object.assign(new TypeError("--password must be ROLE=PASSWORD"), { code: "USAGE" });
}

function port(name: string, value: string | undefined): number {
  const number = Number(value ?? "0");
  if (Number.isInteger(number) && number >= 0 && number <= 65_535) return number;
  throw Object.assign(new TypeError(`${name} is "${value}"; it must be a whole number from 0 to 65535`), {
    code: "USAGE",
  });
}

function shellWord(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

/** Until Ctrl-C, or the end that a service manager asks for. */
function stopped(): Promise<void> {
  return new Promise((resolve) => {
    const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
    const onSignal = () => {
      signals.forEach((signal) => Deno.removeSignalListener(signal, onSignal));
      resolve();
    };
    signals.forEach((signal) => Deno.addSignalListener(signal, onSignal));
  });
}

async function refuse(state: string): Promise<number> {
  await print(Deno.stderr, `lakebase: ${state}. See lakebase --help\n`);
  return EXIT.usage;
}

async function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): Promise<void> {
  await new Blob([text]).stream().pipeTo(to.writable, { preventClose: true });
}

if (import.meta.main) Deno.exit(await main(Deno.args));

import { type Command, InvalidArgumentError, Option } from "npm:commander@15.1.0";
import type { Branch, BranchOptions } from "../api/branch.ts";
import type { TableDiff } from "../api/result.ts";
import {
  addConnectionOptions,
  type ConnectionValues,
  LOGIN_HELP,
  seconds,
  wholeNumber,
  withDatabase,
} from "./connection.ts";
import { exportLines, print } from "./output.ts";
import { type FormatOptions, FORMATS, printListing } from "./rows.ts";

interface CreateValues extends ConnectionValues, Pick<BranchOptions, "from" | "lsn" | "ttl" | "timeout"> {
  at?: string;
}

interface ListValues extends ConnectionValues, Pick<FormatOptions, "format"> {}

interface DiffValues extends ConnectionValues, Pick<FormatOptions, "format"> {
  limit?: number;
  timeout?: number;
}

interface DropValues extends ConnectionValues {
  purge?: boolean;
}

const EXAMPLES = `
A branch is a copy of the whole database, made in seconds, on its own compute. "create" prints the environment variables that
connect a client to it. Every command takes --branch.
${LOGIN_HELP}

Examples:
  lakebase branch create try-it > branch.env && (. ./branch.env; psql -c 'DELETE FROM trips WHERE fare < 0')
  lakebase branch create --at '2 hours ago' --ttl 8h
  lakebase query --branch try-it 'SELECT count(*) FROM trips'
  lakebase branch list --format json | jq -r '.[].name'
  lakebase branch diff try-it trips
  lakebase branch drop try-it`;

/** Sets up `lakebase branch`. */
export function configure(command: Command, stopped: AbortSignal): void {
  command.helpCommand(false).addHelpText("after", EXAMPLES);
  const subcommand = (usage: string, description: string) =>
    command.command(usage).description(description).helpOption("-h, --help", "show this help");
  const creating = subcommand(
    "create [name]",
    "Create a branch, and print the environment variables that connect to it",
  )
    .option("--from <branch>", "copy this branch (default: the connected one)")
    .option("--at <time>", "copy the data of this moment: a time with its zone, or '2 hours ago' (default: now)")
    .option("--lsn <number>", "copy the data of this log sequence number")
    .option("--ttl <time>", "let it expire after this time: seconds, or 30m, 8h, 7d (default: 1d)", duration)
    .option("--no-ttl", "let it never expire")
    .option("--timeout <seconds>", "give up after this time (default: 600)", seconds);
  addConnectionOptions(creating).addHelpText("after", EXAMPLES)
    .action((name: string | undefined, values: CreateValues) => create(name, values, stopped));
  const listing = subcommand("list", "List the branches of the project")
    .addOption(new Option("--format <name>", "print the list in this format").choices(FORMATS).default("table"));
  addConnectionOptions(listing).addHelpText("after", EXAMPLES)
    .action((values: ListValues) => list(values, stopped));
  const differing = subcommand(
    "diff <name> [table]",
    "Print the differences of a branch: of its schema, or of a table's rows",
  )
    .addOption(new Option("--format <name>", "print the differences in this format").choices(FORMATS).default("table"))
    .option(
      "--limit <number>",
      "print at most this many rows of the table; all are counted (default: 1000)",
      wholeNumber,
    )
    .option("--timeout <seconds>", "give up after this time", seconds);
  addConnectionOptions(differing).addHelpText("after", EXAMPLES)
    .action((name: string, table: string | undefined, values: DiffValues) => diff(name, table, values, stopped));
  const dropping = subcommand("drop <name>", "Drop a branch")
    .option("--purge", "remove it for good (default: it can be restored in the workspace for some days)");
  addConnectionOptions(dropping).addHelpText("after", EXAMPLES)
    .action((name: string, values: DropValues) => drop(name, values, stopped));
}

async function create(name: string | undefined, values: CreateValues, signal: AbortSignal): Promise<void> {
  const { from, at, lsn, ttl, timeout } = values;
  const options = Object.fromEntries(
    Object.entries({ name, from, at, lsn, ttl, timeout }).filter(([, value]) => value !== undefined),
  );
  await withDatabase(values, signal, async (db) => {
    await using branch = await db.branch({ ...options, keep: true, signal });
    await print(Deno.stdout, exportLines(await variablesOf(branch)));
    const { expires } = branch;
    const expiry = expires === undefined ? "never expires" : `expires at ${expires.toISOString()}`;
    await print(
      Deno.stderr,
      `Created branch ${branch.name}; it ${expiry}. Drop it with: lakebase branch drop ${branch.name}\n`,
    );
  });
}

/** The environment variables that connect a client to a branch. The login stays the same. */
async function variablesOf(branch: Branch): Promise<Record<string, string>> {
  const lakebase = await import("../api/lakebase.ts");
  const { endpoint, host, port, database, user } = branch[lakebase.PARTS];
  return {
    LAKEBASE_ENDPOINT: endpoint!.name,
    LAKEBASE_BRANCH: branch.name,
    PGHOST: host,
    // Not every resolver resolves such a name to this machine.
    ...(host.endsWith(".localhost") ? { PGHOSTADDR: "127.0.0.1" } : {}),
    PGPORT: String(port),
    PGDATABASE: database,
    PGUSER: user,
  };
}

async function list(values: ListValues, signal: AbortSignal): Promise<void> {
  const { format } = values;
  await withDatabase(values, signal, async (db) => {
    await printListing(await db.branches({ signal }), format);
  });
}

async function diff(name: string, table: string | undefined, values: DiffValues, signal: AbortSignal): Promise<void> {
  const { format, limit, timeout, ...login } = values;
  const options = { signal, ...(timeout === undefined ? {} : { timeout }) };
  await withDatabase(login, signal, (db) =>
    withDatabase({ ...login, branch: name }, signal, async (branch) => {
      if (table === undefined) return await printListing(await db.diff(branch, options), format);
      const rows = await db.diff(branch, table, { ...options, ...(limit === undefined ? {} : { limit }) });
      await printListing(rows, format);
      if (format !== "table") await print(Deno.stderr, unprintedNotice(rows));
    }));
}

/**
 * A notice with the counts of a comparison, if not all rows that differ are printed; otherwise an empty text. The table format
 * has the counts, and a format for programs does not.
 */
function unprintedNotice({ length, table, key, added, removed, changed }: TableDiff): string {
  if (length === added + removed + changed) return "";
  const reason = key === null ? "as the tables share no key" : "because of --limit";
  return `${table}: ${added} added, ${removed} removed, ${changed} changed; only ${length} of them are printed, ${reason}\n`;
}

async function drop(name: string, values: DropValues, signal: AbortSignal): Promise<void> {
  const { purge = false } = values;
  await withDatabase(values, signal, async (db) => {
    await db.dropBranch(name, { purge, signal });
    const state = purge ? "" : "; it can be restored in the workspace for some days";
    await print(Deno.stderr, `Dropped branch ${name}${state}\n`);
  });
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Reads a time such as `90`, `30m`, `8h` or `7d`, in seconds. */
function duration(text: string): number {
  const [, count, unit = "s"] = /^(\d{1,9})([smhd])?$/.exec(text) ?? [];
  if (count !== undefined && Number(count) > 0) return Number(count) * UNITS[unit]!;
  throw new InvalidArgumentError("It must be a number of seconds, or a time such as 30m, 8h or 7d.");
}

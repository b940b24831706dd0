import type { Command } from "npm:commander@15.1.0";
import { addConnectionOptions, type ConnectionValues, LOGIN_HELP, withDatabase } from "./connection.ts";
import { print } from "./output.ts";

const EXAMPLES = `${LOGIN_HELP}

Examples:
  lakebase version
  lakebase version --local
  lakebase version --profile work --endpoint my-project`;

/** Sets up `lakebase version`. */
export function configure(command: Command, stopped: AbortSignal): void {
  addConnectionOptions(command).addHelpText("after", EXAMPLES);
  command.action(async (values: ConnectionValues) => {
    await withDatabase(values, stopped, async (db) => await print(Deno.stdout, `${await db.version()}\n`));
  });
}

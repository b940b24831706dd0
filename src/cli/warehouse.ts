import type { Command } from "npm:commander@15.1.0";
import { optionName } from "../core/errors.ts";
import { ENGINE, type Lakehouse, lakehouse } from "../api/lakehouse.ts";
import { until } from "../sql/stop.ts";
import { badParameter } from "../sql/parameter.ts";
import { type ConnectionValues, connectOptions } from "./connection.ts";
import { makeFormat } from "./rows.ts";
import { type RunScriptOptions, withLocation } from "./run_script.ts";
import { type Script, toFragment } from "./script.ts";
import type { Write } from "./output.ts";

/** The options of a command that name a SQL warehouse. */
export interface WarehouseValues {
  /** The id or name of the warehouse. */
  warehouse?: string;
  /** The catalog of names that have none. */
  catalog?: string;
  /** The schema of names that have none. */
  schema?: string;
}

/** Adds the options for a SQL warehouse. */
export function addWarehouseOptions(command: Command): Command {
  return command.optionsGroup("SQL warehouse:")
    .option(
      "--warehouse <name>",
      "run the SQL in this SQL warehouse of the workspace, by its name or id, instead of in the Lakebase",
    )
    .option("--catalog <name>", "with --warehouse: the catalog of names without one")
    .option("--schema <name>", "with --warehouse: the schema of names without one")
    .optionsGroup("Options:");
}

/** The options of `connect()` that select the workspace. All others are for a Lakebase. */
const FOR_WORKSPACE: ReadonlySet<string> = new Set(["profile", "envFile", "local"]);

/**
 * Opens the warehouse that a command names, does some work, and waits until stopped statements are canceled there.
 *
 * @throws {LakebaseError} `BAD_PARAMETER` for options that apply only to a Lakebase.
 */
export async function withWarehouse<T>(
  values: ConnectionValues & WarehouseValues,
  signal: AbortSignal,
  work: (lake: Lakehouse) => Promise<T>,
): Promise<T> {
  const { warehouse, catalog, schema } = values;
  const connection = connectOptions(values);
  const other = Object.keys(connection).find((name) => !FOR_WORKSPACE.has(name));
  if (other !== undefined) {
    throw badParameter(`${optionName(other)} is for a Lakebase, and --warehouse runs the SQL elsewhere; leave one out`);
  }
  const opening = lakehouse({
    ...connection,
    ...(warehouse === undefined ? {} : { warehouse }),
    ...(catalog === undefined ? {} : { catalog }),
    ...(schema === undefined ? {} : { schema }),
    signal,
  });
  await using lake = await until(opening, signal);
  lake[ENGINE].cancelAtOnce(); // Ctrl-C ends the program
  return await work(lake);
}

/** Refuses the options that need `--warehouse` when it is not given. */
export function checkWarehouse({ warehouse, catalog, schema }: WarehouseValues): void {
  if (warehouse === undefined && catalog !== undefined) throw badParameter("--catalog is for --warehouse; give both");
  if (warehouse === undefined && schema !== undefined) throw badParameter("--schema is for --warehouse; give both");
}

/** Runs the statements of a script in a warehouse, each by itself, and writes the rows of each as they arrive. */
export async function runInWarehouse(
  lake: Lakehouse,
  script: Script,
  options: RunScriptOptions,
  write: Write,
): Promise<void> {
  for (const statement of script.statements) {
    const format = makeFormat(options);
    try {
      const fragment = toFragment(statement, options.param ?? new Map());
      const { fields, command, rows } = await lake[ENGINE].texts(fragment, options);
      if (fields.length === 0) await write(format.command(command));
      else {
        const parsers = fields.map(({ oid }) => format.types.getTypeParser(oid));
        await write(format.begin(fields));
        for await (const batch of rows) {
          await write(
            format.rows(batch.map((row) => row.map((text, at) => text === null ? null : parsers[at]!(text)))),
          );
        }
        await write(format.end());
      }
    } catch (error) {
      throw withLocation(script, statement, error);
    }
  }
}

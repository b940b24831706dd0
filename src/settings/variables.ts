import type { EnvFile } from "./dotenv.ts";
import { SETTING_NAMES } from "./options.ts";
import type { Found, Origin } from "./origin.ts";
import { badSetting } from "./read_option.ts";
import { IN_ENV_FILE, NEVER_IN_ENV_FILE } from "./workspace.ts";

/** The variables of the environment, and those of `.env` that the environment does not have, by name. */
export type Variables = ReadonlyMap<string, Found>;

/** The variable that names a SQL warehouse. */
export const WAREHOUSE = "DATABRICKS_WAREHOUSE_ID";

/** The only names that are taken from a `.env`: an unknown variable may name a program to run. */
const TAKEN_FROM_FILE = new Set([
  ...Object.values(SETTING_NAMES).flat(),
  "LAKEBASE_LOCAL",
  WAREHOUSE,
  ...IN_ENV_FILE,
]);

/**
 * Merges the environment over `.env`. An empty value counts as not set.
 *
 * @param env The environment of the process, or its replacement.
 * @param file The `.env`.
 * @param source The source that `env` counts as.
 * @throws {LakebaseError} `BAD_SETTING` for an ambiguous value in `.env`, with its line.
 */
export function mergeVariables(
  env: Record<string, string | undefined>,
  file?: EnvFile,
  source: Origin["source"] = "environment",
): Variables {
  const variables = new Map<string, Found>();
  for (const [name, { value, line, fault }] of file?.values ?? []) {
    if (!TAKEN_FROM_FILE.has(name) || env[name]) continue;
    const origin = { source: ".env", name, file: file!.path, line } as const;
    if (fault !== undefined) {
      throw badSetting(`${name} in ${file!.path}, line ${line}: ${fault}`, { setting: name, origin });
    }
    if (value !== "") variables.set(name, { value, origin });
  }
  for (const [name, value] of Object.entries(env)) if (value) variables.set(name, { value, origin: { source, name } });
  return variables;
}

/** The variables of a `.env` that are never taken from it, with the reasons. */
export function refusedNames(file: EnvFile | undefined): [name: string, reason: string][] {
  return Object.entries(NEVER_IN_ENV_FILE).filter(([name]) => file?.values.has(name));
}

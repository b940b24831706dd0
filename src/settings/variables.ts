import type { EnvFile } from "./dotenv.ts";
import { SETTING_NAMES } from "./options.ts";
import type { Found, Origin } from "./origin.ts";
import { badSetting } from "./read_option.ts";
import { IN_ENV_FILE, NEVER_IN_ENV_FILE } from "./workspace.ts";

/** What the environment says, and `.env` where the environment says nothing, by name. */
export type Variables = ReadonlyMap<string, Found>;

/** The names that are taken from a `.env`: a name that nobody has thought of may name a program. */
const TAKEN = new Set([...Object.values(SETTING_NAMES).flat(), "LAKEBASE_LOCAL", ...IN_ENV_FILE]);

/**
 * The environment over `.env`. An empty value counts as none.
 *
 * @param env The process's environment, or what stands for it.
 * @param file The `.env`.
 * @param source What `env` is.
 * @throws {LakebaseError} `BAD_SETTING` for a value of `.env` that is not clear, with its line.
 */
export function mergeVariables(
  env: Record<string, string | undefined>,
  file?: EnvFile,
  source: Origin["source"] = "environment",
): Variables {
  const variables = new Map<string, Found>();
  for (const [name, { value, line, fault }] of file?.values ?? []) {
    if (!TAKEN.has(name) || env[name]) continue;
    const origin = { source: ".env", name, file: file!.path, line } as const;
    if (fault !== undefined) {
      throw badSetting(`${name} in ${file!.path}, line ${line}: ${fault}`, { setting: name, origin });
    }
    if (value !== "") variables.set(name, { value, origin });
  }
  for (const [name, value] of Object.entries(env)) if (value) variables.set(name, { value, origin: { source, name } });
  return variables;
}

/** The names in a `.env` that are left there, each with the reason. */
export function refusedNames(file: EnvFile | undefined): [name: string, reason: string][] {
  return Object.entries(NEVER_IN_ENV_FILE).filter(([name]) => file?.values.has(name));
}

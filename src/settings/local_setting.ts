import { badSetting, checkOptionNames, quoted } from "./bad_setting.ts";
import type { LocalOptions } from "../local/mod.ts";
import type { ConnectOptions } from "./options.ts";

/** The names in `LocalOptions`: one that is not here is a typo. */
const LOCAL_OPTION_NAMES: readonly (keyof LocalOptions)[] = [
  ...["database", "dataDir", "user", "workspacePort", "postgresPort", "projects", "instances"] as const,
  ...["passwords", "servicePrincipals", "groups", "handshakeTimeout", "lockTimeout", "signal"] as const,
];

/**
 * Settles whether to connect to a Lakebase on this machine: by the option `local`, else `LAKEBASE_LOCAL`.
 *
 * @param options What the caller said.
 * @param env The process's environment.
 * @param dotenv The values of the `.env` file.
 * @returns How to start it, or `undefined` for a workspace.
 * @throws {LakebaseError} `BAD_SETTING`
 */
export function resolveLocal(
  options: ConnectOptions,
  env: Record<string, string | undefined>,
  dotenv: Record<string, string> = {},
): LocalOptions | undefined {
  const given: unknown = options?.local;
  if (given === undefined) return localByEnvironment(env["LAKEBASE_LOCAL"] || dotenv["LAKEBASE_LOCAL"] || "false");
  if (typeof given === "boolean") return given ? {} : undefined;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw badSetting(`option "local" is ${quoted(given)}; it must be true, false or an object`);
  }
  checkOptionNames(given, LOCAL_OPTION_NAMES, "local.");
  return given;
}

function localByEnvironment(value: string): LocalOptions | undefined {
  if (/^(1|true|yes|on)$/i.test(value)) return {};
  if (/^(0|false|no|off)$/i.test(value)) return undefined;
  throw badSetting(`LAKEBASE_LOCAL is ${quoted(value)}; it must be true or false`);
}

import { redact } from "../errors.ts";
import { type ConnectOptions, SETTING_NAMES } from "./options.ts";

/** Where one setting's value came from. */
export interface Origin {
  /** The setting, as the option or the environment names it. */
  setting: string;
  /** Its value; of a secret only that it is set. */
  value: string;
  /** Such as `option`, `PGHOST`, `PGHOST in .env`. */
  from: string;
}

/** A service principal that logs in to the workspace is the role too. */
const NAMES = Object.entries({ ...SETTING_NAMES, user: [...SETTING_NAMES.user ?? [], "DATABRICKS_CLIENT_ID"] });

/** What the SDK reads by itself, and what of it is no secret: a name that nobody has thought of may hold one. */
const WORKSPACE = /^(DATABRICKS|ARM|GOOGLE)_/;
const SHOWN = new RegExp(
  "^(DATABRICKS_(HOST|(CLIENT|ACCOUNT|WORKSPACE|CLUSTER|WAREHOUSE|SERVERLESS_COMPUTE|AZURE_RESOURCE)_ID|USERNAME|" +
    "CONFIG_(FILE|PROFILE)|AUTH_TYPE|CLI_PATH|RUNTIME_VERSION|GOOGLE_SERVICE_ACCOUNT)|" +
    "ARM_((CLIENT|TENANT)_ID|ENVIRONMENT|USE_MSI))$",
);
const SECRET = /password|token|secret|credential|key/i;

/**
 * Which settings were given, and where: what is not listed has its default. Pure, as `resolveSettings` is.
 *
 * @param options What the caller said.
 * @param env The process's environment.
 * @param dotenv The values of the `.env` file.
 */
export function originsOf(
  options: ConnectOptions,
  env: Record<string, string | undefined>,
  dotenv: Record<string, string>,
): Origin[] {
  const named = NAMES.flatMap(([option, names]) => {
    return originOf(option, options[option as keyof ConnectOptions], names, env, dotenv) ?? [];
  });
  const known = new Set(NAMES.map(([option]) => option));
  const others = Object.entries(options)
    .filter(([option, value]) => !known.has(option) && value !== undefined)
    .map(([setting, value]) => ({ setting, value: shown(setting, value), from: "option" }));
  const seen = new Set(named.map(({ from }) => from.split(" ")[0]));
  const workspace = Object.keys({ ...dotenv, ...env })
    .filter((name) => WORKSPACE.test(name) && !seen.has(name))
    .sort()
    .flatMap((name) => originOf(name, undefined, [name], env, dotenv) ?? []);
  return [...named, ...others, ...workspace];
}

function originOf(
  setting: string,
  given: unknown,
  names: readonly string[],
  env: Record<string, string | undefined>,
  dotenv: Record<string, string>,
): Origin | undefined {
  if (given !== undefined) return { setting, value: shown(setting, given), from: "option" };
  for (const name of names) {
    if (env[name]) return { setting, value: shown(name, env[name]), from: name };
    if (dotenv[name]) return { setting, value: shown(name, dotenv[name]), from: `${name} in .env` };
  }
  return undefined;
}

function shown(name: string, value: unknown): string {
  if (typeof value === "function") return "a function";
  const secret = WORKSPACE.test(name) ? !SHOWN.test(name) : SECRET.test(name) && name !== "tokenTtl";
  if (secret) return "set, not shown";
  if (typeof value === "object") return "an object";
  const text = String(value);
  return text.includes("-----BEGIN") ? "PEM text" : redact(text);
}

import type { LakebaseErrorCode } from "../errors.ts";
import type { Origin } from "./origins.ts";

/** The settings that a failure may come of. */
const SETTINGS: Partial<Record<LakebaseErrorCode, readonly string[]>> = {
  DNS: ["host"],
  UNREACHABLE: ["host", "port"],
  CONNECT_TIMEOUT: ["host", "port"],
  TLS: ["host"],
  LOGIN_REFUSED: ["host", "user"],
  DATABASE_NOT_FOUND: ["database"],
  ENDPOINT_NOT_FOUND: ["endpoint"],
};

/**
 * Where the settings behind a failure came from, since an old `.env` is easily forgotten. What an option in code says is
 * not told: the code is before the reader.
 *
 * @param code The failure.
 * @param origins The settings' origins.
 * @returns A sentence without its full stop; empty where there is nothing to tell.
 */
export function setBy(code: LakebaseErrorCode, origins: readonly Origin[]): string {
  const names = SETTINGS[code] ?? [];
  const told = code === "WORKSPACE_UNAVAILABLE"
    ? [workspaceOrigin(origins)]
    : names.map((name) => ({ name, from: origins.find(({ setting }) => setting === name)?.from }));
  const [first, ...others] = told.filter(({ from }) => from !== undefined && from !== "option");
  if (first === undefined) return "";
  return [`The ${first.name} is set by ${first.from}`, ...others.map(({ name, from }) => `the ${name} by ${from}`)]
    .join(", ");
}

/** What of the settings decides which rows a statement meets, in the order in which a person reads it. */
const WHERE = ["local", "endpoint", "instance", "host", "database", "user"];

/**
 * Where all that decides about a connection came from.
 *
 * @param origins The settings' origins.
 * @returns A sentence, such as `The workspace is set by DATABRICKS_HOST, the database by PGDATABASE in .env.`
 */
export function setByAll(origins: readonly Origin[]): string {
  const local = origins.some(({ setting }) => setting === "local");
  const given = WHERE.flatMap((name) => {
    const from = origins.find(({ setting }) => setting === name)?.from;
    return from === undefined ? [] : [{ name: name === "local" ? "local Lakebase" : name, from }];
  });
  const [first, ...others] = local ? given : [workspaceOrigin(origins), ...given];
  if (first === undefined) return "";
  const rest = others.map(({ name, from }) => `, the ${name} by ${from}`).join("");
  return `The ${first.name} is set by ${first.from}${rest}.`;
}

/** As the SDK goes by them: a profile that the code names, the environment, a profile. */
function workspaceOrigin(origins: readonly Origin[]): { name: string; from: string | undefined } {
  const find = (name: string) => origins.find(({ setting }) => setting === name);
  const [client, profile, host] = [find("workspace"), find("profile"), find("DATABRICKS_HOST")];
  const inFile = `the profile ${profile?.value ?? "DEFAULT"} of ~/.databrickscfg`;
  const from = client?.from ?? (profile?.from === "option" ? inFile : host?.from ?? inFile);
  return { name: "workspace", from };
}

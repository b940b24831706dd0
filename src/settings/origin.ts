import { type LakebaseErrorCode, redact } from "../core/errors.ts";

/** The kinds of sources that a setting can come from. */
type OriginKind = "option" | "environment" | "profile" | "machine" | ".env" | "default";

/** Where a value comes from. */
export interface Origin {
  /** The kind of source. */
  source: OriginKind;
  /** The name of the option, the variable or the profile. */
  name: string;
  /** The file. */
  file?: string;
  /** The line in the file, counted from 1. */
  line?: number;
}

/** A value and its origin. */
export interface WithOrigin<T = string> {
  /** The value. */
  value: T;
  /** Where it comes from. */
  origin: Origin;
}

/** One setting as the doctor lists it. */
export interface Setting {
  /** The name of the option, or of the variable if there is no option for it. */
  setting: string;
  /** The value. For a secret it only says that the secret is set. */
  value: string;
  /** Where it comes from. */
  origin: Origin;
}

/**
 * The order of trust: code, then the environment, then the person's own files (`~/.databrickscfg` and the logins that
 * command line tools keep), and last `.env`, which comes from whoever made the folder.
 */
const TRUST_RANK: Record<OriginKind, number> = {
  option: 0,
  default: 0,
  environment: 1,
  profile: 2,
  machine: 2,
  ".env": 3,
};

/** The rank of a source in the order of trust: 0 for code, 3 for `.env`. */
export function trustRank({ source }: Origin): number {
  return TRUST_RANK[source];
}

/** Describes where a value comes from, such as `PGHOST in .env, line 3`. */
export function describeOrigin({ source, name, file, line }: Origin): string {
  if (source === "option") return `the option "${name}"`;
  if (source === "machine") return name;
  const position = line === undefined ? file : `${file}, line ${line}`;
  if (source === "profile") return `the profile "${name}" of ${position}`;
  return source === ".env" ? `${name} in ${position}` : name;
}

const SECRET = /password|token|secret|credential|key|_url$/i;

/** A setting as an entry of a list for a person, without secrets. */
export function toSetting(setting: string, { value, origin }: WithOrigin<unknown>): Setting {
  return { setting, value: displayValue(setting, value), origin };
}

function displayValue(name: string, value: unknown): string {
  if (typeof value === "function") return "a function";
  if (SECRET.test(name) && name !== "tokenTtl") return "set, not shown";
  if (typeof value === "object") return "an object";
  const text = String(value);
  return text.includes("-----BEGIN") ? "PEM text" : redact(text);
}

/** The settings that may have caused a failure. */
const CAUSES: Partial<Record<LakebaseErrorCode, readonly string[]>> = {
  DNS: ["host"],
  UNREACHABLE: ["host", "port"],
  CONNECT_TIMEOUT: ["host", "port"],
  TLS: ["host"],
  LOGIN_REFUSED: ["host", "user"],
  DATABASE_NOT_FOUND: ["database"],
  ENDPOINT_NOT_FOUND: ["endpoint", "branch"],
  WORKSPACE_AUTH: ["workspace", "branch"],
  WORKSPACE_UNAVAILABLE: ["workspace"],
};

/**
 * Says where the settings that may have caused a failure come from, because people easily forget an old `.env`. Options in
 * code are left out, because the reader sees the code.
 *
 * @param code The failure.
 * @param explicit The settings that do not have their defaults.
 * @returns A sentence without its full stop; empty if there is nothing to say.
 */
export function originsBehind(code: LakebaseErrorCode, explicit: readonly Setting[]): string {
  return listOrigins(findSettings(CAUSES[code] ?? [], explicit).filter(({ origin }) => origin.source !== "option"));
}

/** The settings of these names, in the order of the names. */
function findSettings(names: readonly string[], explicit: readonly Setting[]): Setting[] {
  return names.flatMap((name) => explicit.find(({ setting }) => setting === name) ?? []);
}

function listOrigins(settings: readonly Setting[]): string {
  return settings.map(({ setting, origin }, index) => {
    const name = setting === "local" ? "local Lakebase" : setting;
    return `${index === 0 ? `The ${name} is set` : `the ${name}`} by ${describeOrigin(origin)}`;
  }).join(", ");
}

/** The settings that decide which database a statement runs on, in reading order. */
const DECISIVE = ["local", "workspace", "endpoint", "instance", "host", "database", "user"];

/**
 * Says where the settings that decide which database is used come from.
 *
 * @param explicit The settings that do not have their defaults.
 * @returns A sentence, such as `The workspace is set by DATABRICKS_HOST, the database by PGDATABASE in .env, line 3.`
 */
export function originsOfDatabase(explicit: readonly Setting[]): string {
  const origins = listOrigins(findSettings(DECISIVE, explicit));
  return origins === "" ? "" : `${origins}.`;
}

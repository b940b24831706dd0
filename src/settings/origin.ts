import { type LakebaseErrorCode, redact } from "../core/errors.ts";

/** The kinds of places that a setting can come from. */
type OriginKind = "option" | "environment" | "profile" | "machine" | ".env" | "default";

/** Where a value comes from. */
export interface Origin {
  /** The kind of place. */
  source: OriginKind;
  /** The name of the option, the variable or the profile. */
  name: string;
  /** The file. */
  file?: string;
  /** The line in the file, counted from 1. */
  line?: number;
}

/** A value and where it comes from. */
export interface Found<T = string> {
  /** The value. */
  value: T;
  /** Where it comes from. */
  origin: Origin;
}

/** One setting as the doctor lists it. */
export interface Setting {
  /** The name of the option, or of the variable where there is no option for it. */
  setting: string;
  /** The value. For a secret it only says that the secret is set. */
  value: string;
  /** Where it comes from. */
  origin: Origin;
}

/**
 * The order of trust: code, then the environment, then the person's own files (`~/.databrickscfg` and the logins that
 * command line tools keep), and last `.env`, which comes from whoever wrote the folder.
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
  const place = line === undefined ? file : `${file}, line ${line}`;
  if (source === "profile") return `the profile "${name}" of ${place}`;
  return source === ".env" ? `${name} in ${place}` : name;
}

const SECRET = /password|token|secret|credential|key|_url$/i;

/** A setting as an entry of a list for a person, without secrets. */
export function toSetting(setting: string, { value, origin }: Found<unknown>): Setting {
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
 * Says where the settings that may have caused a failure come from: people easily forget an old `.env`. It leaves out
 * options in code, because the reader sees the code.
 *
 * @param code The failure.
 * @param settings The settings that were given.
 * @returns A sentence without its full stop; empty where there is nothing to say.
 */
export function originsBehind(code: LakebaseErrorCode, settings: readonly Setting[]): string {
  const said = (CAUSES[code] ?? []).flatMap((name) => {
    const origin = settings.find(({ setting }) => setting === name)?.origin;
    return origin === undefined || origin.source === "option" ? [] : [{ name, by: `by ${describeOrigin(origin)}` }];
  });
  return said.map(({ name, by }, index) => index === 0 ? `The ${name} is set ${by}` : `the ${name} ${by}`).join(", ");
}

/** The settings that decide which database a statement runs on, in reading order. */
const DECISIVE = ["local", "workspace", "endpoint", "instance", "host", "database", "user"];

/**
 * Says where the settings that decide which database is used come from.
 *
 * @param settings The settings that were given.
 * @returns A sentence, such as `The workspace is set by DATABRICKS_HOST, the database by PGDATABASE in .env, line 3.`
 */
export function originsOfAll(settings: readonly Setting[]): string {
  const given = DECISIVE.flatMap((name) => {
    const found = settings.find(({ setting }) => setting === name);
    return found === undefined
      ? []
      : [{ name: name === "local" ? "local Lakebase" : name, by: `by ${describeOrigin(found.origin)}` }];
  });
  const said = given.map(({ name, by }, index) => index === 0 ? `The ${name} is set ${by}` : `the ${name} ${by}`);
  return said.length === 0 ? "" : `${said.join(", ")}.`;
}

import { type LakebaseErrorCode, redact } from "../core/errors.ts";

/** The kinds of places that a setting can stand in. */
export type Source = "option" | "environment" | "profile" | "machine" | ".env" | "default";

/** Where one value stands. */
export interface Origin {
  /** The kind of place. */
  source: Source;
  /** The name that it has there: an option's, a variable's, a profile's. */
  name: string;
  /** The file that it stands in. */
  file?: string;
  /** The line of that file, from 1. */
  line?: number;
}

/** A value, and where it stands. */
export interface Found<T = string> {
  /** The value. */
  value: T;
  /** Where it stands. */
  origin: Origin;
}

/** One setting as the doctor lists it. */
export interface Setting {
  /** The option's name, or the variable's where there is no option for it. */
  setting: string;
  /** Its value; of a secret only that it is set. */
  value: string;
  /** Where it stands. */
  origin: Origin;
}

/**
 * The order of trust: code, the environment, what belongs to the person (`~/.databrickscfg` and the logins that a command
 * line tool keeps), and last `.env`, which whoever wrote the folder has put there.
 */
const RANK: Record<Source, number> = { option: 0, default: 0, environment: 1, profile: 2, machine: 2, ".env": 3 };

/** How far a source is from being trusted: 0 for code, 3 for `.env`. */
export function distrust({ source }: Origin): number {
  return RANK[source];
}

/** Where a value stands, in words, such as `PGHOST in .env, line 3`. */
export function told({ source, name, file, line }: Origin): string {
  if (source === "option") return `the option "${name}"`;
  if (source === "machine") return name;
  const place = line === undefined ? file : `${file}, line ${line}`;
  if (source === "profile") return `the profile "${name}" of ${place}`;
  return source === ".env" ? `${name} in ${place}` : name;
}

const SECRET = /password|token|secret|credential|key|_url$/i;

/** A setting as it may be shown. */
export function listed(setting: string, { value, origin }: Found<unknown>): Setting {
  return { setting, value: shown(setting, value), origin };
}

function shown(name: string, value: unknown): string {
  if (typeof value === "function") return "a function";
  if (SECRET.test(name) && name !== "tokenTtl") return "set, not shown";
  if (typeof value === "object") return "an object";
  const text = String(value);
  return text.includes("-----BEGIN") ? "PEM text" : redact(text);
}

/** The settings that a failure may come of. */
const BEHIND: Partial<Record<LakebaseErrorCode, readonly string[]>> = {
  DNS: ["host"],
  UNREACHABLE: ["host", "port"],
  CONNECT_TIMEOUT: ["host", "port"],
  TLS: ["host"],
  LOGIN_REFUSED: ["host", "user"],
  DATABASE_NOT_FOUND: ["database"],
  ENDPOINT_NOT_FOUND: ["endpoint"],
  WORKSPACE_UNAVAILABLE: ["workspace"],
};

/**
 * Where the settings behind a failure stand, since an old `.env` is easily forgotten. What an option in code says is not
 * told: the code is before the reader.
 *
 * @param code The failure.
 * @param settings The settings that were given.
 * @returns A sentence without its full stop; empty where there is nothing to tell.
 */
export function setBy(code: LakebaseErrorCode, settings: readonly Setting[]): string {
  const said = (BEHIND[code] ?? []).flatMap((name) => {
    const origin = settings.find(({ setting }) => setting === name)?.origin;
    return origin === undefined || origin.source === "option" ? [] : [{ name, by: `by ${told(origin)}` }];
  });
  return said.map(({ name, by }, index) => index === 0 ? `The ${name} is set ${by}` : `the ${name} ${by}`).join(", ");
}

/** What of the settings decides which rows a statement meets, in the order in which a person reads it. */
const WHERE = ["local", "workspace", "endpoint", "instance", "host", "database", "user"];

/**
 * Where all that decides about a connection stands.
 *
 * @param settings The settings that were given.
 * @returns A sentence, such as `The workspace is set by DATABRICKS_HOST, the database by PGDATABASE in .env, line 3.`
 */
export function setByAll(settings: readonly Setting[]): string {
  const given = WHERE.flatMap((name) => {
    const found = settings.find(({ setting }) => setting === name);
    return found === undefined
      ? []
      : [{ name: name === "local" ? "local Lakebase" : name, by: `by ${told(found.origin)}` }];
  });
  const said = given.map(({ name, by }, index) => index === 0 ? `The ${name} is set ${by}` : `the ${name} ${by}`);
  return said.length === 0 ? "" : `${said.join(", ")}.`;
}

import { badSetting, quoted } from "./bad_setting.ts";
import { type ConnectOptions, SETTING_NAMES } from "./options.ts";

/** Which numbers an option takes. */
export interface Range {
  /** The least. */
  min: number;
  /** The greatest. @default {what a timer can wait, in seconds} */
  max?: number;
  /** What it is where nobody has said. */
  fallback: number | undefined;
  /** Whether it may be no whole number. @default {false} */
  fraction?: boolean;
}

/** What the environment says for an option, and by which name. */
export function readEnvironment(
  option: keyof ConnectOptions,
  environment: Record<string, string>,
): { name: string; value: string } | undefined {
  const name = SETTING_NAMES[option]?.find((name) => environment[name] !== undefined);
  return name === undefined ? undefined : { name, value: environment[name]! };
}

/** An option that is a text, else what the environment says for it. */
export function readText(
  options: ConnectOptions,
  option: keyof ConnectOptions,
  environment: Record<string, string>,
): string | undefined {
  const value: unknown = options[option];
  if (value === undefined) return readEnvironment(option, environment)?.value;
  if (typeof value === "string" && value.trim() !== "" && !value.includes("\0")) return value;
  throw badSetting(`option "${option}" is ${quoted(value)}; it must be a text that is not empty`);
}

/** The option `password`, else what the environment says for it; no error shows it. */
export function readPassword(
  options: ConnectOptions,
  environment: Record<string, string>,
): ConnectOptions["password"] {
  const value: unknown = options.password;
  if (value === undefined) return readEnvironment("password", environment)?.value;
  if (typeof value === "function") return value as () => string | Promise<string>;
  if (typeof value === "string" && value !== "") return value;
  throw badSetting(`option "password" is ${value === "" ? "empty" : typeof value}; it must be a text or a function`);
}

/** An option that is a switch. */
export function readFlag(options: ConnectOptions, option: keyof ConnectOptions): boolean {
  const value: unknown = options[option] ?? false;
  if (typeof value === "boolean") return value;
  throw badSetting(`option "${option}" is ${quoted(value)}; it must be true or false`);
}

/** An option that is a number, else what the environment says for it, else what it is by itself. */
export function readNumber<Fallback extends number | undefined>(
  options: ConnectOptions,
  option: keyof ConnectOptions,
  { min, max = 2_147_483, fallback, fraction = false }: Range & { fallback: Fallback },
  environment: Record<string, string>,
): number | Fallback {
  const given: unknown = options[option] ?? undefined;
  const found = given === undefined ? readEnvironment(option, environment) : undefined;
  if (given === undefined && found === undefined) return fallback;
  const value = given ?? Number(found!.value);
  const fits = typeof value === "number" && value >= min && value <= max;
  if (fits && (fraction || Number.isInteger(value))) return value;
  const state = found === undefined ? `option "${option}" is ${quoted(given)}` : `${found.name} is "${found.value}"`;
  throw badSetting(`${state}; it must be a ${fraction ? "" : "whole "}number from ${min} to ${max}`);
}

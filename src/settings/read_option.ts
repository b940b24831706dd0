import { unknownOption } from "../core/closest.ts";
import { LakebaseError, quotedOption, redact } from "../core/errors.ts";
import { type ConnectOptions, SETTING_NAMES } from "./options.ts";
import { describeOrigin, type Origin, type WithOrigin } from "./origin.ts";
import type { Variables } from "./environment.ts";

/** The setting that an error is about. */
interface SettingReference {
  /** The name of its option or variable. */
  setting: string;
  /** Where it comes from. */
  origin: Origin;
}

/** The error for a setting that can't be used. */
export function badSetting(state: string, reference?: SettingReference): LakebaseError {
  const fields = reference === undefined ? {} : { setting: reference.setting, origin: originField(reference.origin) };
  return new LakebaseError("BAD_SETTING", `Cannot connect: ${state}`, fields);
}

function originField(origin: Origin): string {
  return origin.source === "option" ? "option" : describeOrigin(origin);
}

/**
 * Refuses unknown options, and suggests the nearest known one.
 *
 * @param options The caller's options.
 * @param known The names of the options that exist.
 * @param prefix What the names are prefixed with, such as `local.`.
 */
export function checkOptionNames(options: object, known: readonly string[], prefix = ""): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw badSetting(
      `the options are ${shownValue(options)}; they must be an object such as { endpoint: "projects/p" }`,
    );
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw badSetting(unknownOption(name, known, prefix));
  }
}

/** A value as an error shows it. */
export function shownValue(value: unknown): string {
  if (typeof value === "string") {
    const safe = redact(value); // before the cut: half of a secret may not be recognized
    return `"${safe.length > 80 ? `${safe.slice(0, 80)}…` : safe}"`;
  }
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/**
 * Like {@linkcode shownValue}, for a value that should be a plain name. A connection string in its place may contain a
 * password.
 */
export function quotedName(value: string): string {
  return /[@=?]|:\/\//.test(value) ? "a connection string or an address, which is not shown" : shownValue(value);
}

/** The numbers that an option accepts. */
export interface Range {
  /** The least number. */
  min: number;
  /** The greatest number. @default {the longest wait of a timer, in seconds} */
  max?: number;
  /** The default. */
  fallback: number | undefined;
  /** Whether fractions are allowed. @default {false} */
  fraction?: boolean;
}

/** Reads options, or the variables that stand for them, and records each value with its origin. */
export class OptionReader {
  /** The values that were read and do not have their defaults, by the names of their options. */
  readonly explicit: Map<string, WithOrigin<unknown>> = new Map();
  readonly #options: ConnectOptions;
  readonly #variables: Variables;

  /** Makes a reader; nothing is read yet. */
  constructor(options: ConnectOptions, variables: Variables) {
    this.#options = options;
    this.#variables = variables;
  }

  /** Reads a text. If `readsVariables` is false, only an option counts. */
  text(option: keyof ConnectOptions, readsVariables = true): WithOrigin | undefined {
    const found = this.#option(option);
    if (found === undefined) return readsVariables ? this.#variable(option) : undefined;
    const { value } = found;
    if (typeof value === "string" && value.trim() !== "" && !value.includes("\0")) return found as WithOrigin;
    throw badOption(found, "it must be a string that is not empty");
  }

  /** Reads a password. No error shows it. */
  password(): WithOrigin<NonNullable<ConnectOptions["password"]>> | undefined {
    const found = this.#option("password");
    if (found === undefined) return this.#variable("password");
    const { value } = found;
    if (typeof value === "function" || (typeof value === "string" && value !== "")) {
      return found as WithOrigin<NonNullable<ConnectOptions["password"]>>;
    }
    const state = `option "password" is ${value === "" ? "empty" : typeof value}`;
    throw badSetting(`${state}; it must be a text or a function`, { setting: "password", origin: found.origin });
  }

  /** Reads a boolean. */
  flag(option: keyof ConnectOptions): boolean {
    const found = this.#option(option);
    if (found === undefined) return false;
    if (typeof found.value === "boolean") return found.value;
    throw badOption(found, "it must be true or false");
  }

  /** Reads a number. */
  number<Fallback extends number | undefined>(
    option: keyof ConnectOptions,
    { min, max = 2_147_483, fallback, fraction = false }: Range & { fallback: Fallback },
  ): number | Fallback {
    const found = this.#option(option) ?? this.#variable(option);
    if (found === undefined) return fallback;
    const value = found.origin.source === "option" ? found.value : Number(found.value);
    const fits = typeof value === "number" && value >= min && value <= max;
    if (fits && (fraction || Number.isInteger(value))) return value;
    throw badOption(found, `it must be a ${fraction ? "" : "whole "}number from ${min} to ${max}`);
  }

  /** Reads an option without a check of its value. */
  unchecked(option: keyof ConnectOptions): WithOrigin<unknown> | undefined {
    return this.#option(option);
  }

  #option(option: keyof ConnectOptions): WithOrigin<unknown> | undefined {
    const value: unknown = this.#options[option];
    if (value === undefined || value === null) return undefined;
    return this.#keep(option, { value, origin: { source: "option", name: option } });
  }

  #variable(option: keyof ConnectOptions): WithOrigin | undefined {
    const name = SETTING_NAMES[option]?.find((name) => this.#variables.has(name));
    return name === undefined ? undefined : this.#keep(option, this.#variables.get(name)!);
  }

  #keep<T>(option: string, value: WithOrigin<T>): WithOrigin<T> {
    this.explicit.set(option, value);
    return value;
  }
}

function badOption({ value, origin }: WithOrigin<unknown>, rule: string): Error {
  const subject = origin.source === "option" ? `option ${quotedOption(origin.name)}` : describeOrigin(origin);
  return badSetting(`${subject} is ${shownValue(value)}; ${rule}`, { setting: origin.name, origin });
}

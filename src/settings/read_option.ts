import { unknownOption } from "../core/closest.ts";
import { LakebaseError, quotedOption, redact } from "../core/errors.ts";
import { type ConnectOptions, SETTING_NAMES } from "./options.ts";
import { describeOrigin, type Found, type Origin } from "./origin.ts";
import type { Variables } from "./environment.ts";

/** The setting that an error is about. */
interface SettingReference {
  /** The name of its option or variable. */
  setting: string;
  /** Where it comes from. */
  origin: Origin;
}

/** The error for a setting that can't be used. */
export function badSetting(state: string, about?: SettingReference): LakebaseError {
  const fields = about === undefined ? {} : { setting: about.setting, origin: originText(about.origin) };
  return new LakebaseError("BAD_SETTING", `Cannot connect: ${state}`, fields);
}

function originText(origin: Origin): string {
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
    throw badSetting(`the options are ${quoted(options)}; they must be an object such as { endpoint: "projects/p" }`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw badSetting(unknownOption(name, known, prefix));
  }
}

/** A value as an error shows it. */
export function quoted(value: unknown): string {
  if (typeof value === "string") {
    const safe = redact(value); // before the cut: half of a secret may not be recognized
    return `"${safe.length > 80 ? `${safe.slice(0, 80)}…` : safe}"`;
  }
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/**
 * Like {@linkcode quoted}, for a value that should be a plain name. A connection string in its place may contain a
 * password.
 */
export function quotedName(value: string): string {
  return /[@=?]|:\/\//.test(value) ? "a connection string or an address, which is not shown" : quoted(value);
}

/** The numbers that an option accepts. */
export interface Range {
  /** The least. */
  min: number;
  /** The greatest. @default {the longest wait of a timer, in seconds} */
  max?: number;
  /** The default. */
  fallback: number | undefined;
  /** Whether fractions are allowed. @default {false} */
  fraction?: boolean;
}

/** Reads options, or the variables that stand for them, and records each value with its origin. */
export class OptionReader {
  /** The values that were given, by the name of the option. */
  readonly found: Map<string, Found<unknown>> = new Map();
  readonly #options: ConnectOptions;
  readonly #variables: Variables;

  /** Makes a reader; nothing is read yet. */
  constructor(options: ConnectOptions, variables: Variables) {
    this.#options = options;
    this.#variables = variables;
  }

  /** Reads a text. With `false` as the second argument, it reads the options only. */
  text(option: keyof ConnectOptions, variables = true): Found | undefined {
    const given = this.#given(option);
    if (given === undefined) return variables ? this.#variable(option) : undefined;
    const { value } = given;
    if (typeof value === "string" && value.trim() !== "" && !value.includes("\0")) return given as Found;
    throw badOption(given, "it must be a string that is not empty");
  }

  /** Reads a password. No error shows it. */
  password(): Found<NonNullable<ConnectOptions["password"]>> | undefined {
    const given = this.#given("password");
    if (given === undefined) return this.#variable("password");
    const { value } = given;
    if (typeof value === "function" || (typeof value === "string" && value !== "")) {
      return given as Found<NonNullable<ConnectOptions["password"]>>;
    }
    const state = `option "password" is ${value === "" ? "empty" : typeof value}`;
    throw badSetting(`${state}; it must be a text or a function`, { setting: "password", origin: given.origin });
  }

  /** Reads a boolean. */
  flag(option: keyof ConnectOptions): boolean {
    const given = this.#given(option);
    if (given === undefined) return false;
    if (typeof given.value === "boolean") return given.value;
    throw badOption(given, "it must be true or false");
  }

  /** Reads a number. */
  number<Fallback extends number | undefined>(
    option: keyof ConnectOptions,
    { min, max = 2_147_483, fallback, fraction = false }: Range & { fallback: Fallback },
  ): number | Fallback {
    const given = this.#given(option) ?? this.#variable(option);
    if (given === undefined) return fallback;
    const value = given.origin.source === "option" ? given.value : Number(given.value);
    const fits = typeof value === "number" && value >= min && value <= max;
    if (fits && (fraction || Number.isInteger(value))) return value;
    throw badOption(given, `it must be a ${fraction ? "" : "whole "}number from ${min} to ${max}`);
  }

  /** Reads an option unchecked. */
  other(option: keyof ConnectOptions): Found<unknown> | undefined {
    return this.#given(option);
  }

  #given(option: keyof ConnectOptions): Found<unknown> | undefined {
    const value: unknown = this.#options[option];
    if (value === undefined || value === null) return undefined;
    return this.#keep(option, { value, origin: { source: "option", name: option } });
  }

  #variable(option: keyof ConnectOptions): Found | undefined {
    const name = SETTING_NAMES[option]?.find((name) => this.#variables.has(name));
    return name === undefined ? undefined : this.#keep(option, this.#variables.get(name)!);
  }

  #keep<T>(option: string, found: Found<T>): Found<T> {
    this.found.set(option, found);
    return found;
  }
}

function badOption({ value, origin }: Found<unknown>, wanted: string): Error {
  const subject = origin.source === "option" ? `option ${quotedOption(origin.name)}` : describeOrigin(origin);
  return badSetting(`${subject} is ${quoted(value)}; ${wanted}`, { setting: origin.name, origin });
}

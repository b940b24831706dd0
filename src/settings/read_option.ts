import { badSetting, quoted } from "./bad_setting.ts";
import { type ConnectOptions, SETTING_NAMES } from "./options.ts";
import { type Found, told } from "./origin.ts";
import type { Variables } from "./variables.ts";

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

/** Reads options, or what the variables say for them; keeps what it found, and where. */
export class OptionReader {
  /** What was given, by the option's name. */
  readonly found: Map<string, Found<unknown>> = new Map();
  readonly #options: ConnectOptions;
  readonly #variables: Variables;

  /** Reads nothing yet. */
  constructor(options: ConnectOptions, variables: Variables) {
    this.#options = options;
    this.#variables = variables;
  }

  /** A text; with `false` the variables are not asked. */
  text(option: keyof ConnectOptions, variables = true): Found | undefined {
    const given = this.#given(option);
    if (given === undefined) return variables ? this.#variable(option) : undefined;
    const { value } = given;
    if (typeof value === "string" && value.trim() !== "" && !value.includes("\0")) return given as Found;
    throw bad(given, "it must be a text that is not empty");
  }

  /** A password; no error shows it. */
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

  /** A switch. */
  flag(option: keyof ConnectOptions): boolean {
    const given = this.#given(option);
    if (given === undefined) return false;
    if (typeof given.value === "boolean") return given.value;
    throw bad(given, "it must be true or false");
  }

  /** A number. */
  number<Fallback extends number | undefined>(
    option: keyof ConnectOptions,
    { min, max = 2_147_483, fallback, fraction = false }: Range & { fallback: Fallback },
  ): number | Fallback {
    const given = this.#given(option) ?? this.#variable(option);
    if (given === undefined) return fallback;
    const value = given.origin.source === "option" ? given.value : Number(given.value);
    const fits = typeof value === "number" && value >= min && value <= max;
    if (fits && (fraction || Number.isInteger(value))) return value;
    throw bad(given, `it must be a ${fraction ? "" : "whole "}number from ${min} to ${max}`);
  }

  /** What the options say, as it is. */
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

function bad({ value, origin }: Found<unknown>, wanted: string): Error {
  const subject = origin.source === "option" ? `option "${origin.name}"` : told(origin);
  return badSetting(`${subject} is ${quoted(value)}; ${wanted}`, { setting: origin.name, origin });
}

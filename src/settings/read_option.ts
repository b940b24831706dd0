import { unknownOption } from "../core/closest.ts";
import { LakebaseError, redact } from "../core/errors.ts";
import { type ConnectOptions, SETTING_NAMES } from "./options.ts";
import { type Found, type Origin, told } from "./origin.ts";
import type { Variables } from "./variables.ts";

/** Which setting an error is about. */
export interface AboutSetting {
  /** Its option's or variable's name. */
  setting: string;
  /** Where it stands. */
  origin: Origin;
}

/** The error for a setting that can't be used. */
export function badSetting(state: string, about?: AboutSetting): LakebaseError {
  const fields = about === undefined ? {} : { setting: about.setting, origin: originText(about.origin) };
  return new LakebaseError("BAD_SETTING", `Cannot connect: ${state}`, fields);
}

function originText(origin: Origin): string {
  return origin.source === "option" ? "option" : told(origin);
}

/**
 * Refuses options that there are none of, with what was probably meant.
 *
 * @param options What the caller said.
 * @param known The options that there are.
 * @param prefix What they are options of.
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
    const safe = redact(value); // before it is cut: half of a secret may not look like one
    return `"${safe.length > 80 ? `${safe.slice(0, 80)}…` : safe}"`;
  }
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** {@linkcode quoted}, of what has to be a plain name. A connection string in its place holds a password in one of many forms. */
export function quotedName(value: string): string {
  return /[@=?]|:\/\//.test(value) ? "a connection string or an address, which is not shown" : quoted(value);
}

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

import { unknownOption } from "../closest.ts";
import { LakebaseError, redact } from "../errors.ts";
import { type Origin, told } from "./origin.ts";

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

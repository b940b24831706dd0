import { LakebaseError } from "../errors.ts";

/** The Postgres protocol counts parameters in 16 bits. */
const MOST_PARAMETERS = 65_535;

/** A piece of SQL with its values kept apart from its text, so that a value can never become SQL. */
export class Fragment {
  /** The text around the values; one more than there are values. */
  readonly strings: readonly string[];
  /** The values: parameters, or other fragments, whose text goes in their place. */
  readonly values: readonly unknown[];

  /** Made by the `sql` tag. */
  constructor(strings: readonly string[], values: readonly unknown[]) {
    this.strings = strings;
    this.values = values;
  }
}

/** A statement as the server takes it. */
export interface Statement {
  /** SQL with `$1`, `$2`, ... */
  text: string;
  /** What they stand for. */
  values: unknown[];
}

/**
 * Puts fragments together to one statement.
 *
 * @param fragment What the `sql` tag made.
 * @returns Its text, with each value numbered, and the values in that order.
 * @throws {LakebaseError} `BAD_PARAMETER`, with the position, for a value that Postgres has no form of.
 */
export function compile(fragment: Fragment): Statement {
  const text: string[] = [];
  const values: unknown[] = [];
  const append = ({ strings, values: own }: Fragment) => {
    strings.forEach((string, index) => {
      text.push(string);
      if (index >= own.length) return;
      const value = own[index];
      if (value instanceof Fragment) return append(value);
      const parameter = encode(value, values.length + 1);
      values.push(parameter.value);
      text.push(`$${values.length}${parameter.cast}`);
    });
  };
  append(fragment);
  if (values.length > MOST_PARAMETERS) {
    throw badParameter(
      `the statement has ${values.length.toLocaleString("en")} parameters; Postgres takes ` +
        `${MOST_PARAMETERS.toLocaleString("en")}. Bind one array and use = ANY(...) or unnest(...)`,
    );
  }
  return { text: text.join(""), values };
}

/** The strings of a template as they were written: SQL has its own back-slashes. Only `` \` `` and `\${` are JavaScript's. */
export function rawStrings(template: TemplateStringsArray): string[] {
  return template.raw.map((string) => string.replace(/\\(`|\$\{)/g, "$1"));
}

function encode(value: unknown, position: number): { value: unknown; cast: string } {
  if (value === null || typeof value === "string" || typeof value === "boolean") return { value, cast: "" };
  if (typeof value === "number" || typeof value === "bigint") return { value: String(value), cast: "" };
  if (value instanceof Date) return { value: dateText(value, position), cast: "" };
  if (ArrayBuffer.isView(value) || Array.isArray(value)) {
    if (Array.isArray(value)) checkElements(value, position);
    return { value, cast: "" };
  }
  if (typeof value === "object") return objectParameter(value, position);
  const found = typeof value === "undefined" ? "undefined" : `a ${typeof value}`;
  const wanted = value === undefined ? "; write null for NULL" : "";
  throw badParameter(`parameter ${position} is ${found}${wanted}`);
}

function objectParameter(value: object, position: number): { value: unknown; cast: string } {
  if (typeof (value as { then?: unknown }).then === "function") {
    throw badParameter(`parameter ${position} is a promise; await it first`);
  }
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind.startsWith("Temporal.")) return { value: String(value), cast: "" };
  if (kind === "Map" || kind === "Set") {
    throw badParameter(`parameter ${position} is a ${kind}; bind an array or an object`);
  }
  try {
    return { value: JSON.stringify(value), cast: "::jsonb" };
  } catch (cause) {
    throw badParameter(`parameter ${position} is an object that has no JSON form (${(cause as Error).message})`, cause);
  }
}

function dateText(date: Date, position: number): string {
  if (Number.isNaN(date.getTime())) throw badParameter(`parameter ${position} is an invalid Date`);
  const text = date.toISOString();
  if (!/^[+-]/.test(text)) return text;
  const year = date.getUTCFullYear(); // Postgres has no signed years: 1 BC is year 0
  const digits = String(year > 0 ? year : 1 - year).padStart(4, "0");
  return `${digits}${text.slice(7)}${year > 0 ? "" : " BC"}`;
}

function checkElements(array: readonly unknown[], position: number): void {
  for (const element of array) {
    if (Array.isArray(element)) checkElements(element, position);
    else if (element === undefined || typeof element === "function" || typeof element === "symbol") {
      throw badParameter(`parameter ${position} is an array that holds ${typeof element}; write null for NULL`);
    }
  }
}

function badParameter(state: string, cause?: unknown): LakebaseError {
  return new LakebaseError("BAD_PARAMETER", `Cannot run the query: ${state}`, { cause });
}

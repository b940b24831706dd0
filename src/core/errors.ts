import { redact } from "./redact.ts";
import { printable } from "./text.ts";

export { redact };

/** What went wrong, as a word that scripts can branch on; it does not change between versions. */
export type LakebaseErrorCode =
  /** An option, environment variable or `.env` value can't be used. */
  | "BAD_SETTING"
  /** The Databricks workspace does not accept who we are (401, 403), or there is no login for it. */
  | "WORKSPACE_AUTH"
  /** The workspace can't be reached, is overloaded, or does not answer as a workspace. */
  | "WORKSPACE_UNAVAILABLE"
  /** The workspace refused what was asked of it (400, 409 and the like). */
  | "WORKSPACE_REFUSED"
  /** No project, branch, endpoint or instance of that name. */
  | "ENDPOINT_NOT_FOUND"
  /** Several would fit; the message lists them. */
  | "ENDPOINT_AMBIGUOUS"
  /** The endpoint is there, but disabled or stopped. */
  | "ENDPOINT_NOT_READY"
  /** A `-pooler` host with what its pooler does not support: an OAuth login, `readOnly`, settings that come with the login. */
  | "POOLED_HOST"
  /** The host name does not resolve, with the system, `dig` or Deno. */
  | "DNS"
  /** Nothing answers at the host and port, or it hangs up. */
  | "UNREACHABLE"
  /** The server's certificate does not hold, or the server has no TLS. */
  | "TLS"
  /** Postgres refused the login (SQLSTATE class 28). */
  | "LOGIN_REFUSED"
  /** No such database (SQLSTATE 3D000). */
  | "DATABASE_NOT_FOUND"
  /** The server has no connection to spare (SQLSTATE 53300). */
  | "TOO_MANY_CONNECTIONS"
  /** No connection within `connectTimeout`. */
  | "CONNECT_TIMEOUT"
  /** The connection broke while a statement ran; whether it took effect is not known. */
  | "CONNECTION_LOST"
  /** A value can't be bound, or `sql` was called in a way that is not safe. */
  | "BAD_PARAMETER"
  /** A file can't be read or written, or is not what it should be. */
  | "BAD_FILE"
  /** Stopped: by the Stop button, a signal or a timeout. */
  | "CANCELED"
  /** Used after `close()`. */
  | "CLOSED"
  /** The server refused a statement; `sqlstate` says why. */
  | "QUERY_FAILED";

/** What a {@linkcode LakebaseError} knows beside its message. */
export interface LakebaseErrorOptions extends ErrorOptions {
  /** The five characters of the server's SQLSTATE, where the server spoke. */
  sqlstate?: string | undefined;
  /** The setting that can't be used, by the name of its option or variable. */
  setting?: string | undefined;
  /** Where that setting stands, such as `option`, `PGPORT` or `PGPORT in .env, line 3`. */
  origin?: string | undefined;
}

/** The method of a {@linkcode LakebaseError} that writes its message for another language, such as a shell's. */
export const MESSAGE_FOR: unique symbol = Symbol("message for");

/** Options that a message names: their values, or the name alone of one. */
export type NamedOptions = string | Readonly<Record<string, OptionValue>>;

/** The value of an option; an empty list stands for names that the reader is to fill in. */
export type OptionValue = string | number | boolean | readonly string[] | Readonly<Record<string, string>>;

/**
 * Options as a message of a {@linkcode LakebaseError} names them, marked so that the shell can write its own instead.
 *
 * @param options Names and values.
 * @param text How TypeScript writes them, where that is no object.
 */
export function optionText(options: Readonly<Record<string, OptionValue>>, text: string = objectText(options)): string {
  return mark(text, options);
}

/** The name of an option in a message; see {@linkcode optionText}. */
export function optionName(name: string): string {
  return mark(name, name);
}

/** {@linkcode optionName} in quotes. */
export function quotedOption(name: string): string {
  return mark(`"${name}"`, name);
}

function objectText(options: Readonly<Record<string, OptionValue>>): string {
  return `{ ${Object.entries(options).map(([name, value]) => `${name}: ${valueText(value)}`).join(", ")} }`;
}

function valueText(value: OptionValue): string {
  if (typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return value.length === 0 ? "[...]" : `[${value.map(valueText).join(", ")}]`;
  return `{ ${Object.entries(value).map((pair) => pair.map(valueText).join(": ")).join(", ")} }`;
}

/** Characters that Unicode keeps out of texts: they stand around the text that TypeScript has, and what it means. */
const MARKED = /\ufdd0([^\ufdd0-\ufdd2]*)\ufdd1([^\ufdd0-\ufdd2]*)\ufdd2/g;

function mark(text: string, named: NamedOptions): string {
  return /[\ufdd0-\ufdd2]/.test(text) ? text : `\ufdd0${text}\ufdd1${JSON.stringify(named)}\ufdd2`;
}

/** A message with the options in it as somebody writes them. What can't be read any more stays as TypeScript has it. */
function written(marked: string, write: (named: NamedOptions, text: string) => string): string {
  return marked.replace(MARKED, (_, text: string, json: string) => {
    try {
      return write(JSON.parse(json), text);
    } catch {
      return text;
    }
  });
}

/**
 * The one error class of this module: a message for the person at the cell, a stable `code` for a script.
 * Its message and its trace hold no token, no password and no connection string.
 *
 * @example Branching on the code
 * ```ts
 * import { connect, LakebaseError } from "lakebase";
 *
 * try {
 *   await connect({ sslMode: "verify-ful" as "verify-full" });
 * } catch (error) {
 *   if (!(error instanceof LakebaseError)) throw error;
 *   console.log(error.code); // BAD_SETTING
 * }
 * ```
 */
export class LakebaseError extends Error {
  /** `"LakebaseError"`. */
  override name = "LakebaseError";
  /** What went wrong, as a stable word. */
  readonly code: LakebaseErrorCode;
  /** The server's SQLSTATE, such as `28P01`; `undefined` where the server did not speak. */
  readonly sqlstate: string | undefined;
  /** Of `BAD_SETTING` the setting that can't be used, by the name of its option or variable, where it is one. */
  readonly setting: string | undefined;
  /** Where that setting stands: `option`, the variable's name, or its name, file and line. */
  readonly origin: string | undefined;
  readonly #marked: string;

  /**
   * Makes an error; secrets that a server echoed are taken out of the message, and control characters are written out. Of a message of more than 10,000 characters the
   * middle is left out; its cause has the whole.
   */
  constructor(
    code: LakebaseErrorCode,
    message: string,
    options: LakebaseErrorOptions = {},
  ) {
    const { cause: given } = options;
    const inherited = given instanceof LakebaseError ? message.replace(given.message, () => given.#marked) : message;
    const marked = redact(inherited);
    const safe = written(marked, (_, text) => text);
    const short = printable(shortened(safe));
    const whole = safe.length <= MOST_SHOWN ? undefined : new Error(safe);
    if (whole !== undefined) whole.stack = `Error: ${short}`;
    const cause = options.cause === undefined ? whole : plainCause(options.cause);
    super(short, cause === undefined ? {} : { cause });
    this.#marked = marked;
    this.code = code;
    this.sqlstate = options.sqlstate;
    this.setting = options.setting;
    this.origin = options.origin;
    this.stack = callerStack(this);
  }

  /**
   * The message, with the options in it written for another language than TypeScript.
   *
   * @param write Writes options, or the name of one.
   */
  [MESSAGE_FOR](write: (named: NamedOptions) => string): string {
    return printable(shortened(redact(written(this.#marked, write))));
  }
}

/**
 * The cause as an error that is safe to print. The drivers' own errors carry what they worked with: the SDK's
 * `ConfigError` holds the whole configuration, token included, and `pg`'s may hold a client.
 */
function plainCause(cause: unknown): Error {
  if (cause instanceof LakebaseError) return cause;
  const { name, message, stack = "" } = cause instanceof Error ? cause : new Error(String(cause));
  const plain = new Error(printable(redact(message)));
  plain.name = name;
  plain.stack = printable(shortened(redact(stack)));
  for (const key of ["code", "severity", "detail", "hint", "errno", "syscall"]) {
    const value = (cause as Record<string, unknown>)[key];
    if (typeof value === "number") Object.assign(plain, { [key]: value });
    if (typeof value === "string") Object.assign(plain, { [key]: printable(shortened(redact(value))) });
  }
  if (!(cause instanceof Error)) return plain;
  if (cause.cause !== undefined) plain.cause = plainCause(cause.cause);
  return plain;
}

/** Characters of an error's text that are shown: a server's error may quote a value of many megabytes. */
const MOST_SHOWN = 10_000;
/** How many of them are those at the end, where the hints are. */
const END_SHOWN = 2000;

/**
 * A text as it may be shown: what is longer than 10,000 characters, or than `most`, without its middle.
 *
 * @param text The text.
 * @param most Characters at most.
 */
export function shortened(text: string, most: number = MOST_SHOWN): string {
  if (text.length <= most) return text;
  const end = Math.min(END_SHOWN, most / 5 | 0);
  const left = text.length - most;
  const mark = ` [... ${left.toLocaleString("en")} characters are not shown ...] `;
  return `${text.slice(0, most - end)}${mark}${text.slice(-end)}`.toWellFormed();
}

const MODULE_FILES = new URL("../", import.meta.url).href;

/** The trace without this module's and the driver's frames: the reader's own line comes first. */
function callerStack(error: LakebaseError): string {
  const frames = (error.stack ?? "").split("\n").filter((line) =>
    /^\s+at /.test(line) && !line.includes(MODULE_FILES) &&
    !/node_modules|\/npm\/|node:|ext:/.test(line)
  );
  return [`${error.name} [${error.code}]: ${error.message}`, ...frames].join(
    "\n",
  );
}

/**
 * Gives an error that was made where no trace leads back to the caller, as in a worker's message, the trace of a function that
 * the caller waits for.
 *
 * @param error What was thrown; what is none of ours stays as it is.
 * @param from The function.
 */
export function traceFrom(error: unknown, from: (...args: never[]) => unknown): unknown {
  if (!(error instanceof LakebaseError) || /\n\s+at /.test(error.stack ?? "")) return error;
  Error.captureStackTrace(error, from);
  error.stack = callerStack(error);
  return error;
}

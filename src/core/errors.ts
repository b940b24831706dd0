import { redact } from "./redact.ts";
import { printable } from "./text.ts";

export { redact };

/** What went wrong, as a stable word that scripts can branch on. */
export type LakebaseErrorCode =
  /** An option, environment variable or `.env` value can't be used. */
  | "BAD_SETTING"
  /** The Databricks workspace refuses the login (401, 403), or there is no login for it. */
  | "WORKSPACE_AUTH"
  /** The workspace can't be reached, is overloaded, or does not answer as a workspace. */
  | "WORKSPACE_UNAVAILABLE"
  /** The workspace refuses a request (400, 409 and similar). */
  | "WORKSPACE_REFUSED"
  /** The workspace has no project, branch, endpoint, instance or SQL warehouse of that name. */
  | "ENDPOINT_NOT_FOUND"
  /** Several endpoints or SQL warehouses fit; the message lists them. */
  | "ENDPOINT_AMBIGUOUS"
  /** The endpoint exists, but is disabled or stopped. */
  | "ENDPOINT_NOT_READY"
  /** The pooler of a `-pooler` host does not support OAuth, `readOnly`, or settings that are sent with the login. */
  | "POOLED_HOST"
  /** The host name can't be resolved by the system, `dig` or Deno. */
  | "DNS"
  /** Nothing answers at the host and port, or the server closed the connection. */
  | "UNREACHABLE"
  /** The server's certificate is not valid, or the server has no TLS. */
  | "TLS"
  /** Postgres refused the login (SQLSTATE class 28). */
  | "LOGIN_REFUSED"
  /** There is no such database (SQLSTATE 3D000). */
  | "DATABASE_NOT_FOUND"
  /** The server has no free connection (SQLSTATE 53300). */
  | "TOO_MANY_CONNECTIONS"
  /** No connection within `connectTimeout`. */
  | "CONNECT_TIMEOUT"
  /** The connection broke while a statement ran, so whether the statement took effect is unknown. */
  | "CONNECTION_LOST"
  /** A value can't be bound, or `sql` was called in an unsafe way. */
  | "BAD_PARAMETER"
  /** A file can't be read or written, or has the wrong content. */
  | "BAD_FILE"
  /** The Stop button, a signal or a timeout ended the work. */
  | "CANCELED"
  /** The connection was used after `close()`. */
  | "CLOSED"
  /** The server refused a statement; `sqlstate` says why. */
  | "QUERY_FAILED";

/** Options of a {@linkcode LakebaseError}. */
export interface LakebaseErrorOptions extends ErrorOptions {
  /** The SQLSTATE, if the error came from the server. */
  sqlstate?: string | undefined;
  /** The setting that can't be used, by the name of its option or variable. */
  setting?: string | undefined;
  /** Where that setting comes from, such as `option`, `PGPORT` or `PGPORT in .env, line 3`. */
  origin?: string | undefined;
}

/** The method that writes the message of a {@linkcode LakebaseError} in another language, such as a shell's. */
export const MESSAGE_FOR: unique symbol = Symbol("message for");

/** The options that a message names, with their values; or one option by its name alone. */
export type NamedOptions = string | Readonly<Record<string, OptionValue>>;

/** The value of an option. An empty list is a placeholder for names that the reader fills in. */
export type OptionValue = string | number | boolean | readonly string[] | Readonly<Record<string, string>>;

/**
 * Writes options for the message of a {@linkcode LakebaseError}, and marks them, so that the shell can write its own
 * options instead.
 *
 * @param options The options by name.
 * @param text The options as TypeScript writes them, if they are not an object.
 */
export function optionText(options: Readonly<Record<string, OptionValue>>, text: string = objectText(options)): string {
  return mark(text, options);
}

/** Writes the name of an option for a message; see {@linkcode optionText}. */
export function optionName(name: string): string {
  return mark(name, name);
}

/** Like {@linkcode optionName}, in quotes. */
export function quotedOption(name: string): string {
  return mark(`"${name}"`, name);
}

/** Writes a part of a message in two languages: as TypeScript, and as a command or an option for a shell. */
export function inTypeScript(text: string, shell: string): string {
  return mark(text, { shell });
}

function objectText(options: Readonly<Record<string, OptionValue>>): string {
  return `{ ${Object.entries(options).map(([name, value]) => `${name}: ${valueText(value)}`).join(", ")} }`;
}

function valueText(value: OptionValue): string {
  if (typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return value.length === 0 ? "[...]" : `[${value.map(valueText).join(", ")}]`;
  return `{ ${Object.entries(value).map((pair) => pair.map(valueText).join(": ")).join(", ")} }`;
}

/**
 * A marked text: the TypeScript, and the JSON that it was made from. The marks are characters that Unicode reserves for
 * internal use.
 */
const MARKED = /\ufdd0([^\ufdd0-\ufdd2]*)\ufdd1([^\ufdd0-\ufdd2]*)\ufdd2/g;

function mark(text: string, named: NamedOptions): string {
  return /[\ufdd0-\ufdd2]/.test(text) ? text : `\ufdd0${text}\ufdd1${JSON.stringify(named)}\ufdd2`;
}

/** Writes the marked options of a message in another language. Where a mark was cut off, the TypeScript stays. */
function replaceMarks(marked: string, write: (named: NamedOptions, text: string) => string): string {
  return marked.replace(MARKED, (_, text: string, json: string) => {
    try {
      return write(JSON.parse(json), text);
    } catch {
      return text;
    }
  });
}

/**
 * The error class of this module, with a message for a person and a stable `code` for a script. Its message and its trace contain
 * no token, no password and no connection string.
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
  /** The server's SQLSTATE, such as `28P01`; `undefined` if the error is not from the server. */
  declare readonly sqlstate: string | undefined;
  /** For `BAD_SETTING`: the name of the option or variable that can't be used, if the error is about one. */
  declare readonly setting: string | undefined;
  /** Where that setting comes from: `option`, the variable's name, or its name, file and line. */
  declare readonly origin: string | undefined;
  readonly #marked: string;

  /**
   * Makes an error. The message hides secrets and shows control characters as visible text. A message of more than
   * 10,000 characters loses its middle; the cause keeps the whole message.
   */
  constructor(
    code: LakebaseErrorCode,
    message: string,
    options: LakebaseErrorOptions = {},
  ) {
    const { cause: original } = options;
    const inherited = original instanceof LakebaseError
      ? message.replace(original.message, () => original.#marked) // the options in it stay marked
      : message;
    const marked = redact(inherited);
    const safe = replaceMarks(marked, (_, text) => text);
    const short = printable(shorten(safe));
    const whole = safe.length <= MAX_SHOWN ? undefined : new Error(safe);
    if (whole !== undefined) whole.stack = `Error: ${short}`;
    const cause = original === undefined ? whole : safeCause(original);
    super(short, cause === undefined ? {} : { cause });
    this.#marked = marked;
    this.code = code;
    // Unknown fields are left out, so that console.log() does not print them.
    if (options.sqlstate !== undefined) this.sqlstate = options.sqlstate;
    if (options.setting !== undefined) this.setting = options.setting;
    if (options.origin !== undefined) this.origin = redact(options.origin); // may be any text of the caller
    this.stack = callerStack(this);
  }

  /**
   * Gives the message with its options written in another language than TypeScript.
   *
   * @param write Writes options, or the name of one option.
   */
  [MESSAGE_FOR](write: (named: NamedOptions) => string): string {
    return printable(shorten(redact(replaceMarks(this.#marked, write))));
  }
}

/**
 * A copy of the cause that is safe to print. The errors of the drivers have fields with secrets: a `ConfigError` of the SDK has
 * the whole configuration with the token, and an error of `pg` may have a client.
 */
function safeCause(cause: unknown): Error {
  if (cause instanceof LakebaseError) return cause;
  const { name, message, stack = "" } = cause instanceof Error ? cause : new Error(String(cause));
  const plain = new Error(printable(redact(message)));
  plain.name = name;
  plain.stack = printable(shorten(redact(stack)));
  for (const key of ["code", "severity", "detail", "hint", "errno", "syscall"]) {
    const value = (cause as Record<string, unknown>)[key];
    if (typeof value === "number") Object.assign(plain, { [key]: value });
    if (typeof value === "string") Object.assign(plain, { [key]: printable(shorten(redact(value))) });
  }
  if (!(cause instanceof Error)) return plain;
  if (cause.cause !== undefined) plain.cause = safeCause(cause.cause);
  return plain;
}

/** The most characters of a message that are shown. A server's error may quote a value of many megabytes. */
const MAX_SHOWN = 10_000;
/** How many of these characters are from the end, where the hints are. */
const END_SHOWN = 2000;

/**
 * Cuts the middle out of a text that is too long to show.
 *
 * @param text The text.
 * @param most The greatest number of characters. @default {10000}
 */
export function shorten(text: string, most: number = MAX_SHOWN): string {
  if (text.length <= most) return text;
  const end = Math.min(END_SHOWN, most / 5 | 0);
  const omitted = text.length - most;
  const note = ` [... ${omitted.toLocaleString("en")} characters are not shown ...] `;
  return `${text.slice(0, most - end)}${note}${text.slice(-end)}`.toWellFormed();
}

const MODULE_FILES = new URL("../", import.meta.url).href;

/** The trace without the frames of this module and of packages, so that the caller's own line comes first. */
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
 * Replaces the trace of an error, for example of an error from a worker, by the trace of the function that the caller
 * waits for.
 *
 * @param error The error; other values than a {@linkcode LakebaseError} are returned unchanged.
 * @param from The function.
 */
export function traceFrom(error: unknown, from: (...args: never[]) => unknown): unknown {
  if (!(error instanceof LakebaseError) || /\n\s+at /.test(error.stack ?? "")) return error;
  Error.captureStackTrace(error, from);
  error.stack = callerStack(error);
  return error;
}

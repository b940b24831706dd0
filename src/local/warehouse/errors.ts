import { DatabaseError } from "./database_client.ts";
import { UnboundParameter } from "./dialect.ts";
import { ValueError } from "./values.ts";

/** Why a statement failed, as fields of its `status`. */
export interface StatementFailure {
  error: { error_code: string; message: string };
  sql_state?: string;
}

/** An error of a statement, with the code and the message of the API. */
export class StatementError extends Error {
  readonly failure: StatementFailure;

  constructor(error_code: string, message: string, sql_state?: string) {
    super(message);
    this.name = "StatementError";
    this.failure = { error: { error_code, message }, ...(sql_state === undefined ? {} : { sql_state }) };
  }
}

/** An error class of Databricks, with the message for one error. */
interface ErrorClass {
  name: string;
  /** @default {that of Postgres} */
  sqlstate?: string;
  text: string;
  /** The form of the position: that of the parser or that of a running statement. @default {that of the analyzer} */
  position?: "parser" | "runtime";
}

/**
 * Converts the error of a statement to a failure, with the error class of Databricks if there is one.
 *
 * @param statement The statement as it was submitted.
 * @param indexOf Maps a position that Postgres reports to an index in `statement`.
 */
export function statementFailure(
  error: unknown,
  statement: string,
  indexOf: (position: number) => number,
): StatementFailure {
  if (error instanceof StatementError) return error.failure;
  if (error instanceof UnboundParameter) return unboundFailure(error, statement);
  if (error instanceof ValueError) {
    return badRequest(`[${error.errorClass}] ${error.message}. SQLSTATE: ${error.sqlstate}`, error.sqlstate);
  }
  if (!(error instanceof DatabaseError)) {
    return { error: { error_code: "INTERNAL_ERROR", message: "The local warehouse failed" } };
  }
  const { name, text, position, sqlstate = error.sqlstate } = errorClass(error);
  const at = error.position === undefined ? undefined : indexOf(error.position);
  // The parser's message begins with an empty line.
  const message = `${position === "parser" ? "\n" : ""}[${name}] ${text} SQLSTATE: ${sqlstate}`;
  return badRequest(at === undefined ? message : message + positionText(statement, at, position), sqlstate);
}

function badRequest(message: string, sql_state: string): StatementFailure {
  return { error: { error_code: "BAD_REQUEST", message }, sql_state };
}

function unboundFailure({ parameter, index }: UnboundParameter, statement: string): StatementFailure {
  const text =
    `[UNBOUND_SQL_PARAMETER] Found the unbound parameter: ${parameter}. Please, fix \`args\` and provide a ` +
    "mapping of the parameter to either a SQL literal or collection constructor functions such as `map()`, `array()`, " +
    "`struct()`. SQLSTATE: 42P02";
  return badRequest(text + positionText(statement, index), "42P02");
}

/** The end of a message: the line from 1 and the column from 0. A running statement counts both from 1. */
function positionText(statement: string, index: number, form?: "parser" | "runtime"): string {
  const before = statement.slice(0, index);
  const line = before.split("\n").length;
  const column = index - before.lastIndexOf("\n") - 1;
  if (form === undefined) return `; line ${line} pos ${column}`;
  const text = statement.split("\n")[line - 1]!.slice(0, 1000);
  if (form === "runtime") return `\n== SQL (line ${line}, position ${column + 1}) ==\n${text}\n${" ".repeat(column)}^`;
  return ` (line ${line}, pos ${column})\n\n== SQL ==\n${statement.slice(0, 10_000)}\n${"-".repeat(column)}^^^\n`;
}

function errorClass(error: DatabaseError): ErrorClass {
  const { message, sqlstate } = error;
  const quoted = [.../"((?:[^"]|"")*)"/g[Symbol.matchAll](message)].map(([, name]) => name!);
  const known = CLASSES[sqlstate]?.(quoted, message, error);
  if (known !== undefined) return known;
  // Databricks has no such class, so the text is that of Postgres.
  const lines = [error.detail, error.hint].filter((text) => text !== undefined).map((text) => `\n${text}`);
  return { name: "LOCAL_POSTGRES_ERROR", text: `${message}${lines.join("")}`.replace(/(\w)$/, "$1.") };
}

function inBackticks(name: string): string {
  return name.split(".").map((part) => `\`${part}\``).join(".");
}

const VERIFY = "cannot be found. Verify the spelling and correctness of the schema and catalog.\n";

/**
 * The error classes by the SQLSTATE of Postgres. Each function receives the quoted names in the message, and returns
 * `undefined` if the message is of another kind.
 */
const CLASSES: Record<string, (quoted: string[], message: string, error: DatabaseError) => ErrorClass | undefined> = {
  "42P01": ([table]) =>
    table === undefined ? undefined : {
      name: "TABLE_OR_VIEW_NOT_FOUND",
      text: `The table or view ${inBackticks(table)} ${VERIFY}` +
        "If you did not qualify the name with a schema, verify the current_schema() output, or qualify the name with the " +
        "correct schema and catalog.\nTo tolerate the error on drop use DROP VIEW IF EXISTS or DROP TABLE IF EXISTS.",
    },
  "3F000": ([schema = ""]) => ({
    name: "SCHEMA_NOT_FOUND",
    sqlstate: "42704",
    text: `The schema ${inBackticks(schema)} ${VERIFY}` +
      "If you did not qualify the name with a catalog, verify the current_schema() output, or qualify the name with the " +
      "correct catalog.\nTo tolerate the error on drop use DROP SCHEMA IF EXISTS.",
  }),
  "42703": (_, message, { hint }) => {
    const column = /^column (.+?) (?:of relation .+ )?does not exist/.exec(message)?.[1]?.replaceAll('"', "") ?? "";
    const suggestions = [.../"((?:[^"]|"")*)"/g[Symbol.matchAll](hint ?? "")].map(([, name]) => inBackticks(name!));
    const text = `A column, variable, or function parameter with name ${inBackticks(column)} cannot be resolved.`;
    if (suggestions.length === 0) return { name: "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", text };
    const question = `Did you mean one of the following? [${suggestions.join(", ")}].`;
    return { name: "UNRESOLVED_COLUMN.WITH_SUGGESTION", text: `${text} ${question}` };
  },
  "42601": ([near], message) => ({
    name: "PARSE_SYNTAX_ERROR",
    text: near === undefined ? `${message}.` : `Syntax error at or near ${near === "" ? "end of input" : `'${near}'`}.`,
    position: "parser",
  }),
  "42617": () => ({ name: "PARSE_EMPTY_STATEMENT", text: "Syntax error, unexpected empty statement." }),
  "42883": (_, message) => {
    const routine = /^function ([^(]+)\(/.exec(message)?.[1];
    return routine === undefined ? { name: "DATATYPE_MISMATCH", sqlstate: "42K09", text: `${message}.` } : {
      name: "UNRESOLVED_ROUTINE",
      text:
        `Cannot resolve routine ${
          inBackticks(routine)
        } on search path [\`system\`.\`builtin\`, \`system\`.\`session\`]. ` +
        `Verify the spelling of ${
          inBackticks(routine)
        }, check that the routine exists, and confirm you have \`USE\` privilege ` +
        "on the catalog and schema, and EXECUTE on the routine.",
    };
  },
  "22012": () => ({
    name: "DIVIDE_BY_ZERO",
    text: "Division by zero. Use `try_divide` to tolerate divisor being 0 and return NULL instead. If necessary set " +
      '"ansi_mode" to "false" to bypass this error.',
    position: "runtime",
  }),
  "22P02": (_, message) => {
    const [, type, value] = /^invalid input syntax for type ([^:]+): "(.*)"$/s.exec(message) ?? [];
    return type === undefined ? undefined : {
      name: "CAST_INVALID_INPUT",
      sqlstate: "22018",
      text:
        `The value '${value}' of the type "STRING" cannot be cast to "${type.toUpperCase()}" because it is malformed. ` +
        "Correct the value as per the syntax, or change its target type. Use `try_cast` to tolerate malformed input and " +
        "return NULL instead.",
      position: "runtime",
    };
  },
  "22003": (_, message) => ({ name: "ARITHMETIC_OVERFLOW", text: `${message}.`, position: "runtime" }),
  "42P07": ([table = ""]) => ({
    name: "TABLE_OR_VIEW_ALREADY_EXISTS",
    text:
      `Cannot create table or view ${
        inBackticks(table)
      } because it already exists.\nChoose a different name, drop or ` +
      "replace the existing object, or add the IF NOT EXISTS clause to tolerate pre-existing objects.",
  }),
  "42501": (_, message) => ({
    name: "INSUFFICIENT_PERMISSIONS",
    text: `Insufficient privileges:\n${message}.`,
  }),
  "0A000": (_, message) => {
    const catalog = /cross-database references are not implemented: "?([^."]+)/.exec(message)?.[1];
    return catalog === undefined ? undefined : {
      name: "NO_SUCH_CATALOG_EXCEPTION",
      sqlstate: "42704",
      text:
        `Catalog '${catalog}' was not found. Please verify the catalog name and then retry the query or command again.`,
    };
  },
};

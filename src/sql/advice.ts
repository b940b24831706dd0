import { optionText } from "../core/errors.ts";
import { type SqlKind, sqlTokens, utf16Index } from "../core/sql_text.ts";
import type { Statement } from "./fragment.ts";

const NAME_ADVICE =
  "a ${value} is never SQL: write a name as ${sql.id(name)}, and a part of the statement as ${sql`...`}";
const LIST_ADVICE = "a list is one value: = ANY(${list}), or <> ALL(${list}), instead of IN";

/** Advice on server errors, by SQLSTATE; the first match counts. */
const ADVICE: readonly (readonly [sqlstate: string, message: RegExp, advice: string])[] = [
  [
    "40001",
    /recovery/,
    "the read replica canceled it, because it conflicted with changes of the primary: run it again, or without readOnly",
  ],
  ["40001", /./, "another transaction changed the same rows: run the whole transaction again"],
  [
    "40P01",
    /./,
    "two transactions waited for each other: run the whole transaction again, and always change rows in the same order",
  ],
  [
    "25006",
    /./,
    "this session can only read, because of readOnly, a read replica, or default_transaction_read_only: to write, connect " +
    "without readOnly, to the primary",
  ],
  [
    "57014",
    /statement timeout/,
    "the limit is statement_timeout: raise it with statementTimeout of connect(), with SET statement_timeout = '5min' in a " +
    "transaction, or for the role",
  ],
  ["57014", /user request/, "another session canceled it, for example with pg_cancel_backend()"],
  [
    "55P03",
    /./,
    "another transaction holds a lock on it: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity shows which; wait " +
    "until it ends, or raise lock_timeout",
  ],
  [
    "53100",
    /./,
    "the storage is full, perhaps with temporary files of a large sort, join or hash: read or write less at once, delete and " +
    "VACUUM, or raise the storage limit of the project",
  ],
  ["53200", /./, "the compute has no memory left: read less at once, lower work_mem, or choose a larger compute"],
  [
    "25P03",
    /./,
    "the limit is idle_in_transaction_session_timeout: do slow work outside the transaction, or raise it",
  ],
  ["25P04", /./, "the limit is transaction_timeout: do less in one transaction, or raise it"],
  ["57P05", /./, "the limit is idle_session_timeout: raise it for a session that waits a long time"],
];

/** Returns advice on a server error, or `undefined` if there is none. */
export function adviceFor({ code, message }: { code?: string; message: string }): string | undefined {
  return ADVICE.find(([sqlstate, pattern]) => sqlstate === code && pattern.test(message))?.[2];
}

/** The parts of a server error that hints need. */
interface ServerFailure {
  code?: string;
  message: string;
  detail?: string;
  position?: string;
}

/**
 * Suggests what to write instead of a misplaced value, list or object, or of another tool's placeholder.
 *
 * @param failure The server's error.
 * @param statement The statement that failed.
 * @returns The text of a hint, or `undefined` if the failure is of another kind.
 */
export function hintFor(failure: ServerFailure, statement: Statement): string | undefined {
  const { code, position } = failure;
  const { text, values, prefix = "" } = statement;
  const at = position === undefined ? undefined : utf16Index(text, Number(position) - 1 - prefix.length);
  if (values.length > 0) {
    const hint = quotedValue(failure, text, values.length) ?? misplacedValue(failure, values);
    if (hint !== undefined) return hint;
  }
  if (code === "42601" && /at or near "\$\d+"/.test(failure.message) && at !== undefined) {
    const before = text.slice(0, at).trimEnd();
    return /\bin$/i.test(before.slice(-3)) ? LIST_ADVICE : NAME_ADVICE;
  }
  return code === "42601" || code === "42703" ? otherPlaceholder(text, at ?? text.length) : undefined;
}

/** The most characters of a text that are searched for a mistake. */
const MAX_READ = 1000;

/** Gives advice on a `${value}` within quotes or a comment, where the server reads `$1` as plain text. */
function quotedValue({ code, message, detail = "" }: ServerFailure, text: string, count: number): string | undefined {
  const unbound = code === "08P01" && message.startsWith("bind message supplies") || code === "42P18";
  if (!unbound && !message.slice(0, MAX_READ).includes("$") && !detail.slice(0, MAX_READ).includes("$")) {
    return undefined;
  }
  for (const { kind, start, end } of sqlTokens(text)) {
    if (kind !== "string" && kind !== "name" && kind !== "comment") continue;
    const written = text.slice(start, Math.min(end, start + MAX_READ));
    const number = /\$(\d{1,5})/.exec(written)?.[1];
    if (number === undefined || Number(number) < 1 || Number(number) > count) continue;
    const shown = written.replace(new RegExp(`\\$${number}(?:::(?:pg_catalog\\.)?jsonb?)?`), "$${value}");
    return quotedAdvice(kind, shown, text.slice(Math.max(0, start - 20), start));
  }
  return undefined;
}

function quotedAdvice(kind: SqlKind, written: string, before: string): string {
  const shown = written.length > 60 ? `${written.slice(0, 60)}...` : written;
  if (kind === "comment") return `a \${value} is in a comment, where values are not bound: ${shown}`;
  if (kind === "name") return 'a ${value} is within the quotes of a name: write ${sql.id(name)} in place of "${name}"';
  const problem = `a \${value} is within quotes, where values are not bound: ${shown}. Write `;
  if (written.startsWith("$")) {
    return `${problem}sql.unsafe() for a text that is SQL, or give it by set_config() and current_setting()`;
  }
  const unit = /^'\$\{value\}\s*([a-z]+)'$/i.exec(written)?.[1];
  if (unit !== undefined && /\binterval\s*$/i.test(before)) {
    return `${problem}\${value} * INTERVAL '1 ${unit.replace(/s$/i, "")}'`;
  }
  if (written === "'${value}'") {
    return `${problem}\${value} without the quotes${/\w\s*$/.test(before) ? ", and a type as ${value}::type" : ""}`;
  }
  if (!written.startsWith("'")) return `${problem}\${value} outside of them, as in 'a' || \${value}`;
  const parts = written.slice(1, -1).split("${value}").map((part) => part === "" ? "" : `'${part}'`);
  return `${problem}${[parts[0], "${value}", parts[1]].filter((part) => part !== "").join(" || ")}`;
}

const OBJECT_ADVICE =
  "an object is bound as json: write jsonb_populate_record(NULL::type, ${object}) for a composite type, " +
  "${JSON.stringify(object)} for a text";
const JSON_LIST_ADVICE = "an array is bound as a Postgres array: write ${JSON.stringify(list)} for json and jsonb";

/** Gives advice on a list or an object where the server expects another kind of value. */
function misplacedValue({ code, message }: ServerFailure, values: Statement["values"]): string | undefined {
  const lists = values.filter((value): value is string => typeof value === "string" && value.startsWith("{"));
  if (/^42(804|883|846)$/.test(code ?? "") && /\bjsonb?\b/.test(message) && lists.length > 0) return OBJECT_ADVICE;
  if (code === "42804" && /is of type jsonb? but expression is of type \S+\[\]/.test(message)) return JSON_LIST_ADVICE;
  if (code === "42P18") return "the server can't tell its type: write ${value}::type";
  if (code !== "22P02") return undefined;
  if (message.startsWith("malformed array literal")) return "one value is where a list is wanted: write ${[value]}";
  if (message.startsWith("malformed record literal") && lists.length > 0) return OBJECT_ADVICE;
  if (message.startsWith("invalid input syntax for type json") && lists.length > 0) return JSON_LIST_ADVICE;
  return lists.some((list) => message.endsWith(`: "${list}"`)) ? LIST_ADVICE : undefined;
}

/** Other tools' placeholders: `before` matches the text up to an error's position, `after` the text from there on. */
const PLACEHOLDERS: readonly (readonly [before: RegExp, after: RegExp])[] = [
  [/(?<!:)$/, /^:([A-Za-z_]\w*)/], // JupySQL, SQLAlchemy, psql
  [/$/, /^\{\{?\s*([\w.]+)\s*\}\}?/], // JupySQL, Jinja, Python
  [/%$/, /^s\b/], // psycopg
  [/%\($/, /^(\w+)\)s/],
  [/$/, /^%(?:s|\((\w+)\)s)/],
  [/$/, /^\$([A-Za-z_]\w*)/], // a shell
  [/$/, /^\?/], // JDBC, SQLite
  [/\?\s*$/, /^(?:$|[a-z),;])/i],
  [/@$/, /^([A-Za-z_]\w*)/],
];

/** Gives advice on a placeholder of another tool at the position of an error. */
function otherPlaceholder(text: string, at: number): string | undefined {
  const [before, after] = [text.slice(Math.max(0, at - 20), at), text.slice(at, at + 80)];
  for (const [beforePattern, afterPattern] of PLACEHOLDERS) {
    const placeholder = beforePattern.test(before) ? afterPattern.exec(after) : null;
    if (placeholder === null) continue;
    const name = placeholder[1] ?? "value";
    return `write a value as ${
      optionText({ param: name }, `\${${name}}`)
    }, which is bound; :x, {{x}}, %s and ? mean nothing here`;
  }
  return undefined;
}

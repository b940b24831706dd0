import { utf16Index } from "../sql_text.ts";
import type { Statement } from "./fragment.ts";

const NAME = "a ${value} is never SQL: a name goes in as ${sql.id(name)}, a part of the statement as ${sql`...`}";
const LIST = "a list is one value: = ANY(${list}), or <> ALL(${list}), instead of IN";

/** What helps against what the server has refused or ended, by SQLSTATE. */
const CURES: readonly (readonly [sqlstate: string, message: RegExp, cure: string])[] = [
  [
    "40001",
    /recovery/,
    "a read replica ends what stands in the way of the primary's changes: run it again, or without readOnly",
  ],
  ["40001", /./, "another transaction changed the same rows: run the whole transaction again"],
  [
    "40P01",
    /./,
    "two transactions waited for each other: run the whole transaction again, with its rows always in one order",
  ],
  [
    "25006",
    /./,
    "this session only reads, by readOnly, on a read replica, or by default_transaction_read_only: connect() without readOnly " +
    "writes, on the primary",
  ],
  [
    "57014",
    /statement timeout/,
    "the limit is statement_timeout: raise it by statementTimeout of connect(), by SET statement_timeout = '5min' in a " +
    "transaction, or for the role",
  ],
  ["57014", /user request/, "another session canceled it, by pg_cancel_backend() or the like"],
  [
    "55P03",
    /./,
    "another transaction holds a lock on it: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity shows which; wait " +
    "for its end, or raise lock_timeout",
  ],
  [
    "53100",
    /./,
    "the storage is full, or a temporary file of a large sort, join or hash was: read or write less at once, delete and " +
    "VACUUM, or raise the storage limit of the project",
  ],
  ["53200", /./, "the compute has no memory left: read less at once, lower work_mem, or choose a larger compute"],
  [
    "25P03",
    /./,
    "the limit is idle_in_transaction_session_timeout: do what takes long outside of the transaction, or raise it",
  ],
  ["25P04", /./, "the limit is transaction_timeout: do less in one transaction, or raise it"],
  ["57P05", /./, "the limit is idle_session_timeout: raise it for a session that waits for long"],
];

/** What helps against what the server has refused or ended; `undefined` where nothing more is known. */
export function cureFor({ code, message }: { code?: string; message: string }): string | undefined {
  return CURES.find(([sqlstate, pattern]) => sqlstate === code && pattern.test(message))?.[2];
}

/**
 * What to write instead, where a value was put where the server takes none, or a list where it takes one value.
 *
 * @param failure What the server said.
 * @param statement The statement.
 * @returns The end of a hint; `undefined` where the failure is none of these.
 */
export function hintFor(
  { code, message, position }: { code?: string; message: string; position?: string },
  { text, values, prefix = "" }: Statement,
): string | undefined {
  if (code === "42601" && /at or near "\$\d+"/.test(message) && position !== undefined) {
    const before = text.slice(0, utf16Index(text, Number(position) - 1 - prefix.length)).trimEnd();
    return /\bin$/i.test(before.slice(-3)) ? LIST : NAME;
  }
  if (code !== "22P02") return cureFor({ ...(code === undefined ? {} : { code }), message });
  const lists = values.filter((value) => typeof value === "string" && value.startsWith("{"));
  return lists.some((list) => message.endsWith(`: "${list}"`)) ? LIST : undefined;
}

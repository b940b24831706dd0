import { makeSql, type Sql } from "../api/sql.ts";
import { closest } from "../core/closest.ts";
import { LakebaseError } from "../core/errors.ts";
import { firstWord, sqlTokens } from "../core/sql_text.ts";
import { Fragment } from "../sql/fragment.ts";
import { checkTransaction, isOpenTransaction, rollBackOpen } from "../sql/run.ts";
import { type Lease, type Session, sublease, type TransactionState } from "../sql/session.ts";
import { acquire, stoppable } from "../sql/stop.ts";
import type { SqlCellStatement, SqlCellTarget } from "./sql_cell.ts";

/**
 * Runs the statements of a cell in one transaction, unless they begin or end transactions themselves. The server does the
 * same with several statements in one text, but statements with values must be sent one by one.
 */
export async function runTogether<T>(
  target: SqlCellTarget,
  statements: SqlCellStatement[],
  session: Session | undefined,
  work: (on: { sql: Sql }) => Promise<T>,
): Promise<T> {
  if (statements.length < 2 || target.transaction === undefined) return await work(target);
  if (session === undefined || !statements.some(controlsTransaction)) return await target.transaction(work);
  return await holdConnection(session, (onConnection) => work({ sql: makeSql(() => Promise.resolve(onConnection)) }));
}

const CONTROLS: ReadonlySet<string> = new Set(["begin", "start", "commit", "end", "rollback", "abort"]);

/** Whether a statement begins or ends a transaction. `ROLLBACK TO` a savepoint does neither. */
function controlsTransaction([strings]: SqlCellStatement): boolean {
  const text = strings.join("");
  const word = firstWord(text);
  return CONTROLS.has(word) && !(word === "rollback" && /\bto\b/i.test(text));
}

/** Adds a hint to the error of a statement, such as VACUUM, that can't run in a transaction. */
export function explainNotTogether(error: unknown): unknown {
  if (!(error instanceof LakebaseError) || error.sqlstate !== "25001") return error;
  const hint = "HINT: The statements of a cell run in one transaction. Put this statement into a cell of its own";
  return new LakebaseError(error.code, `${error.message}\n${hint}`, { cause: error, sqlstate: "25001" });
}

/**
 * Runs statements one after the other on one connection, as psql does: they may begin and end transactions. A transaction
 * that is open at the end is rolled back.
 *
 * @param pooled The session that gives the connection. It is not a transaction.
 * @param work Gets a session for the statements.
 * @throws What `work` throws; `LakebaseError` `QUERY_FAILED` if a transaction was left open.
 */
async function holdConnection<T>(pooled: Session, work: (session: Session) => Promise<T>): Promise<T> {
  using stop = stoppable();
  const lease = await acquire(pooled, stop.signal, "the statements of a cell");
  try {
    const result = await work(sessionOn(lease, pooled));
    checkTransaction(pooled, lease);
    return result;
  } finally {
    await rollBackOpen(pooled, lease);
    lease.release();
  }
}

function sessionOn(lease: Lease, pooled: Session): Session {
  const { types, catalog, signal, queryIfFree, cancel, place, volumes, server } = pooled;
  const open: TransactionState = { failure: undefined, markEnded() {} };
  return {
    types,
    catalog,
    signal,
    queryIfFree,
    cancel,
    place,
    volumes,
    server,
    get transaction() { // not a constant: a statement may begin or end a transaction
      if (isOpenTransaction(lease)) return open;
      open.failure = undefined;
      return undefined;
    },
    held: true,
    connections: 1,
    acquire: () => Promise.resolve(sublease(lease, () => {})),
  };
}

/**
 * The statements that cells have saved under a name (`--save`). A later cell names them (`--with`) and uses them as tables:
 * they are common table expressions of its statement, with the values that were bound when they were saved.
 */
export class SavedStatements {
  readonly #saved = new Map<string, SqlCellStatement>();

  /** Saves a statement in place of an earlier one of the same name. Statements that use the earlier one do not change. */
  save(name: string, statement: SqlCellStatement): void {
    this.#saved.set(name, withoutEnding(statement));
  }

  /**
   * A statement with saved ones as its first common table expressions.
   *
   * @param names The names of the saved statements, in this order.
   * @param statement The statement, which may begin with WITH.
   * @param sql The tag of its connection, which quotes names.
   * @throws {LakebaseError} `BAD_PARAMETER` for a name under which no statement was saved.
   */
  compose(names: readonly string[], statement: SqlCellStatement, sql: Pick<Sql, "id">): SqlCellStatement {
    if (names.length === 0) return statement;
    const [[first = "", ...strings], values] = statement;
    const { before, opening, after } = splitWith(first);
    const tables = names.map((name) => {
      const saved = this.#find(name);
      return [sql.id(name), new Fragment(...saved)] as const;
    });
    const last = `\n)${after}`;
    return [
      [
        `${before}${opening} `,
        ...tables.flatMap((_, index) => [" AS (\n", index + 1 < tables.length ? "\n), " : last]),
        ...strings,
      ],
      [...tables.flat(), ...values],
    ];
  }

  #find(name: string): SqlCellStatement {
    const saved = this.#saved.get(name);
    if (saved !== undefined) return saved;
    const similar = closest(name, [...this.#saved.keys()]);
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run the cell: no statement was saved as ${name}${
        similar === undefined ? "" : `; did you mean ${similar}?`
      }. ` +
        `Run a cell that begins with %%sql --save ${name} first`,
    );
  }
}

/** A statement without the semicolon, the comments and the spaces at its end. */
function withoutEnding([strings, values]: SqlCellStatement): SqlCellStatement {
  const last = strings.at(-1) ?? "";
  let end = 0;
  for (const token of sqlTokens(last)) {
    if (token.kind !== "space" && token.kind !== "comment" && last[token.start] !== ";") end = token.end;
  }
  return [[...strings.slice(0, -1), last.slice(0, end)], values];
}

/** The text of a statement before and after the position for further common table expressions, which come first. */
function splitWith(text: string): { before: string; opening: string; after: string } {
  const words: { start: number; end: number; word: string }[] = [];
  for (const { kind, start, end } of sqlTokens(text)) {
    if (kind === "space" || kind === "comment") continue;
    words.push({ start, end, word: text.slice(start, end).toLowerCase() });
    if (words.length === 2) break;
  }
  const [first, second] = words;
  if (first?.word !== "with") {
    const start = first?.start ?? text.length;
    return { before: text.slice(0, start), opening: "WITH", after: `\n${text.slice(start)}` };
  }
  const recursive = second?.word === "recursive";
  const end = recursive ? second.end : first.end;
  return {
    before: text.slice(0, first.start),
    opening: recursive ? "WITH RECURSIVE" : "WITH",
    after: `,${text.slice(end)}`,
  };
}

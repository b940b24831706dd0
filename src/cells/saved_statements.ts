import type { Sql } from "../api/sql.ts";
import { closest } from "../core/closest.ts";
import { LakebaseError } from "../core/errors.ts";
import { sqlTokens } from "../core/sql_text.ts";
import { Fragment } from "../sql/fragment.ts";
import type { SqlCellStatement } from "./sql_cell.ts";

/**
 * The statements that cells have saved under a name (`--save`). A later cell names them (`--with`), and they are tables of its
 * statement: common table expressions, with the values that were bound when they were saved.
 */
export class SavedStatements {
  readonly #saved = new Map<string, SqlCellStatement>();

  /** Saves a statement in place of an earlier one of the same name. What was saved with the earlier one keeps that. */
  save(name: string, statement: SqlCellStatement): void {
    this.#saved.set(name, withoutEnding(statement));
  }

  /**
   * A statement with saved ones as its first common table expressions.
   *
   * @param names Their names, in this order.
   * @param statement The statement; it may begin with WITH.
   * @param sql The tag of its connection, which quotes names.
   * @throws {LakebaseError} `BAD_PARAMETER` for a name that nothing was saved under.
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
    const near = closest(name, [...this.#saved.keys()]);
    throw new LakebaseError(
      "BAD_PARAMETER",
      `Cannot run the cell: no statement was saved as ${name}${near === undefined ? "" : `; did you mean ${near}?`}. ` +
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

/** A statement's text around the place for common table expressions, which come before its own. */
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

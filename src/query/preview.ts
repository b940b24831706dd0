// @ts-types="@types/pg"
import pg from "pg";
import type { Statement } from "./fragment.ts";
import type { ParserSource } from "./types.ts";
import type { WireField } from "./result.ts";

/** The first rows of a statement. */
export interface Preview {
  /** The rows, by position. */
  rows: unknown[][];
  /** The columns. */
  fields: WireField[];
  /** Whether the server had more. */
  more: boolean;
  /** Rows returned or changed; `null` where there are more, and for commands that have no count. */
  rowCount: number | null;
}

interface Wire {
  execute(message: { portal: string | undefined; rows: number }): void;
  sync(): void;
}

interface QueryInternals extends pg.Submittable {
  portal?: string;
  _getRows(connection: Wire): void;
  handlePortalSuspended(connection: Wire): void;
}

/**
 * Runs a statement and fetches no more than its first rows, in one round trip: `Execute` with a limit and `Sync` right
 * behind it, which closes the portal, so that the rest is neither computed nor sent. (`pg`'s own `rows` takes a round trip a
 * page, and waits for ever when the statement fails.)
 *
 * @param client The connection.
 * @param statement One statement; several are an error (SQLSTATE 42601) before any of them runs.
 * @param limit Rows at most.
 * @param types How values become JavaScript's.
 */
export function preview(
  client: pg.PoolClient,
  statement: Statement,
  limit: number,
  types: ParserSource,
): Promise<Preview> {
  const { promise, resolve, reject } = Promise.withResolvers<Preview>();
  let more = false;
  const done = (error: Error | null, result: pg.QueryArrayResult<unknown[]>) => {
    if (error) return reject(error);
    const { rows, fields, rowCount } = result;
    resolve({ rows, fields, more, rowCount: more ? null : rowCount });
  };
  const Query = pg.Query as unknown as new (config: unknown, callback: typeof done) => QueryInternals;
  const query = new Query({ ...statement, queryMode: "extended", rowMode: "array", types }, done);
  query._getRows = (connection) => {
    connection.execute({ portal: query.portal, rows: limit });
    connection.sync();
  };
  query.handlePortalSuspended = () => more = true;
  client.query(query);
  return promise;
}

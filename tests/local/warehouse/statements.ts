import assert from "node:assert/strict";
import type { LocalLakebase } from "lakebase/local";
import { eventually } from "../../support/eventually.ts";
import { call } from "../client.ts";

/** The answer of the Statement Execution API. */
export interface Answer {
  statement_id: string;
  status: { state: string; error?: { error_code: string; message: string }; sql_state?: string };
  manifest: {
    schema: { column_count: number; columns?: { name: string; type_name: string; type_text: string }[] };
    total_chunk_count: number;
    total_row_count: number;
    truncated: boolean;
  };
  result: { data_array?: (string | null)[][]; external_links?: Link[]; next_chunk_index?: number };
}

/** A link to a chunk. */
export interface Link {
  external_link: string;
  expiration: string;
  http_headers: Record<string, string>;
  chunk_index: number;
  next_chunk_internal_link?: string;
}

/** Calls the workspace API, and returns the JSON of the answer. */
export async function json<T>(local: LocalLakebase, route: string, body?: unknown): Promise<T> {
  return await (await call(local, route, body)).json();
}

export const STATEMENTS = "/api/2.0/sql/statements";

/** Runs a statement on the only warehouse. */
export async function run(
  local: LocalLakebase,
  statement: string,
  more: Record<string, unknown> = {},
): Promise<Answer> {
  const warehouse_id = local.env["DATABRICKS_WAREHOUSE_ID"];
  return await json(local, `POST ${STATEMENTS}`, { warehouse_id, statement, wait_timeout: "50s", ...more });
}

/** Runs a statement that must succeed, and returns its rows. */
export async function rows(local: LocalLakebase, statement: string, more?: Record<string, unknown>) {
  const { status, result } = await run(local, statement, more);
  assert.equal(status.state, "SUCCEEDED", status.error?.message);
  return result.data_array ?? [];
}

/** Waits until a statement has ended, and returns the answer with its state. */
export async function untilEnded(local: LocalLakebase, id: string): Promise<Answer> {
  let answer = await json<Answer>(local, `GET ${STATEMENTS}/${id}`);
  await eventually("the statement has ended", async () => {
    answer = await json<Answer>(local, `GET ${STATEMENTS}/${id}`);
    return !["PENDING", "RUNNING"].includes(answer.status.state);
  });
  return answer;
}

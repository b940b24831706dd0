/**
 * Databricks' SDK for JavaScript on a SQL warehouse, used as its own examples show. Only the environment names the
 * server.
 */

import assert from "node:assert/strict";
import { type sql, WorkspaceClient } from "@databricks/sdk-experimental";
import { tableFromIPC } from "apache-arrow";

const w = new WorkspaceClient({});
const listed: sql.EndpointInfo[] = [];
for await (const warehouse of w.warehouses.list({})) listed.push(warehouse);
const [{ id: warehouse_id }] = listed as [{ id: string }];
assert.equal(warehouse_id, Deno.env.get("DATABRICKS_WAREHOUSE_ID"));
await (await w.warehouses.stop({ id: warehouse_id })).wait();
assert.equal((await w.warehouses.get({ id: warehouse_id })).state, "STOPPED");
await (await w.warehouses.start({ id: warehouse_id })).wait();
assert.equal((await w.warehouses.get({ id: warehouse_id })).state, "RUNNING");

const inline = await w.statementExecution.executeStatement({
  warehouse_id,
  statement: "SELECT :name AS name, :n + 1 AS n, :none AS none",
  parameters: [{ name: "name", value: "Harlem" }, { name: "n", value: "41", type: "INT" }, { name: "none" }],
});
assert.deepEqual(inline.result?.data_array, [["Harlem", "42", null]]);
assert.deepEqual(inline.manifest?.schema?.columns?.map(({ name, type_name }) => [name, type_name]), [
  ["name", "STRING"],
  ["n", "INT"],
  ["none", "STRING"],
]);

let answer = await w.statementExecution.executeStatement({
  warehouse_id,
  statement: "SELECT n::bigint AS n, 'row ' || n AS name FROM generate_series(1, 2500) AS n",
  disposition: "EXTERNAL_LINKS",
  format: "ARROW_STREAM",
  wait_timeout: "0s",
});
const statement_id = answer.statement_id!;
while (["PENDING", "RUNNING"].includes(answer.status!.state!)) {
  answer = await w.statementExecution.getStatement({ statement_id });
}
assert.equal(answer.status?.state, "SUCCEEDED");
assert.deepEqual([answer.manifest?.total_chunk_count, answer.manifest?.total_row_count], [3, 2500]);
let sum = 0n;
for (let data = answer.result; data !== undefined;) {
  const [link] = data.external_links!;
  const response = await fetch(link!.external_link!, { headers: link!.http_headers ?? {} });
  for (const n of tableFromIPC(await response.arrayBuffer()).getChild("n")!) sum += n;
  const chunk_index = link!.next_chunk_index;
  data = chunk_index === undefined
    ? undefined
    : await w.statementExecution.getStatementResultChunkN({ statement_id, chunk_index });
}
assert.equal(sum, 2500n * 2501n / 2n);

const slow = await w.statementExecution.executeStatement({
  warehouse_id,
  statement: "SELECT pg_sleep(600)",
  wait_timeout: "0s",
});
await w.statementExecution.cancelExecution({ statement_id: slow.statement_id! });
let state = slow.status!.state!;
while (["PENDING", "RUNNING"].includes(state)) {
  state = (await w.statementExecution.getStatement({ statement_id: slow.statement_id! })).status!.state!;
}
assert.equal(state, "CANCELED");

const failed = await w.statementExecution.executeStatement({ warehouse_id, statement: "SELECT * FROM nope" });
assert.equal(failed.status?.state, "FAILED");
assert.match(failed.status!.error!.message!, /^\[TABLE_OR_VIEW_NOT_FOUND\]/);
await assert.rejects(w.statementExecution.executeStatement({ warehouse_id: "none", statement: "SELECT 1" }), {
  statusCode: 400,
});
// deno-lint-ignore no-console -- what the test looks for
console.log("done");

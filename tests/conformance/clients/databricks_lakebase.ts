/** Databricks' own package for Node, used as its README shows. Only the environment names the server. */

import assert from "node:assert/strict";
import {
  createLakebasePool,
  generateDatabaseCredential,
  getUsernameWithApiLookup,
} from "npm:@databricks/lakebase@0.6.0";

Deno.env.delete("PGUSER"); // so that it has to ask
const user = await getUsernameWithApiLookup();
assert.equal(user, "you@example.com");

const pool = createLakebasePool({ user, max: 3 });
const { rows } = await pool.query("SELECT current_user AS user, $1::int + 1 AS n", [1]);
assert.deepEqual(rows, [{ user: "you@example.com", n: 2 }]);

const client = await pool.connect();
try {
  await client.query("BEGIN");
  await client.query("CREATE TABLE appkit (id int PRIMARY KEY, name text)");
  await client.query("INSERT INTO appkit VALUES ($1, $2), ($3, $4)", [1, "Harlem", 2, null]);
  await client.query("COMMIT");
} finally {
  client.release();
}
assert.equal((await pool.query("SELECT * FROM appkit ORDER BY id")).rows[1].name, null);
await pool.query("DROP TABLE appkit");
await assert.rejects(pool.query("SELECT * FROM appkit"), { code: "42P01" });
await pool.end();

const { WorkspaceClient } = await import("@databricks/sdk-experimental");
const credential = await generateDatabaseCredential(new WorkspaceClient({}), {
  endpoint: Deno.env.get("LAKEBASE_ENDPOINT")!,
});
assert.ok(Date.parse(credential.expire_time) > Date.now());
// deno-lint-ignore no-console -- what the test looks for
console.log("done");

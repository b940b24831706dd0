/** postgres.js, with a password function that returns the token. The environment sets everything else. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import postgres from "npm:postgres@3.4.9";

const { DATABRICKS_HOST, DATABRICKS_TOKEN, LAKEBASE_ENDPOINT, PGSSLROOTCERT } = Deno.env.toObject();

async function password(): Promise<string> {
  const response = await fetch(`${DATABRICKS_HOST}/api/2.0/postgres/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${DATABRICKS_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({ endpoint: LAKEBASE_ENDPOINT }),
  });
  return (await response.json()).token;
}

const sql = postgres({ password, max: 2, ssl: { ca: Deno.readTextFileSync(PGSSLROOTCERT!) }, onnotice() {} });

await sql`SELECT 1`; // it learns the array types with its first query
const [row] = await sql`SELECT ${"Harlem"}::text AS name, ${1}::int8 AS big, ${new Date(0)}::timestamptz AS at,
  ${sql.array([1, 2])}::int[] AS list, ${sql.json({ a: 1 })} AS json, ${Buffer.from([0, 255])}::bytea AS bytes`;
assert.deepEqual(
  { ...row },
  { name: "Harlem", big: "1", at: new Date(0), list: [1, 2], json: { a: 1 }, bytes: Buffer.from([0, 255]) },
);

await sql`CREATE TABLE stations (id int PRIMARY KEY, name text)`;
await sql.begin(async (tx) => {
  await tx`INSERT INTO stations ${tx([{ id: 1, name: "Harlem" }, { id: 2, name: "SoHo" }])}`;
  await tx.savepoint(async (inner) => {
    await inner`INSERT INTO stations VALUES (1, 'again')`;
  }).catch(() => {});
});
assert.equal((await sql`SELECT * FROM stations`).length, 2);
await assert.rejects(sql`INSERT INTO stations VALUES (1, 'again')`, { code: "23505" });

await pipeline(Readable.from(["3\tChelsea\n", "4\t\\N\n"]), await sql`COPY stations FROM STDIN`.writable());
const out: Buffer[] = [];
for await (const chunk of await sql`COPY (SELECT * FROM stations ORDER BY id) TO STDOUT`.readable()) out.push(chunk);
assert.equal(Buffer.concat(out).toString(), "1\tHarlem\n2\tSoHo\n3\tChelsea\n4\t\\N\n");

let seen = 0;
for await (const rows of sql`SELECT n FROM generate_series(1, 1000) AS n`.cursor(300)) seen += rows.length;
assert.equal(seen, 1000);
assert.equal((await sql.unsafe("SELECT 1; SELECT 2 AS two")).length, 2);

await sql`DROP TABLE stations`;
await sql.end();
// deno-lint-ignore no-console -- what the test looks for
console.log("done");

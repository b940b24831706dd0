import assert from "node:assert/strict";
import { parseCatalog } from "../../src/kernel/catalog.ts";
import { completeSql, inspectSql } from "../../src/kernel/editor.ts";
import { errorOf, queryTest } from "../support/queries.ts";

/** Names that do something if a cell that contains one runs, or that look like another name. */
const NAMES = [
  "x${globalThis.pwned=1}",
  '"; DROP TABLE trips; --',
  "a\n%%sql\nDROP TABLE trips",
  "a\r\nb",
  "a\u202eb",
  "a\u200bb",
  "a\\b",
  "\\0024{a}",
  "$$",
  "a`b",
  "a\x1b]52;c;eA==\x07",
  "</style><img src=x onerror=pwned()>",
];

function complete(name: string): string {
  const table = { schema: "public", name, kind: "r", visible: true, columns: [["c", "text", false]] };
  const catalog = parseCatalog({ connections: [], tables: [table], functions: [] });
  const cell = "%%sql\nSELECT * FROM ";
  return completeSql(cell, cell.length, catalog)!.matches[0]!;
}

queryTest("a hostile name is completed as a plain name, and can't begin code", async ({ db }) => {
  for (const name of NAMES) {
    const match = complete(name);
    assert.doesNotMatch(match, /\$\{|[\n\r\u202e\u200b]/, name);
    await db.sql`CREATE TEMP TABLE ${db.sql.id(name)} (c text)`.catch(() => {}); // an earlier connection may have left it
    const rows = await db.query(`SELECT c FROM ${match}`).catch((error) => error);
    assert.ok(Array.isArray(rows) || /does not exist/.test(rows.message), `${name}: ${match}: ${rows.message}`);
    const [row] = await db.query(`SELECT ${match.replace(/"$/, '"')} FROM (SELECT 1) AS t (${match})`);
    assert.deepEqual(Object.keys(row!), [name]);
  }
});

Deno.test("Shift-Tab shows a hostile table without control characters", () => {
  const columns = [["a\x1bc", "te\u202ext", true]];
  const table = { schema: "public", name: "t", kind: "r", visible: true, columns };
  const catalog = parseCatalog({ connections: [], tables: [table], functions: [] });
  const cell = "%%sql\nSELECT * FROM t";
  const shown = inspectSql(cell, cell.length, catalog)?.["text/plain"];
  assert.match(shown!, /^table public\.t\n {2}a<U\+001B>c/);
});

queryTest("a hostile name is suggested without control characters", async ({ db }) => {
  await db.query('CREATE TABLE IF NOT EXISTS "hostil\x1b]0;x\x07" (c text)');
  const error = await errorOf(() => db.query("SELECT * FROM hostil"));
  assert.equal(error.sqlstate, "42P01");
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(error.message, /[\x00-\x08\x0b-\x1f]/);
});

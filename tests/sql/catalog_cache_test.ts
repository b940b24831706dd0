import assert from "node:assert/strict";
import { CatalogCache } from "../../src/sql/catalog_cache.ts";

Deno.test("statements that may change tables or functions are reported, and again when their transaction ends", () => {
  const cases: [text: string, changes: boolean][] = [
    ["CREATE TABLE a (b int); INSERT INTO a VALUES (1)", true],
    ["create table a as select 1", true],
    ["SELECT 1 INTO a", true],
    ["ALTER TABLE a RENAME TO b", true],
    ["-- c\nDROP FUNCTION f", true],
    ["COMMENT ON TABLE a IS 'b'", true],
    ["INSERT INTO a VALUES (1)", false],
    ["MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", false],
    ["SELECT comment, created FROM a", false],
  ];
  for (const [text, changes] of cases) {
    let told = 0;
    const catalog = new CatalogCache();
    catalog.onChange = () => told++;
    catalog.invalidate("SELECT 1", text);
    assert.equal(told, changes ? 1 : 0, text);
    catalog.committed();
    catalog.committed();
    assert.equal(told, changes ? 2 : 0, text);
  }
});

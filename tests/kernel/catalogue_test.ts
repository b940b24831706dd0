import assert from "node:assert/strict";
import { parseCatalogue } from "../../src/kernel/catalog.ts";
import { CATALOGUE, SENT } from "./catalogue.ts";

Deno.test("parseCatalogue() takes what the child sends", () => {
  assert.deepEqual(CATALOGUE.tables[0], {
    ...{ schema: "public", name: "trips", kind: "r", visible: true },
    columns: [
      { name: "id", type: "integer", notNull: true },
      { name: "zone", type: "text", notNull: false },
      { name: "fare", type: "numeric(8,2)", notNull: false },
    ],
  });
  assert.deepEqual(CATALOGUE.functions, SENT.functions);
  assert.deepEqual(CATALOGUE.connections, ["db2"]);
});

Deno.test("parseCatalogue() refuses anything else", () => {
  const broken: unknown[] = [
    ...[undefined, null, 1, "x", [], {}],
    { ...SENT, tables: undefined },
    { ...SENT, tables: [null] },
    { ...SENT, tables: [{ ...SENT.tables[0], name: 1 }] },
    { ...SENT, tables: [{ ...SENT.tables[0], columns: [["id", "integer"]] }] },
    { ...SENT, tables: [{ ...SENT.tables[0], columns: { 0: [] } }] },
    { ...SENT, functions: [{ ...SENT.functions[0], visible: "yes" }] },
    { ...SENT, connections: [1] },
  ];
  for (const content of broken) assert.equal(parseCatalogue(content), undefined, JSON.stringify(content));
});

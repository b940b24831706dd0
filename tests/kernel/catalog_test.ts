import assert from "node:assert/strict";
import { ConnectionNames, parseCatalog } from "../../src/kernel/catalog.ts";
import { CATALOG, SENT_CATALOG } from "./catalog.ts";

Deno.test("parseCatalog() accepts the child's catalog", () => {
  assert.deepEqual(CATALOG.tables[0], {
    schema: "public",
    name: "trips",
    kind: "r",
    visible: true,
    columns: [
      { name: "id", type: "integer", notNull: true },
      { name: "zone", type: "text", notNull: false },
      { name: "fare", type: "numeric(8,2)", notNull: false },
    ],
  });
  assert.deepEqual(CATALOG.functions, SENT_CATALOG.functions);
  assert.deepEqual(CATALOG.connections, ["db2"]);
});

Deno.test("parseCatalog() refuses anything else", () => {
  const broken: unknown[] = [
    ...[undefined, null, 1, "x", [], {}],
    { ...SENT_CATALOG, tables: undefined },
    { ...SENT_CATALOG, tables: [null] },
    { ...SENT_CATALOG, tables: [{ ...SENT_CATALOG.tables[0], name: 1 }] },
    { ...SENT_CATALOG, tables: [{ ...SENT_CATALOG.tables[0], columns: [["id", "integer"]] }] },
    { ...SENT_CATALOG, tables: [{ ...SENT_CATALOG.tables[0], columns: { 0: [] } }] },
    { ...SENT_CATALOG, functions: [{ ...SENT_CATALOG.functions[0], visible: "yes" }] },
    { ...SENT_CATALOG, connections: [1] },
  ];
  for (const content of broken) assert.equal(parseCatalog(content), undefined, JSON.stringify(content));
});

Deno.test("the variables that hold connections are found in the cells that assign them", () => {
  const names = new ConnectionNames();
  for (
    const cell of [
      'import { connect } from "lakebase";\nconst db = await connect({ local: true });',
      "let other = connect()\nglobalThis.x = 1; été = await\n  lakebase.connect (options)",
      "const reconnect = connected(); if (connect() === undefined) {}; a == connect()",
      "const db = await connect();",
      "const lake = await db.lakehouse({ catalog: 'main' });",
    ]
  ) names.addFrom(cell);
  assert.deepEqual(names.all, ["lake", "db", "été", "other"]);
});

Deno.test("ConnectionNames takes linear time", () => {
  for (const part of ["a", "a =", "connect", "a = await ", "a=a.", " ", "a = \n"]) {
    const names = new ConnectionNames();
    names.addFrom(`connect${part.repeat(2_000_000 / part.length)}`); // quadratic time would take minutes
    assert.deepEqual(names.all, [], part);
  }
});

import assert from "node:assert/strict";
import { ConnectionNames } from "../../src/kernel/connection_names.ts";

Deno.test("the variables that hold connections are known by the cells that made them", () => {
  const names = new ConnectionNames();
  for (
    const cell of [
      'import { connect } from "lakebase";\nconst db = await connect({ local: true });',
      "let other = connect()\nglobalThis.x = 1; été = await\n  lakebase.connect (options)",
      "const reconnect = connected(); if (connect() === undefined) {}; a == connect()",
      "const db = await connect();",
    ]
  ) names.heed(cell);
  assert.deepEqual(names.all, ["db", "été", "other"]);
});

Deno.test("ConnectionNames takes time in proportion to the cell", () => {
  for (const part of ["a", "a =", "connect", "a = await ", "a=a.", " ", "a = \n"]) {
    const started = performance.now();
    new ConnectionNames().heed(`connect${part.repeat(2_000_000 / part.length)}`);
    assert.ok(performance.now() - started < 2000, part);
  }
});

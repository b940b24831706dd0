import { install } from "npm:@sinonjs/fake-timers@15.5.0";
import assert from "node:assert/strict";
import { lakehouse } from "../../mod.ts";
import { ENGINE } from "../../src/api/lakehouse.ts";
import { findLakehouseCatalog, recentLakehouseCatalog } from "../../src/cells/completion_catalog.ts";
import { makeSqlCells, type SqlCellOptions, type SqlCellTarget } from "../../src/cells/sql_cell.ts";
import { parseCatalog } from "../../src/kernel/catalog.ts";
import { completeSql } from "../../src/kernel/editor.ts";
import { localTests, workspaceOf } from "../support/lakebase.ts";
import { drawn, errorOf } from "../support/queries.ts";

const test = localTests({ warehouses: [{ name: "small" }] });

test("%%sql cells run in the lakehouse that they name, with commands and a catalog for completion", async ({ local }) => {
  const lake = await lakehouse({ workspace: workspaceOf(local), catalog: "main", schema: "public" });
  const cells = makeSqlCells({
    current: () => Promise.reject(new Error("the current connection")),
    countOpen: () => Promise.resolve(1),
    session: () => undefined,
    lakehouse: () => undefined,
  });
  const named = { magic: "%%sql", use: "draw", connection: "lake", find: () => lake as SqlCellTarget } as const;
  const cell = (options: Partial<SqlCellOptions>, text = "", ...values: unknown[]) =>
    cells({ ...named, ...options }, ...(text === "" ? [] : [[text.split("?"), values] as const]));

  await cells({ ...named }, [["CREATE TABLE stations (id int NOT NULL, name text)"], []], [[
    "INSERT INTO stations VALUES (1, 'a')",
  ], []]);
  await cell({}, "INSERT INTO stations VALUES (2, ';'); SELECT 1; -- `;`\nDELETE FROM stations WHERE id = 2;");
  assert.equal(await lake.sql`SELECT count(*) FROM stations`.value(), 1);
  assert.match(
    await drawn(await cell({}, "SELECT id + ? AS id FROM main.public.stations", 1)),
    / 2\n\(1 row, .* on SQL warehouse small\)$/,
  );
  assert.match(
    await drawn(await cell({ limit: 2 }, "SELECT n FROM generate_series(1, 9) AS n")),
    /first 2 rows, there are more/,
  );
  assert.match(await drawn(await cell({ command: "d", argument: "main.public.stations" })), /id +\| integer +\| false/);
  assert.match(await drawn(await cell({ command: "dt", argument: "stat*" })), /public \| stations \| table/);
  assert.match(await drawn(await cell({ command: "dn" })), /public/);
  assert.match(await drawn(await cell({ command: "conninfo" })), /^Lakehouse\n[^]*small \(/);
  assert.match((await errorOf(() => cell({}, "SELECT * FROM nix"))).message, /TABLE_OR_VIEW_NOT_FOUND/);

  const catalog = parseCatalog({ connections: ["lake"], ...await findLakehouseCatalog(lake[ENGINE]) })!;
  const stations = catalog.tables.find(({ name }) => name === "stations");
  assert.deepEqual(stations?.columns.map(({ name, notNull }) => [name, notNull]), [["id", true], ["name", false]]);
  const complete = (text: string) => completeSql(`%%sql lake\n${text}`, 11 + text.length, catalog)?.matches;
  assert.deepEqual(complete("SELECT * FROM main."), ["public"]);
  assert.ok(complete("SELECT * FROM main.public.st")?.includes("stations"));
  assert.deepEqual(complete("SELECT main.public.stations.n"), ["name"]);
  await lake.sql`DROP TABLE stations`;
});

Deno.test("the names of a lakehouse are read at most every ten minutes, also after a failure, because a statement costs money", async () => {
  const clock = install({ now: Date.now(), toFake: ["Date"] });
  try {
    let read = 0;
    const names = { catalog: "main", schema: "public", columns: [] };
    const good = { columnNames: () => Promise.resolve((read++, names)) };
    const failing = { columnNames: () => Promise.reject(new Error(`refused ${read++}`)) };
    for (let cell = 0; cell < 3; cell++) {
      assert.equal((await recentLakehouseCatalog(good)).catalog, "main");
      await assert.rejects(recentLakehouseCatalog(failing), /refused/);
      clock.tick(190_000);
    }
    assert.equal(read, 2);
    clock.tick(40_000);
    await recentLakehouseCatalog(good);
    await assert.rejects(recentLakehouseCatalog(failing), /refused/);
    assert.equal(read, 4);
  } finally {
    clock.uninstall();
  }
});

import assert from "node:assert/strict";
import { connect, lakehouse } from "../../mod.ts";
import { compileForWarehouse } from "../../src/lake/statement.ts";
import { Fragment } from "../../src/sql/fragment.ts";
import { localTests, workspaceOf } from "../support/lakebase.ts";
import { errorOf } from "../support/queries.ts";
import { open } from "./support.ts";

const test = localTests({ warehouses: [{ name: "small", chunkRows: 3 }] });

test("(slow) a result of 10,000 columns, some of which have one name, is read in each way", async ({ local }) => {
  const lake = await open(local);
  local.faults.warehouse.columns = 10_000;
  const names = Array.from({ length: 1000 }, (_, at) => `${at} AS c${at}`).join(", ");
  const wide = lake.sql`SELECT ${lake.sql.unsafe(names)} FROM generate_series(1, 2)`;
  const check = (row: Record<string, unknown> | undefined) => {
    assert.equal(Object.keys(row!).length, 10_000);
    assert.deepEqual([row!["c0"], row!["c999"], row!["c999_10"]], [0, 999, 999]);
  };
  const rows = await wide;
  assert.equal(rows.length, 2);
  check(rows[1]);
  check(await lake.sql`${wide}`.first()); // a new query, whose first row comes as JSON
  const columns = await wide.columns();
  assert.equal(columns.fields.length, 10_000);
  assert.equal((await columns.toArrow()).numCols, 10_000);
  const same = await lake.sql`SELECT 7 AS a`.first();
  assert.deepEqual([Object.keys(same!).length, same!["a"], same!["a_10000"]], [10_000, 7, 7]);
});

test("(slow) a table of 10,000 columns is refused by Postgres, and leaves nothing behind", async ({ local, settings }) => {
  const lake = await open(local);
  local.faults.warehouse.columns = 10_000;
  await using db = await connect(settings());
  const error = await errorOf(db.load("wide", lake.sql`SELECT 1 AS a`, { create: true }));
  assert.match(error.message, /1600 columns/);
  assert.equal((await db.tables("wide")).length, 0);
});

test("(slow) a statement of 16 MiB runs, and one byte more is refused", async ({ local }) => {
  const lake = await open(local);
  const statement = (bytes: number) => lake.sql`${lake.sql.unsafe(`SELECT length('${"x".repeat(bytes - 17)}')`)}`;
  const limit = 16 * 1024 ** 2;
  assert.equal(
    compileForWarehouse(new Fragment([`SELECT length('${"x".repeat(limit - 17)}')`], [])).text.length,
    limit,
  );
  assert.equal(await statement(limit).value(), limit - 17);
  const before = local.requests.length;
  assert.match((await errorOf(statement(limit + 1))).message, /its text has 16\.0 MiB; a warehouse takes 16 MiB/);
  assert.equal(local.requests.length, before);
});

/** Names that no catalog or schema of Unity Catalog can have. */
const INVALID_NAMES = [
  "",
  " ",
  "main.taxi",
  "a b",
  "a/b",
  "a\0b",
  "a\nb",
  "a\x1b[2J",
  "a\x7f",
  "a\x9b",
  "\ud800",
  "a".repeat(256),
  7,
];

test("a name that no catalog or schema can have is refused before a request is sent or a warehouse starts", async ({ local, settings }) => {
  await using db = await connect(settings());
  const before = local.requests.length;
  for (const option of ["catalog", "schema"] as const) {
    for (const name of INVALID_NAMES) {
      const options = { [option]: name as string };
      const errors = [await errorOf(lakehouse({ workspace: workspaceOf(local), ...options }))];
      errors.push(await errorOf(db.lakehouse(options)));
      for (const { code, message } of errors) {
        assert.deepEqual([code, message.startsWith(`Cannot open the lakehouse: ${option} is `)], [
          "BAD_PARAMETER",
          true,
        ]);
        assert.match(message, /without dots, slashes, spaces and control characters$/);
      }
    }
  }
  for (const work of [db.lakehouse({ timeout: 5 } as object), lakehouse({ timeout: 5 } as object)]) {
    assert.match((await errorOf(work)).message, /there is no option "timeout"/); // an unknown option must not be ignored
  }
  assert.equal(local.requests.length, before);
  const unusual = await lakehouse({ workspace: workspaceOf(local), catalog: "目录-`\"'" });
  assert.match((await errorOf(unusual.sql`SELECT 1`)).message, /NO_SUCH_CATALOG.*目录-`"'/);
});

import assert from "node:assert/strict";
import type { Catalog } from "../../src/kernel/catalog.ts";
import { completeSql } from "../../src/kernel/editor.ts";
import { newSeed, randomFrom } from "../support/random.ts";
import { CATALOG } from "./catalog.ts";

/** Completes at `|`. */
function complete(marked: string, catalog: Catalog | null = CATALOG) {
  const [before = "", after = ""] = marked.split("|");
  return completeSql(before + after, [...before].length, catalog ?? undefined);
}

/** The cell after one of the matches was accepted. */
function taken(marked: string, match: string): string {
  const { cursor_start, cursor_end } = complete(marked)!;
  const points = [...marked.replace("|", "")];
  return [...points.slice(0, cursor_start), match, ...points.slice(cursor_end)].join("");
}

const CASES: [name: string, marked: string, first: string[]][] = [
  ["columns of the table", "%%sql\nSELECT | FROM trips", ["id", "zone", "fare"]],
  ["an alias, though FROM comes later", "%%sql\nSELECT t.| FROM trips t", ["id", "zone", "fare"]],
  ["an alias with AS", "%%sql\nSELECT t.fa| FROM trips AS t", ["fare"]],
  ["a table as a qualifier", "%%sql\nSELECT trips.z| FROM trips", ["zone"]],
  ["tables after FROM", "%%sql\nSELECT * FROM |", ["trips", '"Odd Name"', '"order"', "public", "app"]],
  ["tables after JOIN", "%%sql\nselect * from trips t join o|", ['"Odd Name"', '"order"']],
  ["tables after a comma in FROM", "%%sql\nSELECT * FROM trips t, |", ["trips", '"Odd Name"']],
  ["tables after INSERT INTO", "%%sql\nINSERT INTO t|", ["trips"]],
  ["columns of INSERT", "%%sql\nINSERT INTO trips (|", ["id", "zone", "fare"]],
  ["columns of UPDATE", "%%sql\nUPDATE trips SET f|", ["fare"]],
  ["a schema's tables and functions", "%%sql\nSELECT * FROM app.|", ["users", "fare_of"]],
  ["columns of schema.table", "%%sql\nSELECT app.users.| FROM app.users", ["email", "age"]],
  ["a quoted name that is open", '%%sql\nSELECT * FROM "Od|', ['"Odd Name"']],
  ["a quoted name that the editor closed", '%%sql\nSELECT "I|" FROM "Odd Name"', ['"Id"']],
  ["columns of a quoted name", '%%sql\nSELECT "Odd Name".| FROM "Odd Name"', ['"Id"', '"user"']],
  ["names with capitals, quoted", '%%sql\nSELECT I| FROM "Odd Name"', ['"Id"']],
  ["a WITH query", "%%sql\nWITH w AS (SELECT id, zone AS z FROM trips) SELECT w.| FROM w", ["id", "z"]],
  ["a WITH query's own columns", "%%sql\nWITH w (a, b) AS (SELECT 1, 2) SELECT | FROM w", ["a", "b"]],
  [
    "a WITH query that refers to another",
    "%%sql\nWITH a AS (SELECT id FROM trips), b AS (SELECT * FROM a) SELECT b.| FROM b",
    ["id"],
  ],
  ["the name of a WITH query", "%%sql\nWITH recent AS (SELECT 1) SELECT * FROM r|", ["recent"]],
  ["a query in FROM", "%%sql\nSELECT s.| FROM (SELECT id, count(*), fare * 2 AS twice FROM trips) AS s", [
    "id",
    "count",
    "twice",
  ]],
  ["a query in FROM that takes all", "%%sql\nSELECT s.z| FROM (SELECT t.*, 1 AS one FROM trips t) s", ["zone"]],
  ["an inner query first", "%%sql\nSELECT (SELECT | FROM app.users u) FROM trips", ["email", "age", "id"]],
  ["outer tables from an inner query", "%%sql\nSELECT (SELECT 1 FROM app.users u WHERE t.|) FROM trips t", [
    "id",
    "zone",
    "fare",
  ]],
  ["a join's columns", "%%sql\nSELECT * FROM trips t LEFT JOIN app.users u ON u.a|", ["age"]],
  ["RETURNING", "%%sql\nDELETE FROM trips RETURNING z|", ["zone"]],
  ["the statement that the cursor is in", "%%sql\nSELECT * FROM app.users; SELECT | FROM trips; SELECT 1", [
    "id",
    "zone",
    "fare",
  ]],
  ["keywords in upper case", "%%sql\nSEL|", ["SELECT"]],
  ["keywords in lower case", "%%sql\nselect * from trips whe|", ["where"]],
  ["keywords after a table", "%%sql\nselect * from trips |", ["where", "join"]],
  ["statements at the beginning", "%%sql\nSELECT 1; |", ["ABORT", "ALTER"]],
  ["functions", "%%sql\nSELECT cou|", ["count"]],
  ["columns of any table before FROM", "%%sql\nSELECT zo|", ["zone"]],
  ["columns of any table before FROM, in a line", "%sql SELECT id, f|", ["fare"]],
  ["columns of any table in quotes", '%%sql\nSELECT "I|"', ['"id"', '"Id"']],
  ["procedures after CALL", "%%sql\nCALL |", ["my_proc", "public", "app"]],
  ["procedures that are being written", "%%sql\ncall my|", ["my_proc"]],
  ["the rows of a conflict", "%%sql\nINSERT INTO trips VALUES (1) ON CONFLICT (id) DO UPDATE SET zone = excluded.|", [
    "id",
    "zone",
    "fare",
  ]],
  [
    "the rows of a conflict, by an alias",
    "%%sql\nINSERT INTO app.users AS u VALUES (1) ON CONFLICT DO UPDATE SET age = excl|",
    ["excluded"],
  ],
  ["positions in code points", "%%sql\n-- 😀\nSELECT '😀', t.fa| FROM trips t", ["fare"]],
  ["a line magic", "const a = '%sql ';\nconst b = %sql SELECT t.f| FROM trips t\nfoo.", ["fare"]],
  ["connections", "%%sql d|", ["db2", "deallocate"]],
  ["flags", "%%sql --|", ["--limit", "--no-display", "--explain"]],
  ["flags after other flags", "%%sql db2 --limit 5 --e|", ["--explain"]],
  ["statements on the magic's line", "%%sql db2 SEL|", ["SELECT"]],
  ["columns on the magic's line", "%%sql SELECT z| FROM trips", ["zone"]],
  ["the magics", "%|", ["%%sql", "%sql", "%lsmagic"]],
];

Deno.test("completeSql() offers matching candidates, most likely first", () => {
  for (const [name, marked, first] of CASES) {
    const matches = complete(marked)?.matches;
    assert.deepEqual(matches?.slice(0, first.length), first, `${name}: ${marked}`);
  }
});

Deno.test("completeSql() offers tables and few keywords where a table is named, in cells and in lines", () => {
  assert.deepEqual(complete("%sql SELECT * FROM t|")?.matches, ["trips"]);
  assert.deepEqual(complete("const rows = %sql SELECT * FROM t|")?.matches, ["trips"]);
  assert.deepEqual(complete("%%sql\nSELECT * FROM trips JOIN l|")?.matches, ["lateral"]);
});

Deno.test("completeSql() offers procedures only in CALL, and excluded only in ON CONFLICT", () => {
  assert.ok(!complete("%%sql\nSELECT my|")!.matches.includes("my_proc"));
  assert.deepEqual(complete("%%sql\nCALL cou|")!.matches, []);
  assert.deepEqual(complete("%%sql\nSELECT excluded.| FROM trips")!.matches, []);
});

Deno.test("completeSql() offers the notebook's connections before their catalog is known", () => {
  const matches = (catalog?: Catalog) => completeSql("%%sql d", 7, catalog, ["db", "db2"])!.matches.slice(0, 3);
  assert.deepEqual(matches(), ["db", "db2", "deallocate"]);
  assert.deepEqual(matches(CATALOG), ["db", "db2", "deallocate"]);
});

Deno.test("completeSql() counts the replaced range in code points", () => {
  assert.equal(taken("%%sql\nSELECT '😀', t.fa| FROM trips t", "fare"), "%%sql\nSELECT '😀', t.fare FROM trips t");
  assert.equal(taken('%%sql\nSELECT "I|" FROM x', '"Id"'), '%%sql\nSELECT "Id" FROM x');
  assert.equal(taken("%%sql --l|\nSELECT 1", "--limit"), "%%sql --limit\nSELECT 1");
  assert.equal(taken("%%s|", "%%sql"), "%%sql");
});

Deno.test("completeSql() gives the type of each match", () => {
  const { metadata, matches } = complete("%%sql\nSELECT f| FROM trips")!;
  const types = metadata["_jupyter_types_experimental"] as Record<string, unknown>[];
  assert.deepEqual(types.map(({ text }) => text), matches);
  assert.deepEqual(types[0], { start: 13, end: 14, text: "fare", type: "column", signature: "numeric(8,2) of trips" });
});

Deno.test("completeSql() offers columns before FROM with their tables, except columns of system and hidden tables", () => {
  const columns = (marked: string) => {
    const { metadata } = complete(marked)!;
    const types = metadata["_jupyter_types_experimental"] as Record<string, unknown>[];
    return types.filter(({ type }) => type === "column").map(({ text, signature }) => [text, signature]);
  };
  assert.deepEqual(columns("%%sql\nSELECT i|"), [["id", "integer of trips, order"], ['"Id"', "integer of Odd Name"]]);
  assert.deepEqual(columns("%%sql\nSELECT re|"), []);
  assert.deepEqual(columns("%%sql\nSELECT em|"), []);
  assert.deepEqual(columns("%%sql\nSELECT |"), []);
  assert.deepEqual(columns("%%sql\nSELECT e| FROM trips"), []);
});

Deno.test("completeSql() leaves TypeScript to the child", () => {
  for (
    const marked of [
      "con|",
      "a %sq|",
      "%%sql\nSELECT ${row.|} FROM trips",
      "%%time\nSEL|",
      "const s = '%sql SEL|'",
      "1 + 1\n|%sql SELECT 1",
    ]
  ) {
    assert.equal(complete(marked), undefined, marked);
  }
});

Deno.test("completeSql() offers nothing in texts and comments and after unknown names", () => {
  for (
    const marked of [
      "%%sql\nSELECT 'tr|'",
      "%%sql\n-- tr|",
      "%%sql\n/* tr| */",
      "%%sql\nSELECT nobody.|",
      "%%sql --limit |",
    ]
  ) {
    assert.deepEqual(complete(marked)?.matches, [], marked);
  }
});

Deno.test("completeSql() offers keywords before the catalog is known", () => {
  assert.deepEqual(complete("%%sql\nSELECT * FR|", null)?.matches, ["FROM"]);
  assert.deepEqual(complete("%%sql\nSELECT * FROM |", null)?.matches, []);
});

Deno.test("completeSql() never throws, and the replaced range ends at the cursor", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const parts = [
    "%%sql",
    "%sql ",
    "\n",
    " ",
    "SELECT ",
    "FROM ",
    "WITH ",
    "AS ",
    "trips",
    "t",
    ".",
    ",",
    "(",
    ")",
    "'",
    '"',
    "${",
    "}",
    "--",
    "/*",
    "😀",
    ";",
    "*",
    "JOIN ",
    "[",
    "]",
  ];
  for (let round = 0; round < 10_000; round++) {
    const cell = `%%sql ${Array.from({ length: random.below(24) }, () => random.one(parts)).join("")}`;
    const cursor = random.below([...cell].length + 1);
    const where = `LAKEBASE_TEST_SEED=${seed}, round ${round}: ${JSON.stringify([cell, cursor])}`;
    try {
      const found = completeSql(cell, cursor, CATALOG);
      if (found === undefined) continue;
      assert.ok(
        found.cursor_start <= cursor && cursor <= found.cursor_end && found.cursor_end <= [...cell].length,
        where,
      );
    } catch (error) {
      assert.fail(`${where}: ${error}`);
    }
  }
});

Deno.test("completeSql() takes linear time in a large cell", () => {
  const cell = `%%sql\nINSERT INTO trips VALUES ${"(1, 'a', 2), ".repeat(15_000)}`;
  assert.deepEqual(completeSql(cell, cell.length, CATALOG)?.cursor_end, cell.length); // quadratic time would take minutes
});

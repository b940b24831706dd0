import assert from "node:assert/strict";
import type { Lakebase } from "../../../mod.ts";
import { drawn, errorOf, queryTest } from "../../support/queries.ts";

/** A separate table, which is dropped afterwards. */
async function withTable(db: Lakebase, columns: string, work: (table: string) => Promise<void>): Promise<void> {
  const table = `load_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
  await db.query(`CREATE TABLE ${table} (${columns})`);
  try {
    await work(table);
  } finally {
    await db.query(`DROP TABLE ${table}`);
  }
}

const all = async (
  db: Lakebase,
  table: string,
  order = "1",
) => [...await db.query(`SELECT * FROM ${table} ORDER BY ${order}`)];

queryTest("load() converts row objects like parameters", async ({ db }) => {
  const columns = `id int, at timestamptz, day date, fare numeric(10, 2), x float8, big int8, note text, ok bool,
    tags text[], grid int[], doc jsonb, list jsonb, raw bytea, who uuid`;
  await withTable(db, columns, async (table) => {
    const at = new Date("2026-01-31T12:34:56.789Z");
    const row = {
      id: 1,
      at,
      day: at,
      fare: "1.50",
      x: -0.1,
      big: 2n ** 62n,
      note: 'tab\t, "line"\n\\N \\. é😀',
      ok: false,
      tags: ["a,b", null, '"'],
      grid: [[1, 2], [3, 4]],
      doc: { a: [1, { b: null }] },
      list: [1, "two"],
      raw: new Uint8Array([0, 9, 10, 92, 255]),
      who: "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    };
    const nothing = { id: 2, note: undefined, at: null };
    const loaded = await db.load(table, [row, nothing]);
    assert.deepEqual([loaded.table, loaded.rows, loaded.created], [`public.${table}`, 2, false]);
    assert.ok(loaded.bytes > 100 && loaded.elapsed > 0);
    const [first, second] = await all(db, table);
    assert.deepEqual(first, { ...row, day: "2026-01-31" });
    assert.deepEqual(Object.values(second as object).filter((value) => value !== null), [2]);
  });
});

queryTest(
  "load() gives a column that no row names its default, and leaves out generated columns",
  async ({ db }) => {
    const columns =
      "id int GENERATED ALWAYS AS IDENTITY, n int, kind text DEFAULT 'new', twice int GENERATED ALWAYS AS (n * 2) STORED";
    await withTable(db, columns, async (table) => {
      await db.load(table, [{ n: 1 }, { n: 2, twice: 99 }]);
      assert.deepEqual(await all(db, table), [
        { id: 1, n: 1, kind: "new", twice: 2 },
        { id: 2, n: 2, kind: "new", twice: 4 },
      ]);
      await db.load(table, await db.query(`SELECT id + 10 AS id, n, kind, twice FROM ${table}`));
      assert.deepEqual((await all(db, table)).map((row) => row["id"]), [1, 2, 11, 12]);
    });
  },
);

queryTest("load() takes anything iterable, a query, and its columns", async ({ db }) => {
  await withTable(db, "id int, name text", async (table) => {
    const rows = function* (from: number) {
      for (let id = from; id < from + 1000; id++) yield { id, name: `row ${id}` };
    };
    const slow = async function* () {
      for (const row of rows(1000)) yield await Promise.resolve(row);
    };
    const query = db.sql`SELECT id, 'row ' || id AS name FROM generate_series(2000, 4999) AS id`;
    const sources = [
      new Set(rows(0)),
      slow(),
      ReadableStream.from(rows(5000)),
      query,
      await query,
      await query.columns(),
    ];
    let total = 0;
    for (const source of sources) {
      const { rows } = await db.load(table, source as AsyncIterable<object>);
      assert.ok(rows >= 1000);
      total += rows;
    }
    const [found] = await db.query(
      `SELECT count(*), count(DISTINCT id) AS ids, bool_and(name = 'row ' || id) AS right FROM ${table}`,
    );
    assert.deepEqual(found, { count: total, ids: 6000, right: true });
  });
});

queryTest("load() of rows says which row and which column is wrong, and loads nothing", async ({ db }) => {
  await withTable(db, "id int PRIMARY KEY, fare numeric, name text NOT NULL", async (table) => {
    await db.load(table, [{ id: 1, fare: 1, name: "there before" }]);
    const many = (last: object) => [...Array.from({ length: 5000 }, (_, id) => ({ id: id + 10, name: "x" })), last];
    const cases: [rows: unknown, code: string, message: RegExp, sqlstate?: string][] = [
      [
        [{ id: 5, name: "a" }, { id: "five", name: "b" }],
        "QUERY_FAILED",
        /row 2, column id: invalid input syntax for type integer: "five"/,
        "22P02",
      ],
      [[{}], "BAD_PARAMETER", /^Cannot load: no column of the rows goes into public\..*, which has some$/],
      [many({ id: 6 }), "QUERY_FAILED", /row 5,001, column name: null value|row 5,001: null value/, "23502"],
      [many({ id: 1, name: "b" }), "QUERY_FAILED", /duplicate key value.*\nDETAIL: Key \(id\)=\(1\)/, "23505"],
      [
        many({ id: 6, name: "b", fares: 1 }),
        "BAD_PARAMETER",
        /row 5,001 has the column "fares", but .* did you mean "fare"\?/,
      ],
      [
        many({ id: 6, name: "b", fare: 1 }),
        "BAD_PARAMETER",
        /row 5,001 has the column "fare", which none of the first 1,000 rows has/,
      ],
      [[{ id: 6, nam: "b" }], "BAD_PARAMETER", /row 1 has the column "nam", but .* did you mean "name"\?/],
      [many({ id: 6, name: Symbol("b") }), "BAD_PARAMETER", /row 5,001, column "name" is a symbol/],
      [many({ id: 6, name: "a\0b" }), "BAD_PARAMETER", /row 5,001, column "name" has a zero character/],
      [many([1, 2]), "BAD_PARAMETER", /row 5,001 is an array; a row is an object/],
      [[null], "BAD_PARAMETER", /row 1 is null/],
    ];
    for (const [rows, code, message, sqlstate] of cases) {
      const error = await errorOf(db.load(table, rows as object[]));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      assert.equal(error.sqlstate, sqlstate);
      assert.deepEqual(await all(db, table), [{ id: 1, fare: "1", name: "there before" }]);
    }
  });
});

queryTest("load() with columns takes those properties, and no others", async ({ db }) => {
  await withTable(db, `id int, "Odd ""name, x" text, "constructor" text`, async (table) => {
    const odd = 'Odd "name, x';
    const rows: object[] = [{ id: 1, [odd]: "a", more: 1 }, { id: 2, constructor: "c" }];
    await db.load(table, rows, { columns: ["id", odd, "constructor"] });
    assert.deepEqual(await all(db, table), [
      { id: 1, [odd]: "a", constructor: null },
      { id: 2, [odd]: null, constructor: "c" },
    ]);
    assert.match(
      (await errorOf(db.load(table, rows, { columns: ["idd"] }))).message,
      /the option columns has.*mean "id"/,
    );
  });
});

queryTest("load() with create makes a table with the types of the rows", async ({ db }) => {
  const rows = [
    {
      id: 1,
      Name: "a",
      at: new Date(0),
      ok: true,
      x: 1,
      big: 1n,
      doc: { a: 1 },
      tags: ["a"],
      raw: new Uint8Array(1),
      none: null,
    },
    { id: 2, Name: "b", at: null, ok: false, x: 1.5, big: 2n ** 63n, doc: [1], tags: [], raw: null, none: null },
  ];
  const loaded = await db.load("Created", rows, { create: true, types: { id: "int" } });
  try {
    assert.deepEqual([loaded.table, loaded.created], ["public.created", true]);
    assert.match(await drawn(loaded), /^2 rows into the new table public\.created, /);
    assert.deepEqual((await db.describe("created")).map(({ name, type }) => [name, type]), [
      ["id", "integer"],
      ["Name", "text"],
      ["at", "timestamp with time zone"],
      ["ok", "boolean"],
      ["x", "double precision"],
      ["big", "numeric"],
      ["doc", "jsonb"],
      ["tags", "text[]"],
      ["raw", "bytea"],
      ["none", "text"],
    ]);
    const again = await db.load("created", rows, { create: true });
    assert.deepEqual([again.created, again.rows, (await all(db, "created")).length], [false, 2, 4]);
    assert.match(String(again), /^2 rows into public\.created, /);
  } finally {
    await db.query("DROP TABLE created");
  }
});

queryTest("a table that load() creates does not exist if the rows are refused", async ({ db }) => {
  const rows = [{ id: 1 }, ...Array(20_000).fill({ id: 1.5 }), { id: "x" }];
  const error = await errorOf(db.load("never_made", rows, { create: true }));
  assert.match(error.message, /row 20,002, column id: invalid input[^]*HINT: .* types: \{ "id": "text" \}/);
  assert.equal((await errorOf(db.describe("never_made"))).sqlstate, "42P01");
  for (const rows of [[], [{}]]) {
    assert.match(
      (await errorOf(db.load("never_made", rows, { create: true }))).message,
      /nothing to take the columns from/,
    );
  }
  const missing = await errorOf(db.load("never_made", [{ id: 1 }]));
  assert.equal(missing.sqlstate, "42P01");
  assert.match(missing.message, /there is no such table[^]*\{ create: true \}/);
  await withTable(db, "id int", async (table) => {
    const { message } = await errorOf(db.load(`${table}x`, [{ id: 1 }]));
    assert.ok(message.includes(`Did you mean ${table}?`), message);
  });
});

queryTest("load() with mode replace replaces the rows of the table", async ({ db }) => {
  await withTable(db, "id int", async (table) => {
    await db.load(table, [{ id: 1 }, { id: 2 }]);
    assert.equal((await db.load(table, [{ id: 3 }], { mode: "replace" })).rows, 1);
    assert.deepEqual(await all(db, table), [{ id: 3 }]);
    await errorOf(db.load(table, [{ id: 4 }, { id: "x" }], { mode: "replace" }));
    assert.deepEqual(await all(db, table), [{ id: 3 }]);
    assert.equal((await db.load(table, [], { mode: "replace" })).rows, 0);
    assert.deepEqual(await all(db, table), []);
  });
});

queryTest("load() in a transaction is part of it, and undoes only its own changes", async ({ db }) => {
  await withTable(db, "id int", async (table) => {
    await db.transaction(async (tx) => {
      await tx.query(`INSERT INTO ${table} VALUES (1)`);
      await tx.load(table, [{ id: 2 }]);
      assert.equal((await errorOf(tx.load(table, [{ id: 3 }, { id: "x" }]))).sqlstate, "22P02");
      await tx.load(table, tx.sql`SELECT 4 AS id`);
    });
    assert.deepEqual(await all(db, table), [{ id: 1 }, { id: 2 }, { id: 4 }]);
    await assert.rejects(
      db.transaction(async (tx) => {
        await tx.load(table, [{ id: 5 }], { mode: "replace" });
        throw new Error("mine");
      }),
      { message: "mine" },
    );
    assert.deepEqual(await all(db, table), [{ id: 1 }, { id: 2 }, { id: 4 }]);
  });
});

queryTest("load() refuses views, and loads into the partitions of a table", async ({ db }) => {
  await withTable(db, "id int", async (table) => {
    await db.query(`CREATE VIEW ${table}_view AS SELECT * FROM ${table}`);
    await db.query(`CREATE MATERIALIZED VIEW ${table}_kept AS SELECT * FROM ${table}`);
    for (const kind of ["view", "kept"]) {
      const error = await errorOf(db.load(`${table}_${kind}`, [{ id: 1 }]));
      assert.match(error.message, /it is a (materialized )?view, which keeps no rows of its own/);
    }
    await db.query(`DROP VIEW ${table}_view; DROP MATERIALIZED VIEW ${table}_kept`);
    await db.query(`CREATE TABLE ${table}_parts (id int) PARTITION BY RANGE (id);
      CREATE TABLE ${table}_low PARTITION OF ${table}_parts FOR VALUES FROM (0) TO (10);
      CREATE TABLE ${table}_high PARTITION OF ${table}_parts FOR VALUES FROM (10) TO (20)`);
    await db.load(`${table}_parts`, [{ id: 1 }, { id: 11 }]);
    assert.deepEqual(await all(db, `${table}_high`), [{ id: 11 }]);
    assert.equal((await errorOf(db.load(`${table}_parts`, [{ id: 1 }, { id: 99 }]))).sqlstate, "23514");
    await db.query(`DROP TABLE ${table}_parts`);
  });
});

queryTest("load() refuses unknown options and sources", async ({ db }) => {
  const rows = [{ id: 1 }];
  const cases: [source: unknown, options: unknown, message: RegExp][] = [
    [rows, { crate: true }, /no option "crate"; did you mean "create"\?/],
    [rows, { mode: "truncate" }, /mode is "truncate"; it must be "append" or "replace"/],
    [rows, { header: true }, /header is for CSV and TSV, not for rows/],
    [rows, { columns: [] }, /columns is \[\]/],
    [rows, { columns: ["a", "a"] }, /columns is .* different/],
    [rows, { types: { id: "text" } }, /types is for \{ create: true \}/],
    [rows, { create: true, types: { id: "int); DROP TABLE x; --" } }, /types is .* must be SQL types/],
    [rows, { timeout: -1 }, /timeout is -1/],
    [rows, { signal: 1 }, /signal is 1/],
    [rows, [], /the options must be an object/],
    [rows, { format: "xls" }, /format is "xls"/],
    [rows, { format: "csv" }, /the stream gave an? object; with a format it must give bytes/],
    [5, {}, /the source is a number/],
    [null, {}, /the source is null/],
    [{ id: 1 }, {}, /the source is an object/],
    [new URL("https://example.com/x.csv"), {}, /fetch it/],
    [ReadableStream.from([new Uint8Array(1)]), {}, /name their format/],
    [ReadableStream.from([new Uint8Array(1)]), { format: "parquet" }, /can't be a stream/],
    ["-", {}, /standard input has no extension/],
  ];
  for (const [source, options, message] of cases) {
    const error = await errorOf(db.load("trips", source as object[], options as object));
    assert.equal(error.code, "BAD_PARAMETER", error.message);
    assert.match(error.message, message);
  }
  for (const table of ["", "a..b", 5, db.sql`SELECT 1`]) {
    assert.equal((await errorOf(db.load(table as string, rows))).code, "BAD_PARAMETER");
  }
});

queryTest("load() of a query keeps every digit of its values", async ({ db }) => {
  const query = db
    .sql`SELECT '2026-01-31 12:34:56.789012+00'::timestamptz AS at, '{"a": 1.10, "b": 12345678901234567890}'::json AS doc,
    '"5"'::jsonb AS text, '{"2026-01-31 12:34:56.789012+00"}'::timestamptz[] AS times, '[0:1]={1,2}'::int[] AS list,
    '{"a,b","NULL",NULL}'::text[] AS tags, '\\x00ff'::bytea AS raw, 'NaN'::numeric(5, 2) AS fare, 9007199254740993 AS big`;
  for (const create of [true, false]) await db.load("exact_query", query, { create });
  const rows = await db.query("SELECT q::text AS q FROM exact_query AS q");
  const [expected] = await db.sql<{ q: string }>`SELECT q::text AS q FROM (${query}) AS q`;
  assert.deepEqual(rows.map(({ q }) => q), [expected!.q, expected!.q]);
  await db.query("DROP TABLE exact_query");
});

queryTest(
  "load() creates columns with a query's types, even if the type's bare name means another type",
  async ({ db }) => {
    const query = db
      .sql`SELECT '101'::bit(3) AS bits, ARRAY['101'::bit(3)] AS lists, 'a'::"char" AS letter, 'ab'::char(3) AS word`;
    const types = `SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'types_of'::regclass AND attnum > 0`;
    for (const source of [query, await query, await query.columns()]) {
      await db.load("types_of", source, { create: true });
      const { 0: row } = await db.query(types);
      assert.deepEqual(row, { array_agg: ["bit varying", "bit varying[]", '"char"', "bpchar"] });
      await db.query("DROP TABLE types_of");
    }
  },
);

queryTest("load() replaces the rows of a table with those of a query that reads the table", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.query("CREATE TABLE own_rows AS SELECT n % 2 AS n FROM generate_series(1, 1000) AS n");
  await db.load("own_rows", db.sql`SELECT DISTINCT n FROM own_rows`, { mode: "replace" });
  assert.equal(await db.sql`SELECT count(*) FROM own_rows`.value(), 2);
  await db.transaction(async (tx) => {
    await tx.load("own_rows", tx.sql`SELECT n + 10 AS n FROM own_rows`);
  });
  assert.equal(await db.sql`SELECT count(*) FROM own_rows`.value(), 4);
  await db.query("DROP TABLE own_rows");
});

queryTest("stopping a load also stops its query", async ({ open }) => {
  const db = await open({ max: 1 });
  await db.query("CREATE TABLE stopped_rows (n int)");
  const slow = db.sql`SELECT 1 AS n FROM pg_sleep(600)`;
  const late = await errorOf(db.load("stopped_rows", slow, { timeout: 0.2 }));
  assert.equal(late.code, "CANCELED");
  const reason = new Error("enough");
  await assert.rejects(db.load("stopped_rows", slow, { signal: AbortSignal.abort(reason) }), reason);
  const inTime = await errorOf(db.load("stopped_rows", slow.with({ timeout: 0.2 })));
  assert.equal(inTime.code, "CANCELED");
  assert.equal(await db.sql`SELECT count(*) FROM stopped_rows`.value(), 0);
  await db.query("DROP TABLE stopped_rows");
});

import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import type { Lakebase, LoadFormat } from "../../../mod.ts";
import { errorOf, queryTest } from "../../support/queries.ts";
import { script } from "../../support/transfers.ts";

/** A separate folder and a table. */
async function withFiles(
  db: Lakebase,
  columns: string,
  work: (table: string, file: (name: string, bytes: string | Uint8Array) => Promise<string>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-load-" });
  const table = `file_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;
  await db.query(`CREATE TABLE ${table} (${columns})`);
  try {
    await work(table, async (name, bytes) => {
      const path = `${folder}/${name}`;
      await Deno.writeFile(path, typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
      return path;
    });
  } finally {
    await db.query(`DROP TABLE ${table}`);
    await Deno.remove(folder, { recursive: true });
  }
}

const all = async (db: Lakebase, table: string) => [...await db.query(`SELECT * FROM ${table} ORDER BY 1`)];

queryTest("load() of a CSV file takes columns by its header, in any order", async ({ db }) => {
  await withFiles(db, "id int, name text, fare numeric", async (table, file) => {
    const files: [name: string, bytes: string | Uint8Array, options?: object][] = [
      ["plain.csv", 'name,id\n"a ""b"",\n c",1\n,2\n"",3\n'],
      ["crlf.csv", 'name,id\r\n"a ""b"",\n c",1\r\n,2\r\n"",3'],
      ["mark.csv", '\ufeffname,id\n"a ""b"",\n c",1\n,2\n"",3\n'],
      ["upper.CSV", 'NAME,Id\n"a ""b"",\n c",1\n,2\n"",3\n'],
      ["packed.csv.gz", gzipSync('name,id\n"a ""b"",\n c",1\n,2\n"",3\n')],
      ["packed.csv", gzipSync('name,id\n"a ""b"",\n c",1\n,2\n"",3\n')],
      ["two.csv.gz", new Uint8Array([...gzipSync('name,id\n"a ""b"",\n c",1\n'), ...gzipSync(',2\n"",3\n')])],
      ["semicolon.csv", 'name;id\n"a ""b"",\n c";1\n;2\n"";3\n', { delimiter: ";" }],
      ["null.csv", 'name,id\n"a ""b"",\n c",1\n-,2\n,3\n', { nullText: "-" }],
      ["bare.csv", '1,"a ""b"",\n c",\n2,,\n3,"",\n', { header: false }],
      ["named.csv", '"a ""b"",\n c",1\n,2\n"",3\n', { header: false, columns: ["name", "id"] }],
      ["renamed.csv", 'x,y\n"a ""b"",\n c",1\n,2\n"",3\n', { columns: ["name", "id"] }],
      ["tabs.txt", 'name\tid\n"a ""b"",\n c"\t1\n\t2\n""\t3\n', { format: "csv", delimiter: "\t" }],
      ["text.tsv", 'name\tid\na "b",\\n c\t1\n\\N\t2\n\t3\n'],
      ["text.ndjson", '{"id": 1, "name": "a \\"b\\",\\n c"}\n\n{"id":2}\r\n{"name": "", "id": 3}'],
      [
        "text.jsonl.gz",
        gzipSync('\ufeff{"id": 1, "name": "a \\"b\\",\\n c"}\n{"id":2,"name":null}\n{"name": "", "id": 3}\n'),
      ],
    ];
    for (const [name, bytes, options] of files) {
      const { rows } = await db.load(table, await file(name, bytes), { mode: "replace", ...options });
      assert.equal(rows, 3, name);
      assert.deepEqual(await all(db, table), [
        { id: 1, name: 'a "b",\n c', fare: null },
        { id: 2, name: null, fare: null },
        { id: 3, name: "", fare: null },
      ], name);
    }
  });
});

queryTest("load() takes a stream of bytes, cut anywhere", async ({ db }) => {
  await withFiles(db, "id int, name text", async (table, file) => {
    const bytes = new TextEncoder().encode("\ufeffname,id\né,1\n😀,2\n");
    const pieces = function* () {
      for (const byte of bytes) yield new Uint8Array([byte]);
    };
    const path = await file("x", bytes);
    const sources = [
      pieces(),
      ReadableStream.from(pieces()),
      (await Deno.open(path)).readable,
      new Blob([bytes]).stream(),
    ];
    for (const source of sources) {
      await db.load(table, source, { format: "csv", mode: "replace" });
      assert.deepEqual(await all(db, table), [{ id: 1, name: "é" }, { id: 2, name: "😀" }]);
    }
    const lines = async function* () {
      yield await Promise.resolve('{"id": 3, "na');
      yield 'me": "c"}\n';
    };
    await db.load(table, lines(), { format: "ndjson", mode: "replace" });
    assert.deepEqual(await all(db, table), [{ id: 3, name: "c" }]);
  });
});

queryTest("load() of NDJSON keeps every digit and nested values", async ({ db }) => {
  const columns = "id int8, fare numeric, doc json, docb jsonb, tags text[], grid int[], note text";
  await withFiles(db, columns, async (table, file) => {
    const line =
      '{"id": 9223372036854775807, "fare": 12345678901234567890.1234567890, "doc": {"n": 1.10, "a": "\\u00e9"}, ' +
      '"docb": [12345678901234567890], "tags": ["a,\\"b\\"", null, "\\\\"], "grid": [[1, 2], [3, 4]], "note": {"x": [1.0]}}';
    await db.load(table, await file("x.ndjson", `${line}\n{"docb": "text", "doc": null, "note": "null"}\n`));
    const [row] = await db.query(
      `SELECT id::text, fare::text, doc::text, docb::text, tags, grid, note FROM ${table} WHERE id > 0`,
    );
    assert.deepEqual({ ...row as object }, {
      id: "9223372036854775807",
      fare: "12345678901234567890.1234567890",
      doc: '{"n": 1.10, "a": "\\u00e9"}',
      docb: "[12345678901234567890]",
      tags: ['a,"b"', null, "\\"],
      grid: [[1, 2], [3, 4]],
      note: '{"x": [1.0]}',
    });
    const [other] = await db.query(`SELECT doc IS NULL AS doc, docb, note FROM ${table} WHERE id IS NULL`);
    assert.deepEqual(other, { doc: true, docb: "text", note: "null" });
  });
});

queryTest("load() of a file says which line and column is wrong, and loads nothing", async ({ db }) => {
  await withFiles(
    db,
    "id int, name text NOT NULL, twice int GENERATED ALWAYS AS (id * 2) STORED",
    async (table, file) => {
      await db.load(table, [{ id: 1, name: "there before" }]);
      const invalid = (text: string) => new Uint8Array([...new TextEncoder().encode(text), 0xff, 10]);
      const cases: [name: string, bytes: string | Uint8Array, code: string, message: RegExp, options?: object][] = [
        [
          "a.csv",
          '"id",name\n1,"a\nb"\nx,c\n',
          "QUERY_FAILED",
          /a\.csv into .* line 4, column id: .*: "x" \(SQLSTATE 22P02\)/,
        ],
        ["a.csv", "id,name\r\n1,a\r\n2\r\n", "QUERY_FAILED", /line 3: missing data for column "name"[^]*LINE: 2/],
        [
          "a.csv",
          "id,name\n1,a\n2,b,c\n",
          "QUERY_FAILED",
          /line 3: extra data after last expected column[^]*LINE: 2,b,c/,
        ],
        ["a.csv", "id,name\n1,a\n\n", "QUERY_FAILED", /line 3: missing data[^]*HINT: the line is blank/],
        ["a.csv", "id,twice\n1,2\nx,2\n", "QUERY_FAILED", /line 3, column id: .*: "x"/],
        ["a.csv", "id,name\n1,\n", "QUERY_FAILED", /line 2: null value in column "name"[^]*DETAIL/],
        ["a.csv", "1,a\n2,b\nx,c\n", "QUERY_FAILED", /line 3, column id/, { header: false }],
        ["a.csv.gz", gzipSync("id,name\nx,c\n"), "QUERY_FAILED", /line 2, column id/],
        ["a.csv", invalid("id,name\n1,a\n2,"), "QUERY_FAILED", /line 3: invalid byte sequence/],
        ["a.csv", 'id,name\n1,"a\n', "QUERY_FAILED", /line 3: unterminated CSV quoted field/],
        ["a.csv", "id,name\n1,a\r\n2,b\n", "QUERY_FAILED", /line 2: unquoted carriage return[^]*must all end alike/],
        ["a.csv", "id,name\n1,a\n\\.\n2,b\n", "BAD_FILE", /line 3 is \\\. alone/],
        ["a.csv", "", "BAD_FILE", /it is empty: not even a first line/],
        ["a.csv", "\nid,name\n1,a\n", "BAD_FILE", /the first line of a\.csv is empty; it must have the names/],
        ["a.csv", "id,,name\n", "BAD_FILE", /no name for column 2/],
        ["a.csv", "id,id\n", "BAD_FILE", /a\.csv, whose second "id" is read as "id_2", has the column "id_2", but /],
        ["a.csv", "ID,id\n", "BAD_FILE", /has the column "id" twice; .*columns: \["ID", "id"\]/],
        ["a.csv", "twice\n1\n", "BAD_PARAMETER", /computes every column that the file has/],
        ["a.csv", "id;name\n1;a;b\n", "BAD_FILE", /separated by ";", use \{ format: "csv", delimiter: ";" \}/],
        ["a.csv", "id,nam\n", "BAD_FILE", /a\.csv has the column "nam", but .* did you mean "name"\?/],
        ["a.csv", "id,x\n", "BAD_PARAMETER", /the option columns has the column "nam"/, { columns: ["id", "nam"] }],
        ["a.csv", "id,name\n", "BAD_PARAMETER", /has 2 columns, and the option columns names 1/, { columns: ["id"] }],
        ["a.csv", new Uint8Array([0xff, 0xfe, 0x69, 0]), "BAD_FILE", /has the column "i"/],
        ["a.csv.gz", gzipSync("id,name\n1,a\n").subarray(0, 20), "BAD_FILE", /it is damaged, or not whole/],
        ["a.tsv", "id\tname\n1\ta\n\\N\t\\N\n", "QUERY_FAILED", /line 3: null value in column "name"/],
        ["a.tsv", "id\tname\n1\ta\n\t\\N\n", "QUERY_FAILED", /line 3, column id: .*""/],
        ["a.ndjson", '{"id": 1, "name": "a"}\n\n{"id": "x", "name": "b"}\n', "QUERY_FAILED", /line 3, column id/],
        [
          "a.ndjson",
          '{"id": 1, "name": "a"}\n\n{"id": 2, "nam": "b"}\n',
          "BAD_FILE",
          /line 3 of a\.ndjson has the column "nam"/,
        ],
        ["a.ndjson", '{"id": 1, "name": "a"}\n{"id": 2,\n', "BAD_FILE", /line 2 is not JSON/],
        ["a.ndjson", '[{"id": 1, "name": "a"}]\n', "BAD_FILE", /line 1 is not a JSON object/],
        ["a.ndjson", invalid('{"id": 1, "name": "a"}\n'), "BAD_FILE", /line 2 is not UTF-8/],
        [
          "a.ndjson",
          '{"id": 1, "name": "a\\u0000"}\n',
          "BAD_FILE",
          /line 1 of a\.ndjson, column "name" has a zero/,
        ],
        ["a.parquet", "this is no Parquet file", "BAD_FILE", /a\.parquet/],
        ["a.arrow", "this is no Arrow file", "BAD_FILE", /a\.arrow/],
      ];
      for (const [name, bytes, code, message, options] of cases) {
        const error = await errorOf(db.load(table, await file(name, bytes), options));
        assert.match(error.message, message);
        assert.equal(error.code, code, error.message);
        assert.deepEqual(await all(db, table), [{ id: 1, name: "there before", twice: 2 }]);
      }
    },
  );
});

queryTest("a file whose columns share a name can be loaded back, in each format", async ({ db }) => {
  const folder = await Deno.makeTempDir();
  const query = db.sql`SELECT 1 AS a, 'x' AS b, 2 AS a, 3 AS a_2, 4 AS "?column?", 5 AS "?column?"`;
  const expected = [{ a: 1, b: "x", a_3: 2, a_2: 3, "?column?": 4, "?column?_2": 5 }];
  for (const format of ["csv", "tsv", "ndjson", "arrow", "parquet"] as const) {
    const path = `${folder}/shared.${format}`;
    await query.pull(path);
    await db.load("shared_names", path, { create: true });
    await db.load("shared_names", path, { mode: "replace" });
    assert.deepEqual([...await db.sql`SELECT * FROM shared_names`].map((row) => ({ ...row })), expected, format);
    await db.query("DROP TABLE shared_names");
  }
  await Deno.writeTextFile(`${folder}/own.csv`, "n,n\n1,2\n");
  await db.load("shared_names", `${folder}/own.csv`, { create: true, columns: { n_2: "other" } });
  assert.deepEqual([...await db.sql`SELECT * FROM shared_names`], [{ n: 1, other: 2 }]);
  await db.query("DROP TABLE shared_names");
  await Deno.remove(folder, { recursive: true });
});

queryTest("load() says what is wrong with a path", async ({ db }) => {
  await withFiles(db, "id int", async (table, file) => {
    const path = await file("x.csv", "id\n");
    const folder = path.slice(0, path.lastIndexOf("/"));
    for (const name of ["folder.csv", "folder.arrow"]) await Deno.mkdir(`${folder}/${name}`);
    for (
      const [source, message] of [
        [`${folder}/none.csv`, /none\.csv: there is no such file/],
        [`${folder}/y.csv`, /^Cannot load \S+y\.csv: there is no such file; did you mean "\S+\/x\.csv"\?$/],
        [`${folder}/non/x.csv`, /^Cannot load \S+x\.csv: there is no such folder as \S+\/non$/],
        [`${folder}/none.parquet`, /^Cannot load \S+none\.parquet: there is no such file$/],
        [`${folder}/none.arrow`, /^Cannot load \S+none\.arrow: there is no such file$/],
        [`${folder}/none.ndjson`, /^Cannot load \S+none\.ndjson: there is no such file$/],
        [`${folder}/folder.csv`, /folder\.csv: the folder is empty/],
        [`${folder}/folder.arrow`, /folder\.arrow: the folder is empty/],
        [new URL(`file://${folder}/none.csv`), /none\.csv: there is no such file/],
      ] as const
    ) {
      const error = await errorOf(db.load(table, source));
      assert.equal(error.code, "BAD_FILE", error.message);
      assert.match(error.message, message);
    }
    for (
      const [begin, kind] of [["PK\x03\x04", "a ZIP archive"], ["BZh91AY&SY", "packed with bzip2"]] as const
    ) {
      const { code, message } = await errorOf(db.load(table, await file("packed.csv", `${begin}...`)));
      assert.equal(code, "BAD_FILE");
      assert.ok(message.startsWith(`Cannot load packed.csv: it is ${kind}`), message);
      assert.match(message, /; unpack it/);
    }
    assert.equal((await db.load(table, path)).rows, 0); // a header and no row
    assert.equal((await db.load(table, await file("empty.ndjson", ""))).rows, 0);
    assert.equal((await db.load(table, await file("bare.csv", ""), { header: false })).rows, 0);
  });
});

queryTest("load() with create finds the types of a CSV file", async ({ db }) => {
  await withFiles(db, "id int", async (_, file) => {
    const names = ["zip", "n", "fare", "x", "at", "day", "ok", "who", "note", "none"];
    const row = (n: number) =>
      `0${n},${n},${n}.50,1e-7,2026-01-31T00:00:00Z,2026-01-31,t,6f9619ff-8b86-d011-b42d-00c04fc964ff,"a,${n}",\n`;
    const path = await file("new.csv", `${names.join(",")}\n${Array.from({ length: 100 }, (_, n) => row(n)).join("")}`);
    const loaded = await db.load("from_csv", path, { create: true, types: { fare: "numeric(10, 2)" } });
    try {
      assert.equal(loaded.rows, 100);
      assert.deepEqual((await db.describe("from_csv")).map(({ name, type }) => `${name} ${type}`), [
        ...[
          "zip text",
          "n bigint",
          "fare numeric(10,2)",
          "x double precision",
          "at timestamp with time zone",
          "day date",
        ],
        ...["ok boolean", "who uuid", "note text", "none text"],
      ]);
    } finally {
      await db.query("DROP TABLE from_csv");
    }
    const late = await file("late.csv", `n\n${"1\n".repeat(20_000)}one\n`);
    const error = await errorOf(db.load("from_csv", late, { create: true }));
    assert.match(error.message, /line 20,002, column n: .*"one"[^]*HINT: .*\{ types: \{ "n": "text" \} \}/);
    assert.equal((await errorOf(db.describe("from_csv"))).sqlstate, "42P01");
  });
});

queryTest("load() takes 1,600 columns, and any name", async ({ db }) => {
  const names = Array.from({ length: 1600 }, (_, index) => index === 0 ? 'a "b",\nc' : `column ${index}`);
  const quoted = names.map((name) => `"${name.replaceAll('"', '""')}"`);
  await withFiles(db, quoted.map((name) => `${name} smallint`).join(", "), async (table, file) => {
    const values = names.map((_, index) => index);
    await db.load(
      table,
      await file("wide.csv", `${quoted.toReversed().join(",")}\n${values.toReversed().join(",")}\n`),
    );
    await db.load(table, [Object.fromEntries(names.map((name, index) => [name, index]))]);
    for (const row of await all(db, table)) assert.deepEqual(Object.values(row as object), values);
  });
});

const FORMATS: readonly (LoadFormat | "csv.gz")[] = ["csv", "tsv", "ndjson", "arrow", "parquet", "csv.gz"];

/** A column of each type, with values that are easily lost. */
const ZOO = `SELECT * FROM (VALUES
  (1, true, 32767::int2, 9223372036854775807::int8, 0.1::float4, '-0'::float8, 12345.60::numeric(10, 2), 1.10::numeric,
   '2026-01-31 12:34:56.789123+00'::timestamptz, '0044-03-15 BC'::date, '23:59:59.999999'::time, '{"a": 1.10}'::json,
   '\\x00ff5c0a'::bytea, '6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid, E'tab\\t "q", \\\\N\\n\\r é😀'::text, ARRAY['a,b', NULL, '"', '\\'],
   ARRAY[1, NULL, 3], '1 day 02:00'::interval, '[1,5)'::int4range, '2026-01-31 00:00:00'::timestamp),
  (2, false, -1::int2, -1::int8, 'Infinity'::float4, 'NaN'::float8, -0.01::numeric(10, 2), 0::numeric,
   '1969-12-31 23:59:59.999999+00'::timestamptz, '9999-12-31'::date, '00:00'::time, '[]'::json,
   ''::bytea, '00000000-0000-0000-0000-000000000000'::uuid, ''::text, '{}', '{}', '-1 mon'::interval, 'empty'::int4range,
   '1900-01-01 00:00:00.000001'::timestamp),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
) AS zoo(id, ok, small, big, f4, f8, fare, exact, at, day, clock, doc, raw, who, note, tags, list, span, numbers, local)`;

queryTest("load() reads what pull() writes, for every type in every format", async ({ db }) => {
  await db.query(`CREATE TABLE zoo AS ${ZOO}`);
  const folder = await Deno.makeTempDir({ prefix: "lakebase-load-" });
  try {
    await db.query("CREATE TABLE zoo_again (LIKE zoo)");
    for (const format of FORMATS) {
      const path = `${folder}/zoo.${format}`;
      await db.pull("zoo", path);
      await db.load("zoo_again", path, { mode: "replace" });
      const [same] = await db.query("SELECT count(*) FROM zoo JOIN zoo_again AS z ON zoo::text = z::text");
      assert.deepEqual(same, { count: 3 }, format);
    }
    await db.load("zoo_again", await db.sql`SELECT * FROM zoo`.columns(), { mode: "replace" });
    const [same] = await db.query("SELECT count(*) FROM zoo JOIN zoo_again AS z ON zoo::text = z::text");
    assert.deepEqual(same, { count: 3 }, "columns");
  } finally {
    await db.query("DROP TABLE zoo; DROP TABLE IF EXISTS zoo_again");
    await Deno.remove(folder, { recursive: true });
  }
});

const WRONG_COLUMNS = `
import { connect } from "lakebase";
const db = await connect({ local: true });
await db.query("CREATE TABLE t (n int)");
for (const format of ["parquet", "arrow"]) {
  const path = \`\${Deno.env.get("FOLDER")}/ok.\${format}\`;
  await db.sql\`SELECT 1 AS n\`.pull(path);
  await db.load("t", path, { columns: ["nope"] }).catch(({ message }) => console.log(message));
}
await db.close();
`;

Deno.test("(slow) a process ends after it has named a column that a file does not have", async () => {
  const folder = await Deno.makeTempDir();
  const { code, stdout } = await script(WRONG_COLUMNS, { FOLDER: folder }).output();
  assert.deepEqual([code, new TextDecoder().decode(stdout)], [
    0,
    ["parquet", "arrow"].map((format) => `Cannot load: ok.${format} has no column "nope"; it has: n\n`).join(""),
  ]);
  await Deno.remove(folder, { recursive: true });
});

queryTest("a file that was pulled from a table with generated columns is loaded back", async ({ db }) => {
  await withFiles(
    db,
    "id int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (n * 2) STORED, n int",
    async (table, file) => {
      await db.query(`INSERT INTO ${table} (n) VALUES (1), (2)`);
      const before = await all(db, table);
      for (const name of ["t.csv", "t.tsv", "t.csv.gz", "t.ndjson", "t.arrow", "t.parquet"]) {
        const path = await file(name, "");
        await db.pull(table, path);
        assert.equal((await db.load(table, path, { mode: "replace" })).rows, 2, name);
        assert.deepEqual(await all(db, table), before, name);
      }
    },
  );
});

queryTest("load() accepts a view only if it has an INSTEAD OF INSERT trigger", async ({ db }) => {
  await withFiles(db, "n int", async (table, file) => {
    const path = await file("n.csv", "n\n1\n2\n");
    await db.query(`CREATE VIEW ${table}_v AS SELECT n FROM ${table}`);
    assert.match((await errorOf(db.load(`${table}_v`, path))).message, /INSTEAD OF INSERT/);
    await db.query(`CREATE FUNCTION ${table}_f() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO ${table} VALUES (NEW.n); RETURN NEW; END $$;
      CREATE TRIGGER g INSTEAD OF INSERT ON ${table}_v FOR EACH ROW EXECUTE FUNCTION ${table}_f()`);
    assert.equal((await db.load(`${table}_v`, path)).rows, 2);
    assert.deepEqual(await all(db, table), [{ n: 1 }, { n: 2 }]);
    await db.query(`DROP VIEW ${table}_v; DROP FUNCTION ${table}_f`);
  });
});

queryTest(
  "load() with create keeps a name that SQL can't read without quotes, and folds any other name",
  async ({ db }) => {
    for (
      const [name, created] of [["My Table", "My Table"], ["MyTable", "mytable"], ['"MyOther"', "MyOther"]] as const
    ) {
      await db.load(name, [{ flag: "T" }, { flag: "F" }], { create: true });
      assert.deepEqual([...await db.sql`SELECT flag FROM ${db.sql.id(created)}`], [{ flag: "T" }, { flag: "F" }]);
      await db.sql`DROP TABLE ${db.sql.id(created)}`;
    }
  },
);

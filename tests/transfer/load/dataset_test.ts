import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import type { Lakebase, LoadOptions } from "../../../mod.ts";
import { errorOf } from "../../support/queries.ts";
import { pullTest } from "../../support/transfers.ts";

type Files = Record<string, string | Uint8Array>;

async function write(folder: string, files: Files): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = `${folder}/${name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
  }
}

const newName = () => `dataset_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`;

/** Loads into a new table, and returns its rows in order. */
async function created(db: Lakebase, source: string | readonly string[], options: LoadOptions = {}) {
  const table = newName();
  const loaded = await db.load(table, source, { create: true, ...options });
  const rows = await db.query(`SELECT * FROM ${table} ORDER BY 1`);
  const types = rows.fields.map(({ name, type }) => `${name} ${type}`).join(", ");
  await db.query(`DROP TABLE ${table}`);
  return { loaded, types, rows: rows.map((row) => ({ ...row as object })) };
}

pullTest("load() of a folder, a glob and a list is one load of all files", async ({ db, folder }) => {
  await write(folder, {
    "in/b.csv": "id,name\n3,c\n",
    "in/a.csv": "name,id\na,1\nb,2\n",
    "in/c.csv.gz": gzipSync("id,name\r\n4,d\r\n"),
    "in/more/d.csv": "id,name\n5,e",
    "in/more/empty.csv": "",
    "in/_SUCCESS": "",
    "in/.a.csv.crc": "crc",
    "in/_temporary/x.csv": "id\n99\n",
  });
  const names = async (source: string | readonly string[]) => {
    const { loaded, rows } = await created(db, source);
    return `${loaded.files}: ${rows.map(({ name }: { name?: string }) => name).join("")}`;
  };
  assert.equal(await names(`${folder}/in`), "5: abcde");
  assert.equal(await names(`${folder}/in/`), "5: abcde");
  assert.equal(await names(`${folder}/in/*.csv`), "2: abc");
  assert.equal(await names(`${folder}/in/**/*.csv`), "4: abce");
  assert.equal(await names(`${folder}/in/**`), "5: abcde");
  assert.equal(await names(`${folder}/in/{b,c}.csv*`), "2: cd");
  assert.equal(await names(`${folder}/*/more`), "2: e");
  assert.equal(await names([`${folder}/in/b.csv`, `${folder}/in/a.csv`]), "2: abc");
  assert.equal(await names([`${folder}/in/b.csv`]), "1: c");
  await Deno.writeTextFile(`${folder}/in/x[1].csv`, "id,name\n9,x\n");
  assert.equal(await names(`${folder}/in/x[1].csv`), "1: x");
  const table = newName();
  await db.query(`CREATE TABLE ${table} (id int, name text)`);
  await db.load(table, [{ id: 0 }]);
  const loaded = await db.load(table, new URL(`file://${folder}/in/`), { mode: "replace" });
  assert.match(String(loaded), /^6 rows of 6 files into public\.dataset_/);
  assert.deepEqual([loaded.rows, loaded.files], [6, 6]);
  assert.equal(await db.sql`SELECT count(*) FROM ${db.sql.id(table)}`.value(), 6);
});

pullTest("hive folders add columns to their files, in every format", async ({ db, folder }) => {
  const rows = "VALUES (1, 'a,\"b\"'), (2, E'line\\nend\\\\')";
  for (const name of ["csv", "tsv", "ndjson", "arrow", "parquet", "csv.gz"]) {
    const path = `${folder}/${name}`;
    for (
      const hive of [
        "year=2025/zone=Harlem",
        "year=2025/zone=Caf%C3%A9 %2F%09%5C,%22 1",
        "year=2024/zone=__HIVE_DEFAULT_PARTITION__",
      ]
    ) {
      await Deno.mkdir(`${path}/${hive}`, { recursive: true });
      await db.sql`SELECT * FROM (${db.sql.unsafe(rows)}) AS v (id, said)`.pull(`${path}/${hive}/part-0.${name}`);
    }
    await Deno.writeTextFile(`${path}/_SUCCESS`, "");
    const found = await created(db, path);
    assert.match(found.types, /^id (int4|int8|integer|bigint), said text, year (int8|bigint), zone text$/, name);
    assert.deepEqual(
      found.rows.map((row) => Object.values(row).join("|")).sort(),
      [
        ...['1|a,"b"|2024|', '1|a,"b"|2025|Café /\t\\," 1', '1|a,"b"|2025|Harlem'],
        ...["2|line\nend\\|2024|", '2|line\nend\\|2025|Café /\t\\," 1', "2|line\nend\\|2025|Harlem"],
      ].sort(),
      name,
    );
    const table = newName();
    await db.query(`CREATE TABLE ${table} (zone text, year smallint, id int, said text)`);
    await db.load(table, `${path}/year=2024/**/*.${name}`);
    assert.deepEqual([...await db.query(`SELECT * FROM ${table} WHERE id = 1`)].map((row) => ({ ...row as object })), [
      { zone: null, year: 2024, id: 1, said: 'a,"b"' },
    ]);
    const without = await errorOf(db.load("pg_class_of_nobody", path, { partitions: false }));
    assert.match(without.message, /there is no such table/);
  }
});

pullTest(
  "(slow) a column of a Parquet file that is also a partition must have the value of the partition",
  async ({ db, folder }) => {
    const values =
      "SELECT 1 AS id, 2024 AS year, NULL::text AS zone, 1.50::float8 AS fare, DATE '2025-01-31' AS day, true AS flag";
    const hive = "year=2024/zone=__HIVE_DEFAULT_PARTITION__/fare=1.5/day=2025-01-31/flag=true";
    for (const format of ["parquet", "arrow"]) {
      await Deno.mkdir(`${folder}/${format}/${hive}`, { recursive: true });
      await db.sql`${db.sql.unsafe(values)}`.pull(`${folder}/${format}/${hive}/p.${format}`);
      const { types, rows } = await created(db, `${folder}/${format}`);
      assert.match(
        types,
        /^id \w+, year (int4|integer), zone text, fare (float8|double precision), day date, flag bool(ean)?$/,
      );
      assert.deepEqual(rows, [{ id: 1, year: 2024, zone: null, fare: 1.5, day: "2025-01-31", flag: true }]);
      await Deno.mkdir(`${folder}/wrong-${format}/year=2023`, { recursive: true });
      await Deno.copyFile(`${folder}/${format}/${hive}/p.${format}`, `${folder}/wrong-${format}/year=2023/p.${format}`);
      const error = await errorOf(created(db, `${folder}/wrong-${format}`));
      assert.match(
        error.message,
        /row 1 of \S+year=2023\/p\.\w+, column "year" has 2024, and its folder says 2023; .*partitions: false/,
      );
      assert.equal((await created(db, `${folder}/wrong-${format}`, { partitions: false })).rows.length, 1);
    }
  },
);

pullTest("the files of a dataset may have different columns, and each gets the widest type", async ({ db, folder }) => {
  await write(folder, { "t/a.csv": "id,tip\n1,2\n", "t/b.csv": "id\n2\n", "t/c.csv": "note,tip,id\nx,2.5,3\n" });
  const csv = await created(db, `${folder}/t`);
  assert.match(csv.types, /^id (int8|bigint), tip numeric, note text$/);
  assert.deepEqual(csv.rows.map((row) => Object.values(row).join("|")), ["1|2|", "2||", "3|2.5|x"]);
  for (const format of ["parquet", "arrow"]) {
    const path = `${folder}/${format}`;
    await Deno.mkdir(path);
    await db.sql`SELECT 1::int2 AS id, 'a' AS name`.pull(`${path}/a.${format}`);
    await db.sql`SELECT 3000000000::int8 AS id, 2.5::float8 AS tip`.pull(`${path}/b.${format}`);
    await db.sql`SELECT 2::int4 AS id, 1::int4 AS tip`.pull(`${path}/c.${format}`);
    const { types, rows } = await created(db, `${path}/*.${format}`);
    assert.match(types, /^id (int8|bigint), name text, tip (float8|double precision)$/);
    assert.deepEqual(rows.map((row) => Object.values(row).join("|")), ["1|a|", "2||1", "3000000000||2.5"]);
    await db.sql`SELECT 'x' AS id`.pull(`${path}/d.${format}`);
    const error = await errorOf(created(db, path));
    assert.match(
      error.message,
      /the column "id" is bigint in \S+\/b\.\w+ and text in \S+\/d\.\w+.*types: \{ "id": "text"/,
    );
    assert.equal((await created(db, path, { types: { id: "text" } })).rows.length, 4);
  }
});

pullTest("columns of a dataset are renamed where a file or a folder has them", async ({ db, folder }) => {
  await write(folder, {
    "t/year=2024/a.csv": "id,tip\n1,2\n",
    "t/year=2025/b.csv": "id\n2\n",
    "j/a.ndjson": '{"id":1}\n',
    "j/b.ndjson": '{"id":2,"x":3}\n',
  });
  const renamed = { columns: { tip: "gratuity", year: "in_year" } };
  const { types, rows } = await created(db, `${folder}/t`, renamed);
  assert.equal(types, "id int8, gratuity int8, in_year int8");
  assert.deepEqual(rows, [{ id: 1, gratuity: 2, in_year: 2024 }, { id: 2, gratuity: null, in_year: 2025 }]);
  await db.query("CREATE TABLE renamed (id int, gratuity int DEFAULT 9, in_year int)");
  await db.load("renamed", `${folder}/t`, renamed);
  assert.deepEqual([...await db.query("SELECT gratuity FROM renamed ORDER BY id")], [{ gratuity: 2 }, { gratuity: 9 }]);
  assert.deepEqual((await created(db, `${folder}/j`, { columns: { x: "y" } })).rows, [{ id: 1, y: null }, {
    id: 2,
    y: 3,
  }]);
  const nowhere = /\{ "tipp": "x" \} \} renames a column that no file of \S+ has; did you mean "tip"\?/;
  await assert.rejects(created(db, `${folder}/t`, { columns: { tipp: "x" } }), nowhere);
  await assert.rejects(
    db.load("renamed", `${folder}/t`, { columns: { ...renamed.columns, tipp: "x" } }),
    /renames a column that no file/,
  );
  assert.equal(await db.query("SELECT FROM renamed").then(({ length }) => length), 2);
  await db.query("DROP TABLE renamed");
});

pullTest("no column gets the name of a partition, whose value would be lost", async ({ db, folder }) => {
  for (const format of ["parquet", "arrow", "csv", "ndjson"] as const) {
    await Deno.mkdir(`${folder}/${format}/year=2024`, { recursive: true });
    await db.sql`SELECT 7 AS id, 8 AS n`.pull(`${folder}/${format}/year=2024/a.${format}`);
    const clash =
      /\{ "id": "year" \} \} gives a column the name that the folders called year=\.\.\. have; rename that too/;
    await assert.rejects(created(db, `${folder}/${format}`, { columns: { id: "year" } }), clash);
    const swapped = await created(db, `${folder}/${format}`, { columns: { id: "year", year: "id" } });
    assert.deepEqual(swapped.rows, [{ year: 7, n: 8, id: 2024 }]);
  }
});

pullTest("an error of a dataset names the file, and nothing is loaded", async ({ db, folder }) => {
  const table = newName();
  await db.query(`CREATE TABLE ${table} (id int, name text, year int)`);
  await db.load(table, [{ id: 1, name: "there before" }]);
  await Deno.mkdir(`${folder}/empty`);
  const good = "id,name\n1,a\n";
  await write(folder, {
    "late/year=2024/p.csv": good,
    "late/year=2025/p.csv": "id,name\n1,a\nx,b\n",
    "column/a.csv": good,
    "column/sub/a.csv": "id,nam\n1,a\n",
    "cut/a.csv.gz": gzipSync(good),
    "cut/b.csv.gz": gzipSync(good).subarray(0, 20),
    "hidden/_SUCCESS": "",
    "mixed/a.csv": good,
    "mixed/b.ndjson": '{"id": 1}\n',
    "other/a.csv": good,
    "other/README.md": "# Trips\n",
    "both/year=2024/p.csv": "id,year\n1,2024\n",
    "levels/a.csv": good,
    "levels/year=2024/p.csv": good,
    "delta/_delta_log/0.json": "{}",
    "delta/p.parquet": "x",
    "parquet/a.parquet": "this is no Parquet file",
    "value/year=x/p.csv": good,
    "unknown/colour=red/p.csv": good,
    "trips/part-0.csv": good,
  });
  await Deno.symlink("..", `${folder}/trips/loop`);
  const cases: [source: string | string[], message: RegExp, code?: string][] = [
    ["empty", /empty: the folder is empty/],
    ["hidden/", /has no data files, only _SUCCESS/],
    ["nothing/", /there is no such folder/],
    ["trisp/*.csv", /it matches nothing: there is no such (file|folder).*did you mean "\S+\/trips"/],
    ["column/*.csc", /it matches no file in \S+\/column, which has a\.csv, sub$/],
    ["column/*.parquet", /matches no file in \S+\/column, which has a\.csv, sub/],
    ["late", /Cannot load \S+\/late\/year=2025\/p\.csv into \S+: line 3, column id: .*"x"/, "QUERY_FAILED"],
    ["column", /\S+\/column\/sub\/a\.csv has the column "nam"/],
    ["cut", /\S+\/cut\/b\.csv\.gz: it is damaged, or not whole/],
    ["mixed", /mixed\/a\.csv is csv, and \S+mixed\/b\.ndjson is ndjson/],
    ["other", /README\.md: its extension is \.md/, "BAD_PARAMETER"],
    ["both", /p\.csv has the column "year", and its folder says "2024".*partitions: false/],
    ["levels", /do not agree in their partitions \(none; year\)/],
    ["delta", /it is a Delta table/],
    ["parquet", /parquet\/a\.parquet/],
    ["value", /year=x\/p\.csv into \S+: line 2, column year: .*"x"/, "QUERY_FAILED"],
    ["unknown", /the folder of \S+p\.csv has the column "colour", but .*partitions: false/],
    ["trips", /trips\/loop\S*: it is a link to a folder that it is in/],
    [["column/a.csv", "column/a.csv"], /the list of files has \S+a\.csv twice/, "BAD_PARAMETER"],
    [["column/a.csv", "column/none.csv"], /none\.csv: there is no such file/],
  ];
  for (const [source, message, code = "BAD_FILE"] of cases) {
    const paths = typeof source === "string" ? `${folder}/${source}` : source.map((name) => `${folder}/${name}`);
    const error = await errorOf(db.load(table, paths, { mode: "replace" }));
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
    assert.equal(
      await db.sql`SELECT string_agg(name, '') FROM ${db.sql.id(table)}`.value(),
      "there before",
      String(source),
    );
  }
  assert.match((await errorOf(db.load(table, [{ id: 1 }], { partitions: false }))).message, /partitions is for/);
  assert.equal((await db.load(table, `${folder}/both`, { partitions: false })).rows, 1);
});

pullTest(
  "(slow) a folder that changes while it is read, or a stop in the middle, loads nothing",
  async ({ db, folder }) => {
    const table = newName();
    // The server waits before the first row, and the sockets can't hold all files, so progress is reported in the
    // middle.
    await db.query(`CREATE TABLE ${table} (id int);
    CREATE FUNCTION ${table}_wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
    CREATE TRIGGER wait BEFORE INSERT ON ${table} EXECUTE FUNCTION ${table}_wait()`);
    const rows = "id\n" + "1\n".repeat(150_000);
    const files = Object.fromEntries(
      Array.from({ length: 40 }, (_, n) => [`in/part-${String(n).padStart(2, "0")}.csv`, rows]),
    );
    const last = `${folder}/in/part-39.csv`;
    const changes: [change: () => void, message: RegExp][] = [
      [
        () => Deno.writeTextFileSync(`${folder}/in/part-99.csv`, "id\n1\n"),
        /it changed while it was read: \S+part-99\.csv was added/,
      ],
      [() => Deno.writeTextFileSync(last, "id\n1\n"), /part-39\.csv: it changed while it was read/],
      [() => Deno.removeSync(last), /part-39\.csv: there is no such file/],
    ];
    for (const [change, message] of changes) {
      await Deno.remove(`${folder}/in`, { recursive: true }).catch(() => {});
      await write(folder, files);
      let changed = false;
      const onProgress = () => {
        if (!changed) change();
        changed = true;
      };
      const error = await errorOf(db.load(table, `${folder}/in`, { onProgress }));
      assert.equal(changed, true);
      assert.match(error.message, message);
      assert.equal(error.code, "BAD_FILE");
      assert.equal(await db.sql`SELECT count(*) FROM ${db.sql.id(table)}`.value(), 0);
    }
    await write(folder, files);
    const stop = new AbortController();
    const stopped = db.load(table, `${folder}/in/part-0*.csv`, { signal: stop.signal, onProgress: () => stop.abort() });
    await assert.rejects(stopped, { name: "AbortError" });
    assert.equal(await db.sql`SELECT count(*) FROM ${db.sql.id(table)}`.value(), 0);
  },
  { notOnPglite: "the files are the same" },
);

pullTest("an error of a file that shares its COPY with others names the file and its line", async ({ db, folder }) => {
  const table = newName();
  await db.query(`CREATE TABLE ${table} (id int CHECK (id < 90), s text)`);
  const csv = { a: 'id,s\n1,"x\ny"\n2,b', b: "id,s\n", c: "id,s\n3,c\n4,d\n", d: "s,id\ne,5\n", e: 's,id\n"f",6\ng,7' };
  const inCsv = (changes: Partial<typeof csv>) =>
    Object.fromEntries(Object.entries({ ...csv, ...changes }).map(([name, text]) => [`csv/${name}.csv`, text]));
  await write(folder, inCsv({}));
  const { rows, files } = await db.load(table, `${folder}/csv`);
  assert.deepEqual([rows, files], [7, 5]);
  const loaded = await db.query(`SELECT s FROM ${table} ORDER BY id`);
  assert.deepEqual(loaded.map(({ s }) => s), ["x\ny", "b", "c", "d", "e", "f", "g"]);
  const cases: [changes: Partial<typeof csv>, message: RegExp][] = [
    [{ a: 'id,s\n1,"x\ny"\nno,b' }, /\/csv\/a\.csv into .*: line 4, column id: invalid input/],
    [{ c: "id,s\n3,c\nno,d\n" }, /\/csv\/c\.csv into .*: line 3, column id: invalid input/],
    [{ e: 's,id\n"f",6\ng,no' }, /\/csv\/e\.csv into .*: line 3, column id: invalid input/],
    [{ c: 'id,s\n3,c\n4,"d\n' }, /\/csv\/c\.csv into .*: line 4: unterminated CSV quoted field/],
    [{ c: "id,s\r\n3,c\r\nno,d\r\n" }, /\/csv\/c\.csv into .*: line 3, column id: invalid input/],
  ];
  for (const [changes, message] of cases) {
    await write(folder, inCsv(changes));
    assert.match((await errorOf(db.load(table, `${folder}/csv`))).message, message);
  }
  await Deno.mkdir(`${folder}/parquet`);
  for (const [name, last] of [["a", 50], ["b", 90], ["c", 50]] as const) {
    await db.sql`SELECT n AS id, 'z' AS s FROM generate_series(1, ${last}) AS n`.pull(
      `${folder}/parquet/${name}.parquet`,
    );
  }
  const { message } = await errorOf(db.load(table, `${folder}/parquet`));
  assert.match(message, /\/parquet\/b\.parquet into .*: row 90: new row .* violates check constraint/);
  const chosen = await db.load(table, `${folder}/parquet`, { columns: ["s"], mode: "replace" });
  assert.equal(chosen.rows, 190);
  assert.deepEqual([...await db.query(`SELECT DISTINCT id, s FROM ${table}`)], [{ id: null, s: "z" }]);
});

pullTest(
  "an error has the path of its file once, also if the file's name is a part of another word",
  async ({ db, folder }) => {
    const table = newName();
    await db.query(`CREATE TABLE ${table} (id int)`);
    const cases = [
      ["csv", "nam\n1\n", /^Cannot load: \/\S+\/csv\/a has the column "nam", but /],
      ["ndjson", '{"id": 1}\n{"id": \n', /^Cannot load \/\S+\/ndjson\/a: line 2 /],
      ["arrow", "no Arrow file", /^Cannot read "\/\S+\/arrow\/a": /],
      ["parquet", "no Parquet file", /^Cannot read "\/\S+\/parquet\/a": /],
    ] as const;
    for (const [format, text, message] of cases) {
      await write(folder, { [`${format}/a`]: text });
      const error = await errorOf(db.load(table, `${folder}/${format}`, { format }));
      assert.match(error.message, message);
      assert.equal(error.message.split(`/${format}/a`).length, 2, error.message);
    }
  },
);

pullTest("a dataset whose last file is damaged loads nothing", async ({ db, folder }) => {
  const table = newName();
  await db.query(`CREATE TABLE ${table} (n int)`);
  for (const format of ["parquet", "arrow", "csv.gz"]) {
    await Deno.mkdir(`${folder}/${format}`);
    for (const name of ["a", "b", "c"]) {
      await db.sql`SELECT n FROM generate_series(1, 1000) AS n`.pull(`${folder}/${format}/${name}.${format}`);
    }
    assert.equal((await db.load(table, `${folder}/${format}`, { mode: "replace" })).rows, 3000);
    const last = `${folder}/${format}/c.${format}`;
    await Deno.writeFile(last, (await Deno.readFile(last)).subarray(0, -9));
    const error = await errorOf(db.load(table, `${folder}/${format}`, { mode: "replace" }));
    assert.match(error.message, new RegExp(`/${format}/c\\.${format}`));
    assert.equal(error.code, "BAD_FILE");
    assert.equal(await db.sql`SELECT count(*) FROM ${db.sql.id(table)}`.value(), 3000);
  }
});

pullTest("(slow) 3,000 tiny files are one load", async ({ db, folder }) => {
  await Deno.mkdir(`${folder}/in`);
  for (let n = 0; n < 3000; n++) await Deno.writeTextFile(`${folder}/in/${n}.csv`, `id,name\n${n},a\n`);
  const { loaded, types } = await created(db, `${folder}/in/`);
  assert.deepEqual([loaded.rows, loaded.files, types.replace("bigint", "int8")], [
    3000,
    3000,
    "id int8, name text",
  ]);
}, { notOnPglite: "the files are the same" });

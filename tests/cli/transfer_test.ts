import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { cliTest } from "./support.ts";

const TRIPS =
  "DROP TABLE IF EXISTS trips; CREATE TABLE trips AS SELECT n AS id, (ARRAY['Harlem', 'SoHo'])[1 + n % 2] AS zone " +
  "FROM generate_series(1, 1000) AS n";

/** The names of the files in a folder. */
function files(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

cliTest("lakebase pull writes a table to a file of any format, and lakebase load reads it", async ({ run, folder }) => {
  await run(["query", TRIPS]);
  for (const name of ["t.csv", "t.tsv", "t.ndjson", "t.arrow", "t.parquet", "t.csv.gz"]) {
    const pulled = await run(["pull", "trips", name]);
    assert.deepEqual([pulled.code, pulled.stderr], [0, ""], name);
    assert.match(pulled.stdout, /^1,000 rows to t\./);
    const loaded = await run(["load", "again", name, "--create", "--replace"]);
    assert.deepEqual([loaded.code, loaded.stderr], [0, ""], name);
    assert.match(loaded.stdout, /^1,000 rows into .*public\.again/);
    const different = "SELECT count(*) FROM (TABLE trips EXCEPT SELECT id, zone FROM again) AS different";
    const { stdout } = await run(["query", "--format", "csv", "--no-header", `${different}; DROP TABLE again`]);
    assert.equal(stdout, "0\n", name);
  }
  assert.equal((await Deno.readTextFile(`${folder}/t.csv`)).split("\n")[1], "1,SoHo");
});

cliTest(
  "lakebase pull takes a query with parameters, from an argument, a file or standard input",
  async ({ run, folder }) => {
    await run(["query", TRIPS]);
    const sql = "SELECT id FROM trips WHERE zone = $zone AND id < $most ORDER BY id";
    await Deno.writeTextFile(`${folder}/some.sql`, `${sql};\n`);
    const values = ["-p", "zone=Harlem", "-p", "most=6"];
    for (
      const [args, stdin] of [[["--sql", sql]], [["-f", "some.sql"]], [["-f", "-"], sql]] as [string[], string?][]
    ) {
      const options = stdin === undefined ? {} : { stdin };
      const { code, stdout, stderr } = await run(
        ["pull", ...args, ...values, "-", "--format", "csv", "--quiet"],
        options,
      );
      assert.deepEqual([code, stdout, stderr], [0, "id\n2\n4\n", ""], args.join(" "));
    }
    const hostile = "'; DROP TABLE trips; --";
    const { code, stdout } = await run([
      "pull",
      "--sql",
      "SELECT $a::text AS a",
      "-p",
      `a=${hostile}`,
      "-",
      "--format",
      "csv",
    ]);
    assert.deepEqual([code, stdout], [0, `a\n${hostile}\n`]);
  },
);

cliTest("lakebase pull has the options of pull()", async ({ run, folder }) => {
  await run(["query", TRIPS]);
  const csv = ["--columns", "zone,id", "--no-header", "--delimiter", ";"];
  assert.equal((await run(["pull", "trips", "t.csv", ...csv])).code, 0);
  assert.equal((await Deno.readTextFile(`${folder}/t.csv`)).split("\n")[0], "SoHo;1");
  const odd = ["--sql", 'SELECT 1 AS "c,d", 2 AS e', "odd.tsv", "--columns", 'e,"c,d"', "--delimiter", "\\t"];
  assert.deepEqual(await run(["pull", ...odd, "--quiet"]), { code: 0, stdout: "", stderr: "" });
  assert.equal(await Deno.readTextFile(`${folder}/odd.tsv`), "e\tc,d\n2\t1\n");
  const loaded = await run(["load", "odd", "odd.tsv", "--create", "--format", "csv", "--delimiter", "\\t", "--quiet"]);
  assert.deepEqual(loaded, { code: 0, stdout: "", stderr: "" });
  const asked = await run(["query", "--format", "csv", "--delimiter", "\\t", "TABLE odd; DROP TABLE odd"]);
  assert.equal(asked.stdout, "e\tc,d\n2\t1\n");
  const many = await run(["pull", "trips", "many.csv", "--parallel", "20"]); // more connections than there are by default
  assert.deepEqual([many.code, many.stderr], [0, ""]);
  const several = await run(["pull", "trips", "part{n}.csv", "--parallel", "2"]);
  assert.equal(several.code, 0, several.stderr);
  const names = ["many.csv", "odd.tsv", "part1.csv", "part2.csv", "t.csv"];
  assert.deepEqual(files(folder), names);
  const fewer = await run(["pull", "trips", "part{n}.csv", "--parallel", "1"]);
  assert.equal(fewer.code, 1);
  assert.match(fewer.stderr, /part2\.csv exists.*; delete it, or choose another name/);
  assert.deepEqual(files(folder), names);
});

cliTest("lakebase pull writes a folder of several files, or of partitions", async ({ run, folder }) => {
  await run(["query", TRIPS]);
  const count = async () => {
    const { stdout } = await run(["query", "--format", "csv", "--no-header", "SELECT count(DISTINCT id) FROM again"]);
    return stdout;
  };
  const several = await run(["pull", "trips", "trips/", "--format", "csv", "--rows-per-file", "400"]);
  assert.deepEqual([several.code, several.stderr], [0, ""]);
  assert.match(several.stdout, /^1,000 rows to trips\//);
  assert.deepEqual(files(`${folder}/trips`), ["_SUCCESS", "part-00000.csv", "part-00001.csv", "part-00002.csv"]);
  const again = await run(["pull", "trips", "trips/", "--partition-by", "zone"]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /trips\/: it is a folder with files in it; use --replace, or choose another name/);
  const replaced = await run(["pull", "trips", "trips/", "--partition-by", "zone", "--replace", "--quiet"]);
  assert.deepEqual(replaced, { code: 0, stdout: "", stderr: "" });
  assert.deepEqual(files(`${folder}/trips`), ["_SUCCESS", "zone=Harlem", "zone=SoHo"]);
  assert.deepEqual(files(`${folder}/trips/zone=SoHo`), ["part-00000.parquet"]);
  assert.equal((await run(["load", "again", "trips/", "--create"])).code, 0);
  assert.equal(await count(), "1000\n");
  const cases: [args: string[], message: RegExp][] = [
    [["none/", "--rows-per-file", "0"], /--rows-per-file is 0; it must be a whole number above 0/],
    [["none/", "--partition-by", "zon"], /--partition-by has "zon", which is not a column; did you mean "zone"\?/],
    [["none/", "--partition-by", "id,zone"], /--partition-by has all columns/],
    [["t.csv", "--rows-per-file", "5"], /--rows-per-file is for a folder/],
    [["t.csv", "--partition-by", "zone"], /--partition-by is for a folder/],
    [["t.csv", "--replace"], /--replace is for a folder/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await run(["pull", "trips", ...args]);
    assert.deepEqual([code, stderr.match(message) !== null], [2, true], `${args.join(" ")}: ${stderr}`);
  }
  assert.deepEqual(files(folder), ["trips"]);
  assert.equal(files(`${folder}/trips`).length, 3);
  await run(["query", "DROP TABLE again"]);
});

cliTest("invalid pulls and loads are refused, and change nothing", async ({ run, folder }) => {
  await run(["query", `${TRIPS}; DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (n int)`]);
  await Deno.writeTextFile(`${folder}/bad.csv`, "n\n1\n2\nthree\n");
  await Deno.writeTextFile(`${folder}/empty.csv`, "");
  await Deno.writeTextFile(`${folder}/semicolons.csv`, "n;m\n1;2\n");
  const cases: [args: string[], code: number, message: RegExp][] = [
    [["pull", "trips", "t.xls"], 2, /not a known format.*give --format csv/],
    [["pull", "trips", "-"], 2, /give --format csv/],
    [["pull", "trips", "no/t.csv"], 1, /no folder no/],
    [["pull", "trps", "t.csv"], 1, /Did you mean trips\?/],
    [["pull", "trips", "t.parqet"], 2, /did you mean \.parquet\?/],
    [["pull", "trips", "."], 2, /not a known format/],
    [["pull", "trips", `${"x".repeat(300)}.csv`], 1, /the name is too long for the file system/],
    [["pull", "trips", "t.parquet", "--no-header"], 2, /--no-header is for csv, tsv; the format is parquet/],
    [["pull", "trips", "t.ndjson", "--no-header"], 2, /--no-header is for csv, tsv; the format is ndjson/],
    [["pull", "trips", "t.arrow", "--null", "-"], 2, /--null is for csv, tsv; the format is arrow/],
    [["pull", "trips", "t.parquet", "--gzip"], 2, /gzip is for csv, tsv, ndjson; the format is parquet/],
    [["pull", "trips", "t.csv", "--row-group-size", "5"], 2, /--row-group-size is for parquet; the format is csv/],
    [["pull", "trips", "t.csv", "--delimiter", "ab"], 2, /--delimiter is "ab"; it must be one ASCII character/],
    [["pull", "trips", "t.csv", "--columns", "id,id"], 2, /different columns, such as id,zone/],
    [["pull", "trips", "t.csv", "--columns", '"id'], 2, /different columns, such as id,zone/],
    [["pull", "trips", "t.csv", "--columns", "idd"], 2, /--columns has "idd", which is not a column/],
    [["pull", "trips", "t.csv", "--parallel", "0"], 2, /--parallel is 0; it must be a whole number from 1 to 64/],
    [["pull", "trips", "t{n}.csv"], 2, /give their number with --parallel 2/],
    [["pull", "--sql", "SELECT 1", "t.csv", "--parallel", "2"], 2, /Leave --parallel out/],
    [["pull", "trips"], 2, /a table and a target/],
    [["pull"], 2, /a table and a target/],
    [["pull", "--sql", "TABLE trips", "trips", "t.csv"], 2, /a table and a target/],
    [["pull", "--sql", "SELECT 1; SELECT 2", "t.csv"], 2, /one query; there are 2/],
    [["pull", "--sql", "SELECT $a", "t.csv"], 2, /-p a=VALUE/],
    [["pull", "--sql", "SELECT 1 / (100000 - n) FROM generate_series(1, 200000) AS n", "t.csv"], 1, /division by zero/],
    [["load", "numbers", "bad.csv"], 1, /line 4, column n: .*"three"/],
    [["load", "nowhere", "bad.csv"], 1, /no such table/],
    [["load", "numbers", "none.csv"], 1, /no such file/],
    [["load", "numbers", "bad.csv", "--type", "n=int"], 2, /--type is for --create/],
    [["load", "numbers", "bad.csv", "--create", "--type", "n"], 2, /column=type/],
    [["load", "numbers"], 2, /missing required argument 'file'/],
    [["load", "numbers", "bad.csv", "-"], 2, /- is standard input, which can't be one of several/],
    [["load", "numbers", "*.parquet"], 1, /matches no file in this folder, which has /],
    [["load", "nowhere", "bad.csv"], 1, /HINT: --create makes it/],
    [["load", "other", "bad.csv", "--create", "--type", "m=int"], 2, /--type has "m", which is not one of its columns/],
    [
      ["load", "other", "bad.csv", "--create", "--type", "n=;"],
      2,
      /--type is .*SQL types, such as --type zip=text/,
    ],
    [["load", "numbers", "empty.csv"], 1, /use --no-header/],
    [["load", "trips", "semicolons.csv"], 1, /has the column "n", but public\.trips has no column with that name/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stdout], [expected, ""], args.join(" "));
    assert.match(stderr, message);
  }
  assert.deepEqual(files(folder), ["bad.csv", "empty.csv", "semicolons.csv"]);
  assert.equal((await run(["query", "--format", "csv", "--no-header", "SELECT count(*) FROM numbers"])).stdout, "0\n");
});

cliTest("lakebase load reads standard input, and loads all rows or none", async ({ run }) => {
  const args = ["load", "stations", "-", "--format", "csv", "--create", "--type", "code=text", "--quiet"];
  const loaded = await run(args, { stdin: "id,code\n1,007\n2,\n" });
  assert.deepEqual(loaded, { code: 0, stdout: "", stderr: "" });
  const { stdout } = await run(["query", "--format", "ndjson", "TABLE stations; DROP TABLE stations"]);
  assert.equal(stdout, '{"id":1,"code":"007"}\n{"id":2,"code":null}\n');
});

for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  cliTest(
    `${signal === "SIGINT" ? "" : "(slow) "}${signal} during a pull leaves the existing file`,
    async ({ spawn, folder }) => {
      await Deno.writeTextFile(`${folder}/t.csv`, "as it was");
      const child = spawn([
        "pull",
        "--sql",
        "SELECT n, repeat('x', 1000) FROM generate_series(1, 100000000) AS n",
        "t.csv",
      ]);
      const output = child.output();
      await eventually("the pull has begun its file", () => files(folder).length === 2);
      child.kill(signal);
      const { code, stderr } = await output;
      assert.equal(code, expected);
      assert.match(new TextDecoder().decode(stderr), /^lakebase: \[CANCELED\] Canceled/);
      assert.deepEqual(files(folder), ["t.csv"]);
      assert.equal(await Deno.readTextFile(`${folder}/t.csv`), "as it was");
    },
  );
}

cliTest("(slow) a reader that closes the output ends a pull quietly", async ({ spawn }) => {
  const child = spawn(["pull", "--sql", "SELECT n FROM generate_series(1, 10000000) AS n", "-", "--format", "csv"]);
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  const [stderr, { code }] = await Promise.all([new Response(child.stderr).text(), child.status]);
  assert.deepEqual([code, stderr], [141, ""]);
});

cliTest(
  "(slow) lakebase pull and load accept a path of a Volume like any other path",
  async ({ run, spawn, local }) => {
    await run(["query", TRIPS]);
    const volume = "/Volumes/main/raw/landing";
    const file = await run(["pull", "trips", `${volume}/trips.parquet`]);
    assert.deepEqual([file.code, file.stderr], [0, ""]);
    assert.match(file.stdout, /^1,000 rows to trips\.parquet/);
    assert.equal((await run(["pull", "trips", `${volume}/part{n}.csv`, "--parallel", "2", "--quiet"])).code, 0);
    const fewer = await run(["pull", "trips", `${volume}/part{n}.csv`, "--parallel", "1"]);
    assert.match(fewer.stderr, /part2\.csv exists.*; delete it, or choose another name/);
    assert.equal((await run(["pull", "trips", `${volume}/trips/`, "--parallel", "2", "--quiet"])).code, 0);
    for (const source of ["trips.parquet", "trips/", "part*.csv"]) {
      const loaded = await run(["load", "again", `${volume}/${source}`, "--create", "--replace"]);
      assert.match(loaded.stdout, /^1,000 rows/, loaded.stderr);
    }
    const nowhere = await run(["pull", "trips", "/Volumes/main/raw/nope/t.csv"]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /there is no Volume main\.raw\.nope/);
    const doctor = await run(["doctor", "--volume", volume]);
    assert.match(doctor.stdout, /ok +volume .*can be read; it has 4 items/);
    local.faults.workspace("PUT */stopped.csv", { answer: "never" });
    const pulling = spawn(["pull", "trips", `${volume}/stopped.csv`]);
    await eventually("the upload begins", () => local.requests.some(({ path }) => path.includes("stopped.csv?")));
    pulling.kill("SIGINT");
    assert.notEqual((await pulling.output()).code, 0);
    local.faults.reset();
    assert.match((await run(["load", "again", `${volume}/stopped.csv`])).stderr, /there is no such file/);
  },
);

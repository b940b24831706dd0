import assert from "node:assert/strict";
import { connect, type Lakebase } from "../../mod.ts";
import { optionsOf } from "../support/lakebase.ts";
import { pythonWith } from "../support/python.ts";
import { clientScript, type ConformanceTest, conformanceTest } from "./backends.ts";

const PYTHON = ["pyarrow", "polars", "duckdb"];
const noPython = () => pythonWith(...PYTHON) ? undefined : `no Python with ${PYTHON.join(", ")}`;
const noSpark = () => pythonWith("pyspark") ? undefined : "no Python with pyspark";
const clusterSkipped = () => "a cluster takes minutes to start; LAKEBASE_TEST_ALL=1 runs it";
const noJava = () => {
  try {
    new Deno.Command("java", { args: ["-version"], stdout: "null", stderr: "null" }).outputSync();
    return undefined;
  } catch {
    return "no java, which Spark runs on";
  }
};

const TABLE = `CREATE TABLE trips AS SELECT n AS id, CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN E'a "q", b\\n' || n
  ELSE 'plain' END AS said, (n * 1.25)::numeric(10, 2) AS fare,
  timestamptz '2024-03-02 12:30:00+00' + n * interval '1.000001 s' AS at, 2024 + n % 2 AS year,
  CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'Café / 1' ELSE 'SoHo %=' END AS zone FROM generate_series(1, 1000) AS n`;

/** Pulls a table into a folder, and calls `work`, which lets other programs read it. */
async function withPulledFolder({ local }: ConformanceTest, work: (db: Lakebase, folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-datasets-" });
  await using db = await connect(optionsOf(local));
  try {
    await db.query(TABLE);
    await db.pull("trips", `${folder}/pulled-parquet/`, { partitionBy: ["year", "zone"], rowsPerFile: 100 });
    await work(db, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Loads a folder into an existing table and into a new one. Every value must equal the server's. */
async function expectSame(db: Lakebase, folder: string): Promise<void> {
  const columns = "id, said, fare, at, year, zone";
  await db.query("DROP TABLE IF EXISTS again, made; CREATE TABLE again (LIKE trips)");
  for (const [table, options] of [["again", {}], ["made", { create: true }]] as const) {
    const { rows } = await db.load(table, folder, options);
    const [different] = await db.query(
      `SELECT (SELECT row(d.*)::text FROM (SELECT ${columns} FROM trips EXCEPT ALL SELECT ${columns} FROM ${table}) AS d LIMIT 1) AS d`,
    );
    assert.deepEqual([rows, { ...different as object }], [1000, { d: null }], `${folder} ${table}`);
  }
}

conformanceTest("pyarrow, polars and DuckDB read a folder that was pulled, and write what is loaded", async (test) => {
  await withPulledFolder(test, async (db, folder) => {
    assert.match(await test.program(pythonWith(...PYTHON)!, clientScript("python_datasets.py"), folder), /done\n$/);
    for (const writer of ["pulled-parquet", "pyarrow", "polars", "duckdb"]) await expectSame(db, `${folder}/${writer}`);
  });
}, { needs: [noPython] });

conformanceTest("a Spark cluster reads folders that were pulled, and writes what is loaded", async (test) => {
  await withPulledFolder(test, async (db, folder) => {
    await db.pull("trips", `${folder}/pulled-csv/`, { format: "csv", parallel: 2 });
    await db.pull("trips", `${folder}/pulled-ndjson/`, { format: "ndjson", rowsPerFile: 300 });
    assert.match(await test.program(pythonWith("pyspark")!, clientScript("spark_dataset.py"), folder), /done\n$/);
    for (const [name, format] of [["parquet"], ["csv"], ["json", "ndjson"]] as const) {
      if (format === undefined) await expectSame(db, `${folder}/spark-${name}`);
      else {
        await db.query("TRUNCATE again");
        assert.equal((await db.load("again", `${folder}/spark-${name}`, { format })).rows, 1000);
      }
    }
  });
}, {
  needs: [clusterSkipped, noSpark, noJava],
  notOnPglite: "a cluster takes its time to start, and reads the same files",
});

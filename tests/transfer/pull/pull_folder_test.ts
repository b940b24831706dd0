import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import type { Lakebase, PullOptions } from "../../../mod.ts";
import { errorOf } from "../../support/queries.ts";
import { namesIn, pullTest } from "../../support/transfers.ts";
import { ownLakebase } from "../../support/lakebase.ts";
import { LOCKED } from "../../support/files.ts";

/** All files below a folder, in order. */
function filesIn(folder: string, prefix = ""): string[] {
  return namesIn(folder).flatMap((name) => {
    const isFolder = Deno.statSync(`${folder}/${name}`).isDirectory;
    return isFolder ? filesIn(`${folder}/${name}`, `${prefix}${name}/`) : [prefix + name];
  });
}

/** Pulls a folder of files in a process that can write at most 64 KiB to a file, as on a disk that is nearly full. */
const ON_FULL_DISK = `
  import { connect } from "lakebase";
  const db = await connect();
  const rows = db.sql\`SELECT n, repeat('x', CASE WHEN n > 5000 THEN 1000 ELSE 10 END) AS t FROM generate_series(1, 6000) AS n\`;
  await rows.pull(Deno.args[0], { format: "csv", rowsPerFile: 1000 }).catch((error) => console.log(error.message));
  await db.close();`;

const ROWS = `SELECT n AS id, CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN E'a "q",\\n\\t\\\\ '||n ELSE '' END AS said,
  json_build_object('n', n) AS doc, CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'Café / 1' ELSE 'SoHo%=' END AS zone,
  (2024 + n % 2)::int2 AS year FROM generate_series(1, 1000) AS n`;

const FORMATS = ["csv", "tsv", "ndjson", "arrow", "parquet"] as const;

/** The number of rows that are loaded from a folder, and how many of them differ from the table. */
async function difference(db: Lakebase, folder: string): Promise<unknown> {
  await db.query("DROP TABLE IF EXISTS again; CREATE TABLE again (LIKE origin)");
  const { rows } = await db.load("again", folder);
  const columns = "id, said, doc::text, zone, year";
  const [found] = await db.query(
    `SELECT count(*) AS n FROM (SELECT ${columns} FROM origin EXCEPT ALL SELECT ${columns} FROM again) AS d`,
  );
  return [rows, (found as { n: unknown }).n];
}

pullTest("pull() into a folder divides the rows exactly, and load() reads them all", async ({ db, folder }) => {
  await db.query(`DROP TABLE IF EXISTS origin; CREATE TABLE origin AS ${ROWS}`);
  for (const format of FORMATS) {
    const cases: [options: PullOptions, files: string[]][] = [
      [{}, [`part-00000.${format}`]],
      [{ rowsPerFile: 400 }, [0, 1, 2].map((n) => `part-0000${n}.${format}`)],
      [{ rowsPerFile: 500 }, [0, 1].map((n) => `part-0000${n}.${format}`)],
      [{ partitionBy: ["year"] }, [2024, 2025].map((year) => `year=${year}/part-00000.${format}`)],
      [
        { partitionBy: ["zone", "year"], rowsPerFile: 200 },
        [
          `zone=Café %2F 1/year=2025/part-00000.${format}`,
          `zone=Café %2F 1/year=2025/part-00001.${format}`,
          `zone=SoHo%25%3D/year=2024/part-00000.${format}`,
          `zone=SoHo%25%3D/year=2024/part-00001.${format}`,
          `zone=SoHo%25%3D/year=2025/part-00000.${format}`,
          `zone=SoHo%25%3D/year=2025/part-00001.${format}`,
          `zone=__HIVE_DEFAULT_PARTITION__/year=2024/part-00000.${format}`,
          `zone=__HIVE_DEFAULT_PARTITION__/year=2024/part-00001.${format}`,
        ],
      ],
    ];
    for (const [options, files] of cases) {
      const target = `${folder}/out/`;
      const pulled = await db.pull("origin", target, { format, replace: true, ...options });
      assert.deepEqual(filesIn(target), ["_SUCCESS", ...files], format);
      assert.deepEqual([...pulled.paths].sort(), files.map((file) => target + file));
      assert.equal(pulled.bytes, files.reduce((sum, file) => sum + Deno.statSync(target + file).size, 0));
      assert.deepEqual(
        [pulled.rows, await difference(db, target)],
        [1000, [1000, 0]],
        `${format} ${Object.keys(options)}`,
      );
      assert.deepEqual(namesIn(folder), ["out"]);
    }
  }
  await db.pull("origin", `${folder}/rows/`, { format: "csv", rowsPerFile: 400, columns: ["id"] });
  const lines = (n: number) => Deno.readTextFileSync(`${folder}/rows/part-0000${n}.csv`).split("\n");
  assert.deepEqual([0, 1, 2].map((n) => [lines(n).length, lines(n)[0]]), [[402, "id"], [402, "id"], [202, "id"]]);
});

pullTest("(slow) pull() into a folder on several connections writes a file for each", async ({ db, folder }) => {
  await db.query(`DROP TABLE IF EXISTS origin; CREATE TABLE origin AS ${ROWS}`);
  for (const format of FORMATS) {
    for (const rowsPerFile of [undefined, 90]) {
      const target = `${folder}/out/`;
      const options = { format, parallel: 3, replace: true, ...(rowsPerFile && { rowsPerFile }) };
      const { paths } = await db.pull("origin", target, options);
      assert.ok(rowsPerFile === undefined ? paths.length === 3 : paths.length >= 12, String(paths.length));
      assert.deepEqual(await difference(db, target), [1000, 0], format);
    }
  }
}, { notOnPglite: "it does one thing at a time" });

pullTest("pull() of a query into a folder takes the options of a file", async ({ db, folder }) => {
  const target = `${folder}/out/`;
  const year = 2025;
  await db.sql`SELECT ${year}::int AS year, n FROM generate_series(1, 3) n`.pull(target, {
    format: "csv",
    partitionBy: ["year"],
    gzip: true,
    delimiter: ";",
    header: false,
  });
  const bytes = await Deno.readFile(`${target}year=2025/part-00000.csv.gz`);
  assert.equal(new TextDecoder().decode(gunzipSync(bytes)), "1\n2\n3\n");
  await db.sql`SELECT 1 AS n WHERE false`.pull(target, { replace: true });
  assert.deepEqual(filesIn(target), ["_SUCCESS", "part-00000.parquet"]);
  await db.sql`SELECT 1 AS n, 2 AS m WHERE false`.pull(target, { replace: true, partitionBy: ["m"] });
  assert.deepEqual(filesIn(target), ["_SUCCESS"]);
  await Deno.mkdir(`${folder}/empty`);
  await db.sql`SELECT 1.50 AS fare, DATE '2025-01-31' AS day, true AS flag`.pull(`${folder}/empty/`, {
    partitionBy: ["day", "flag"],
  });
  assert.deepEqual(filesIn(`${folder}/empty`), ["_SUCCESS", "day=2025-01-31/flag=true/part-00000.parquet"]);
});

pullTest("a pull into an unsuitable folder is refused, and the folder's content stays", async ({ db, folder }) => {
  await Deno.mkdir(`${folder}/old`);
  await Deno.writeTextFile(`${folder}/old/part-00000.csv`, "id\n1\n");
  await Deno.mkdir(`${folder}/mine`);
  await Deno.writeTextFile(`${folder}/mine/thesis.tex`, "");
  await Deno.writeTextFile(`${folder}/file`, "");
  const rows = db.sql`SELECT n AS id, n % 2 AS odd, '' AS empty FROM generate_series(1, 10) AS n`;
  const cases: [target: string, options: PullOptions, message: RegExp, code?: string][] = [
    ["old/", {}, /it is a folder with files in it; use \{ replace: true \}/],
    ["mine/", { replace: true }, /it has the file thesis\.tex in it, which does not belong to a dataset/],
    ["file/", {}, /there is a file of that name/],
    ["none/x/", {}, /there is no folder \S+\/none; make it first/],
    ["old", { format: "csv" }, /it is a folder; name a file in it, or write several files with "\S+\/old\/"/],
    [
      "x.csv",
      { rowsPerFile: 3 },
      /rowsPerFile is for a folder of files; a folder's name ends in \/: "\S+\/x\/"/,
      "BAD_PARAMETER",
    ],
    ["x/", { partitionBy: ["odd"], parallel: 2 }, /partitionBy has the server sort the rows/, "BAD_PARAMETER"],
    [
      "x/",
      { partitionBy: ["oddd"] },
      /partitionBy has "oddd", which is not a column; did you mean "odd"/,
      "BAD_PARAMETER",
    ],
    ["x/", { partitionBy: ["id", "odd", "empty"] }, /has all columns/, "BAD_PARAMETER"],
    ["x/", { partitionBy: ["empty"] }, /the column "empty" has an empty text/],
    ["x/", { rowsPerFile: 0 }, /rowsPerFile is 0/, "BAD_PARAMETER"],
    ["x/", { partitionBys: ["odd"] } as PullOptions, /did you mean "partitionBy"/, "BAD_PARAMETER"],
  ];
  for (const [target, options, message, code = "BAD_FILE"] of cases) {
    const error = await errorOf(rows.pull(`${folder}/${target}`, options));
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
    assert.deepEqual(filesIn(folder), ["file", "mine/thesis.tex", "old/part-00000.csv"]);
  }
  const failing = db.sql`SELECT 1 / (5000 - n) AS id, n % 2 AS odd FROM generate_series(1, 10000) AS n`;
  for (const options of [{ rowsPerFile: 100 }, { partitionBy: ["odd"] }]) {
    assert.match(
      (await errorOf(failing.pull(`${folder}/old/`, { ...options, replace: true }))).message,
      /division by zero/,
    );
    assert.deepEqual(filesIn(folder), ["file", "mine/thesis.tex", "old/part-00000.csv"]);
  }
  const stop = new AbortController();
  const stopped = rows.pull(`${folder}/old/`, { replace: true, signal: stop.signal, onProgress: () => stop.abort() });
  await assert.rejects(stopped, { name: "AbortError" });
  assert.deepEqual(filesIn(folder), ["file", "mine/thesis.tex", "old/part-00000.csv"]);
});

Deno.test({
  name: "if the disk is full at one file of a folder, the folder stays unchanged",
  ignore: Deno.build.os === "windows", // no limit of a file's size there
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "lakebase-pull-" });
    await using local = await ownLakebase();
    await Deno.writeTextFile(`${folder}/pull.ts`, ON_FULL_DISK);
    const run = `trap '' XFSZ; ulimit -f 128; exec "$@"`;
    const { stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        run,
        "sh",
        Deno.execPath(),
        "run",
        "-A",
        "--no-check",
        ...LOCKED,
        `${folder}/pull.ts`,
        `${folder}/out/`,
      ],
      env: { ...local.env, PGSSLROOTCERT: local.ca },
    }).output();
    const output = new TextDecoder().decode(stdout);
    assert.match(output, /out\/part-00005\.csv: File too large\n/, new TextDecoder().decode(stderr));
    assert.deepEqual(namesIn(folder), ["pull.ts"]);
    await Deno.remove(folder, { recursive: true });
  },
});

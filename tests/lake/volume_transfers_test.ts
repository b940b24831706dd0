import assert from "node:assert/strict";
import { check, connect, type Lakebase, LakebaseError, type PullOptions } from "../../mod.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { eventually } from "../support/eventually.ts";
import { localTests, optionsOf } from "../support/lakebase.ts";

const folder = await Deno.makeTempDir({ prefix: "lakebase-volumes-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
const ROOT = "/Volumes/main/raw/landing";
const DISK = `${folder}/main/raw/landing`;
const localTest = localTests({ volumesDir: folder, passwords: { app: "secret" } });

interface TransferTest {
  db: Lakebase;
  local: LocalLakebase;
}

/** A test with a table of 20,000 trips, and an empty Volume. */
function transferTest(name: string, run: (test: TransferTest) => Promise<void>): void {
  localTest(name, async ({ local, settings }) => {
    await Deno.remove(DISK, { recursive: true }).catch(() => {}); // the first test has none
    await Deno.mkdir(DISK, { recursive: true });
    await using db = await connect(settings());
    await db.query("DROP TABLE IF EXISTS trips, back");
    await db.query(
      "CREATE TABLE trips AS SELECT n AS id, CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'Café/1' WHEN 2 THEN '50% #?' " +
        "ELSE 'Harlem' END AS zone, n * 1.5::float8 AS fare FROM generate_series(1, 20000) AS n",
    );
    await run({ db, local });
  });
}

/** All files of the Volume, with their folders. */
function onDisk(below = ""): string[] {
  return [...Deno.readDirSync(DISK + below)].flatMap(({ name, isDirectory }) =>
    isDirectory ? [`${below}/${name}/`, ...onDisk(`${below}/${name}`)] : [`${below}/${name}`]
  ).sort();
}

async function expectBack(db: Lakebase, source: string | string[]): Promise<void> {
  assert.equal((await db.load("back", source, { create: true })).rows, 20_000);
  const different =
    "SELECT count(*)::int FROM trips FULL JOIN back USING (id) WHERE trips.zone IS DISTINCT FROM back.zone " +
    "OR trips.fare IS DISTINCT FROM back.fare";
  assert.equal((await db.query<{ count: number }>(different))[0]!.count, 0);
  await db.query("DROP TABLE back");
}

async function failure(work: Promise<unknown>): Promise<LakebaseError> {
  const error = await work.then(() => assert.fail("the work did not fail"), (error) => error);
  assert.ok(error instanceof LakebaseError, Deno.inspect(error));
  assert.doesNotMatch(Deno.inspect(error, { depth: 9 }) + error.stack, /dapi[0-9a-f]{8}|Bearer \S{8}/);
  return error;
}

for (const name of ["t.csv", "t.tsv.gz", "t.ndjson", "t.arrow", "t.parquet", "a b #1 100% why? 😀.parquet"]) {
  transferTest(`a table is written to a Volume as ${name}, and loaded back`, async ({ db }) => {
    const pulled = await db.pull("trips", `${ROOT}/${name}`);
    assert.deepEqual([pulled.rows, pulled.path], [20_000, `${ROOT}/${name}`]);
    assert.equal(pulled.bytes, (await Deno.stat(`${DISK}/${name}`)).size);
    await expectBack(db, `${ROOT}/${name}`);
    const again = await db.sql`SELECT * FROM trips`.pull(`${ROOT}/${name}`); // an existing file is replaced
    assert.equal(again.rows, 20_000);
    assert.deepEqual(onDisk(), [`/${name}`]);
  });
}

transferTest("rows and columns in memory are written to the Volume of their connection", async ({ db }) => {
  const query = db.sql`SELECT * FROM trips ORDER BY id`;
  await (await query).pull(`${ROOT}/rows.csv`);
  await (await query.columns()).pull(`${ROOT}/columns.csv`);
  const [rows, columns] = ["rows", "columns"].map((name) => Deno.readTextFileSync(`${DISK}/${name}.csv`));
  assert.equal(rows, columns);
  await db.transaction(async (tx) => void await tx.pull("trips", `${ROOT}/tx.csv`));
  await using session = await db.session();
  await session.pull("trips", `${ROOT}/session.csv`);
  assert.equal(Deno.readTextFileSync(`${DISK}/tx.csv`), Deno.readTextFileSync(`${DISK}/session.csv`));
});

transferTest(
  "(slow) a dataset is written into a folder of the Volume, and loaded back by folder, glob and list",
  async ({ db, local }) => {
    const before = local.requests.length;
    const pulled = await db.pull("trips", `${ROOT}/trips/`, { rowsPerFile: 8000 });
    const names = ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"];
    assert.deepEqual(pulled.paths, names.map((name) => `${ROOT}/trips/${name}`));
    assert.deepEqual(onDisk(), ["/trips/", "/trips/_SUCCESS", ...names.map((name) => `/trips/${name}`)]);
    const puts = local.requests.slice(before).filter(({ method }) => method === "PUT").map(({ path }) => path);
    assert.match(puts.at(-1)!, /_SUCCESS/); // the mark of a complete dataset comes last
    await expectBack(db, `${ROOT}/trips/`);
    await expectBack(db, `${ROOT}/trips`);
    await expectBack(db, `${ROOT}/tr*/part-0000[0-2].parquet`);
    await expectBack(db, `${ROOT}/**/*.parquet`);
    await Deno.rename(`${DISK}/trips/part-00002.parquet`, `${folder}/here.parquet`);
    await expectBack(db, [`${ROOT}/trips/`, `${folder}/here.parquet`]); // files of both places are one load
  },
);

transferTest("partitions are folders of the Volume, whatever their values are", async ({ db }) => {
  await db.pull("trips", `${ROOT}/trips/`, { partitionBy: ["zone"], format: "csv" });
  assert.deepEqual(onDisk().filter((path) => path.endsWith("/")), [
    "/trips/",
    "/trips/zone=50%25 %23%3F/",
    "/trips/zone=Café%2F1/",
    "/trips/zone=Harlem/",
    "/trips/zone=__HIVE_DEFAULT_PARTITION__/",
  ]);
  await expectBack(db, `${ROOT}/trips/`);
});

/** A query that fails after some thousand rows. */
const BROKEN = "SELECT id, zone, 1 / (id - 15000) AS fare FROM trips";

transferTest("a failed pull leaves the Volume as it was", async ({ db }) => {
  const pull = (target: string, options?: PullOptions) => db.sql`${db.sql.unsafe(BROKEN)}`.pull(target, options);
  const error = await failure(pull(`${ROOT}/t.csv`));
  assert.equal(error.sqlstate, "22012");
  assert.match(error.message, /they were removed, and \/Volumes\/main\/raw\/landing\/t.csv is as it was/);
  assert.deepEqual(onDisk(), []);
  await Deno.writeTextFile(`${DISK}/t.csv`, "old");
  await failure(pull(`${ROOT}/t.csv`));
  assert.equal(Deno.readTextFileSync(`${DISK}/t.csv`), "old");
  await failure(pull(`${ROOT}/new/`, { rowsPerFile: 1000, format: "csv" }));
  assert.deepEqual(onDisk(), ["/t.csv"]);
});

transferTest("only a complete dataset replaces an older one", async ({ db, local }) => {
  await db.pull("trips", `${ROOT}/trips/`, { rowsPerFile: 15_000, format: "csv", partitionBy: ["zone"] });
  const before = onDisk();
  const error = await failure(db.pull("trips", `${ROOT}/trips/`));
  assert.match(error.message, /it is a folder with files in it; .*\{ replace: true \}/);
  const options = { rowsPerFile: 1000, format: "csv", replace: true } as const;
  await failure(db.sql`${db.sql.unsafe(BROKEN)}`.pull(`${ROOT}/trips/`, options));
  assert.deepEqual(onDisk(), before); // also its _SUCCESS
  await db.pull("trips", `${ROOT}/trips/`, { replace: true });
  const after = onDisk();
  assert.equal(after.length, 3);
  assert.match(after[2]!, /^\/trips\/part-00000-[0-9a-f]{8}\.parquet$/);
  await expectBack(db, `${ROOT}/trips/`);
  local.faults.workspace("DELETE */part-*", { status: 403 });
  const stuck = await failure(db.pull("trips", `${ROOT}/trips/`, { replace: true }));
  assert.match(stuck.message, /Cannot remove .*this login may not remove it/);
  assert.match(stuck.message, /trips\/ has all new files and maybe some of the old ones, and no _SUCCESS/);
  assert.equal(onDisk().filter((path) => path.includes("part-")).length, 2);
  local.faults.reset();
  await Deno.writeTextFile(`${DISK}/trips/notes.txt`, "mine");
  assert.match((await failure(db.pull("trips", `${ROOT}/trips/`, { replace: true }))).message, /notes\.txt/);
});

transferTest(
  "(slow) a dataset leaves nothing behind if an upload is refused or cut off",
  async ({ db, local }) => {
    for (const fault of [{ status: 507 }, { status: 429 }, { after: 10_000 }, { answer: "reset" as const }]) {
      local.faults.workspace("PUT */part-00001*", fault);
      const error = await failure(db.pull("trips", `${ROOT}/trips/`, { rowsPerFile: 5000, format: "csv" }));
      assert.equal(error.code, "status" in fault && fault.status === 507 ? "BAD_FILE" : "WORKSPACE_UNAVAILABLE");
      assert.match(error.message, /Cannot write \/Volumes\/main\/raw\/landing\/trips\/part-00001\.csv/);
      assert.deepEqual(onDisk(), []);
      local.faults.reset();
    }
  },
);

transferTest("a file of a dataset that is refused temporarily is sent again", async ({ db, local }) => {
  for (const fault of [{ status: 429, times: 1 }, { status: 503, times: 2 }, { after: 10_000, times: 1 }]) {
    local.faults.workspace("PUT */part-00001*", fault);
    const { paths } = await db.pull("trips", `${ROOT}/trips/`, { rowsPerFile: 5000, format: "csv", replace: true });
    assert.equal(paths.length, 4);
    await expectBack(db, `${ROOT}/trips/`);
    local.faults.reset();
  }
});

transferTest(
  "a file that is too large for the workspace is refused, and the error names the alternatives",
  async ({ db, local }) => {
    local.faults.workspace("PUT */files/*", { status: 413 });
    const error = await failure(db.pull("trips", `${ROOT}/t.csv`));
    assert.equal(error.code, "BAD_FILE");
    assert.match(error.message, /rowsPerFile.*\{n\}/);
  },
);

for (const format of ["csv", "parquet", "arrow"] as const) {
  transferTest(`a load of ${format} resumes at the byte where a connection broke`, async ({ db, local }) => {
    await db.pull("trips", `${ROOT}/t.${format}`);
    local.faults.workspace("GET */files/*", { after: 20_000, times: 3 });
    await expectBack(db, `${ROOT}/t.${format}`);
  });
}

transferTest("Stop ends a pull and a load in each phase, and leaves nothing", async ({ db, local }) => {
  await db.pull("trips", `${ROOT}/source.csv`);
  const stopWhileItHangs = async (request: string, start: (signal: AbortSignal) => Promise<unknown>) => {
    local.faults.workspace(request, { answer: "never" });
    const stopping = new AbortController();
    const work = start(stopping.signal);
    await eventually("the request is under way", () => local.requests.at(-1)?.status === 0);
    stopping.abort(new Error("stopped"));
    await assert.rejects(work, { message: "stopped" });
    local.faults.reset();
  };
  for (const method of ["HEAD", "GET", "PUT"]) { // the requests for the file, for the Volume and for the upload
    await stopWhileItHangs(`${method} */landing*`, (signal) => db.pull("trips", `${ROOT}/t.csv`, { signal }));
    assert.deepEqual(onDisk(), ["/source.csv"]);
  }
  for (const method of ["HEAD", "GET"]) {
    await stopWhileItHangs(`${method} */files/*`, (signal) => db.load("trips", `${ROOT}/source.csv`, { signal }));
  }
  assert.equal(await db.sql`SELECT count(*) FROM trips`.value(), 20_000);
});

const BAD: readonly (readonly [what: string, path: string, message: RegExp])[] = [
  ["a Volume that is not there", "/Volumes/main/raw/nope/t.csv", /there is no Volume main\.raw\.nope/],
  ["no Volume", "/Volumes/main/t.csv", /the path of a Volume is \/Volumes\/catalog\/schema\/volume/],
  ["a parent of the Volume", `${ROOT}/../t.csv`, /has no \.\./],
];

for (const [what, path, message] of BAD) {
  transferTest(`${what} is refused as a target and as a source`, async ({ db }) => {
    for (const work of [() => db.pull("trips", path), () => db.load("trips", path)]) {
      const error = await failure(work());
      assert.equal(error.code, "BAD_FILE");
      assert.match(error.message, message);
    }
  });
}

transferTest("a folder is refused as a file, and a file as a folder", async ({ db }) => {
  await Deno.mkdir(`${DISK}/folder.csv/x`, { recursive: true });
  await Deno.writeTextFile(`${DISK}/file.csv`, "id\n");
  assert.match((await failure(db.pull("trips", `${ROOT}/folder.csv`))).message, /it is a folder; name a file in it/);
  assert.match((await failure(db.pull("trips", `${ROOT}/file.csv/`))).message, /there is a file of that name/);
  assert.match(
    (await failure(db.load("trips", `${ROOT}/file.csv/`))).message,
    /it is a file, but a path that ends in \/ must be a folder/,
  );
  assert.match((await failure(db.load("trips", `${ROOT}/fil.csv`))).message, /there is no such file/);
  assert.match(
    (await failure(db.load("trips", `${ROOT}/folder.cs/`))).message,
    /there is no such folder.*did you mean/,
  );
  assert.match(
    (await failure(db.load("trips", `${ROOT}/*.parquet`))).message,
    /matches no file.*file\.csv, folder\.csv/,
  );
  assert.match((await failure(db.load("trips", `${ROOT}/folder.csv/`))).message, /the folder has no data files|empty/);
});

transferTest("a checkup has a step for each Volume that was used, and for one that is named", async ({ db, local }) => {
  assert.equal((await db.check()).at(-1)!.step, "clock");
  await db.pull("trips", `${ROOT}/t.csv`);
  const [used] = (await db.check()).filter(({ step }) => step === "volume");
  assert.deepEqual([used!.outcome, used!.detail], ["ok", `${ROOT} can be read; it has 1 item`]);
  local.faults.workspace("HEAD */fs/*", { status: 403 });
  const [refused] = (await db.check()).filter(({ step }) => step === "volume");
  assert.equal(refused!.outcome, "failed");
  assert.match(refused!.detail, /this login may not read it; it needs the privilege READ VOLUME/);
  local.faults.reset();
  const named = await check(optionsOf(local), { volume: "/Volumes/main/raw/nope" });
  assert.equal(named.ok, false);
  assert.match(named.at(-1)!.detail, /there is no Volume main\.raw\.nope/);
  assert.equal((await check(optionsOf(local), { volume: `${ROOT}/t.csv` })).at(-1)!.outcome, "ok");
  await assert.rejects(Promise.resolve(check({}, { volume: "here" })), {
    code: "BAD_PARAMETER",
    message: /\/Volumes\/catalog/,
  });
});

localTest("the error of a connection without a workspace says that it has no Volumes", async ({ local }) => {
  const { PGHOST: host, PGPORT: port } = local.env;
  await using db = await connect({ host: host!, port: Number(port), user: "app", password: "secret", ca: local.ca });
  const error = await failure(db.sql`SELECT 1`.pull(`${ROOT}/t.csv`));
  assert.equal(error.code, "BAD_SETTING");
  assert.match(
    error.message,
    /Cannot open \/Volumes\/main\/raw\/landing\/t\.csv: this connection has a native password/,
  );
});

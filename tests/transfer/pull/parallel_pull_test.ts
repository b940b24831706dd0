import assert from "node:assert/strict";
import { connect, type Lakebase } from "../../../mod.ts";
import { errorOf, sharedPostgres } from "../../support/queries.ts";
import { namesIn, pullTest, recordingStream } from "../../support/transfers.ts";

const ROWS = 40_000;

function bigTest(name: string, run: (test: Parameters<Parameters<typeof pullTest>[1]>[0]) => Promise<void>): void {
  const withTable = async (test: Parameters<typeof run>[0]) => {
    const { db } = test;
    await db.query(
      `CREATE TABLE spread AS SELECT n AS id, (n / 4.0)::numeric(12, 2) AS fare, repeat('x', n % 900) AS note,
      '2024-01-01Z'::timestamptz + n * interval '1 second' AS at FROM generate_series(1, ${ROWS}) AS n`,
    );
    try {
      await run(test);
    } finally {
      await db.query("DROP TABLE spread");
    }
  };
  pullTest(name, withTable, { notOnPglite: "it has one backend" });
}

bigTest("(slow) pull() with parallel writes the same bytes of text formats as without", async ({ db, folder }) => {
  for (const ending of ["csv", "tsv", "ndjson"]) {
    for (const options of [{}, { columns: ["note", "id"] }]) {
      const one = await db.pull("spread", `${folder}/one.${ending}`, options);
      const many = await db.pull("spread", `${folder}/many.${ending}`, { ...options, parallel: 3 });
      assert.deepEqual([many.rows, many.bytes], [one.rows, one.bytes], ending);
      const [a, b] = await Promise.all([one, many].map(({ path }) => Deno.readFile(path!)));
      assert.deepEqual(a, b, ending);
    }
  }
});

bigTest("(slow) pull() with parallel writes Arrow and Parquet with the same rows", async ({ db, folder }) => {
  for (const ending of ["arrow", "parquet"]) {
    const { rows } = await db.pull("spread", `${folder}/t.${ending}`, { parallel: 3 });
    assert.equal(rows, ROWS);
    await db.load("spread_back", `${folder}/t.${ending}`, { create: true });
    const differing = await db.query(`(TABLE spread EXCEPT TABLE spread_back) UNION ALL
      (TABLE spread_back EXCEPT TABLE spread) LIMIT 1`);
    assert.deepEqual([...differing], []);
    assert.equal(await db.sql`SELECT count(*) FROM spread_back`.value(), ROWS);
    await db.query("DROP TABLE spread_back");
  }
});

bigTest("pull() with {n} in the name writes one complete file for each connection", async ({ db, folder }) => {
  const result = await db.pull("spread", `${folder}/t-{n}.csv`, { parallel: 3 });
  assert.equal(result.rows, ROWS);
  assert.deepEqual(result.paths, [1, 2, 3].map((n) => `${folder}/t-${n}.csv`));
  assert.equal(result.path, undefined);
  assert.deepEqual(namesIn(folder), ["t-1.csv", "t-2.csv", "t-3.csv"]);
  const ids: number[] = [];
  for (const path of result.paths) {
    const [names, ...lines] = (await Deno.readTextFile(path)).split("\n").slice(0, -1);
    assert.equal(names, "id,fare,note,at");
    ids.push(...lines.map((line) => Number(line.split(",", 1)[0])));
  }
  assert.deepEqual(ids.toSorted((a, b) => a - b), Array.from({ length: ROWS }, (_, index) => index + 1));
  const parquet = await db.pull("spread", `${folder}/{n}.parquet`, { parallel: 2 });
  for (const path of parquet.paths) await db.load("spread_back", path, { create: true });
  assert.equal(await db.sql`SELECT count(DISTINCT id) FROM spread_back`.value(), ROWS);
  await db.query("DROP TABLE spread_back");
});

bigTest("pull() refuses an impossible parallel with the reason, and leaves no file", async ({ db, folder }) => {
  const path = `${folder}/t.csv`;
  const refused = async (pulling: Promise<unknown>, message: RegExp) => {
    const error = await errorOf(pulling);
    assert.equal(error.code, "BAD_PARAMETER", error.message);
    assert.match(error.message, message);
    assert.deepEqual(namesIn(folder), []);
  };
  for (const parallel of [0, -1, 65, 1.5, NaN, "2" as unknown as number]) {
    await refused(db.pull("spread", path, { parallel }), /parallel is .*; it must be a whole number from 1 to 64/);
  }
  await refused(db.pull("spread", path, { parallel: 16 }), /parallel is 16, but the pool has at most 15 connections/);
  await refused(db.sql`SELECT * FROM spread`.pull(path, { parallel: 2 }), /only a table by its name can be divided/);
  await db.query("CREATE VIEW spread_view AS TABLE spread");
  await refused(db.pull("spread_view", path, { parallel: 2 }), /it is a view/);
  await db.query("DROP VIEW spread_view");
  await db.transaction(async (tx) => {
    await refused(tx.pull("spread", path, { parallel: 2 }), /in a transaction, whose changes/);
    assert.equal((await tx.pull("spread", path)).rows, ROWS);
    await Deno.remove(path);
  });
  await refused(db.pull("spread", `${folder}/t-{n}.csv`), /means several files/);
});

bigTest(
  "pull() with parallel finds the same table as without, whatever its name and columns",
  async ({ db, folder }) => {
    await db.query(`CREATE TABLE "Odd ""Name" AS SELECT n AS "N", 'x' AS "or" FROM generate_series(1, 5000) AS n`);
    await db.query("CREATE DOMAIN positive AS int CHECK (VALUE > 0)");
    await db.query("CREATE TABLE guarded AS SELECT n::positive AS n, n AS m FROM generate_series(1, 5000) AS n");
    await db.query("ALTER TABLE guarded DROP COLUMN m");
    await db.query('CREATE TABLE "No Part" (n int) PARTITION BY LIST (n)');
    const names: Parameters<typeof db.pull>[0][] = [
      ...['"Odd ""Name"', 'public."Odd ""Name"', "guarded", "PUBLIC.Guarded", db.sql.id("guarded"), db.sql`guarded`],
      "No Part",
    ];
    for (const name of names) {
      for (const ending of ["csv", "arrow"]) {
        await db.pull(name, `${folder}/one.${ending}`);
        await db.pull(name, `${folder}/two.${ending}`, { parallel: 2 });
        const [one, two] = await Promise.all(
          ["one", "two"].map((file) => Deno.readFile(`${folder}/${file}.${ending}`)),
        );
        assert.deepEqual(two, one);
      }
    }
    await db.pull("spread", `${folder}/some.csv`, { parallel: 2, columns: ["at", "id"] });
    assert.match(await Deno.readTextFile(`${folder}/some.csv`), /^at,id\n/);
    await db.query('DROP TABLE "Odd ""Name", "No Part", guarded');
    await db.query("DROP DOMAIN positive");
  },
);

bigTest("pull() with parallel names a table or column that does not exist", async ({ db, folder }) => {
  for (
    const [name, message] of [
      ["spreat", /^Cannot pull spreat: there is no such table\nDid you mean spread\?$/],
      ["Spreat", /^Cannot pull Spreat: there is no such table/],
      ["nowhere.spread", /^Cannot pull nowhere.spread: there is no such table/],
    ] as const
  ) {
    const error = await errorOf(db.pull(name, `${folder}/t.csv`, { parallel: 2 }));
    assert.deepEqual([error.code, error.sqlstate], ["QUERY_FAILED", "42P01"]);
    assert.match(error.message, message);
  }
  const missing = await errorOf(db.pull("spread", `${folder}/t.csv`, { parallel: 2, columns: ["idd"] }));
  assert.match(missing.message, /columns has "idd", which is not a column/);
  assert.deepEqual(namesIn(folder), []);
});

/**
 * Ends the server's side of one of the connections that copy, which requires a superuser. Their locks tell them from those
 * of an earlier test, which the server may still list.
 */
async function killOne(db: Lakebase): Promise<void> {
  const table = await db.sql`SELECT 'spread'::regclass::oid`.value();
  const { port } = await sharedPostgres();
  const server = { host: "127.0.0.1", port, database: "postgres", sslMode: "disable" } as const;
  await using owner = await connect({ ...server, user: "postgres", password: "native-secret" });
  const killed = await owner.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE state <> 'idle' AND query LIKE 'COPY%spread%'
      AND pid IN (SELECT pid FROM pg_locks WHERE relation = ${table}::oid) LIMIT 1`;
  assert.equal(killed.length, 1);
}

bigTest("pull() with parallel keeps the old files whole when it ends early", async ({ db, folder }) => {
  const files = ["t.csv", "t-1.csv", "t-2.csv"];
  for (const name of files) await Deno.writeTextFile(`${folder}/${name}`, "old");
  const own = new Error("the program's own");
  for (const target of ["t.csv", "t-{n}.csv"]) {
    const controller = new AbortController();
    using changes = Deno.watchFs(folder);
    const begun = (async () => {
      for await (const _ of changes) return controller.abort(own);
    })();
    const onProgress = () => begun; // the pull does not end before it is aborted
    const options = { parallel: 2, signal: controller.signal, onProgress };
    await assert.rejects(db.pull("spread", `${folder}/${target}`, options), own, target);
    await begun;
    assert.deepEqual(namesIn(folder), files.toSorted());
    for (const name of files) assert.equal((await Deno.readTextFile(`${folder}/${name}`)).slice(0, 9), "old");
  }
  assert.equal((await db.pull("spread", `${folder}/t.csv`, { parallel: 2 })).rows, ROWS);
});

bigTest("pull() with parallel reports a connection that is lost half-way", async ({ db, folder }) => {
  // More than is read ahead of a slow stream.
  await db.query("INSERT INTO spread SELECT n, 1, repeat('x', 1900), now() FROM generate_series(1, 70000) AS n");
  let killing: Promise<void> | undefined;
  const slow = new WritableStream<Uint8Array>({ write: () => killing ??= killOne(db) });
  const error = await errorOf(db.pull("spread", slow, { format: "csv", parallel: 2 }));
  assert.match(error.message, /terminat/);
  assert.match(error.message, /rows? had arrived/);
  assert.deepEqual(namesIn(folder), []);
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

bigTest("pull() with parallel reports its progress in rows of the whole table", async ({ db }) => {
  const { stream } = recordingStream();
  const reports: { rows: number; done: boolean }[] = [];
  const { rows } = await db.pull("spread", stream, { format: "csv", parallel: 2, onProgress: (p) => reports.push(p) });
  assert.deepEqual([reports.at(-1)!.done, reports.at(-1)!.rows], [true, rows]);
  assert.deepEqual(
    reports.map((progress) => progress.rows),
    reports.map((progress) => progress.rows).toSorted((a, b) => a - b),
  );
});

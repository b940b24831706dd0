import assert from "node:assert/strict";
import type { LakebaseError } from "../../../mod.ts";
import { openSinks } from "../../../src/transfer/pull/target.ts";
import { namesIn } from "../../support/transfers.ts";

Deno.test("no file of several is replaced before all are complete, and a failure to replace one is reported", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-sinks-" });
  try {
    const sinks = await openSinks({ target: `${folder}/t-{n}.csv`, format: "csv", gzip: false, folder: false }, {
      parallel: 3,
    }, undefined);
    for (const sink of sinks.all) await sink.write(new TextEncoder().encode("id\n"));
    assert.equal(sinks.outcome, "they were removed, and no file was replaced");
    await sinks.flush();
    assert.ok(namesIn(folder).every((name) => name.endsWith(".part")));
    await Deno.mkdir(`${folder}/t-2.csv/in the way`, { recursive: true });
    await assert.rejects(sinks.commit(undefined), { code: "BAD_FILE" });
    await sinks.abort(undefined, undefined);
    assert.equal(sinks.outcome, "1 of 3 files are complete, and the others were removed");
    assert.deepEqual(namesIn(folder), ["t-1.csv", "t-2.csv"]);
    assert.equal(await Deno.readTextFile(`${folder}/t-1.csv`), "id\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("files that an earlier pull with more connections has left are refused, before anything is opened", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-sinks-" });
  const open = (name: string, parallel: number) => {
    return openSinks(
      { target: `${folder}/${name}`, format: "parquet", gzip: false, folder: false },
      { parallel },
      undefined,
    );
  };
  try {
    for (const name of ["h-1.parquet", "h-2.parquet", "h-3.parquet", "gap-9.parquet"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "old");
    }
    await Deno.symlink("nowhere", `${folder}/link-2.parquet`);
    const before = namesIn(folder);
    const cases: [name: string, parallel: number, said: RegExp][] = [
      [
        "h-{n}.parquet",
        2,
        /Cannot write .*h-\{n\}\.parquet: the pull writes 2 files, and .*h-3\.parquet exists.*delete it/,
      ],
      ["h-{n}.parquet", 1, /the pull writes 1 file, and .*h-2\.parquet exists/],
      ["gap-{n}.parquet", 2, /gap-9\.parquet exists/],
      ["link-{n}.parquet", 1, /link-2\.parquet exists/],
    ];
    for (const [name, parallel, said] of cases) {
      await assert.rejects(open(name, parallel), (error: LakebaseError) => {
        assert.equal(error.code, "BAD_FILE");
        assert.match(error.message, said);
        return true;
      });
      assert.deepEqual(namesIn(folder), before);
    }
    await (await open("h-{n}.parquet", 3)).abort(undefined, undefined); // as many as there are take their places
    assert.deepEqual(namesIn(folder), before);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

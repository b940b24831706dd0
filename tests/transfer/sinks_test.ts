import assert from "node:assert/strict";
import { openSinks } from "../../src/transfer/sinks.ts";
import { namesIn } from "./support.ts";

Deno.test("of several files none takes its place before all are whole; where one then can't, that is said", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-sinks-" });
  try {
    const sinks = await openSinks({ target: `${folder}/t-{n}.csv`, format: "csv", gzip: false }, 3, undefined);
    for (const sink of sinks.all) await sink.write(new TextEncoder().encode("id\n"));
    assert.equal(sinks.outcome, "they were removed, and no file was replaced");
    assert.ok(namesIn(folder).every((name) => name.endsWith(".part")));
    await Deno.mkdir(`${folder}/t-2.csv/in the way`, { recursive: true });
    await assert.rejects(sinks.commit(), { code: "BAD_FILE" });
    await sinks.abort(undefined);
    assert.equal(sinks.outcome, "1 of 3 files are in their places, whole, and the others were removed");
    assert.deepEqual(namesIn(folder), ["t-1.csv", "t-2.csv"]);
    assert.equal(await Deno.readTextFile(`${folder}/t-1.csv`), "id\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { vega, vegaLite } from "./vega.ts";

const FOLDER = new URL("../../src/plot/vega/", import.meta.url);

Deno.test("the files of Vega have the versions of their README", async () => {
  const table = await Deno.readTextFile(new URL("README.md", FOLDER));
  const rows = [...table.matchAll(/^\| `(\S+\.js)` *\| `(\S+)@(\S+)` .*\| `([0-9a-f]{64})` \|$/gm)];
  assert.deepEqual(rows.map(([, file]) => file), ["vega.min.js", "vega-lite.min.js"]);
  const license = await Deno.readTextFile(new URL("LICENSE", FOLDER));
  for (const [, file, name, version, sum] of rows) {
    assert.equal(createHash("sha256").update(await Deno.readFile(new URL(file!, FOLDER))).digest("hex"), sum, file);
    assert.equal((name === "vega" ? vega : vegaLite).version, version);
    assert.ok(license.includes(`${name} ${version}`), name);
  }
});

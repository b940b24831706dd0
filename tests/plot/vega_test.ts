import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { vega, vegaLite } from "./vega.ts";
import { LOCKED } from "../support/files.ts";

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

Deno.test("a notebook's worker, which has no limit of memory, draws as the one with a limit does", async () => {
  const script = `import { drawSvg } from "${import.meta.resolve("../../src/plot/plot.ts")}";
    const spec = { data: { values: [{ a: 1 }, { a: 2 }] }, mark: "bar", encoding: { x: { field: "a" } } };
    const [plain, limited] = [await drawSvg(spec, false), await drawSvg(spec, true)];
    console.log(plain === limited, plain === await drawSvg(spec, false), /^<svg[^]*bar/.test(plain));
    await drawSvg({ data: { url: "https://example.com/" }, mark: "bar" }, false).catch(({ message }) => console.log(message));
    const stop = AbortSignal.timeout(0);
    await drawSvg(spec, false, stop).catch((error) => console.log(error === stop.reason));
    console.log((await drawSvg(spec, false)) === plain);
    Deno.exit();`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["eval", ...LOCKED, script] }).output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  assert.equal(lines[0], "true true true", new TextDecoder().decode(stderr));
  assert.match(lines[1]!, /it refers to https:\/\/example\.com\/; a chart loads nothing/);
  assert.deepEqual(lines.slice(2), ["true", "true", ""]);
});

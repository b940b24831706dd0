// @ts-types="../../src/plot/vega/globals.d.ts"
import "../../src/plot/vega/vega.min.js";
// @ts-types="../../src/plot/vega/globals.d.ts"
import "../../src/plot/vega/vega-lite.min.js"; // uses the global `vega`
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Vega, VegaLite } from "../../src/plot/vega/globals.d.ts";
import { LOCKED } from "../support/files.ts";
import { queryTest } from "../support/queries.ts";

const { vega, vegaLite } = globalThis as unknown as { vega: Vega; vegaLite: VegaLite };

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

Deno.test("a worker without a limit of memory, which a notebook uses, draws the same as a worker with a limit", async () => {
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

/** Names that mean something to Vega-Lite, to the tooltips of a frontend or to JavaScript, or that end a text in an expression. */
const NAMES = [
  "image",
  "title",
  "href",
  "url",
  "description",
  "signal",
  "text",
  "__proto__",
  "constructor",
  "datum.x",
  "a[0]",
  "$$",
  "\\",
  "a\\",
  '"',
  '\\", "image": datum["color"], "z',
  '\\": 1, image: datum.x, "z',
  "${image}",
  "line\nend",
  "line\u2028end",
  "'",
];

/** The tooltips of a chart, as a frontend gets them. */
async function readTooltips(spec: Record<string, unknown>): Promise<Record<string, unknown>[]> {
  const compiled = vegaLite.compile(JSON.parse(JSON.stringify(spec))).spec;
  const view = await new vega.View(vega.parse(compiled), { renderer: "none" }).runAsync();
  const tooltips: Record<string, unknown>[] = [];
  const visit = (item: { tooltip?: Record<string, unknown>; items?: never[] }) => {
    if (item.tooltip) tooltips.push(item.tooltip);
    item.items?.forEach(visit);
  };
  visit(view.scenegraph().root as { items: never[] });
  view.finalize();
  return tooltips;
}

queryTest("(slow) no column name has a special meaning in any kind of chart", async ({ db }) => {
  const evil = `x" onerror="pwned()`;
  for (const name of NAMES) {
    for (const mark of (name === "image" ? ["bar", "box", "point", "heatmap"] as const : ["bar", "box"] as const)) {
      const value = mark === "point" ? db.sql`7` : db.sql`${evil}::text`;
      const rows = db.sql`SELECT ${value} AS ${db.sql.id(name)}, 3 AS "n n", ${evil}::text AS "c c"`;
      const { spec } = await rows.plot(
        mark === "heatmap" ? { mark, x: name, y: "n n", color: "count()" } : { mark, x: name, y: "n n", color: "c c" },
      );
      const tooltips = await readTooltips(spec);
      assert.ok(tooltips.length > 0, `${name} ${mark}`);
      for (const tooltip of tooltips) {
        assert.equal(Object.getPrototypeOf(tooltip), Object.prototype);
        const keys = Object.keys(tooltip);
        assert.ok(keys.length >= 2 && keys.every((key) => !["image", "title"].includes(key)), `${name}: ${keys}`);
        assert.ok(!keys.includes("z"), `${name}: ${keys}`);
      }
    }
  }
}, { notOnPglite: "names mean the same on both databases" });

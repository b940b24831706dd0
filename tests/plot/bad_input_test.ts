import assert from "node:assert/strict";
import type { PlotOptions } from "../../mod.ts";
import { drawn, errorOf, queryTest, untilSent } from "../support/queries.ts";

const ROWS = "SELECT 'a' AS zone, 1.5 AS fare, 2 AS id, now() AS started";

const REFUSED: [options: unknown, message: RegExp][] = [
  [{ mark: "bars" }, /^Cannot plot: there is no mark "bars"; did you mean "bar"\?$/],
  [{ mark: "pie" }, /there is no mark "pie"; the marks are bar, line, area, point, histogram, box, heatmap$/],
  [{ mark: null }, /there is no mark "null"/],
  [{ x: "zon" }, /x is "zon", which is not a column; did you mean "zone"\?/],
  [{ y: "Fare", x: "zone" }, /y is "Fare", which is not a column; did you mean "fare"\?/],
  [{ x: "nothing like it" }, /which is not a column; the columns are zone, fare, id, started$/],
  [{ x: "zone", y: "averge(fare)" }, /y is "averge\(fare\)"; did you mean "avg"\?|the functions are count, sum, avg/],
  [{ x: "zone", y: "sum(zone)" }, /y is "sum\(zone\)", and "zone" is text, not a number; count\(\) takes any column/],
  [{ x: "zone", y: "avg(far)" }, /y is "far", which is not a column; did you mean "fare"\?/],
  [{ x: "zone", y: "avg()" }, /y is "", which is not a column/],
  [{ x: "zone", y: "fare); DROP TABLE trips; --" }, /which is not a column/],
  [
    { mark: "line", x: "started", y: "zone" },
    /y is "zone", which is text; a line needs a number: count\(\), avg\(column\), or a column of numbers there/,
  ],
  [{ mark: "point", x: "zone", y: "fare" }, /x is "zone", which is text; a point needs a column of numbers there/],
  [
    { mark: "histogram", x: "zone" },
    /x is "zone", which is text; a histogram needs a number or a time. mark: "bar" counts texts/,
  ],
  [
    { mark: "histogram", x: "fare", y: "avg(id)" },
    /a histogram counts rows and has no avg\(id\); mark: "bar" draws it/,
  ],
  [{ mark: "histogram", x: "fare", y: "id" }, /a histogram counts one column/],
  [{ mark: "box", y: "zone" }, /y is "zone", which is text; a box needs a column of numbers there/],
  [{ mark: "box", y: "avg(fare)" }, /a box draws the values of a column itself/],
  [{ mark: "heatmap", x: "zone", y: "id", color: "zone" }, /color is "zone", which is text/],
  [{ mark: "heatmap", x: "zone", y: "count()" }, /put the computed number into color/],
  [{ x: "count()", y: "sum(fare)" }, /x and y are both computed; one of them must be a column/],
  [
    { mark: "bar", x: "zone", color: "avg(fare)" },
    /color is "avg\(fare\)"; only the color of a heatmap is computed; that of a bar must be a column/,
  ],
  [{ facet: "count()" }, /facet is "count\(\)"; it must be a column/],
  [{ colour: "zone" }, /there is no option "colour"; did you mean "color"\?/],
  [{ x: 1 }, /x is a number; it must be a column's name/],
  [{ x: "" }, /x is empty/],
  [{ title: 1 }, /title is a number; it must be a text/],
  [{ width: 0 }, /width is 0; it must be 1 to 4000 pixels/],
  [{ height: 1e9 }, /height is 1000000000/],
  [{ width: "100%" }, /width is a string/],
  [{ spec: [] }, /spec must be an object of Vega-Lite/],
  [{ spec: { mark: "nonsense" } }, /the Vega-Lite specification can't be drawn/],
  [{ spec: { data: { url: "https://example.com/data.json" } } }, /spec has data, but the chart draws the rows/],
  [
    {
      spec: {
        transform: [{ lookup: "x", from: { data: { url: "https://example.com/a.json" }, key: "k", fields: ["v"] } }],
      },
    },
    /it refers to https:\/\/example\.com\/a\.json; a chart loads nothing/,
  ],
  [{ spec: { description: "x".repeat(2_000_000) } }, /the chart would be larger than 960 kB/],
  ["bar", /the options must be an object/],
  [null, /the options must be an object/],
];

queryTest("plot() refuses invalid options with the reason, for a query and for its result", async ({ db }) => {
  const query = db.sql`${db.sql.unsafe(ROWS)}`;
  const result = await query;
  for (const [options, message] of REFUSED) {
    for (const rows of [query, result]) {
      const error = await errorOf(() => rows.plot(options as PlotOptions)).catch((cause) => {
        throw new Error(JSON.stringify(options)?.slice(0, 200), { cause });
      });
      assert.equal(error.code, "BAD_PARAMETER", String(message));
      assert.match(error.message, message);
    }
  }
});

queryTest("plot() refuses a statement that returns no columns", async ({ db }) => {
  const nothing = await errorOf(() => db.sql`CREATE TABLE p_nothing ()`.plot());
  assert.equal(nothing.sqlstate, "42601");
  await db.sql`CREATE TABLE p_none ()`;
  const none = await errorOf(() => db.sql`SELECT * FROM p_none`.plot());
  assert.match(none.message, /there are no columns; plot\(\) takes a query that returns rows/);
  const dropped = await db.sql`DROP TABLE p_none`;
  assert.match((await errorOf(() => dropped.plot())).message, /there are no columns/);
});

queryTest("an error of plot() points to the line of the query, and plot() changes no data", async ({ db }) => {
  const error = await errorOf(() =>
    db.sql`SELECT 1,
  nope`.plot()
  );
  assert.match(error.message, /^LINE 2: {3}nope\n {10}\^$/m);
  const late = await errorOf(() => db.sql`SELECT n, 1 / (n - 2) AS m FROM generate_series(1, 3) n`.plot());
  assert.equal(late.sqlstate, "22012");
  await db.sql`CREATE SEQUENCE p_plotted`;
  assert.equal((await errorOf(() => db.sql`SELECT nextval('p_plotted') AS n`.plot())).sqlstate, "25006");
  assert.equal((await errorOf(() => db.sql`SELECT 1) AS q; DROP SEQUENCE p_plotted; --`.plot())).sqlstate, "42601");
  await db.sql`DROP SEQUENCE p_plotted`;
});

queryTest("plot() binds parameters, stops by a signal, and runs in a transaction", async ({ db }) => {
  const zones = ["a", "b"];
  const { data } = await db.sql`SELECT unnest(${zones}::text[]) AS zone, ${2}::int AS n`.plot({
    x: "zone",
    y: "avg(n)",
  });
  assert.deepEqual(data, [{ x: "a", y: 2 }, { x: "b", y: 2 }]);
  const many = db.sql`SELECT 'k' || n % ${20}::int AS kind, n % ${2}::int AS x, n FROM generate_series(1, 100) n`;
  const combined = await many.plot({ mark: "bar", x: "x", y: "avg(n)", color: "kind" });
  assert.match(combined.summary, /kind: the 10 most frequent of 20, the others as "other"/);
  const [controller, reason] = [new AbortController(), new Error("enough")];
  const slow = db.sql`SELECT n, pg_sleep(1)::text AS t FROM generate_series(1, 100) n`.with({
    signal: controller.signal,
  });
  const stopped = assert.rejects(async () => await slow.plot({ x: "t" }), reason);
  await untilSent(db, "pg_sleep");
  controller.abort(reason);
  await stopped;
  await db.transaction(async (tx) => {
    await tx.sql`CREATE TEMP TABLE p_temp AS SELECT 5 AS n`;
    assert.equal((await tx.sql`SELECT n FROM p_temp`.plot()).data.length, 1);
    await tx.sql`DROP TABLE p_temp`;
  });
});

queryTest("plot() draws itself in a notebook as Vega-Lite, SVG and text, each within a megabyte", async ({ db }) => {
  const points = db
    .sql`SELECT random() AS a, random() * 1e6 AS b, repeat('category ', 5) || n % 9 AS c FROM generate_series(1, 30000) n`;
  const plot = points.plot({ color: "c" });
  assert.match(
    await drawn(plot),
    /^Point chart: b by a and c \([\d,]+ points of 30,000 rows\)\n {2}a sample of [\d,]+ of 30,000 rows/,
  );
  const bundle = (await plot)[Symbol.for("Jupyter.display") as never] as unknown as () => Record<string, unknown>;
  const forms = bundle.call(await plot);
  assert.deepEqual(Object.keys(forms), ["application/vnd.vegalite.v5+json", "image/svg+xml", "text/plain"]);
  assert.ok(JSON.stringify(forms).length < 1_000_000);
  assert.ok((await plot).data.length > 2000 && (await plot).data.length <= 5000);
});

queryTest("plot() draws hostile names and values as text, and merges the option spec", async ({ db }) => {
  const evil = `</svg><script>alert("x")</script>`;
  const rows = db.sql`SELECT ${evil} AS ${db.sql.id(evil)}, ${"javascript:alert(1)"} AS "href", 3 AS "datum.x"`;
  const plot = await rows.plot({
    mark: "bar",
    x: evil,
    y: "max(datum.x)",
    color: "href",
    title: evil,
    spec: {
      encoding: { y: { axis: { grid: false } }, tooltip: null },
      __proto__: null,
      config: { view: { stroke: null } },
    },
  });
  assert.doesNotMatch(plot.svg, /<script|<\/svg>./);
  assert.match(plot.svg, /&lt;script&gt;/);
  const { encoding } = plot.spec as { encoding: Record<string, Record<string, unknown>> };
  assert.deepEqual([encoding["y"]!["field"], encoding["y"]!["axis"], encoding["tooltip"]], [
    "y",
    { grid: false },
    null,
  ]);
  assert.deepEqual(plot.data, [{ x: evil, color: "javascript:alert(1)", y: 3 }]);
});

queryTest("(slow) plot() shows the greatest of a million categories, and says so", async ({ db }) => {
  const plot = await db.sql`SELECT 'category ' || n AS c FROM generate_series(1, 1000000) n`.plot();
  assert.equal(plot.data.length, 50);
  assert.match(plot.summary, /c: the 50 most frequent of 1,000,000/);
}, { notOnPglite: "PGlite takes long for a million groups" });

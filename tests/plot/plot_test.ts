import assert from "node:assert/strict";
import type { PlotOptions } from "../../mod.ts";
import { queryTest } from "../support/queries.ts";

type Cells = Record<string, unknown>;

interface Case {
  /** The end of the test's name. */
  name: string;
  /** A query of the columns that are drawn. */
  rows: string;
  options?: PlotOptions;
  /** The drawn data, or some cells of each row. */
  data: Cells[];
  /** A part of the summary. */
  summary?: RegExp;
}

const ZONES =
  "VALUES ('Harlem', 10.5::numeric, 1), ('SoHo', 4, 2), ('Harlem', 1.5, 3), (NULL, 8, 4), ('SoHo', NULL, 5)";
const TRIPS = `SELECT zone, fare, id FROM (${ZONES}) AS v(zone, fare, id)`;
const DAYS =
  "SELECT d::date AS day, extract(day FROM d)::int AS n FROM generate_series('2026-01-30', '2026-02-02', interval '1 day') d";

const CASES: Case[] = [
  {
    name: "a text and a number: bars of the sum",
    rows: "SELECT zone, fare FROM (" + TRIPS + ") t",
    data: [{ x: "Harlem", y: 12 }, { x: "NULL", y: 8 }, { x: "SoHo", y: 4 }],
    summary: /^Bar chart: sum\(fare\) by zone \(3 values of 5 rows\)$/,
  },
  {
    name: "a number for each text: the number itself, with its name",
    rows: "SELECT * FROM (VALUES ('a', 1), ('b', 2)) AS v(zone, n)",
    data: [{ x: "b", y: 2 }, { x: "a", y: 1 }],
    summary: /: n by zone/,
  },
  {
    name: "one text: bars of its count",
    rows: `SELECT zone FROM (${TRIPS}) t`,
    data: [{ x: "Harlem", y: 2 }, { x: "SoHo", y: 2 }, { x: "NULL", y: 1 }],
  },
  ...([
    ["avg(fare)", [8, 6, 4]],
    ["mean(fare)", [8, 6, 4]],
    ["min(fare)", [8, 4, 1.5]],
    ["max(fare)", [10.5, 8, 4]],
    ["median(fare)", [8, 6, 4]],
    ["count(fare)", [2, 1, 1]],
    ["count(*)", [2, 2, 1]],
    ["COUNT()", [2, 2, 1]],
    ["stddev(id)", [Math.sqrt(4.5), Math.SQRT2]],
  ] as const).map(([y, values]): Case => ({
    name: y,
    rows: TRIPS,
    options: { mark: "bar", x: "zone", y },
    data: values.map((value) => ({ y: value })),
  })),
  {
    name: "horizontal bars",
    rows: TRIPS,
    options: { x: "max(fare)", y: "zone" },
    data: [{ y: "Harlem", x: 10.5 }, { y: "NULL", x: 8 }, { y: "SoHo", x: 4 }],
  },
  {
    name: "a few whole numbers get a bar each",
    rows: "SELECT n % 3 AS hour FROM generate_series(1, 10) n",
    options: { mark: "bar", x: "hour" },
    data: [{ x: 1, y: 4 }, { x: 0, y: 3 }, { x: 2, y: 3 }],
  },
  {
    name: "a time and a number: a line",
    rows: DAYS,
    data: [{ x: "2026-01-31T00:00:00Z", y: 31 }, { x: "2026-01-30T00:00:00Z", y: 30 }, {
      x: "2026-02-02T00:00:00Z",
      y: 2,
    }, { x: "2026-02-01T00:00:00Z", y: 1 }],
    summary: /^Line chart: n by day \(4 values of 4 rows\)$/,
  },
  {
    name: "each bar over time reaches from a day to the next",
    rows: DAYS,
    options: { mark: "bar", x: "day", y: "max(n)" },
    data: [
      { x: "2026-01-31T00:00:00Z", x2: "2026-02-01T00:00:00Z", y: 31 },
      { x: "2026-01-30T00:00:00Z", x2: "2026-01-31T00:00:00Z", y: 30 },
      { x: "2026-02-02T00:00:00Z", x2: "2026-02-03T00:00:00Z", y: 2 },
      { x: "2026-02-01T00:00:00Z", x2: "2026-02-02T00:00:00Z", y: 1 },
    ],
  },
  {
    name: "many times are rounded to a unit",
    rows: "SELECT '2026-01-01Z'::timestamptz + n * interval '1 minute' AS at, 1 AS one FROM generate_series(0, 6000) n",
    options: { mark: "line", x: "at", y: "sum(one)" },
    data: [...Array.from({ length: 100 }, () => ({ y: 60 })), { x: "2026-01-05T04:00:00Z", y: 1 }],
    summary: /sum\(one\) by at \(101 values of 6,001 rows\)\n {2}at by hour/,
  },
  {
    name: "time zones are drawn in UTC",
    rows: "SELECT '2026-06-01 01:30+05:30'::timestamptz AS at, '2026-06-01 01:30'::timestamp AS local, 1 AS n",
    options: { mark: "line", x: "at", y: "n" },
    data: [{ x: "2026-05-31T20:00:00Z", y: 1 }],
  },
  {
    name: "times without a zone stay as they are",
    rows: "SELECT '2026-06-01 01:30'::timestamp AS local, 1 AS n",
    data: [{ x: "2026-06-01T01:30:00Z", y: 1 }],
  },
  {
    name: "times that a chart can't write are left out",
    rows:
      "SELECT * FROM (VALUES ('infinity'::timestamptz, 1), ('-infinity', 2), ('0044-03-15 BC', 3), (NULL, 4), ('2026-01-01Z', 5)) AS v(at, n)",
    data: [{ x: "2026-01-01T00:00:00Z", y: 5 }],
    summary: /4 rows without a usable at left out/,
  },
  {
    name: "one number: a histogram",
    rows: "SELECT n FROM generate_series(1, 6) n",
    data: [1, 2, 3, 4, 5, 6].map((x) => ({ x, x2: x + 1, y: 1 })),
    summary: /^Histogram: n \(6 values of 6 rows\)$/,
  },
  {
    name: "a histogram's bins begin at round numbers, its last has the greatest value, and NULL and NaN are left out",
    rows:
      "SELECT n / 100.0::float8 AS f FROM generate_series(0, 1000) n UNION ALL SELECT 'NaN' UNION ALL SELECT NULL UNION ALL SELECT 'Infinity'",
    options: { mark: "histogram", x: "f" },
    data: [{ x: 9.5, x2: 10, y: 51 }, ...Array.from({ length: 19 }, () => ({ y: 50 }))],
    summary: /3 rows without a usable f left out/,
  },
  { name: "a histogram of one value", rows: "SELECT 5 AS n", data: [{ x: 5, x2: 6, y: 1 }] },
  {
    name: "a histogram of times",
    rows: "SELECT '2026-01-01'::date + n * 3 AS day FROM generate_series(0, 9) n",
    options: { mark: "histogram" },
    data: Array.from(
      { length: 10 },
      (_, n) => ({ x: new Date(Date.UTC(2026, 0, 1 + 3 * n)).toISOString().replace(".000", ""), y: 1 }),
    ),
  },
  {
    name: "numerics too large for a number",
    rows: "SELECT * FROM (VALUES (1e400::numeric), (1e-400), ('NaN'), (7)) AS v(n)",
    options: { mark: "histogram", x: "n" },
    data: [{ y: 1 }, { y: 1 }],
    summary: /2 rows without a usable n left out/,
  },
  {
    name: "two numbers: a point for each row",
    rows: "SELECT n AS a, n * n::numeric AS b FROM generate_series(1, 3) n UNION ALL SELECT 4, NULL",
    data: [{ x: 1, y: 1 }, { x: 2, y: 4 }, { x: 3, y: 9 }],
    summary: /^Point chart: b by a \(3 points of 4 rows\)\n {2}1 row without a usable b left out$/,
  },
  {
    name: "points with a color by text",
    rows: "SELECT * FROM (VALUES (1, 2, 'a'), (3, 4, NULL)) AS v(a, b, c)",
    options: { mark: "point", color: "c" },
    data: [{ x: 1, y: 2, color: "a" }, { x: 3, y: 4, color: "NULL" }],
  },
  {
    name: "two texts: a heat map of their count",
    rows: "SELECT * FROM (VALUES ('a', true), ('a', true), ('b', false)) AS v(zone, paid)",
    data: [{ x: "a", y: "true", color: 2 }, { x: "b", y: "false", color: 1 }],
    summary: /^Heat map: count\(\) by zone and paid/,
  },
  {
    name: "a heat map of numbers has bins on both axes",
    rows: "SELECT n AS a, n % 2 AS b FROM generate_series(1, 4) n",
    options: { mark: "heatmap", color: "sum(a)" },
    data: [
      { x: 4, x2: 5, y: 0, y2: 1, color: 4 },
      { x: 3, x2: 4, y: 1, y2: 2, color: 3 },
      { x: 2, x2: 3, y: 0, y2: 1, color: 2 },
      { x: 1, x2: 2, y: 1, y2: 2, color: 1 },
    ],
  },
  {
    name: "boxes of quartiles",
    rows: "SELECT n % 2 = 0 AS even, n AS value FROM generate_series(1, 9) n UNION ALL SELECT true, NULL",
    options: { mark: "box" },
    data: [
      { x: "false", min: 1, q1: 3, median: 5, q3: 7, max: 9, rows: 5 },
      { x: "true", min: 2, q1: 3.5, median: 5, q3: 6.5, max: 8, rows: 4 },
    ],
    summary:
      /^Box plot: value by even \(2 values of 10 rows\)\n {2}1 row without a usable value left out\n {2}whiskers/,
  },
  {
    name: "a box of one column",
    rows: "SELECT n::numeric FROM generate_series(1, 5) n",
    options: { mark: "box" },
    data: [{ min: 1, q1: 2, median: 3, q3: 4, max: 5, rows: 5 }],
  },
  {
    name: "an area with colors",
    rows:
      "SELECT '2026-01-01'::date + n / 2 AS day, CASE n % 2 WHEN 0 THEN 'a' END AS kind, n FROM generate_series(0, 3) n",
    options: { mark: "area", x: "day", y: "n", color: "kind" },
    data: [
      { x: "2026-01-02T00:00:00Z", y: 3, color: "NULL" },
      { x: "2026-01-02T00:00:00Z", y: 2, color: "a" },
      { x: "2026-01-01T00:00:00Z", y: 1, color: "NULL" },
      { x: "2026-01-01T00:00:00Z", y: 0, color: "a" },
    ],
  },
  {
    name: "a chart for each facet",
    rows: TRIPS,
    options: { mark: "bar", x: "zone", y: "count()", facet: "id" },
    data: [
      { x: "Harlem", facet: "1", y: 1 },
      { x: "Harlem", facet: "3", y: 1 },
      { x: "SoHo", facet: "2", y: 1 },
      { x: "SoHo", facet: "5", y: 1 },
      { x: "NULL", facet: "4", y: 1 },
    ],
  },
  {
    name: "the greatest of many texts",
    rows: "SELECT 'zone ' || n AS zone, n FROM generate_series(1, 265) n",
    data: Array.from({ length: 50 }, (_, index) => ({ x: `zone ${265 - index}`, y: 265 - index })),
    summary: /zone: the 50 greatest of 265, the others add up to 23,220/,
  },
  {
    name: "many colors: the greatest, and the others",
    rows: "SELECT n % 2 = 0 AS even, 'c' || n AS kind, n FROM generate_series(1, 30) n",
    options: { mark: "bar", x: "even", y: "sum(n)", color: "kind" },
    data: [
      { x: "true", color: "other", y: 110 },
      { x: "false", color: "other", y: 100 },
      ...Array.from({ length: 10 }, (_, index) => ({ color: `c${30 - index}`, y: 30 - index })),
    ],
    summary: /kind: the 10 greatest of 30, the others as "other"/,
  },
  {
    name: "more than 5,000 texts",
    rows: "SELECT 'zone ' || n AS zone, n FROM generate_series(1, 20000) n",
    options: { x: "zone", y: "avg(n)" },
    data: Array.from({ length: 50 }, (_, index) => ({ x: `zone ${20000 - index}`, y: 20000 - index })),
    summary: /zone: the 50 greatest of 20,000/,
  },
  {
    name: "more than 5,000 numbers along a line",
    rows: "SELECT n AS a, n AS b FROM generate_series(0, 9999) n",
    options: { mark: "line", x: "a", y: "b" },
    data: Array.from({ length: 200 }, (_, index) => ({ x: 9975 - 50 * index, y: 9974.5 - 50 * index })),
    summary: /a in 200 bins/,
  },
  {
    name: "hostile names and values",
    rows: `SELECT '<script>alert(1)</script>' AS "__proto__", 1 AS "a.b[0]'""; DROP TABLE x; --"`,
    data: [{ x: "<script>alert(1)</script>", y: 1 }],
    summary: /a\.b\[0\]'"; DROP TABLE x; -- by __proto__/,
  },
  {
    name: "no rows",
    rows: "SELECT 'a' AS zone, 1 AS n WHERE false",
    data: [],
    summary: /\(0 values of 0 rows\)\n {2}no rows/,
  },
  { name: "no rows for a histogram", rows: "SELECT 1 AS n WHERE false", data: [], summary: /no rows/ },
  {
    name: "no rows for a box",
    rows: "SELECT 1 AS n WHERE false",
    options: { mark: "box" },
    data: [],
    summary: /no rows/,
  },
  {
    name: "all NULL",
    rows: "SELECT NULL::float8 AS n FROM generate_series(1, 3)",
    data: [],
    summary: /nothing to draw\n {2}3 rows without a usable n left out/,
  },
  {
    name: "all NULL for bars",
    rows: "SELECT 'a' AS zone, NULL::int AS n",
    data: [],
    summary: /nothing to draw\n {2}1 without a value of sum\(n\) left out/,
  },
];

for (const { name, rows, options = {}, data, summary } of CASES) {
  queryTest(`plot() of a query and of its result draws the same: ${name}`, async ({ db }) => {
    const query = db.sql`${db.sql.unsafe(rows)} -- a comment`;
    for (const plot of [await query.plot(options), await (await query).plot(options)]) {
      assert.deepEqual(sorted(plot.data.map((row, index) => pickCells(row, data[index] ?? row))), sorted(data));
      if (summary !== undefined) assert.match(plot.summary, summary);
      assert.match(plot.svg, /^<svg /);
      assert.equal(plot.spec["$schema"], "https://vega.github.io/schema/vega-lite/v5.json");
    }
  });
}

/** The cells of a row that a case names. */
function pickCells(row: Cells, expected: Cells): Cells {
  return Object.fromEntries(Object.keys(expected).map((name) => [name, row[name]]));
}

/** Rows as texts in a fixed order, with nine digits of each number. */
function sorted(rows: readonly Cells[]): string[] {
  return rows.map((row) =>
    JSON.stringify(row, (_, value) => typeof value === "number" ? Number(value.toPrecision(9)) : value)
  )
    .map((text) => JSON.stringify(Object.entries(JSON.parse(text)).sort())).sort();
}

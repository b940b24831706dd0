import assert from "node:assert/strict";
import { queryTest } from "../support/queries.ts";

type Drawn = Record<symbol, () => Record<string, string> | Promise<Record<string, string>>>;

/** The notebook's drawing of a value, as text. */
async function drawn(value: unknown): Promise<string> {
  return (await (value as Drawn)[Symbol.for("Jupyter.display")]!())["text/plain"]!;
}

const CASES: [sql: string, text: string][] = [
  [`'{"n": 12345678901234567890, "f": 1.0}'::jsonb`, '{"f": 1.0, "n": 12345678901234567890}'],
  [`'{"n":12345678901234567890,"n":1e400}'::json`, '{"n":12345678901234567890,"n":1e400}'],
  [`'[0.1000000000000000055511151231257827]'::jsonb`, "[0.1000000000000000055511151231257827]"],
  [`ARRAY['12345678901234567890'::jsonb]`, "{12345678901234567890}"],
  ["'2026-02-03 04:05:06.789012+00'::timestamptz", "2026-02-03 04:05:06.789012Z"],
  ["'2026-02-03 04:05:06.789+00'::timestamptz", "2026-02-03 04:05:06.789Z"],
  ["1e16::float8", "1e+16"],
  ["'-0'::float8", "-0"],
  ["9007199254740993::int8", "9007199254740993"],
  ["true", "true"],
  ["'\\x00ff'::bytea", "\\x00ff"],
  ["NULL::jsonb", "NULL"],
];

queryTest("a result is drawn with the server's digits", async ({ db }) => {
  await db.query("SET TimeZone TO UTC");
  for (const [expression, text] of CASES) {
    const query = () => db.sql`SELECT ${db.sql.unsafe(expression)} AS value`;
    for (const value of [query(), await query(), await query().browse()]) {
      assert.equal((await drawn(value)).split("\n")[2]!.trim(), text, expression);
    }
  }
});

queryTest(
  "a JSON value of megabytes is drawn with the server's digits, unless a program has changed it",
  async ({ db }) => {
    const documents = [
      `'{"n": 12345678901234567890}'::jsonb || jsonb_build_object('pad', repeat('x', 2000000))`,
      `('{"n":12345678901234567890,"pad":"' || repeat('\\u00e9\\"', 400000) || '"}')::json`,
      `('[12345678901234567890' || repeat(', 1.10, "é\\n"', 200000) || ']')::json`,
    ];
    for (const document of documents) {
      const [first, second] = await Promise.all(
        [1, 2].map(async () => await db.sql`SELECT ${db.sql.unsafe(document)} AS value`),
      );
      assert.match(await drawn(first), /12345678901234567890/, document);
      const value = second![0]!["value"] as Record<string, number>;
      value[Array.isArray(value) ? "0" : "n"] = 5;
      assert.match(await drawn(second), /[:[]5,/, document);
    }
  },
);

queryTest("a parser of a connection changes rows, not what is drawn", async ({ open }) => {
  const exact = (_: string, value: unknown, { source }: { source: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? BigInt(source) : value;
  type Parse = (text: string, revive: typeof exact) => unknown;
  await using db = await open({ types: { numeric: Number, jsonb: (text) => (JSON.parse as Parse)(text, exact) } });
  const rows = await db.sql`SELECT 12.50 AS fare, '{"n": 12345678901234567890}'::jsonb AS document`;
  assert.deepEqual([...rows], [{ fare: 12.5, document: { n: 12345678901234567890n } }]);
  assert.match(await drawn(rows), /12\.50 \| \{"n": 12345678901234567890\}/);
});

queryTest("a value that a program has changed is drawn as it is now", async ({ db }) => {
  const query = db.sql<{ n: number; document: Record<string, unknown> | null }>`
    SELECT n, json_build_object('n', n)::jsonb AS document FROM generate_series(1, 4) AS n`;
  const rows = await query;
  rows[1]!.document!["n"] = "new";
  rows[2]!.document = null;
  rows.reverse();
  rows.push({ n: 5, document: { n: 5 } });
  assert.deepEqual((await drawn(rows)).split("\n").slice(2, -1).map((line) => line.trim()), [
    '4 | {"n": 4}',
    "3 | NULL",
    '2 | {"n":"new"}',
    '1 | {"n": 1}',
    '5 | {"n":5}',
  ]);
});

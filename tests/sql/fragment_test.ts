import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sql } from "../../mod.ts";
import { compile } from "../../src/sql/fragment.ts";

const text = (fragment: Parameters<typeof compile>[0]) => compile(fragment).text;
const refused = (fragment: () => Parameters<typeof compile>[0], message: RegExp) =>
  assert.throws(() => compile(fragment()), { name: "LakebaseError", code: "BAD_PARAMETER", message });

Deno.test("values are numbered parameters", () => {
  assert.deepEqual(compile(sql`SELECT ${1}, ${"a"}, ${true}, ${null}, ${10n}`), {
    text: "SELECT $1, $2, $3, $4, $5",
    values: ["1", "a", "true", null, "10"],
  });
});

Deno.test("a digit after a value does not change its parameter", () => {
  assert.equal(text(sql`SELECT ${5}0`), "SELECT $1 0");
  assert.equal(text(sql`SELECT ${5}${sql`0`}`), "SELECT $1 0");
  assert.equal(text(sql`SELECT ${5}AS n`), "SELECT $1 AS n");
  assert.equal(text(sql`SELECT ${5}::int`), "SELECT $1::int");
});

Deno.test("a hand-written $1 beside values is refused", () => {
  for (
    const query of [
      () => sql`SELECT $1::int AS a, ${5}::int AS b`,
      () => sql`SELECT ${5}, ${sql`'$1' || $12 || ${6}`}`,
      () => sql`SELECT ${sql.id("a")}, $2 WHERE ${1}`,
    ]
  ) refused(query, /^Cannot run the query: it has \$\d+ beside \$\{values\}; write \$\{value\} there, or use query\(/);
  const fine = sql`SELECT '$1', "$2", $$ $3 $$, a$4 -- $5\n, ${5}, /* $6 */ ${sql.unsafe("$1")}`;
  assert.equal(text(fine), `SELECT '$1', "$2", $$ $3 $$, a$4 -- $5\\n, $1, /* $6 */ $1`);
  assert.equal(text(sql`PREPARE p AS SELECT $1::int`), "PREPARE p AS SELECT $1::int");
  assert.equal(text(sql`PREPARE ${sql.id("p")} AS SELECT $1::int`), 'PREPARE "p" AS SELECT $1::int');
});

Deno.test("fragments nest, and a fragment that is used twice keeps its values", () => {
  const where = sql`zone = ${"Harlem"}`;
  assert.deepEqual(compile(sql`SELECT * FROM a WHERE ${where} AND b = ${2} UNION SELECT * FROM c WHERE ${where}`), {
    text: "SELECT * FROM a WHERE zone = $1 AND b = $2 UNION SELECT * FROM c WHERE zone = $3",
    values: ["Harlem", "2", "Harlem"],
  });
});

Deno.test("id(), join(), values() and unsafe() make fragments", () => {
  assert.equal(text(sql`${sql.id("a b", 'c"d')}`), '"a b"."c""d"');
  assert.equal(text(sql`${sql.join([1, sql`now()`])}`), "$1, now()");
  assert.equal(text(sql`${sql.join([sql`a`, sql`b`], " AND ")}`), "a AND b");
  assert.equal(text(sql`${sql.join([sql`a`, sql`b`], "or")}`), "a or b");
  assert.equal(text(sql`${sql.join([sql`a`, sql`b`], "\nUNION ALL\n")}`), "a\nUNION ALL\nb");
  assert.equal(text(sql`${sql.join([sql`a`, sql`b`], ",")}`), "a,b");
  assert.deepEqual(compile(sql`${sql.join([1, 2, 3], sql` + ${"x"} + `)}`), {
    text: "$1 + $2 + $3 + $4 + $5",
    values: ["1", "x", "2", "x", "3"],
  });
  assert.equal(text(sql`${sql.values([[1, 2], [3, 4]])}`), "VALUES ($1, $2), ($3, $4)");
  assert.equal(
    text(sql`INSERT INTO t ${sql.values([{ a: 1, "b c": 2 }])}`),
    'INSERT INTO t ("a", "b c") VALUES ($1, $2)',
  );
  assert.equal(text(sql`${sql.unsafe("SELECT 1; SELECT 2")}`), "SELECT 1; SELECT 2");
});

Deno.test("the helpers refuse arguments that they can't use", () => {
  for (
    const make of [
      () => sql.id("" as string),
      () => sql.id("a\0b"),
      () => (sql.id as () => unknown)(),
      () => sql.join([]),
      () => sql.join("ab" as never),
      () => sql.join([1, 2], 3 as never),
      () => sql.join([1, 2], "; DELETE FROM log; "),
      () => sql.join([1, 2], ", (SELECT 1), "),
      () => sql.join([1, 2], " AND -- "),
      () => sql.join([1, 2], ""),
      () => sql.join([1, 2], `${" ".repeat(100_000)};`),
      () => sql.values([]),
      () => sql.values([[1], [1, 2]]),
      () => sql.values([{ a: 1 }, { b: 1 }]),
      () => sql.values([null] as never),
      () => sql.values([[]]),
      () => sql.unsafe(1 as never),
    ]
  ) assert.throws(make, { name: "LakebaseError", code: "BAD_PARAMETER" });
});

Deno.test("sql called as a function says how to use it", () => {
  const call = sql as unknown as (text: unknown) => unknown;
  assert.throws(() => call("SELECT 1"), { code: "BAD_PARAMETER", message: /template/ });
  assert.throws(() => call(undefined), { code: "BAD_PARAMETER" });
  assert.throws(() => call(["SELECT 1"]), { code: "BAD_PARAMETER" });
});

Deno.test("SQL without values is sent unchanged", () => {
  const own = String
    .raw`SELECT $1, a::int, b[1:2], '{"a": {"b": [1]}}'::jsonb, $tag$ it's $tag$, E'\n\\', '\d+' ~ 'x\y'`;
  assert.equal(
    text(sql`SELECT $1, a::int, b[1:2], '{"a": {"b": [1]}}'::jsonb, $tag$ it's $tag$, E'\n\\', '\d+' ~ 'x\y'`),
    own,
  );
  assert.equal(text(sql`SELECT '\`', '\${x}'`), "SELECT '`', '${x}'");
});

Deno.test("a value without a form in Postgres is refused, with its position", () => {
  refused(() => sql`SELECT ${1}, ${undefined}`, /parameter 2 is undefined; write null/);
  refused(() => sql`SELECT ${() => 1}`, /parameter 1 is a function/);
  refused(() => sql`SELECT ${Symbol("a")}`, /parameter 1 is a symbol/);
  refused(() => sql`SELECT ${Promise.resolve(1)}`, /parameter 1 is a promise; await it/);
  refused(() => sql`SELECT ${new Map()}`, /parameter 1 is a Map/);
  refused(() => sql`SELECT ${new Date(NaN)}`, /parameter 1 is an invalid Date/);
  refused(() => sql`SELECT ${[1, [undefined]]}`, /parameter 1 is an array that holds undefined/);
  refused(() => sql`SELECT ${[new Date(NaN)]}`, /parameter 1 .*invalid Date/);
  refused(() => sql`SELECT ${"a\0b"}`, /parameter 1 has a zero character/);
  refused(() => sql`SELECT ${"\ud800"}`, /parameter 1 has half of a surrogate pair/);
  refused(() => sql`SELECT ${{ toJSON: () => undefined }}`, /parameter 1 .*toJSON/);
  refused(() => sql`SELECT ${sql.unsafe("1\0; DROP TABLE t")}`, /zero character, at position 9/);
  refused(() => sql.join({} as never), /sql\.join\(\) has an object; it takes an array/);
  refused(() => sql.values(undefined as never), /sql\.values\(\) has undefined; it takes an array of rows/);
  refused(() => sql.unsafe([] as never), /sql\.unsafe\(\) has an array; it takes a string/);
  const circle: Record<string, unknown> = {};
  circle["itself"] = circle;
  refused(() => sql`SELECT ${circle}`, /parameter 1 is an object that has no JSON form/);
  const list: unknown[] = [];
  list.push(list);
  refused(() => sql`SELECT ${list}`, /parameter 1 is an array that holds itself/);
});

Deno.test("dates, bytes, arrays and objects become parameters", () => {
  const { text, values } = compile(
    sql`${new Date(0)} ${new Date(Date.UTC(-1, 0, 1))} ${new Date("0000-01-01T00:00:00Z")} ${new Date(
      "+012345-01-01T00:00:00Z",
    )}
    ${new Uint8Array([1, 255])} ${["a", null, 'b"\\', [1]]} ${{ a: 1 }} ${[{ a: '"' }, new Uint8Array([1])]}`,
  );
  assert.deepEqual(values, [
    "1970-01-01T00:00:00.000Z",
    "0002-01-01T00:00:00.000Z BC",
    "0001-01-01T00:00:00.000Z BC",
    "12345-01-01T00:00:00.000Z",
    Buffer.from([1, 255]),
    '{"a",NULL,"b\\"\\\\",{"1"}}',
    '{"a":1}',
    '{"{\\"a\\":\\"\\\\\\"\\"}","\\\\x01"}',
  ]);
  assert.match(text, /\$7::pg_catalog\.jsonb/);
});

Deno.test("a fragment can't be made to contain itself, and lists that change later change nothing", () => {
  const items: unknown[] = [1, 2];
  const list = sql.join(items);
  items[0] = list;
  assert.deepEqual(compile(list).values, ["1", "2"]);
  assert.throws(() => (list.values as unknown[])[0] = list, TypeError);
});

Deno.test("queries that a loop builds may be nested deeply", () => {
  let where = sql`true`;
  for (let n = 0; n < 50_000; n++) where = sql`${where} AND a <> ${n}`;
  assert.equal(compile(where).values.length, 50_000);
});

Deno.test("70,000 parameters are refused before they are sent", () => {
  refused(() => sql`SELECT ${sql.join(Array.from({ length: 70_000 }, (_, n) => n))}`, /70,000 parameters.*65,535/);
});

import assert from "node:assert/strict";
import { Fragment, Identifier } from "../../src/sql/fragment.ts";
import {
  compileForWarehouse,
  encodeForWarehouse,
  readsOnly,
  returnsRows,
  splitStatements,
} from "../../src/lake/statement.ts";

const sql = (strings: TemplateStringsArray, ...values: unknown[]) => new Fragment(strings, values);

class Decimal {
  constructor(readonly text: string) {}
  toFixed(): string {
    return this.text;
  }
}

const BOUND: [value: unknown, type: string, text: string][] = [
  ["Harlem", "STRING", "Harlem"],
  ["", "STRING", ""],
  ["a\0b", "STRING", "a\0b"],
  ["🚲", "STRING", "🚲"],
  [true, "BOOLEAN", "true"],
  [0, "INT", "0"],
  [-0, "DOUBLE", "-0.0"],
  [2 ** 31 - 1, "INT", "2147483647"],
  [-(2 ** 31), "INT", "-2147483648"],
  [2 ** 31, "BIGINT", "2147483648"],
  [Number.MAX_SAFE_INTEGER, "BIGINT", "9007199254740991"],
  [2 ** 53, "DOUBLE", "9007199254740992"],
  [0.1, "DOUBLE", "0.1"],
  [1e300, "DOUBLE", "1e+300"],
  [NaN, "DOUBLE", "NaN"],
  [-Infinity, "DOUBLE", "-Infinity"],
  [5n, "BIGINT", "5"],
  [2n ** 63n - 1n, "BIGINT", "9223372036854775807"],
  [2n ** 63n, "DECIMAL(38,0)", "9223372036854775808"],
  [-(10n ** 38n - 1n), "DECIMAL(38,0)", `-${"9".repeat(38)}`],
  [new Decimal("12.50"), "DECIMAL(4,2)", "12.50"],
  [new Decimal("-0.001"), "DECIMAL(3,3)", "-0.001"],
  [new Decimal("0"), "DECIMAL(1,0)", "0"],
  [new Date("2026-01-31T12:34:56.789Z"), "TIMESTAMP", "2026-01-31T12:34:56.789Z"],
  [Temporal.PlainDate.from("2026-01-31"), "DATE", "2026-01-31"],
  [Temporal.PlainDate.from("2026-01-31[u-ca=hebrew]"), "DATE", "2026-01-31"],
  [Temporal.PlainDateTime.from("2026-01-31T12:34:56.789012"), "TIMESTAMP_NTZ", "2026-01-31T12:34:56.789012"],
  [Temporal.Instant.from("2026-01-31T12:34:56.789012Z"), "TIMESTAMP", "2026-01-31T12:34:56.789012Z"],
  [Temporal.ZonedDateTime.from("2026-01-31T12:00+01:00[Europe/Berlin]"), "TIMESTAMP", "2026-01-31T11:00:00Z"],
  [new URL("https://a.example/b"), "STRING", "https://a.example/b"],
];

Deno.test("a value is bound with a type that can hold it exactly", () => {
  for (const [value, type, text] of BOUND) assert.deepEqual(encodeForWarehouse(value, 1), { type, value: text });
  const long = "x".repeat(1_000_000);
  assert.deepEqual(encodeForWarehouse(long, 1), { type: "STRING", value: long });
});

Deno.test("bytes go as hexadecimal text, and become BINARY in the statement", () => {
  const bytes = { type: "STRING", value: "00ff10", call: "unhex" };
  assert.deepEqual(encodeForWarehouse(Uint8Array.of(0, 255, 16), 1), bytes);
  assert.deepEqual(encodeForWarehouse(Uint8Array.of(9, 0, 255, 16).subarray(1), 1), bytes);
  assert.deepEqual(encodeForWarehouse(Uint8Array.of(0, 255, 16).buffer, 1), bytes);
  assert.equal(compileForWarehouse(sql`SELECT ${Uint8Array.of(1)}`).text, "SELECT unhex(:p1)");
});

const REFUSED: [value: unknown, why: RegExp][] = [
  [undefined, /parameter 3 is undefined; write null/],
  [[1, 2], /parameter 3 is an array.*sql\.join\(list\)/],
  [{ a: 1 }, /parameter 3 is an object.*JSON\.stringify/],
  [new Map(), /parameter 3 is a Map/],
  [Promise.resolve(1), /parameter 3 is a promise; await it/],
  [() => 1, /parameter 3 is a function/],
  [Symbol("x"), /parameter 3 is a symbol/],
  ["\ud800", /parameter 3 has half of a surrogate pair/],
  [new Date(NaN), /parameter 3 is an invalid Date/],
  [new Date(Date.UTC(10_000, 0)), /parameter 3 is \+010000.*years 1 to 9999/],
  [Temporal.PlainTime.from("12:00"), /parameter 3 is a Temporal\.PlainTime.*cast it/],
  [Temporal.Duration.from("PT1H"), /parameter 3 is a Temporal\.Duration/],
  [10n ** 38n, /parameter 3 has 39 digits/],
  [new Decimal("Infinity"), /parameter 3 is Infinity/],
  [new Decimal(`0.${"1".repeat(39)}`), /parameter 3 has 39 digits/],
];

Deno.test("a value that can't be bound is refused with its position", () => {
  for (const [value, why] of REFUSED) {
    assert.throws(() => compileForWarehouse(sql`SELECT ${1}, ${2}, ${value}`), { code: "BAD_PARAMETER", message: why });
  }
});

const COMPILED: [fragment: Fragment, text: string, values: string[]][] = [
  [sql`SELECT 1`, "SELECT 1", []],
  [sql`SELECT ${1} + ${"a"}`, "SELECT :p1 + :p2", ["1", "a"]],
  [sql`SELECT ${null}, ${2}`, "SELECT NULL, :p2", ["2"]],
  [sql`SELECT${null}`, "SELECT NULL", []],
  [sql`SELECT ${1}${2}x`, "SELECT :p1 :p2 x", ["1", "2"]],
  [sql`${new Identifier(["main", "a`b", 'c"d'])}`, '`main`.`a``b`.`c"d`', []],
  [
    sql`SELECT * FROM ${new Identifier(["t"])} WHERE ${sql`a = ${1} AND ${sql`b = ${2}`}`}`,
    "SELECT * FROM `t` WHERE a = :p1 AND b = :p2",
    ["1", "2"],
  ],
  [sql`SELECT :p1, raw:p_7 FROM t WHERE a = ${1}`, "SELECT :p1, raw:p_7 FROM t WHERE a = :p__1", ["1"]],
];

Deno.test("a fragment becomes one statement with named parameters", () => {
  for (const [fragment, text, values] of COMPILED) {
    const statement = compileForWarehouse(fragment);
    assert.deepEqual([statement.text, statement.parameters.map(({ value }) => value)], [text, values]);
  }
  let deep = sql`1`;
  for (let level = 0; level < 100_000; level++) deep = sql`${deep} + ${1}`;
  assert.equal(compileForWarehouse(deep).parameters.length, 100_000);
});

Deno.test("a statement of more than 16 MiB is refused before it is sent", () => {
  const text = (bytes: number) => new Fragment([`SELECT '${"é".repeat((bytes - 9) / 2)}'`], []);
  assert.ok(compileForWarehouse(text(16 * 1024 ** 2 - 1)).text.length > 8_000_000);
  assert.throws(() => compileForWarehouse(text(16 * 1024 ** 2 + 1)), {
    code: "BAD_PARAMETER",
    message: /16\.0 MiB; a warehouse takes 16 MiB/,
  });
});

Deno.test("a fragment that contains itself is refused", () => {
  const loop = new Fragment(["(", ")"], [1]);
  const outer = Object.create(loop, { values: { get: () => [outer] } });
  assert.throws(() => compileForWarehouse(outer), { code: "BAD_PARAMETER", message: /contains itself/ });
});

const KINDS: [text: string, reads: boolean, rows: boolean][] = [
  ["SELECT 1", true, true],
  ["(SELECT 1)", true, true],
  ["SELECT `insert` FROM t", true, true],
  ["SELECT comment, update FROM t", true, true],
  ["/* x */ -- y\n WITH a AS (SELECT 1) SELECT * FROM a", true, true],
  ["WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", false, true],
  ["FROM t SELECT a", true, true],
  ["FROM t INSERT INTO u SELECT a", false, true],
  ["SHOW CREATE TABLE t", true, true],
  ["DESCRIBE t", true, true],
  ["EXPLAIN DELETE FROM t", true, true],
  ["INSERT INTO t VALUES (1)", false, false],
  ["CREATE TABLE t AS SELECT 1", false, false],
  ["CALL p()", false, true],
  ["", false, false],
];

Deno.test("the words of a statement show whether it only reads", () => {
  for (const [text, reads, rows] of KINDS) {
    assert.deepEqual([text, readsOnly(text), returnsRows(text)], [text, reads, rows]);
  }
});

Deno.test("a value within quotes or a comment is refused, because a warehouse would take its name for text", () => {
  const [x, days] = ["Harlem", 3];
  const refused: [Fragment, RegExp][] = [
    [sql`SELECT '${x}'`, /parameter 1 is within quotes.*write \$\{value\} without the quotes/],
    [sql`SELECT ${days}, '%${x}%'`, /parameter 2 is within quotes/],
    [sql`SELECT current_date() - INTERVAL '${days}' DAY`, /within quotes/],
    [sql`SELECT "${x}"`, /within quotes/],
    [sql`SELECT 'it\\'s ${x}'`, /within quotes/],
    [sql`SELECT 1 AS \`${x}\``, /parameter 1 is within quotes.*\$\{sql\.id\(name\)\} for a name/], // a column ":p1"
    [sql`SELECT \`it's\`, \`a\`\`${x}\``, /within quotes/],
    [sql`SELECT 'a\`b', \`${x}\`, 'c\`d'`, /within quotes/],
    [sql`SELECT 1 -- ${x}`, /parameter 1 is in a comment/],
    [sql`SELECT 1 /* ${x} */`, /in a comment/],
  ];
  for (const [fragment, message] of refused) {
    assert.throws(() => compileForWarehouse(fragment), { code: "BAD_PARAMETER", message });
  }
  const taken = [
    sql`SELECT 'a' || ${x} || "b" -- '`,
    sql`SELECT r'\\', ${x}, r'\\'`,
    sql`SELECT 'it\\'s', ${x}`,
    sql`SELECT 'a\`b', ${x}, 'c\`d'`,
    sql`SELECT \`it's\`, ${x}, \`it's\``,
    sql`/* a */ SELECT ${x} /* b */`,
  ];
  for (const fragment of taken) assert.match(compileForWarehouse(fragment).text, /:p1/);
});

const SPLIT: [text: string, statements: string[]][] = [
  ["SELECT 1", ["SELECT 1"]],
  [" SELECT 1 ;\n-- a; b\nSELECT `;`, ';', (2) ; ; /* ; */ ", ["SELECT 1", "-- a; b\nSELECT `;`, ';', (2)"]],
  ["SELECT 'it\\'s; '; SELECT 2", ["SELECT 'it\\'s; '", "SELECT 2"]],
  ["SELECT 1; BEGIN DECLARE n INT; SET n = 1; END", ["SELECT 1", "BEGIN DECLARE n INT; SET n = 1; END"]],
  ["-- nothing", []],
];

Deno.test("a text is split into its statements, because a warehouse takes one at a time", () => {
  for (const [text, statements] of SPLIT) assert.deepEqual(splitStatements(text), statements);
});

import assert from "node:assert/strict";
import { bindParameters, checkParameters, parseScript } from "../../src/cli/script.ts";

/** Each statement in its original form, with `{name}` for its parameters. */
function parsed(text: string): string[] {
  return parseScript(text).map(({ strings, names }) =>
    strings.map((string, index) => string + (index < names.length ? `{${names[index]}}` : "")).join("")
  );
}

Deno.test("parseScript() ends statements like psql", () => {
  const cases: [text: string, statements: string[]][] = [
    ["", []],
    [" ;; -- nothing\n ; /* at /* all; */ */ ;", []],
    ["SELECT 1", ["SELECT 1"]],
    ["SELECT 1; SELECT 2;\n", ["SELECT 1", "SELECT 2"]],
    ["SELECT ';', $$;$$, $a$;$$;$a$, \";\", E'\\';' -- ;\n; SELECT 2", [
      "SELECT ';', $$;$$, $a$;$$;$a$, \";\", E'\\';' -- ;",
      "SELECT 2",
    ]],
    ["SELECT 'it''s;'; SELECT 2", ["SELECT 'it''s;'", "SELECT 2"]],
    ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3", [
      "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
      "SELECT 3",
    ]],
    [
      "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
      [
        "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
        "SELECT 3",
      ],
    ],
    ["BEGIN; SELECT 1; END", ["BEGIN", "SELECT 1", "END"]],
    ["SELECT 'not closed; SELECT 2", ["SELECT 'not closed; SELECT 2"]],
    ["SELECT (1; SELECT 2", ["SELECT (1; SELECT 2"]],
    ["-- a note\nSELECT 1", ["-- a note\nSELECT 1"]],
  ];
  for (const [text, statements] of cases) assert.deepEqual(parsed(text), statements, text);
});

Deno.test("parseScript() finds parameters, but not texts that only look like one", () => {
  const cases: [text: string, statement: string][] = [
    ["SELECT $a, $b_2::int, $1", "SELECT {a}, {b_2}::int, {1}"],
    ["$a", "{a}"],
    ["SELECT $größe", "SELECT {größe}"],
    ["SELECT '$a', \"$a\", $$ $a $$, $t$ $a $t$, E'$a', e'\\'$a' /* $a */ -- $a", ""],
    ["SELECT a$b, a[1:2], x::text, $ a, $", ""],
    ["SELECT a$1 FROM t", ""],
    ["SELECT f($a)-$b||$c", "SELECT f({a})-{b}||{c}"],
  ];
  for (const [text, statement] of cases) assert.deepEqual(parsed(text), [statement === "" ? text : statement], text);
});

Deno.test("parseScript() gives the line of a statement", () => {
  const lines = parseScript("SELECT 1;\n\n  SELECT\n 2; SELECT 3;\r\n-- four\nSELECT 4").map(({ line }) => line);
  assert.deepEqual(lines, [1, 3, 4, 5]);
});

Deno.test("parseScript() reads a large script in linear time", () => {
  const script = `INSERT INTO t VALUES ('${"x".repeat(5_000_000)}');\n${"SELECT 1 + $a;\n".repeat(100_000)}`;
  assert.equal(parseScript(script).length, 100_001);
});

Deno.test("bindParameters() binds a value once, however often it is used", () => {
  const [statement] = parseScript("SELECT $b, $a, $b || '$a'");
  const { text, values } = bindParameters(statement!, new Map([["a", "'; DROP TABLE t"], ["b", ""]]));
  assert.equal(text, "SELECT $1, $2, $1 || '$a'");
  assert.deepEqual(values, ["", "'; DROP TABLE t"]);
});

Deno.test("checkParameters() refuses values without a parameter, and parameters without a value", () => {
  const statements = parseScript("SELECT $zone; SELECT $zone, $fare");
  const check = (given: Record<string, string>) => () => checkParameters(statements, new Map(Object.entries(given)));
  check({ zone: "Harlem", fare: "1" })();
  assert.throws(check({ zone: "Harlem" }), /\$fare has no value; give -p fare=VALUE/);
  assert.throws(check({ zone: "Harlem", fare: "1", zones: "" }), /no \$zones .* did you mean \$zone\?.*single quotes/);
});

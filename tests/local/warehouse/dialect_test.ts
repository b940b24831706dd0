import assert from "node:assert/strict";
import { ApiError } from "../../../src/local/api_json.ts";
import { readStatementRequest } from "../../../src/local/warehouse/api.ts";
import { translate, UnboundParameter } from "../../../src/local/warehouse/dialect.ts";

/** Fields of a request that is refused, each with the error. */
const REFUSALS: [Record<string, unknown>, RegExp][] = [
  [{ statement: "" }, /^Field 'statement' is required/],
  [{ statement: 1 }, /^Field 'statement' must be a string/],
  [{ statement: "SELECT 1\0" }, /character of code zero/],
  [{ statement: "x".repeat((16 << 20) + 1) }, /maximum query text size is 16777216 bytes/],
  [{ statement: "é".repeat((8 << 20) + 1) }, /maximum query text size/],
  [{ format: "ARROW_STREAM" }, /^The format field must be JSON_ARRAY when the disposition field is INLINE\.$/],
  [{ disposition: "BOTH" }, /^Field 'disposition' must be one of INLINE, EXTERNAL_LINKS/],
  [{ row_limit: -1 }, /^Field 'row_limit'/],
  [{ byte_limit: "many" }, /^Field 'byte_limit'/],
  [{ parameters: Array(65_536).fill({ name: "p" }) }, /^A statement can have at most 65535 parameters/],
  [{ parameters: {} }, /^Field 'parameters' must be a list/],
  [{ parameters: [{ value: "1" }] }, /^Field 'name' is required/],
  [{ parameters: [{ name: "p" }, { name: "p" }] }, /^The parameter 'p' is given twice/],
  [{ parameters: [{ name: "p", value: 1 }] }, /^Field 'value' must be a string/],
  [{ parameters: [{ name: "p", type: "ARRAY<INT>" }] }, /^The type 'ARRAY<INT>' of the parameter 'p' is not supported/],
  [{ parameters: [{ name: "p", type: "INT(3)" }] }, /not supported/],
  [{ parameters: [{ name: "p", type: "DECIMAL(3,1); DROP" }] }, /not supported/],
  [{ parameters: [{ name: "p", type: "CONSTRUCTOR" }] }, /not supported/],
];

Deno.test("a request with a wrong field is refused with 400", () => {
  for (const [fields, message] of REFUSALS) {
    const refused = (error: unknown) =>
      error instanceof ApiError && error.status === 400 && message.test(error.message);
    assert.throws(() => readStatementRequest({ statement: "SELECT 1", ...fields }), refused, String(message));
  }
  const { statement, rowLimit } = readStatementRequest({
    statement: "x".repeat(16 << 20),
    row_limit: "7",
    schema: null,
  });
  assert.deepEqual([statement.length, rowLimit], [16 << 20, 7]);
});

const PARAMETERS = [
  { name: "a", value: "1", type: "INT" },
  { name: "d", value: "1.5", type: "DECIMAL(5, 2)" },
  { name: "b", value: "x", type: "BINARY" },
];

/** A statement, and its translation for Postgres. */
const TRANSLATIONS: [string, string][] = [
  ["SELECT :a, :a + 1", "SELECT $1, $1 + 1"],
  ["SELECT :d", "SELECT ($1::pg_catalog.numeric(5, 2))"],
  ["SELECT :b", "SELECT (pg_catalog.convert_to($1, 'UTF8'))"],
  ["SELECT ':a' || $$:a$$ || E'\\':a' -- :a\n/* :a */", "SELECT ':a' || $$:a$$ || E'\\':a' -- :a\n/* :a */"],
  ["SELECT a::int, f(x := 1), b[1:2]", "SELECT a::int, f(x := 1), b[1:2]"],
  ["SELECT `it's`, `a``b`, `a\"b`", 'SELECT "it\'s", "a`b", "a""b"'],
  ["SELECT * FROM main.taxi.trips", "SELECT * FROM taxi.trips"],
  ['SELECT * FROM `Main`."taxi".`trips`', 'SELECT * FROM "taxi"."trips"'],
  ["SELECT main.taxi.trips.id, x.main.taxi.a", "SELECT taxi.trips.id, x.main.taxi.a"],
  ["SELECT main.taxi.trips.* FROM main.trips", "SELECT taxi.trips.* FROM main.trips"],
  ["CREATE SCHEMA IF NOT EXISTS main.taxi", "CREATE SCHEMA IF NOT EXISTS taxi"],
  ["DROP SCHEMA main.taxi CASCADE", "DROP SCHEMA taxi CASCADE"],
  ["SELECT X'0F1', x''", "SELECT '\\x00F1'::pg_catalog.bytea, '\\x'::pg_catalog.bytea"],
  ["SELECT unhex(lower('A(')), (1)", "SELECT pg_catalog.decode(lower('A('), 'hex'), (1)"],
  ["SELECT unbase64(:b)", "SELECT pg_catalog.decode((pg_catalog.convert_to($1, 'UTF8')), 'base64')"],
  ["SELECT :a, `unclosed :a", "SELECT $1, `unclosed :a"],
  ["SELECT :", "SELECT :"],
  ["", ""],
];

Deno.test("a statement is translated for Postgres", () => {
  for (const [statement, sql] of TRANSLATIONS) {
    assert.equal(translate(statement, PARAMETERS, new Set(["main"])).sql, sql);
  }
});

Deno.test("a position in the translation is mapped to the statement", () => {
  const statement = "SELECT '😀', :d, `x`, main.taxi.nope";
  const { sql, indexOf } = translate(statement, PARAMETERS, new Set(["main"]));
  const characters = [...sql];
  for (
    const [translated, original] of [["'😀'", "'😀'"], ["$1", ":d"], ['"x"', "`x`"], ["taxi", "main"], [
      "nope",
      "nope",
    ]] as const
  ) {
    const position = characters.findIndex((_, at) => characters.slice(at).join("").startsWith(translated)) + 1;
    assert.equal(indexOf(position), statement.indexOf(original), translated);
  }
  assert.equal(indexOf(1), 0);
});

Deno.test("the error for a marker without a parameter has its position", () => {
  const unbound = (error: unknown) =>
    error instanceof UnboundParameter && error.parameter === "no" && error.index === 11;
  assert.throws(() => translate("SELECT :a, :no", PARAMETERS, new Set()), unbound);
});

Deno.test("a long statement takes linear time", () => {
  const statement = `SELECT ${"`a`.(:a), ".repeat(50_000)} main.taxi.trips`;
  assert.ok(translate(statement, PARAMETERS, new Set(["main"])).sql.endsWith(" taxi.trips"));
});

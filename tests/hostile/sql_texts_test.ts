import assert from "node:assert/strict";
import { filesBelow, ROOT } from "../support/files.ts";
import { unqualified } from "./sql_names.ts";

/** The positions in which a piece of SQL may be. */
const POSITIONS = [
  (sql: string) => sql,
  (sql: string) => `SELECT ${sql}`,
  (sql: string) => `SELECT FROM pg_catalog.x AS q ${sql}`,
];

/** Texts that look like SQL but are not sent: help, hints and examples. */
const NOT_SENT =
  /lakebase (query|pull|load|local|tables)|^Cannot |\bselect it as ::|\bwrite |an object is bound|value as text|a type as |\(\?:::jsonb\)/i;

/** Files with SQL for a SQL warehouse, which has no search path. */
const IN_A_WAREHOUSE = /\/src\/(?:lake\/|plot\/warehouse_source\.ts$)/;

/** The first words of sentences of help, in lower case: SQL in src begins with a capital. */
const SENTENCE = /^(?:read|copy|select|write|begin|in one|between|say|if|use) /;

/** Each text and template of a file, with a name in place of each `${value}`. */
function textsOf(name: string, source: string): string[] {
  const texts: string[] = [];
  const plugin: Deno.lint.Plugin = {
    name: "texts",
    rules: {
      all: {
        create: () => ({
          Literal: ({ value }) => typeof value === "string" && void texts.push(value),
          TemplateLiteral: ({ quasis }) => {
            texts.push(quasis.map(({ cooked }) => cooked).join(" p1 "), quasis.map(({ cooked }) => cooked).join("p1"));
          },
        }),
      },
    },
  };
  Deno.lint.runPlugin(plugin, name, source);
  return texts;
}

const LOOKS_LIKE_SQL =
  /\bpg_catalog\.|::[a-z](?!fter|ebkit)|^\s*(?:WITH|SELECT|CREATE|INSERT|UPDATE|DELETE|DECLARE|COPY|EXPLAIN)\b[^]*\s/;

function unqualifiedIn(text: string): string[] {
  for (const inPosition of POSITIONS) {
    try {
      return unqualified(inPosition(text)).filter((what) => !what.endsWith(" p1")); // a name that is put in
    } catch {
      // It is not SQL in this position.
    }
  }
  // A fragment that is SQL only together with others: what looks like a call, a cast or an operator.
  const code = text.replace(/'[^']*'/g, "''");
  return [
    ...code.matchAll(
      /(?<![\w.])(?!(?:coalesce|greatest|least|operator|any|all|exists|filter|over|as|in|values|and|or|not|when|by|ordinality|recursive|wanted|base|tree|s|q|e|on|from|where|p1|pair|union|select|array|then|else|only|order)\b)[a-z_]\w*(?=\()/gi,
    ),
    ...code.matchAll(/::(?!pg_catalog\.|int\b|p1\b| p1)\w+/g),
    ...code.matchAll(/\s(?:IN \(|LIKE\b|BETWEEN\b|=|<>|<|>|\|\|)\s/g),
  ].map(([found]) => found);
}

Deno.test("every SQL text in src names functions, operators and types with their schema", async () => {
  const names: string[] = [];
  let seen = 0;
  for (const path of filesBelow(`${ROOT}src`, ".ts")) {
    if (IN_A_WAREHOUSE.test(path)) continue;
    for (const text of textsOf(path, await Deno.readTextFile(path))) {
      if (!LOOKS_LIKE_SQL.test(text) || NOT_SENT.test(text) || SENTENCE.test(text)) continue;
      seen++;
      for (const what of new Set(unqualifiedIn(text))) {
        names.push(`${path.slice(ROOT.length)}: ${what}: ${text.slice(0, 200)}`);
      }
    }
  }
  assert.ok(seen > 100, `${seen} texts`);
  assert.deepEqual(names, []);
});

Deno.test("names that are left to the search path are found, in whole statements and in pieces", () => {
  const cases: [sql: string, found: string][] = [
    ["SELECT upper(a) FROM b", "function upper"],
    ["SELECT a = b FROM c", "operator ="],
    ["SELECT a::text FROM c", "type text"],
    ["SELECT a IN (1, 2) FROM c", "operator ="],
    ["SELECT a LIKE 'x' FROM c", "operator ~~"],
    ["SELECT a BETWEEN 1 AND 2 FROM c", "operator BETWEEN"],
    ["SELECT CASE a WHEN 1 THEN 2 END FROM c", "operator = of CASE x WHEN"],
    ["SELECT a IN (SELECT 1) FROM c", "operator = of IN"],
    ["SELECT a FROM c JOIN d USING (e)", "operator = of JOIN USING"],
    ['SELECT a COLLATE "C" FROM c', "collation C"],
    ["SELECT a FROM pg_class", "table pg_class"],
    ["SELECT a FROM c TABLESAMPLE system (1)", "method system"],
    ["CREATE TABLE a (b text)", "type text"],
    [") WHERE a = b AND (", " = "],
    [") AS b, max(c) AND (", "max"],
    [") AS b, c::text AND (", "::text"],
  ];
  for (const [sql, found] of cases) assert.ok(unqualifiedIn(sql).includes(found), `${sql}: ${unqualifiedIn(sql)}`);
  assert.deepEqual(
    unqualifiedIn('SELECT pg_catalog.max(a OPERATOR(pg_catalog.+) 1)::int COLLATE pg_catalog."C" FROM b'),
    [],
  );
});

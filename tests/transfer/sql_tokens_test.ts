import assert from "node:assert/strict";
import { firstWord, sqlTokens } from "../../src/transfer/sql_tokens.ts";

/** What is found where back-slashes are plain, and where they escape. */
const CASES: readonly (readonly [text: string, conforming: string, escaping?: string])[] = [
  ["SELECT $1, $2", "$1 $2"],
  ["SELECT '$1', $2;", "$2 ;"],
  ["SELECT 'it''s $1', $2", "$2"],
  ["SELECT '\\', $1, '$2'", "$1", "$2"],
  ["SELECT '\\', $1", "$1", ""],
  ["SELECT E'\\'$1', e'\\\\', $2", "$2"],
  ["SELECT 'a'\n  '$1', $2", "$2"],
  ["SELECT E'a' -- more\n  '\\'$1', $2", "$2"],
  ["SELECT U&'$1', B'$2', $3", "$3"],
  ["SELECT fe'$1', $2", "$2"],
  ["SELECT $$ $1 $$, $a$ $$ $1 $a$, $2", "$2"],
  ["SELECT $é$ ' $1 $é$, $2", "$2"],
  ["SELECT a$1, $2", "$2"],
  ['SELECT "$1;""$2", $3', "$3"],
  ["SELECT 1 -- $1;\n, $2", "$2"],
  ["SELECT /* $1 /* ; */ $2 */ $3", "$3"],
  ["SELECT $1::text||$12;;", "$1 $12 ; ;"],
  ["SELECT 'open $1", ""],
  ["SELECT $$ open $1", ""],
  ["SELECT /* open $1", ""],
];

Deno.test("sqlTokens() finds parameters and semicolons outside of quotes and comments", () => {
  for (const [text, conforming, escaping = conforming] of CASES) {
    assert.equal(sqlTokens(text, true).map((token) => token.text).join(" "), conforming, text);
    assert.equal(sqlTokens(text, false).map((token) => token.text).join(" "), escaping, text);
    for (const { start, end, text: token } of sqlTokens(text, true)) assert.equal(text.slice(start, end), token);
  }
});

Deno.test("sqlTokens() reads a long text", () => {
  const text = `SELECT '${"x''\\\\".repeat(300_000)}', E'${"\\'".repeat(300_000)}', $1`;
  assert.deepEqual(sqlTokens(text, true).map((token) => token.text), ["$1"]);
});

Deno.test("firstWord() passes over comments, brackets and semicolons", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["SELECT 1", "select"],
    ["  -- a comment\n ( /* another /* in it */ */ (TABLE t))", "table"],
    ["--\n--\nWITH x AS", "with"],
    [";; show all", "show"],
    ["", ""],
    ["-- only this", ""],
    ["/* open", ""],
    ["'text'", ""],
  ];
  for (const [text, word] of cases) assert.equal(firstWord(text), word, text);
});

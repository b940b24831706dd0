import assert from "node:assert/strict";
import { firstWord, sqlTokens } from "../../src/core/sql_text.ts";
import { expressionEnd as valueEnd } from "../../src/kernel/script_text.ts";
import { newSeed, randomFrom } from "../support/random.ts";

/** The tokens without spaces, each as `kind:text`, with `!` after one that is not closed. */
function pieces(sql: string): string[] {
  return [...sqlTokens(sql, { valueEnd })].filter(({ kind }) => kind !== "space").map(({ kind, start, end, closed }) =>
    `${kind}:${sql.slice(start, end)}${closed ? "" : "!"}`
  );
}

const CASES: [sql: string, pieces: string[]][] = [
  ["SELECT 1.5e3", ["word:SELECT", "number:1.5e3"]],
  ["'it''s' x", ["string:'it''s'", "word:x"]],
  ["'a\\' b", ["string:'a\\'", "word:b"]], // a backslash is nothing special
  ["E'a\\' b' c", ["string:E'a\\' b'", "word:c"]], // here it is
  ["e'\\\\' x", ["string:e'\\\\'", "word:x"]],
  ["like 'x'", ["word:like", "string:'x'"]], // its e is not a prefix
  ["U&'d\\0061' U&\"x\"", ["string:U&'d\\0061'", 'name:U&"x"']],
  ["x'1f' b'01' n'é'", ["string:x'1f'", "string:b'01'", "word:n", "string:'é'"]],
  ["-- a\rb", ["comment:-- a", "word:b"]],
  ["5. .5 1..10", ["number:5.", "number:.5", "number:1", "symbol:..", "number:10"]],
  ['"a""b".c', ['name:"a""b"', "symbol:.", "word:c"]],
  ["$$a'b$$ c", ["string:$$a'b$$", "word:c"]],
  ["$fn$ $$ ; $fn$;", ["string:$fn$ $$ ; $fn$", "symbol:;"]],
  ["a$$b$$", ["word:a$$b$$"]], // a name may have dollars in it
  ["$1 + $2", ["parameter:$1", "symbol:+", "parameter:$2"]],
  ["-- a ' ${x}\nb", ["comment:-- a ' ${x}", "word:b"]],
  ["a--b", ["word:a", "comment:--b"]],
  ["/* a /* b */ ' */ c", ["comment:/* a /* b */ ' */", "word:c"]],
  ["${a} ${'}'} ${`}${b}`} ${/}/.test(x)} ${{ a: 1 }}", [
    "value:${a}",
    "value:${'}'}",
    "value:${`}${b}`}",
    "value:${/}/.test(x)}",
    "value:${{ a: 1 }}",
  ]],
  ["tab${x}", ["word:tab", "value:${x}"]],
  ["tab$${x}", ["word:tab$", "value:${x}"]],
  ["\\${x}", ["escape:\\${", "word:x", "symbol:}"]],
  ["💡 été", ["word:💡", "word:été"]], // as PostgreSQL has it, any character that is not ASCII may be in a name
  ["'open", ["string:'open!"]],
  ["$a$ open $$", ["string:$a$ open $$!"]],
  ["/* open /* */", ["comment:/* open /* */!"]],
  ['"open', ['name:"open!']],
  ["${open", ["value:${open!"]],
  ["${a)} b", ["value:${a)} b!"]], // brackets that do not match
];

Deno.test("sqlTokens() distinguishes strings, identifiers, comments and values as PostgreSQL does", () => {
  for (const [sql, expected] of CASES) assert.deepEqual(pieces(sql), expected, sql);
});

Deno.test("sqlTokens() covers any text without gaps", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const parts = [
    "'",
    '"',
    "$",
    "$$",
    "$a$",
    "{",
    "}",
    "${",
    "`",
    "/*",
    "*/",
    "--",
    "\n",
    "\\",
    "e'",
    "u&",
    "x",
    "1",
    " ",
    "😀",
    "\ud800",
    "\0",
    ";",
    "//",
  ];
  for (let round = 0; round < 3000; round++) {
    const sql = Array.from({ length: random.below(30) }, () => random.one(parts)).join("");
    let at = 0;
    for (const { start, end } of sqlTokens(sql, { valueEnd })) {
      assert.equal(start, at, `seed ${seed}, round ${round}`);
      assert.ok(end > start && end <= sql.length, `seed ${seed}, round ${round}`);
      at = end;
    }
    assert.equal(at, sql.length, `seed ${seed}, round ${round}`);
  }
});

Deno.test("(slow) sqlTokens() takes linear time", () => {
  for (
    const part of [
      "'",
      "''",
      "a ",
      "a",
      "1",
      "$",
      "$a$ ",
      "/*",
      "/* */",
      "--\n",
      "${1}",
      "${",
      '"',
      "(",
      "\\",
      "${`${",
      "${/[",
      "é",
    ]
  ) {
    const sql = part.repeat(1_000_000 / part.length);
    let count = 0;
    for (const _ of sqlTokens(sql, { valueEnd })) count++; // quadratic time would take hours
    assert.ok(count > 0, part);
  }
});

/** The parameters and semicolons if backslashes are plain characters, and if they escape. */
const MARKS: readonly (readonly [text: string, conforming: string, escaping?: string])[] = [
  ["SELECT $1, $2", "$1 $2"],
  ["SELECT '$1', $2;", "$2 ;"],
  ["SELECT 'it''s $1', $2", "$2"],
  ["SELECT '\\', $1, '$2'", "$1", "$2"],
  ["SELECT '\\', $1", "$1", ""],
  ["SELECT E'\\'$1', e'\\\\', $2", "$2"],
  ["SELECT 'a'\n  '$1', $2", "$2"],
  ["SELECT E'a' -- more\n  '\\'$1', $2", "$2"],
  ["SELECT E'\\'$1'\n'\\'$1'\n'\\'$1', $2", "$2"],
  ["SELECT E'a' '\\', $1", "$1", ""],
  ["SELECT E'a' /*\n*/ '\\', $1", "$1", ""],
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

/** Parameters and semicolons outside of quotes and comments. */
function marks(text: string, escapes: boolean): string {
  const marks = sqlTokens(text, { escapes }).filter(({ kind, start }) => kind === "parameter" || text[start] === ";");
  return marks.map(({ start, end }) => text.slice(start, end)).toArray().join(" ");
}

Deno.test("sqlTokens() finds parameters and semicolons whether backslashes escape or not", () => {
  for (const [text, plain, escaping = plain] of MARKS) {
    assert.equal(marks(text, false), plain, text);
    assert.equal(marks(text, true), escaping, text);
  }
  const long = `SELECT '${"x''\\\\".repeat(300_000)}', E'${"\\'".repeat(300_000)}', $1`;
  assert.equal(marks(long, false), "$1");
});

Deno.test("sqlTokens() gives ${ no meaning without valueEnd", () => {
  const kinds = [...sqlTokens("a$${b} \\${")].map(({ kind }) => kind);
  assert.deepEqual(kinds, ["word", "symbol", "word", "symbol", "space", "symbol", "symbol", "symbol"]);
});

Deno.test("firstWord() skips comments, parentheses and semicolons", () => {
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

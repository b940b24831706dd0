import assert from "node:assert/strict";
import { rewriteCell } from "../../src/kernel/magic.ts";
import { newSeed, type Random, randomFrom } from "../support/random.ts";
import { callsOf } from "./cell_code.ts";

/** Pieces of SQL, and values that are numbered in order. */
function randomSql(random: Random): { sql: string; written: string; values: number } {
  const parts = [
    ...[
      "SELECT ",
      "a",
      " ",
      "\n",
      "\r\n",
      ", ",
      "(",
      ")",
      "1",
      "'it''s'",
      "E'\\'`' ,",
      "$$ ' $$",
      "$t$ $$ $t$",
      '"q""q"',
      "`",
    ],
    ...["\\", "/* ' ${x} /* */ */", '-- " ${x}\n', "😀", "\u2028", ";", "::", "a$1 ", "'\\'", "é$ ", "{", "}"],
  ];
  let [sql, written, values] = ["SELECT", "SELECT", 0];
  for (let count = random.below(20); count >= 0; count--) {
    if (random.below(4) === 0) {
      const value = random.one([
        `${values}`,
        `  ${values}`,
        `{ n: ${values} }.n`,
        `${values} // }\n`,
        `[${values}, "}", /}/][0]`,
      ]);
      sql += ` \${${value}} `;
      written += " ? ";
      values++;
    } else {
      const part = random.one(parts);
      // Separates pieces that would become one piece.
      const gap = /[^ \r\n(),;:{}]$/.test(sql) ? " " : "";
      sql += gap + part;
      written += gap + part;
    }
  }
  return { sql, written, values };
}

Deno.test("rewriteCell() keeps every character of the SQL, and the order of its values", async () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let round = 0; round < 500; round++) {
    const { sql, written, values } = randomSql(random);
    const where = `LAKEBASE_TEST_SEED=${seed}, round ${round}: ${JSON.stringify(sql)}`;
    const [[, ...statements] = []] = await callsOf(`%%sql\n${sql}`);
    assert.equal(statements.map(([strings]) => strings.join("?")).join(""), written, where);
    assert.deepEqual(
      statements.flatMap(([, values]) => values),
      Array.from({ length: values }, (_, index) => index),
      where,
    );
  }
});

Deno.test("rewriteCell() never throws", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const parts = [
    "%sql ",
    "%%sql",
    "%",
    "SELECT",
    "\n",
    "`",
    "${",
    "}",
    "'",
    '"',
    "/",
    "//",
    "/*",
    "*/",
    "--",
    "$$",
    "<<",
    "x",
    " ",
    "(",
    ")",
    "[",
    "?",
    "\\",
    "=",
    "\\d",
    "😀",
    "\ud800",
  ];
  for (let round = 0; round < 20_000; round++) {
    const cell = Array.from({ length: random.below(16) }, () => random.one(parts)).join("");
    try {
      rewriteCell(cell, { module: "" });
    } catch (error) {
      assert.fail(`LAKEBASE_TEST_SEED=${seed}, round ${round}, ${JSON.stringify(cell)}: ${error}`);
    }
  }
});

Deno.test("(slow) rewriteCell() takes linear time, also for a cell of 5 MB", () => {
  const repeated = (part: string, size = 500_000) => part.repeat(size / part.length);
  const cells = [
    `%%sql\nSELECT '${repeated("x", 5_000_000)}'`,
    `%%sql\nINSERT INTO t VALUES ${repeated("(1, 'a'), ", 5_000_000)}(2, 'b')`,
    `%%sql\nSELECT ${repeated("${1}, ")}1`,
    `%%sql\n${repeated("SELECT ${1};\n")}`,
    `%%sql\n${repeated("'")}`,
    `%%sql ${repeated("a")}`,
    `%%sql ${repeated("a ")}`,
    `%%sql ${repeated("--x ")}`,
    `%sql ${repeated("\n%sql SELECT 1\n")}`,
    repeated("%sql SELECT 1\n"),
    repeated("a %sql\n"),
    repeated("`${%sql "),
    repeated(" \n"),
    `%${repeated("// %sql\n")}`,
    `const a = "${repeated("%sql ")}"`,
  ];
  for (const cell of cells) {
    const { kind } = rewriteCell(cell, { module: "" }); // quadratic time would take minutes
    assert.match(kind, /^(?:plain|code|error)$/, cell.slice(0, 20));
  }
});

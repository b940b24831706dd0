import assert from "node:assert/strict";
import type { LakebaseError } from "../../src/core/errors.ts";
import { readPart, readStatement, statementError } from "../../src/lake/answer.ts";

const TABLE =
  "[TABLE_OR_VIEW_NOT_FOUND] The table or view `tripz` cannot be found. Verify the spelling.\nTo tolerate the error on " +
  "drop use DROP VIEW IF EXISTS or DROP TABLE IF EXISTS. SQLSTATE: 42P01; line 2 pos 5";

Deno.test("an error shows the warehouse's message, class, SQLSTATE, line and caret", () => {
  const error = statementError({ error_code: "BAD_REQUEST", message: TABLE }, "SELECT '🚲'\nFROM tripz");
  assert.equal(error.code, "QUERY_FAILED");
  assert.equal(error.sqlstate, "42P01");
  const lines = error.message.split("\n");
  assert.match(error.message, /^\[TABLE_OR_VIEW_NOT_FOUND\] [^]* EXISTS \(SQLSTATE 42P01\)\n/);
  assert.deepEqual(lines.slice(-2), ["LINE 2: FROM tripz", "             ^"]);
  assert.doesNotMatch(error.message, /line 2 pos 5/);
});

const PLACES: [message: string, text: string, last: string[]][] = [
  [
    "[PARSE_SYNTAX_ERROR] Syntax error at or near 'FORM'. SQLSTATE: 42601 (line 1, pos 9)\n\n== SQL ==\nSELECT * FORM t\n---------^^^\n",
    "SELECT * FORM t",
    ["LINE 1: SELECT * FORM t", "                 ^"],
  ],
  [
    "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012\n== SQL (line 1, position 8) ==\nSELECT 1 / 0\n       ^^^^^",
    "SELECT 1 / 0",
    ["LINE 1: SELECT 1 / 0", "               ^"],
  ],
  ["no place", "SELECT 1", ["no place"]],
  ["beyond. SQLSTATE: 42000; line 9 pos 1", "SELECT 1", ["beyond (SQLSTATE 42000)"]],
  ["", "SELECT 1", ["BAD_REQUEST"]],
  ["org.apache.spark.SparkException: [JOB] failed\n\tat org.apache.spark.Foo(Foo.scala:1)\n\tat b", "SELECT 1", [
    "[JOB] failed",
  ]],
];

Deno.test("positions are found in each form, and text that Spark repeats is left out", () => {
  for (const [message, text, last] of PLACES) {
    const lines = statementError({ error_code: "BAD_REQUEST", message }, text).message.split("\n");
    assert.deepEqual(lines.slice(-last.length), last);
    assert.ok(lines.length <= last.length + 1, lines.join("\n"));
  }
  const message =
    "\n[PARSE_SYNTAX_ERROR] Syntax error at or near 'x'. SQLSTATE: 42601 (line 1, pos 0)\n\n== SQL ==\nx\n^^^\n";
  assert.match(statementError({ message }, "x").message, /^\[PARSE_SYNTAX_ERROR\] /);
});

/** Answers about a statement, each with the problem that is found in it. */
const ANSWERS: [answer: unknown, problem: string][] = [
  [7, "the answer is another number"],
  [{ status: "SUCCEEDED" }, "status is a string"],
  [{ status: { state: { toString: 1 } } }, "state is an object"],
  [{ status: { state: "FAILED", error: { message: ["no"] } } }, "message is a list"],
  [{ manifest: { schema: { columns: {} } } }, "columns is an object"],
  [{ manifest: { schema: { columns: [null] } } }, "columns[0] is missing"],
  [{ manifest: { schema: { columns: [{}] } } }, "name is missing"],
  [{ manifest: { total_chunk_count: -1 } }, "total_chunk_count is another number"],
  [{ manifest: { chunks: [{ chunk_index: 0, row_count: 1e300 }] } }, "row_count is another number"],
  [{ result: { data_array: [["1"], "2"] } }, "data_array[1] is a string"],
  [{ result: { data_array: [[7]] } }, "data_array[0][0] is another number"],
  [{ result: { external_links: [{ chunk_index: 0 }] } }, "external_link is missing"],
  [
    { result: { external_links: [{ chunk_index: 0, external_link: "x", http_headers: { a: 1 } }] } },
    "http_headers is an object",
  ],
];

Deno.test("an answer about a statement that has another shape is refused by the name of its field", () => {
  for (const [answer, problem] of ANSWERS) {
    assert.throws(() => readStatement(answer), (error: LakebaseError) => {
      assert.equal(error.code, "CONNECTION_LOST");
      assert.ok(error.message.includes(`can't be understood: ${problem}. Whether it takes effect`), error.message);
      return true;
    });
    const part = (answer as { result?: unknown }).result;
    if (part !== undefined) assert.throws(() => readPart(part), { code: "WORKSPACE_UNAVAILABLE" });
  }
  const sound = {
    status: null,
    manifest: { total_row_count: "12", schema: null },
    result: { data_array: [[null, "1"]] },
    more: 1,
  };
  assert.deepEqual(readStatement(sound), {
    manifest: { total_row_count: 12 },
    result: { data_array: [[null, "1"]] },
    more: 1,
  });
});

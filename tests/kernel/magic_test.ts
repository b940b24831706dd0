import assert from "node:assert/strict";
import { parseScript } from "../../src/cli/script.ts";
import { codeForChild, rewriteCell } from "../../src/kernel/magic.ts";
import { readHeader } from "../../src/kernel/magic_header.ts";
import { callsOf, storedValue } from "./cell_code.ts";

Deno.test("rewriteCell() does not change TypeScript", () => {
  const cells = [
    "",
    "1 + 1",
    "a %sql",
    "a % sql",
    "a\n  %sql\n  + 1",
    "x %sql_count",
    "'%sql SELECT 1'",
    "const s = `\n%sql SELECT 1\n%%sql\n`",
    "`${a\n%sql}`",
    "// %sql SELECT 1",
    "/*\n%sql SELECT 1\n*/ 1",
    "/[%/]\\/%sql SELECT/.test(x)",
    "a / b\n'%sql'",
    "100 %percent",
    "f(a %sql, b)",
    "x = a %= sql",
    "await sql`SELECT 1 %sql`",
    "-- not sql",
    "!done",
    "!ls.length",
    "!ls && f()",
    "!rm in x",
    "!git(1)",
    "!!done",
    "!done as boolean",
    "!name in x",
    "x = !done",
    "const x = !done && f()",
    "!/x/.test(s)",
    "!/bin/",
    "!a.b\nc",
    "'/*' + `/*` + /\\/*/.source // /*",
    "const p = <p>/* no comment</p>",
    "const p = <Glob of='src/*'/>",
    "}\n/\\/*x/.test(s)",
    "/* a */ 1 /* b */",
    "?",
  ];
  for (const cell of cells) assert.deepEqual(rewriteCell(cell, { module: "" }), { kind: "plain" }, cell);
});

Deno.test("rewriteCell() passes the SQL of a %%sql cell byte for byte, and its values separately", async () => {
  const texts = [
    "SELECT 1",
    "  SELECT '\\n' || E'\\\\n\\'' || '`' || `x` || '\u2028\u{1f600}\\u0041'\r\n;\r\n\n",
    'SELECT $$ it\'s \\ ` $ $1 $$, a$1, a$b FROM "t`"',
    "/* ${not} */ SELECT 1 -- ${not} `${not}`",
    "SELECT '$' || '{' || '}' || '$1'",
    "SELECT 1; SELECT 2; -- three",
    "PREPARE p AS SELECT $1::int; EXECUTE p(1)",
    "/* c */ create function f(int) returns int return $1",
    "EXPLAIN (GENERIC_PLAN) SELECT $1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
  ];
  for (const text of texts) {
    assert.deepEqual(await callsOf(`%%sql\n${text}`), [[{ magic: "%%sql", use: "draw" }, [[text], []]]]);
  }
  const cell = "%%sql\nSELECT ${a}, ${ await b() } -- ${no}\nFROM t WHERE c = ${`${a}}`// c\n} AND d = ANY(${[1, 2]})";
  assert.deepEqual(await callsOf(cell, { a: 1, b: () => Promise.resolve("two") }), [[
    { magic: "%%sql", use: "draw" },
    [["SELECT ", ", ", " -- ${no}\nFROM t WHERE c = ", " AND d = ANY(", ")"], [1, "two", "1}", [1, 2]]],
  ]]);
  const escaped = await callsOf("%%sql\nSELECT '\\${a}', '\\n', ${1}");
  assert.deepEqual(escaped[0]?.[1], [["SELECT '${a}', '\\n', ", ""], [1]]);
});

Deno.test("rewriteCell() separates statements with values, because the server takes one such statement at a time", async () => {
  const [[, ...statements] = []] = await callsOf("%%sql\n; SET a = 'x;y'; SELECT f(${1}; 2);\nSELECT ${2}; -- end\n;");
  assert.deepEqual(statements, [
    [["; SET a = 'x;y';"], []],
    [[" SELECT f(", "; 2);"], [1]],
    [["\nSELECT ", "; -- end\n;"], [2]],
  ]);
});

Deno.test("rewriteCell() does not split the SQL body of a function beside a value, like the shell's reader", async () => {
  const bodies = [
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
    "create or replace procedure p() BEGIN ATOMIC INSERT INTO t VALUES (1); DELETE FROM t; END",
    "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
  ];
  for (const body of bodies) {
    const [[, ...statements] = []] = await callsOf(`%%sql\n${body};\nSELECT \${1}`);
    assert.deepEqual(statements, [[[`${body};`], []], [["\nSELECT ", ""], [1]]], body);
    assert.deepEqual(parseScript(`${body};\nSELECT $a`).map(({ strings }) => strings), [[body], ["SELECT ", ""]]);
  }
});

Deno.test("rewriteCell() reads connection, name and flags in any order", async () => {
  const cases: [cell: string, options: Record<string, unknown>][] = [
    ["%%sql SELECT 1", {}],
    ["%%SQL SELECT 1", {}],
    ["%%Sql\nSELECT 1", {}],
    ["// why\n\n/* and\nhow */ %%sql\nSELECT 1", {}],
    ["-- in SQL's way\n%%sql\nSELECT 1", {}],
    ["\n%%sql\nSELECT 1", {}],
    [" %%sql SELECT 1", {}],
    ["%%sql db2\nSELECT 1", { connection: "db2" }],
    ["%%sql db.main SELECT 1", { connection: "db.main" }],
    ["%%sql globalThis.Array\nSELECT 1", { connection: "globalThis.Array" }],
    ["%%sql rows <<\nSELECT 1", { store: "rows" }],
    ["%%sql db2 rows<< SELECT 1", { connection: "db2", store: "rows" }],
    ["%%sql --limit 5\nSELECT 1", { limit: 5 }],
    ["%%sql --limit=5 --limit '1_000'\nSELECT 1", { limit: 1000 }],
    ['%%sql --limit "7" db2 --no-display\nSELECT 1', { limit: 7, connection: "db2", "no-display": true }],
    ["%%sql --explain --explain rows << db2 WITH a AS (SELECT 1) SELECT 1", {
      explain: true,
      store: "rows",
      connection: "db2",
    }],
    ["%%sql --explain\n(SELECT 1);", { explain: true }],
    ["%%sql --explain create temp table t as select 1", { explain: true }],
    ["%%sql --plot bar zone avg(fare)\nSELECT 1", { plot: ["bar", "zone", "avg(fare)"] }],
    ["%%sql db2 --plot=box 'my zone' \"fare\" SELECT 1", { connection: "db2", plot: ["box", "my zone", "fare"] }],
    ["%%sql --plot bar zone avg(total fare) chart << SELECT 1", {
      plot: ["bar", "zone", "avg(total fare)"],
      store: "chart",
    }],
    ["%%sql --plot histogram --limit 5 SELECT 1", { plot: ["histogram"], limit: 5 }],
    ["%%sql --plot\nSELECT 1", { plot: [] }],
    ["%%sql --csv 'my trips.csv' SELECT 1", { csv: "my trips.csv" }],
    ["%%sql --parquet=/tmp/t.parquet --no-display\nSELECT 1", { parquet: "/tmp/t.parquet", "no-display": true }],
    ["%%sql --save Dear\nSELECT 1; -- one", { save: "dear" }],
    ["%%sql --with a,B --with c --with a --explain\n-- c\nWITH d AS (SELECT 1) SELECT 1", {
      with: ["a", "b", "c"],
      explain: true,
    }],
    ["%%sql -- a comment, no flag\nSELECT 1", {}],
    ["%%sql (SELECT 1)", {}],
    ["%%sql\t\r\nSELECT 1", {}],
    ["%%sql\n\\d trips ;", { command: "d", argument: "trips" }],
    ["%%sql\n\\d+ trips", { command: "d", argument: "trips", detailed: true }],
    ["%%sql \\l+", { command: "l", argument: "", detailed: true }],
    ["%%sql \\dtS+ pg_c*;", { command: "dt", argument: "pg_c*", detailed: true }],
    ["%%sql \\dS pg_class", { command: "d", argument: "pg_class" }],
    ["%%sql \\x on;", { command: "x", argument: "on" }],
    ["%%sql\n\\?", { command: "?", argument: "" }],
    ["%%sql db2 \\dt app.*\n\n", { connection: "db2", command: "dt", argument: "app.*" }],
  ];
  const scope = { db2: 2, db: { main: 1 }, rows: 0 };
  for (const [cell, expected] of cases) {
    const [[{ find, check, keep, ...options } = {}] = []] = await callsOf(cell, scope);
    assert.deepEqual(options, { magic: "%%sql", use: "draw", ...expected }, cell);
    const connection = expected["connection"];
    assert.equal(
      (find as (() => unknown) | undefined)?.(),
      { db2: 2, "db.main": 1, "globalThis.Array": Array }[String(connection)],
      cell,
    );
    assert.equal(typeof keep, "store" in expected ? "function" : "undefined");
    assert.equal(typeof check, typeof keep);
  }
});

Deno.test("rewriteCell() reads %sql lines between lines of TypeScript", async () => {
  const cases: [cell: string, uses: string[], texts: string[]][] = [
    ["%sql SELECT 1", ["draw"], ["SELECT 1"]],
    ["\n  %sql SELECT 1;\n// done\n", ["draw"], ["SELECT 1;"]],
    ["const x = %sql SELECT 1\n[x].map(String)", ["value"], ["SELECT 1"]],
    ["const x = await %sql SELECT '%sql' -- c\nx", ["value"], ["SELECT '%sql' -- c"]],
    ["const a = 1\n%sql SELECT ${a}\n%sql SELECT ${a + 1}", ["show", "draw"], ["SELECT ", "SELECT "]],
    ["%sql SELECT 1\n1", ["show"], ["SELECT 1"]],
    ["for (const a of [1]) {\n  %sql SELECT ${a}\n}", ["show"], ["SELECT "]],
    ["if (true)\n  %sql SELECT 1\nelse\n  %sql SELECT 2", ["show"], ["SELECT 1"]],
    ["String(%sql SELECT count(*) FROM (t)).length", ["value"], ["SELECT count(*) FROM (t)"]],
    ["for (const row of %sql SELECT 1) {}", ["value"], ["SELECT 1"]],
    ["const f = async () => %sql SELECT 1\nawait f()", ["value"], ["SELECT 1"]],
    ["const f = async () => { return %sql SELECT 1\n}\nawait f()", ["value"], ["SELECT 1"]],
    ["const o = { a:\n %sql SELECT 1\n, b: 2 }", ["value"], ["SELECT 1"]],
    ["const s = `${%sql SELECT 1}`; const t = '%sql'", ["value"], ["SELECT 1"]],
    ["%sql SELECT ${[1,\n2].length} AS two\nawait 1", ["show"], ["SELECT "]],
    ["let total = 7\n%sql SELECT 1", ["draw"], ["SELECT 1"]],
    ["const a = %sql SELECT 1 @// 2, 'http://x', 4 //- 1", ["value"], ["SELECT 1 @// 2, 'http://x', 4 //- 1"]],
  ];
  for (const [cell, uses, texts] of cases) {
    const calls = await callsOf(cell);
    assert.deepEqual(calls.map(([{ use }]) => use), uses, cell);
    assert.deepEqual(calls.map(([, statement]) => statement?.[0][0]), texts, cell);
  }
});

Deno.test("rewriteCell() gives the line of a value that throws", async () => {
  const cases: [cell: string, line: number][] = [
    ["%%sql\nSELECT ${fail()}", 2],
    ["-- c\n\n%%sql\nSELECT ${1}, ${\n2 // c\n}, ${await later()},\n${fail()}", 6],
    ["%%sql\nSELECT ${1}; SELECT\n${fail()}", 3],
  ];
  const scope = {
    fail: () => {
      throw new RangeError("failed");
    },
    later: () => Promise.reject(new RangeError("failed")),
  };
  for (const [cell, line] of cases) {
    const error = await callsOf(cell, scope).then(() => undefined, (error) => error);
    assert.equal(error?.message, "failed", cell);
    assert.match(
      error.stack,
      new RegExp(`^RangeError: failed\\n[^]*\\n    in \\$\\{\\.\\.\\.\\} on line ${line}$`),
      cell,
    );
  }
});

Deno.test("rewriteCell() does not change errors of the client", async () => {
  const thrown = new RangeError("failed");
  const error = await callsOf("%%sql\nSELECT ${1}", {}, () => Promise.reject(thrown)).catch((error) => error);
  assert.equal(error, thrown);
  assert.doesNotMatch(thrown.stack!, /on line/);
});

Deno.test("rewriteCell() stores a result under any name", async () => {
  for (const name of ["rows", "value", "_", "$", "été", "options", "cause"]) {
    assert.equal(await storedValue(`%%sql ${name} <<\nSELECT 1`, name, 5), 5, name);
  }
});

Deno.test("rewriteCell() prints help", () => {
  for (const cell of ["%%sql?", "%sql?", "%%sql??", "?%%sql", "?%sql\n", "// how\n%%sql?"]) {
    const help = rewriteCell(cell, { module: "" }) as { kind: string; text: string };
    assert.equal(help.kind, "help");
    for (const part of ["--limit n", "--no-display", "--explain", "name <<", "\\d [name]", "${"]) {
      assert.ok(help.text.includes(part), part);
    }
  }
  const list = rewriteCell("%lsmagic", { module: "" }) as { kind: string; text: string };
  assert.equal(list.kind, "help");
  assert.match(list.text, /%%sql [^]*%sql [^]*%lsmagic /);
});

Deno.test("copy is a connection if no COPY statement can follow, because copies of a database often have this name", () => {
  const cases: [string, string | undefined][] = [
    [" copy\nDELETE FROM trips WHERE fare < 0", "copy"],
    [" copy\r\n\r\nSELECT 1", "copy"],
    [" copy select 1", "copy"],
    [" copy rows <<\nSELECT 1", "copy"],
    [" rows << copy\nSELECT 1", "copy"],
    [" copy --limit 5\nSELECT 1", "copy"],
    [" copy\n\\dt", "copy"],
    [" copy\nCOPY trips TO STDOUT", "copy"],
    [" copy trips FROM STDIN", undefined],
    [" copy\ntrips TO STDOUT", undefined],
    ["\ncopy trips TO '/tmp/x'", undefined],
    [" copy (SELECT 1) TO STDOUT", undefined],
    [" copy\nmove (a, b) FROM '/tmp/x'", undefined],
    [" copy start TO PROGRAM 'wc'", undefined],
    [" COPY\nDELETE FROM trips", undefined],
  ];
  for (const [rest, connection] of cases) {
    assert.equal(readHeader(`%%sql${rest}`, 5).header.connection, connection, rest);
  }
});

Deno.test("help and errors become cells that print or fail", () => {
  assert.equal(codeForChild("1 + 1", "m"), "1 + 1");
  assert.match(codeForChild("%lsmagic", "m"), /^console\.log\("%s", "%%sql/);
  assert.match(codeForChild("%%nothing", "m"), /\.refuse\("UsageError", "Cannot run the cell: /);
  assert.match(codeForChild("%%sql\nSELECT 1", "file:///mod.ts"), /file:\/\/\/mod\.ts/);
});

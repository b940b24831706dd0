import assert from "node:assert/strict";
import { rewriteCell } from "../../src/kernel/magic.ts";
import { newSeed, type Random, randomFrom } from "../support/random.ts";

const HOOK = Symbol.for("lakebase.cell");

type Call = [options: Record<string, unknown>, ...statements: [strings: string[], values: unknown[]][]];

function codeOf(cell: string): string {
  const rewritten = rewriteCell(cell, { module: "data:," });
  assert.equal(rewritten.kind, "code", `${JSON.stringify(cell)}: ${JSON.stringify(rewritten)}`);
  return (rewritten as { code: string }).code;
}

/** Runs what a cell becomes, and returns what it would have the client run. */
async function sent(cell: string, scope: Record<string, unknown> = {}): Promise<Call[]> {
  const calls: Call[] = [];
  Object.defineProperty(globalThis, HOOK, {
    configurable: true,
    value: (...call: Call) => {
      calls.push(call);
      return Promise.resolve([]);
    },
  });
  const AsyncFunction = (async () => {}).constructor as new (
    ...args: string[]
  ) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction(...Object.keys(scope), codeOf(cell))(...Object.values(scope));
  Reflect.deleteProperty(globalThis, HOOK);
  return calls;
}

function errorOf(cell: string): string {
  const rewritten = rewriteCell(cell, { module: "data:," });
  assert.equal(rewritten.kind, "error", `${JSON.stringify(cell)}: ${JSON.stringify(rewritten)}`);
  const { name, message } = rewritten as { name: string; message: string };
  assert.equal(name, "UsageError");
  return message;
}

Deno.test("rewriteCell() leaves TypeScript as it is", () => {
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
    "?",
  ];
  for (const cell of cells) assert.deepEqual(rewriteCell(cell, { module: "" }), { kind: "plain" }, cell);
});

Deno.test("rewriteCell() passes the SQL of a %%sql cell byte for byte, and its values apart from it", async () => {
  const texts = [
    "SELECT 1",
    "  SELECT '\\n' || E'\\\\n\\'' || '`' || `x` || '\u2028\u{1f600}\\u0041'\r\n;\r\n\n",
    'SELECT $$ it\'s \\ ` $ $$, $1, a$b FROM "t`"',
    "/* ${not} */ SELECT 1 -- ${not} `${not}`",
    "SELECT '$' || '{' || '}' || '$1'",
    "SELECT 1; SELECT 2; -- three",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
  ];
  for (const text of texts) {
    assert.deepEqual(await sent(`%%sql\n${text}`), [[{ magic: "%%sql", use: "draw" }, [[text], []]]]);
  }
  const cell = "%%sql\nSELECT ${a}, ${ await b() } -- ${no}\nFROM t WHERE c = ${`${a}}`// c\n} AND d = ANY(${[1, 2]})";
  assert.deepEqual(await sent(cell, { a: 1, b: () => Promise.resolve("two") }), [[
    { magic: "%%sql", use: "draw" },
    [["SELECT ", ", ", " -- ${no}\nFROM t WHERE c = ", " AND d = ANY(", ")"], [1, "two", "1}", [1, 2]]],
  ]]);
  const escaped = await sent("%%sql\nSELECT '\\${a}', '\\n', ${1}");
  assert.deepEqual(escaped[0]?.[1], [["SELECT '${a}', '\\n', ", ""], [1]]);
});

Deno.test("rewriteCell() cuts statements apart where there are values, since the server takes those one by one", async () => {
  const [[, ...statements] = []] = await sent("%%sql\n; SET a = 'x;y'; SELECT f(${1}; 2);\nSELECT ${2}; -- end\n;");
  assert.deepEqual(statements, [
    [["; SET a = 'x;y';"], []],
    [[" SELECT f(", "; 2);"], [1]],
    [["\nSELECT ", "; -- end\n;"], [2]],
  ]);
});

Deno.test("rewriteCell() reads connection, name and flags in any order", async () => {
  const cases: [cell: string, options: Record<string, unknown>][] = [
    ["%%sql SELECT 1", {}],
    ["// why\n\n/* and\nhow */ %%sql\nSELECT 1", {}],
    ["-- in SQL's way\n%%sql\nSELECT 1", {}],
    ["%%sql db2\nSELECT 1", { connection: "db2" }],
    ["%%sql db.main SELECT 1", { connection: "db.main" }],
    ["%%sql rows <<\nSELECT 1", { store: "rows" }],
    ["%%sql db2 rows<< SELECT 1", { connection: "db2", store: "rows" }],
    ["%%sql --limit 5\nSELECT 1", { limit: 5 }],
    ["%%sql --limit=5 --limit '1_000'\nSELECT 1", { limit: 1000 }],
    ['%%sql --limit "7" db2 --no-display\nSELECT 1', { limit: 7, connection: "db2", "no-display": true }],
    ["%%sql --explain --explain rows << db2 WITH a AS (SELECT 1) SELECT 1", {
      ...{ explain: true, store: "rows", connection: "db2" },
    }],
    ["%%sql -- a comment, no flag\nSELECT 1", {}],
    ["%%sql (SELECT 1)", {}],
    ["%%sql\t\r\nSELECT 1", {}],
    ["%%sql\n\\d trips ;", { command: "d", argument: "trips" }],
    ["%%sql db2 \\dt app.*\n\n", { connection: "db2", command: "dt", argument: "app.*" }],
  ];
  const scope = { db2: 2, db: { main: 1 }, rows: 0 };
  for (const [cell, expected] of cases) {
    const [[{ find, check, keep, ...options } = {}] = []] = await sent(cell, scope);
    assert.deepEqual(options, { magic: "%%sql", use: "draw", ...expected }, cell);
    const connection = expected["connection"];
    assert.equal((find as (() => unknown) | undefined)?.(), { db2: 2, "db.main": 1 }[String(connection)], cell);
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
  ];
  for (const [cell, uses, texts] of cases) {
    const calls = await sent(cell);
    assert.deepEqual(calls.map(([{ use }]) => use), uses, cell);
    assert.deepEqual(calls.map(([, statement]) => statement?.[0][0]), texts, cell);
  }
});

Deno.test("rewriteCell() keeps every line where it was", () => {
  const cell = "%%sql rows <<\nSELECT ${\n  first(\n)},\n${'`'} -- x\n, ${a // b\n}\n;";
  const [before, after] = [cell.split("\n"), codeOf(cell).split("\n")];
  for (const part of ["first(", "'`'", "a // b"]) {
    assert.equal(
      after.findIndex((line) => line.includes(`${part}`) && !line.includes("SELECT")),
      before.findIndex((line) => line.includes(part)),
    );
  }
  const lines = "let a = 1\n%sql SELECT ${a +\n1}\nthrow new Error()";
  assert.equal(codeOf(lines).split("\n")[3], "throw new Error()");
});

Deno.test("rewriteCell() stores a result under any name", async () => {
  for (const name of ["rows", "value", "_", "$", "été", "options"]) {
    const cell = `%%sql ${name} <<\nSELECT 1`;
    const [[options] = []] = await sent(cell, { [name]: 1 });
    (options?.["check"] as () => void)();
    (options?.["keep"] as (value: unknown) => void)(5);
  }
});

Deno.test("rewriteCell() prints help", () => {
  for (const cell of ["%%sql?", "%sql?", "%%sql??", "?%%sql", "?%sql\n", "// how\n%%sql?"]) {
    const help = rewriteCell(cell, { module: "" }) as { kind: string; text: string };
    assert.equal(help.kind, "help");
    for (const part of ["--limit n", "--no-display", "--explain", "name <<", "\\d trips", "${"]) {
      assert.ok(help.text.includes(part), part);
    }
  }
  const list = rewriteCell("%lsmagic", { module: "" }) as { kind: string; text: string };
  assert.equal(list.kind, "help");
  assert.match(list.text, /%%sql [^]*%sql [^]*%lsmagic /);
});

Deno.test("rewriteCell() says what is wrong, and nothing runs", () => {
  const cases: [cell: string, message: RegExp][] = [
    ["%%sql", /has no SQL.*%%sql\? prints help/],
    ["%%sql\n -- just a comment\n;", /has no SQL/],
    ["%sql", /%sql has no SQL/],
    [
      "%%sql --limt 5\nSELECT 1",
      /no flag --limt; did you mean --limit\? The flags: --limit n, --no-display, --explain/,
    ],
    ["%%sql --xyz\nSELECT 1", /no flag --xyz The flags|no flag --xyz.*The flags/],
    ["%%sql --limit\nSELECT 1", /--limit has no number; it must be a whole number above 0, such as --limit 50/],
    ["%%sql --limit 0\nSELECT 1", /--limit is "0"/],
    ["%%sql --limit -5\nSELECT 1", /--limit is "-5"/],
    ["%%sql --limit 1.5\nSELECT 1", /--limit is "1.5"/],
    ["%%sql --limit ten\nSELECT 1", /--limit is "ten"/],
    ["%%sql --limit=\nSELECT 1", /--limit has no number/],
    ["%%sql --explain=yes\nSELECT 1", /--explain takes no value/],
    ["%%sql SELECT 1 --limit 5", /--limit stands behind the SQL, where it is a comment; put it before/],
    ["%%sql SELCT 1", /"SELCT" is taken for a connection.*did you mean SELECT\?/],
    ["%%sql db2 db3\nSELECT 1", /"db2" is taken for a connection/],
    ["%%sql a << b << SELECT 1", /two names, a and b/],
    ["%%sql 1a <<\nSELECT 1", /can't be stored as 1a/],
    ["%%sql class <<\nSELECT 1", /can't be stored as class/],
    ["%%sql\nSELECT ${a", /\$\{.*on line 2 is not closed/],
    ["%%sql\nSELECT ${a)}", /on line 2 is not closed/],
    ["%%sql\nSELECT 1,\n${ }", /\$\{\} on line 3 is empty/],
    ["%%sql\nSELECT '${a}'", /within the quotes on line 2.*\$\{value\} outside of them/],
    ["%%sql\nSELECT $$${a}$$", /within the quotes on line 2/],
    ['%%sql\nSELECT "${a}"', /sql\.id\(name\)/],
    ["%%sql\nSELECT 1\n, 'a", /the text in quotes on line 3 is not closed/],
    ['%%sql\nSELECT "a', /the name in "quotes" on line 2 is not closed/],
    ["%%sql\nSELECT /* a", /the comment on line 2 is not closed/],
    ["%%sql\nSELECT $a$ $$", /the text in quotes on line 2 is not closed/],
    ["%sql SELECT 'a\nb'", /%sql ends with its line.*use a %%sql cell/],
    ["const a = 1\n%%sql\nSELECT 1", /%%sql on line 2 stands behind code; it must be the first line/],
    ["%%time\n1", /no magic %%time; there are %%sql, %sql and %lsmagic/],
    ["%time f()", /no magic %time;/],
    ["%%SQL\nSELECT 1", /no magic %%SQL/],
    ["%lsmagic\n1", /%lsmagic must be alone/],
    ["%%sql?\nSELECT 1", /%%sql\? must be alone/],
    ["const x = %sql a << SELECT 1", /two places/],
    ["const x = %sql --limit 3 SELECT 1", /--limit is for what is drawn/],
    ["%%sql\n\\dx", /no command \\dx; there are \\d, \\d table, \\dt pattern, \\dn and \\conninfo/],
    ["%%sql\n\\d trips\nSELECT 1", /\\d is alone/],
    ["%%sql --explain \\d", /--explain is for SQL/],
  ];
  for (const [cell, message] of cases) {
    assert.match(errorOf(cell), message, cell);
  }
});

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
      "E'\\'`'",
      "$$ ' $$",
      "$t$ $$ $t$",
      '"q""q"',
      "`",
    ],
    ...["\\", "/* ' ${x} /* */ */", '-- " ${x}\n', "😀", "\u2028", ";", "::", "$1 ", "'\\'", "é$ ", "{", "}"],
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
      // What would make one piece of two is kept apart.
      const gap = /[^ \r\n(),;:{}]$/.test(sql) ? " " : "";
      sql += gap + part;
      written += gap + part;
    }
  }
  return { sql, written, values };
}

Deno.test("rewriteCell() loses no character of any SQL, and keeps its values in order", async () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  for (let round = 0; round < 500; round++) {
    const { sql, written, values } = randomSql(random);
    const where = `LAKEBASE_TEST_SEED=${seed}, round ${round}: ${JSON.stringify(sql)}`;
    const [[, ...statements] = []] = await sent(`%%sql\n${sql}`);
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

Deno.test("rewriteCell() takes a cell of 5 MB, and time in proportion to any cell", () => {
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
    const started = performance.now();
    rewriteCell(cell, { module: "" });
    const took = performance.now() - started;
    assert.ok(took < 15_000, `${JSON.stringify(cell.slice(0, 20))} took ${took.toFixed()} ms`);
  }
});

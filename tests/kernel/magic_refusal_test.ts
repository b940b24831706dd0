import assert from "node:assert/strict";
import { rewriteCell } from "../../src/kernel/magic.ts";

function errorOf(cell: string): string {
  const rewritten = rewriteCell(cell, { module: "data:," });
  assert.equal(rewritten.kind, "error", `${JSON.stringify(cell)}: ${JSON.stringify(rewritten)}`);
  const { name, message } = rewritten as { name: string; message: string };
  assert.equal(name, "UsageError");
  return message;
}

Deno.test("rewriteCell() refuses an invalid magic with the reason", () => {
  const cases: [cell: string, message: RegExp][] = [
    ["%%sql", /has no SQL.*%%sql\? prints help/],
    ["%%SQL", /has no SQL.*%%sql\? prints help/],
    ["!ls", /!ls is not a shell command in TypeScript.*new Deno\.Command\("ls"\)/],
    ["!!ls", /!ls is not a shell command/],
    ["files = !ls *.csv", /!ls is not a shell command.*\{ args: \["\*\.csv"\] \}/],
    ["const files = !ls\nfiles.length", /!ls is not a shell command/],
    ["!echo hi", /new Deno\.Command\("echo", \{ args: \["hi"\] \}/],
    ["!which deno", /new Deno\.Command\("which"/],
    ["!nvidia-smi", /new Deno\.Command\("nvidia-smi"\)/],
    ["!./run.sh", /new Deno\.Command\("\.\/run\.sh"\)/],
    ["!/bin/sh run.sh", /new Deno\.Command\("\/bin\/sh", \{ args: \["run\.sh"\]/],
    ["! pip install -q 'x y'", /new Deno\.Command\("pip", \{ args: \["install", "-q"/],
    ["%%sql\n -- just a comment\n;", /has no SQL/],
    ["%sql", /%sql has no SQL/],
    [
      "%%sql --limt 5\nSELECT 1",
      /no flag --limt; did you mean --limit\? The flags: --limit n, --no-display, --explain/,
    ],
    ["%%sql --xyz\nSELECT 1", /no flag --xyz\. The flags/],
    ["%%sql --limit\nSELECT 1", /--limit has no value; it must be a whole number above 0, such as --limit 50/],
    ["%%sql --limit 0\nSELECT 1", /--limit is "0"/],
    ["%%sql --limit -5\nSELECT 1", /--limit is "-5"/],
    ["%%sql --limit 1.5\nSELECT 1", /--limit is "1.5"/],
    ["%%sql --limit ten\nSELECT 1", /--limit is "ten"/],
    ["%%sql --limit=\nSELECT 1", /--limit has no value/],
    ["%%sql --explain=yes\nSELECT 1", /--explain takes no value/],
    ["%%sql --plot bar\n\\dt", /--plot needs SQL, but \\dt is a command/],
    ["%%sql SELECT 1 --limit 5", /--limit comes after the SQL begins, where it is a comment; put it before/],
    ["%%sql SELCT 1", /"SELCT" is taken for a connection.*did you mean SELECT\?/],
    [
      "%%sql db2 db3\nSELECT 1",
      /"db2" is taken for a connection.* begin with a statement such as SELECT, or name one connection/,
    ],
    [
      "%%sql db dbB\nSELECT 1",
      /"db" is taken for a connection, and "dbB" after it begins no SQL statement; begin with/,
    ],
    ["%%sql db SELCT 1", /"db" is taken for a connection, and "SELCT" after it .*did you mean SELECT\?/],
    [
      "%%sql await db\nSELECT 1",
      /await is not a connection; leave it out, because the connection is awaited anyway, such as %%sql db/,
    ],
    ["%%sql this\nSELECT 1", /this is not a connection; use a variable's name, such as %%sql db/],
    ["%%sql globalThis\nSELECT 1", /globalThis is not a connection/],
    ["%%sql a << b << SELECT 1", /two names, a and b/],
    ["%%sql 1a <<\nSELECT 1", /can't be stored as 1a/],
    ["%%sql class <<\nSELECT 1", /can't be stored as class/],
    [
      "%%sql\nSELECT $1::int AS a,\n${5}::int AS b",
      /\$1 on line 2 has no value in a cell; write \$\{value\} instead/,
    ],
    ["%%sql\nSELECT 1,\n$12", /\$12 on line 3 has no value/],
    ["%%sql\nPREPARE p AS SELECT $1;\nSELECT $2", /\$2 on line 3 has no value/],
    ["%%sql\nCREATE TABLE t AS SELECT $1, ${2}", /\$1 on line 2 has no value/],
    ["%sql SELECT $1", /\$1 on line 1 has no value/],
    ["%%sql\nSELECT ${a", /\$\{.*on line 2 is not closed/],
    ["%%sql\nSELECT ${a)}", /on line 2 is not closed/],
    ["%%sql\nSELECT 1,\n${ }", /\$\{\} on line 3 is empty/],
    ["%%sql\nSELECT '${a}'", /in the quotes on line 2.*\$\{value\} outside of the quotes/],
    ["%%sql\nSELECT $$${a}$$", /in the quotes on line 2/],
    ['%%sql\nSELECT "${a}"', /sql\.id\(name\)/],
    ["%%sql\nSELECT 1\n, 'a", /the text in quotes on line 3 is not closed/],
    ['%%sql\nSELECT "a', /the name in "quotes" on line 2 is not closed/],
    ["%%sql\nSELECT /* a", /the comment on line 2 is not closed/],
    ["%%sql\nSELECT $a$ $$", /the text in quotes on line 2 is not closed/],
    ["%sql SELECT 'a\nb'", /%sql ends with its line.*use a %%sql cell/],
    ["const a = %sql SELECT 1 // note", /\/\/ on line 1 does not begin a comment in SQL; write --/],
    ["/* open\n%%sql\nSELECT 1", /^Cannot run the cell: the comment on line 1 is not closed$/],
    ["// a\n\n/* open /*\n%%sql\nSELECT 1", /the comment on line 3 is not closed/],
    ["const a = 1;\n/*/ open\n%sql SELECT 1", /the comment on line 2 is not closed/],
    ["console.log(1) /* open", /the comment on line 1 is not closed/],
    ["const a = 1\n%%sql\nSELECT 1", /%%sql on line 2 comes after code; it must be the first line/],
    ["%%time\n1", /no magic %%time; the magics are %%sql, %sql and %lsmagic/],
    ["%time f()", /no magic %time;/],
    ["%lsmagic\n1", /%lsmagic must be alone/],
    ["%%sql?\nSELECT 1", /%%sql\? must be alone/],
    ["const x = %sql a << SELECT 1", /two places/],
    ["const x = %sql --limit 3 SELECT 1", /--limit applies to a result that is shown/],
    ["%%sql\n\\dx", /no command \\dx; the commands are \\d, \\dt, \\dv, \\di, \\df, \\dn, \\du, \\l, .*\\\?$/],
    ["%%sql\n\\dn app", /\\dn takes nothing after it, but has app/],
    ["%%sql\n\\d trips\nSELECT 1", /\\d must be alone in its cell/],
    ["%%sql --explain\nSELECT 1; SELECT 2", /--explain takes one statement, but the cell has 2/],
    ["%%sql --explain\nSELECT ${1};\n-- c\nDELETE FROM t;", /--explain takes one statement, but the cell has 2/],
    [
      "%%sql --explain\n-- c\nDROP TABLE t",
      /--explain needs a statement with a plan, such as SELECT or UPDATE; DROP has none/,
    ],
    ["%%sql --explain\nCREATE TABLE t (a int)", /CREATE has none/],
    ["const p = %sql --explain EXPLAIN SELECT 1", /both --explain and EXPLAIN/],
    ["%%sql --explain \\d", /--explain needs SQL/],
    ["%%sql --csv a.csv\n\\dt", /--csv needs SQL, but \\dt is a command/],
    ["%%sql --with a\n\\dt", /--with needs SQL/],
    ["%%sql --csv\nSELECT 1", /--csv has no file; write --csv trips\.csv before the SQL/],
    ["%%sql --parquet SELECT 1", /--parquet has no file/],
    ["%%sql --csv a.csv --parquet b.parquet\nSELECT 1", /--csv and --parquet can't be used together/],
    [
      "%%sql --parquet a --limit 5\nSELECT 1",
      /--parquet and --limit can't be used together; --parquet writes all rows/,
    ],
    ["%%sql --csv a --plot bar\nSELECT 1", /--csv and --plot can't/],
    ["%%sql --save\nSELECT 1", /--save has no name; it must be a name such as --save expensive_trips/],
    ["%%sql --save SELECT 1", /--save has no name/],
    ["%%sql --with a,1b\nSELECT 1", /--with is "1b"; it must be a name/],
    ["%%sql --save a\nSELECT 1; SELECT 2", /--save takes one statement, but the cell has 2/],
    ["%%sql --save a\nDELETE FROM t RETURNING id", /--save needs a query, such as SELECT; this one is DELETE/],
    ["%%sql --with a\nCREATE TABLE t AS SELECT 1", /--with needs a statement that can have WITH.*; this one is CREATE/],
  ];
  for (const [cell, message] of cases) {
    assert.match(errorOf(cell), message, cell);
  }
});

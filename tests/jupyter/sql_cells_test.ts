import assert from "node:assert/strict";
import { type CellRun, GOES, installedKernel, jupyterMissing, type KernelCell, runCells } from "../support/jupyter.ts";
import { notebookFolder } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

/** Runs cells in a notebook that can import `lakebase` by name. The first `connect()` starts a Lakebase on this machine. */
async function run(cells: (string | KernelCell)[], env: Record<string, string> = {}): Promise<CellRun[]> {
  await using folder = await notebookFolder();
  await using kernel = await installedKernel();
  const ran = await runCells(cells, {
    kernel: kernel.options.kernel,
    cwd: folder.path,
    env: { ...kernel.options.env, NO_COLOR: "1", LAKEBASE_LOCAL: "1", ...env },
  });
  assert.equal(ran.alive, true);
  for (const [index, { messages }] of ran.cells.entries()) {
    const cell = cells[index]!;
    const input = messages.find(({ type }) => type === "execute_input");
    assert.equal(input?.content["code"], typeof cell === "string" ? cell : cell.code);
    assert.deepEqual(messages.filter(({ type }) => type.startsWith("lakebase_")), []);
  }
  return ran.cells;
}

/** The drawing of a cell, as text. */
function shown(cell: CellRun | undefined): string {
  assert.equal(cell?.reply?.status, "ok", cell?.reply?.evalue);
  const cleared = cell.messages.findLastIndex(({ type }) => type === "clear_output"); // what runs is shown after a second
  const messages = cell.messages.slice(cleared + 1).filter(({ type }) => !/^(status|execute_input)$/.test(type));
  return messages.map(({ content }) =>
    (content["data"] as Record<string, string> | undefined)?.["text/plain"] ?? content["text"] ??
      JSON.stringify(content)
  ).join("\n");
}

/** The error of a cell, which is drawn as well. */
function failure(cell: CellRun | undefined): string {
  assert.equal(cell?.reply?.status, "error", JSON.stringify(cell?.messages));
  const error = cell.messages.find(({ type }) => type === "error");
  assert.equal(error?.content["evalue"], cell.reply.evalue);
  return `${error?.content["ename"]}: ${error?.content["evalue"]}`;
}

const NOTEBOOK: [cell: string, shows: RegExp][] = [
  [
    "// No connect() is needed.\n%%sql\nCREATE TABLE trips (id int, zone text);\nINSERT INTO trips SELECT n, 'Z' || n % 3 FROM generate_series(1, 100) AS n",
    /^Connected to project local, branch production, .* database databricks_postgres, as you@example\.com, because connect\(\) was not called\. The local Lakebase is set by LAKEBASE_LOCAL\.\nINSERT 0 100, [\d.]+ m?s$/,
  ],
  ["%%sql\nSELECT * FROM trips ORDER BY id", /first 20 rows, there are more/],
  [
    "%%sql --limit 2\nSELECT * FROM trips ORDER BY id",
    / id \| zone\n.*\n {2}1 \| Z1\n {2}2 \| Z2\n\(first 2 rows, there are more/,
  ],
  [
    'import { connect, sql } from "lakebase";\nconst least = 98;\n(await sql`SELECT count(*)::int FROM trips`.value())',
    /^100$/,
  ],
  [
    "%%sql late <<\nSELECT * FROM trips WHERE id >= ${least} AND zone = ANY(${['Z0', 'Z1']})",
    /^late: 2 rows, [\d.]+ m?s$/,
  ],
  ["late.map(({ id }) => id).join()", /99,100/],
  ["%%sql late << --limit 1\nSELECT * FROM trips", /\(1 of 100 rows/],
  ["late.length", /^100$/],
  ["%%sql --no-display\nUPDATE trips SET zone = zone", /^$/],
  ["%%sql --explain\nDELETE FROM trips WHERE id = ${least}", /Seq Scan on trips[^]*not run/],
  ["%%sql\nSELECT count(*) FROM trips", /100\n\(1 row/],
  ["%%sql\nSELECT id FROM ${sql.id('trips')} WHERE ${sql`id = ${7}`}", / id\n-+\n {2}7\n/],
  [
    "%%sql\nUPDATE trips SET zone = ${'Z9'} WHERE id = 1; SELECT zone, ${2}::int AS two FROM trips WHERE id = 1;",
    / Z9 {3}\|\s+2\n/,
  ],
  ["%%sql\nDO $$ BEGIN RAISE NOTICE 'hello'; END $$", /DO, .*\nNOTICE: {2}hello/],
  ["%%sql\n\\d trips", /table public\.trips[^]*zone \| text/],
  ["%%sql\n\\dt tr*", /public \| trips \| table/],
  ["%%sql\n\\dn", /public/],
  ["%%sql\n\\l", /postgres/],
  ["%%sql --save few\nSELECT id FROM trips WHERE id <= ${3}", /3 rows/],
  ["%%sql --save fewer --with few\nSELECT id FROM few WHERE id > ${1};", /2 rows/],
  [
    "const sums = await %sql --with fewer,few SELECT sum(id)::int AS s FROM fewer WHERE id IN (SELECT id FROM few)\nsums[0].s",
    /^5$/,
  ],
  ["%%sql\n\\conninfo", /^Lakebase\n[^]*host {6}localhost/],
  ["const counted = await %sql SELECT count(*)::int AS n FROM trips\ncounted[0].n + 1", /^101$/],
  ["const same = %sql SELECT 5 AS five\n[same].map(([row]) => row.five)", /\[ 5 \]/],
  [
    "for (const zone of ['Z0', 'Z2']) {\n  %sql SELECT ${zone} AS zone, count(*) FROM trips WHERE zone = ${zone}\n}\n%sql SELECT 'last' AS last",
    / Z0 [^]* Z2 [^]* last\n/,
  ],
  [
    "const db = await connect({ local: true });\nawait db.transaction(async (tx) => {\n  %sql tx INSERT INTO trips VALUES (101, 'in')\n  return (await %sql tx SELECT max(id) AS id FROM trips)[0].id;\n})",
    /INSERT 0 1[^]*101/,
  ],
  ["%%sql db\nSELECT 'by name' AS found", /by name/],
  ["%%sql\nSELECT id, zon || '' FROM (SELECT id, zone AS zon FROM trips) AS t WHERE id = 2", / 2 \| Z2/],
  ["%%sql?", /--limit n/],
  ["%lsmagic", /%%sql/],
];

Deno.test({
  ...requires("a notebook of %%sql cells and %sql lines runs on one connection with its TypeScript", jupyterMissing),
  fn: async () => {
    const cells = await run(NOTEBOOK.map(([cell]) => cell));
    for (const [index, [, shows]] of NOTEBOOK.entries()) assert.match(shown(cells[index]), shows);
  },
});

Deno.test({
  ...requires("the server gets the SQL of a %%sql cell byte for byte", jupyterMissing),
  fn: async () => {
    const texts = [
      "`",
      "\\",
      "\\n",
      "\\`",
      "\\\\${",
      "${",
      "$1",
      "$",
      "\r\n",
      "\u2028",
      "😀",
      "\\u0041",
      "}",
      "`${1}`",
      "\t",
    ];
    const quoted = texts.map((text) => `$q$${text.replaceAll("${", "\\${")}$q$`).join(", ");
    const values = `\${${JSON.stringify(texts)}}::text[]`;
    const cells = await run([
      `%%sql all <<\nSELECT ARRAY[${quoted}] AS written, ${values} AS bound`,
      "({ [Symbol.for('Jupyter.display')]: () => ({ 'text/plain': JSON.stringify(all[0]) }) })",
    ]);
    assert.deepEqual(JSON.parse(shown(cells[1])), { written: texts, bound: texts });
  },
});

Deno.test({
  ...requires("an error in a %%sql cell fails the cell, and the kernel lives", jupyterMissing),
  fn: async () => {
    const refused: [cell: string, says: RegExp][] = [
      ["%%sql --limt 1\nSELECT 1", /^UsageError: .*did you mean --limit/],
      ["%%sql", /has no SQL/],
      [
        "%%sql nobody\nSELECT 1",
        /^LakebaseError: Cannot run %%sql on nobody: there is no such variable\. Make one with const nobody = await connect/,
      ],
      ["%%sql\nSELECT ${nothing}", /^ReferenceError: nothing is not defined/],
      ["%%sql\nSELECT ${1", /is not closed/],
      ["%%sql\nSELECT ${1 +} AS x", /^SyntaxError: Expression expected \(line 2, column 13\)$/],
      ["const c1 = true ? %sql SELECT 1 AS a : null", /^SyntaxError: .* \(line 1, column \d+\)$/],
      ["%%sql\nSELECT $1::int AS a, ${5}::int AS b", /\$1 on line 2 has no value in a cell/],
      ["[1].map((x) => %sql SELECT 1)", /write async \(x\) => …$/],
      ["1 /* open", /the comment on line 1 is not closed/],
      ["%%sql\nSELECT 'a", /is not closed/],
      ["%%sql\nSELECT nope", /column "nope" does not exist \(SQLSTATE 42703\)\nLINE 1: SELECT nope\n {15}\^/],
      ["%%sql\nSELECT 1; SELEC 2", /syntax error at or near "SELEC"/],
      ["%%sql kept <<\nSELECT 1", /kept, which is a const; take another name/],
      ["%%sql kept\nSELECT 1", /Cannot run %%sql on kept: it is not a connection/],
      ["%%sql\nSELECT ${() => 1}", /parameter 1|function/],
      ["%%sql\nCOPY trips FROM STDIN", /Cannot run COPY FROM STDIN|does not exist/],
      [`%%sql\nSELECT '${"x".repeat(5_000_000)}`, /is not closed/],
    ];
    const cells = await run([
      "const kept = 1;\nundefined",
      ...refused.map(([cell]) => cell),
      "kept",
      `%%sql\nSELECT length('${"x".repeat(5_000_000)}') AS n, \${2}::int AS two`,
    ]);
    for (const [index, [cell, says]] of refused.entries()) {
      assert.match(failure(cells[index + 1]), says, cell.slice(0, 80));
    }
    assert.equal(shown(cells.at(-2)), "1");
    assert.match(shown(cells.at(-1)), /5000000 \|\s+2/);
  },
});

Deno.test({
  ...requires("Stop cancels a %%sql cell and a %sql line, and keeps the variables", jupyterMissing),
  fn: async () => {
    const cells = await run([
      `import { connect } from "lakebase"; const db = await connect(); ${GOES}`,
      "%%sql kept <<\nSELECT 42 AS answer",
      { code: "%%sql\nSELECT pg_sleep(${(void goes('pg_sleep'), 60)})", interruptAt: '"go' },
      { code: "void goes('pg_sleep'); const slow = await %sql SELECT pg_sleep(60)", interruptAt: '"go' },
      "%%sql\nSELECT ${kept[0].answer}::int AS answer",
    ]);
    // The second one if the query takes a while to end.
    for (const cell of [cells[2], cells[3]]) {
      assert.match(failure(cell), /^LakebaseError: Canceled$|Stop ended this cell/);
    }
    assert.match(shown(cells[4]), / 42\n/);
  },
});

Deno.test({
  ...requires("a %%sql cell says where it ran when several connections are open", jupyterMissing),
  fn: async () => {
    const connectOne = 'import { connect, sql } from "lakebase";\nvar one = await connect({ local: true });\nundefined';
    const cells = await run([
      connectOne,
      "%%sql\nSELECT 1 AS alone",
      'const two = await connect({ local: { user: "other@example.com" } });\nundefined',
      "%%sql\nSELECT current_user AS me",
      "%%sql one\nSELECT current_user AS me",
      "%%sql\nCREATE TABLE t (a int)",
      "sql`SELECT current_user AS me`",
      connectOne,
      "%%sql\nSELECT current_user AS me",
      "await one.close()",
      "%%sql\nSELECT current_user AS me",
      "%%sql two\nSELECT current_user AS me",
    ]);
    const place = String.raw`\(1 row, [\d.]+ m?s, on databricks_postgres at localhost:\d+\)$`;
    assert.match(shown(cells[1]), /\(1 row, [\d.]+ m?s\)$/);
    assert.match(shown(cells[3]), new RegExp(String.raw`other@example\.com\n${place}`));
    assert.match(shown(cells[4]), new RegExp(String.raw`you@example\.com\n${place}`));
    assert.match(shown(cells[5]), /^CREATE TABLE, on databricks_postgres at localhost:\d+/);
    assert.match(shown(cells[6]), new RegExp(String.raw`other@example\.com\n${place}`));
    assert.match(shown(cells[8]), new RegExp(String.raw`you@example\.com\n${place}`), "the first cell was run again");
    assert.match(failure(cells[10]), /"databricks_postgres" .* is closed, since close\(\) was called on it/);
    assert.match(shown(cells[11]), /other@example\.com\n\(1 row, [\d.]+ m?s\)$/);
  },
});

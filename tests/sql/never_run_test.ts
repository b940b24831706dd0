import assert from "node:assert/strict";
import { type CellRun, installedKernel, jupyterMissing, runCells } from "../support/jupyter.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER, sharedPostgres } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { LOCKED } from "../support/files.ts";
import { notebookFolder } from "../support/notebook.ts";

/** A test of a script on the PostgreSQL server of all tests, which outlives the test. */
function scriptTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ ...requires(name, postgresMissing), sanitizeOps: false, sanitizeResources: false, fn });
}

/** Connects to that server, and makes a table. */
async function connected(): Promise<string> {
  const { port } = await sharedPostgres();
  const place = { host: "127.0.0.1", port, user: "postgres", password: CLUSTER.password, sslMode: "disable" };
  return `await using db = await connect(${JSON.stringify({ ...place, database: "postgres" })});
    await sql\`DROP TABLE IF EXISTS t; CREATE TABLE t (a int)\`;`;
}

/** The warnings on a script's standard error about statements that were never run. */
async function warningsOf(body: string, before?: string): Promise<string[]> {
  const script = `import { connect, show, sql } from "${import.meta.resolve("../../mod.ts")}";
    ${before ?? await connected()}
    ${body}`;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", ...LOCKED, script],
    env: { NO_COLOR: "1" },
    cwd: await Deno.makeTempDir(),
  }).output();
  const text = new TextDecoder().decode(stderr);
  assert.equal(code, 0, text);
  return text.split("\n").filter((line) => line.includes("never run"));
}

scriptTest("a script is warned of each statement that it never ran", async () => {
  const lines = await warningsOf(`
    for (const x of [1, 2, 3]) sql\`INSERT INTO t VALUES (\${x})\`;
    sql\`INSERT INTO t   VALUES (4)\`; await sql\`SELECT count(*) FROM t\`;
    for (let n = 0; n < 10000; n++) db.sql\`SELECT \${n}\`;
    await db.transaction(async (tx) => { tx.sql\`UPDATE t SET a = 1\`; });
    sql\`SELECT 1\`.with({ timeout: 5 });
    sql\`UPDATE t SET a = 2\`.explain({ analyze: true }); sql\`SELECT 2\`.columns(); sql\`SELECT 3\`.plot();
    sql\`SELECT 4\`.browse();
    sql\`\${sql.unsafe("DROP TABLE t")}\`;
    sql\`DELETE FROM t\`;`);
  assert.deepEqual(lines, [
    "never run (3 times): put `await` before it: sql`INSERT INTO t VALUES (${...})`",
    "never run: put `await` before it: sql`INSERT INTO t VALUES (4)`",
    "never run (10,000 times): put `await` before it: sql`SELECT ${...}`",
    "never run: put `await` before it: sql`UPDATE t SET a = 1`",
    "never run: put `await` before it: sql`SELECT 1`",
    "never run: put `await` before it: sql`UPDATE t SET a = 2`",
    "never run: put `await` before it: sql`SELECT 2`",
    "never run: put `await` before it: sql`SELECT 3`",
    "never run: put `await` before it: sql`SELECT 4`",
    "never run: put `await` before it: sql`${...}`",
    "never run: put `await` before it: sql`DELETE FROM t`",
  ]);
});

Deno.test("(slow) the first 100,000 statements are remembered, and 100 characters of a long one are shown", async () => {
  const whole = `SELECT '${"x".repeat(91)}'`;
  const cut = `SELECT '${"x".repeat(92)}'`;
  assert.deepEqual(
    await warningsOf(`sql\`${whole}\`; sql\`${cut}\`; for (let n = 0; n < 100_000; n++) sql\`SELECT 1\`;`, ""),
    [
      `never run: put \`await\` before it: sql\`${whole}\``,
      `never run: put \`await\` before it: sql\`${cut.slice(0, 100)}…\``,
      "never run (99,998 times): put `await` before it: sql`SELECT 1`",
    ],
  );
  // Turns of the event loop between the statements make no difference.
  const slowly = `for (let n = 0; n < 150_000; n++) {
    sql\`SELECT 1\`;
    if (n % 50_000 === 0) await new Promise((done) => setTimeout(done));
  }`;
  assert.deepEqual(await warningsOf(slowly, ""), ["never run (100,000 times): put `await` before it: sql`SELECT 1`"]);
});

scriptTest(
  "there is no false alarm for a statement that is run in any way, a part of another one, or kept",
  async () => {
    const lines = await warningsOf(`
    const later = sql\`SELECT 1\`;
    const where = sql\`a > \${1}\`;
    const rows = (order, a) => {
      const orders = { up: sql\`ORDER BY a\`, down: sql\`ORDER BY a DESC\` };
      let filter = sql\`\`;
      if (a !== undefined) filter = sql\`WHERE a = \${a}\`;
      return sql\`SELECT * FROM t \${filter} \${orders[order]}\`;
    };
    await rows("up", 1);
    await sql\`SELECT * FROM t WHERE \${sql.join([where, sql\`a < 5\`], " AND ")}\`;
    await show(sql\`SELECT 2\`, [sql\`SELECT 3\`]);
    await db.pull(sql\`SELECT 1 AS a\`, "a.csv");
    await db.load("t", sql\`SELECT 1 AS a\`);
    await db.profile(sql\`SELECT 1 AS a\`);
    await sql\`SELECT 1\`.value(); await sql\`SELECT 1\`.first(); await sql\`SELECT 1\`.columns();
    await sql\`SELECT 1\`.explain(); await sql\`SELECT 1\`.with({ limit: 1 }); await sql\`SELECT 1\`.pull("b.csv");
    for await (const _ of sql\`SELECT 1\`);
    await Promise.all([sql\`SELECT 1\`, sql\`SELECT 2\`]);
    globalThis.kept = sql\`SELECT 5\`;
    await later;`);
    assert.deepEqual(lines, []);
  },
);

/** The text that a cell writes to its standard error. */
function errors(cell: CellRun | undefined): string {
  const streams = cell?.messages.filter(({ type, content }) => type === "stream" && content["name"] === "stderr") ?? [];
  return streams.map(({ content }) => content["text"]).join("");
}

Deno.test({
  ...requires("(slow) a cell reports the statements that it never ran", jupyterMissing),
  fn: async () => {
    await using folder = await notebookFolder();
    await using kernel = await installedKernel();
    const cells = [
      'import { connect, sql } from "lakebase";\nvar db = await connect({ local: true });\nawait sql`CREATE TABLE t (a int)`',
      "for (const x of [1, 2, 3]) sql`INSERT INTO t VALUES (${x})`",
      "var later = sql`SELECT 1`;\nundefined",
      "sql`DELETE FROM t`; sql`SELECT count(*) FROM t`",
      "await later",
    ];
    const env = { ...kernel.options.env, NO_COLOR: "1" };
    // The cell fails, and its error is enough about the statements after the one that failed.
    const failing = "%%sql\nSELECT 1;\nSELECT 1 / ${0};\nINSERT INTO t VALUES (${5})";
    const own = await runCells([...cells, failing], { kernel: kernel.options.kernel, cwd: folder.path, env });
    assert.deepEqual(own.cells.map(errors), [
      "",
      "never run (2 times): put `await` before it: sql`INSERT INTO t VALUES (${...})`\n",
      "",
      "never run: put `await` before it: sql`DELETE FROM t`\n",
      "",
      "",
    ]);
    assert.match(String(own.cells.at(-1)!.reply?.["evalue"] ?? JSON.stringify(own.cells.at(-1)!.messages)), /22012/);
    // Deno's own kernel does not report the end of a cell, so the warning about earlier statements comes a moment
    // later. It may come after the last cell, so the cells record and draw it.
    const keep = "var warnings = []; console.error = (...texts) => void warnings.push(texts.join(' '))";
    const draw = "while (warnings.length < 2) await new Promise((done) => setTimeout(done, 50));\nwarnings.join('; ')";
    const stock = await runCells([keep, ...cells, draw], { cwd: folder.path, env: { NO_COLOR: "1" } });
    const all = JSON.stringify(stock.cells.at(-1)!.messages.map(({ content }) => content["data"]));
    assert.match(all, /never run \(2 times\): put `await` before it: sql`INSERT INTO t VALUES/);
    assert.match(all, /never run: put `await` before it: sql`DELETE FROM t`/);
    assert.doesNotMatch(all, /SELECT/);
  },
});

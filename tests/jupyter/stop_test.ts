import assert from "node:assert/strict";
import {
  type CellRun,
  GOES,
  jupyterMissing,
  type KernelCell,
  type KernelRun,
  outputsOf,
  runCells,
} from "../support/jupyter.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { sharedGateway } from "../support/shared_servers.ts";

const NOTEBOOKS = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);
const FIRST = `import { connect, sql } from "lakebase"; const db = await connect({ max: 2 }); let kept = 41; ${GOES}`;
const GO = "void goes('pg_sleep');";
/** Waits until no statement is left on the server. A cell draws this, because its printed text may arrive after its end. */
const ENDED = `apart(); kept++;
  while (await sql\`SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()\`.value() > 0);
  "it has ended"`;

/** The drawing, the output or the error of a cell. */
const shown = (cell: CellRun | undefined) => JSON.stringify(cell && outputsOf(cell));

let runs = 0;

/** Runs cells in a separate kernel, on empty databases. */
async function inKernel(cells: (string | KernelCell)[]): Promise<KernelRun> {
  const local = await sharedGateway({}, CLUSTER, `notebook ${++runs}`);
  return await runCells([FIRST, ...cells], { cwd: NOTEBOOKS, env: { ...local.env, NO_COLOR: "1" } });
}

function kernelTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ ...requires(name, jupyterMissing, postgresMissing), sanitizeOps: false, sanitizeResources: false, fn });
}

kernelTest(
  "Stop cancels a query, an iteration and a wait, and leaves kernel, variables and connection alive",
  async () => {
    const stopped = [
      GO + "await sql`SELECT pg_sleep(60)`",
      GO + "sql`SELECT pg_sleep(60)`",
      GO + "for await (const row of sql`SELECT pg_sleep(60)`) console.log(row)",
      "for await (const { n } of sql`SELECT n, pg_sleep(0.01) FROM generate_series(1, 100000) n`) { if (n === 5) console.log('go') }",
      GO + "await db.transaction(async (tx) => { await tx.sql`SELECT pg_sleep(60)` })",
      GO + "await db.transaction(() => db.transaction(() => db.sql`SELECT pg_sleep(60)`))",
    ];
    const cells = stopped.flatMap((
      code,
    ) => [{ code, interruptAt: '"go' }, ENDED]);
    const run = await inKernel([...cells, "kept"]);
    assert.equal(run.alive, true);
    stopped.forEach((code, index) => {
      const cell = run.cells[1 + index * 2];
      assert.match(shown(cell), /"ename":"LakebaseError","evalue":"(LakebaseError )?.*Canceled/, code);
      assert.match(shown(run.cells[2 + index * 2]), /it has ended/, code);
    });
    assert.match(shown(run.cells.at(-1)), new RegExp(String(41 + stopped.length)));
  },
);

kernelTest(
  "Stop cancels the statements of diff() on both servers, and the branch lives until it is closed",
  async () => {
    const waiting = "(await held[0].query('SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted'))[0].n";
    const until = (count: number) =>
      `while (${waiting} !== ${count}) await new Promise((resolve) => setTimeout(resolve, 50));`;
    const run = await inKernel([
      "await db.query('CREATE TABLE held AS SELECT 1 AS id'); const copy = await db.branch();",
      `const held = [await db.session(), await copy.session()];
     for (const session of held) { await session.query("BEGIN"); await session.query("LOCK TABLE held"); }`,
      { code: `(async () => { ${until(2)} console.log("go") })(); await db.diff(copy, "held")`, interruptAt: '"go' },
      `${until(0)} for (const session of held) { await session.query("ROLLBACK"); await session.close(); }`,
      `"differ " + (await db.diff(copy, "held")).length`, // drawn, like ENDED
      "await copy.close(); 'branches ' + (await db.branches()).length",
    ]);
    assert.equal(run.alive, true);
    const [stopped, , after, last] = run.cells.slice(3).map(shown);
    assert.match(stopped!, /"ename":"LakebaseError","evalue":"(LakebaseError )?.*Canceled/);
    assert.match(after!, /differ 0/);
    assert.match(last!, /branches 1/);
  },
);

kernelTest("a second Stop within two seconds belongs to the kernel", async () => {
  const first = { code: GO + "await sql`SELECT pg_sleep(60)`", interruptAt: '"go' };
  const run = await inKernel(["const stopped = now(); Date.now = () => stopped", first, first]);
  assert.equal(run.alive, false);
});

kernelTest("Stop belongs to the kernel when no statement of this module runs", async () => {
  const run = await inKernel(["await sql`SELECT 1`", {
    code: "console.log('go'); await new Promise((r) => setTimeout(r, 60_000))",
    interruptAt: '"go',
  }]);
  assert.equal(run.alive, false);
});

kernelTest("a cell draws a query, an error with its caret, a command and a plan", async () => {
  const { cells } = await inKernel([
    "sql`SELECT n FROM generate_series(1, 30) n`",
    "sql`SELECT nothere`",
    "sql`CREATE TABLE t (id int)`",
    "sql`SELECT * FROM t`.explain()",
    "await sql`SELECT * FROM t`.explain()",
  ]);
  assert.match(shown(cells[1]), /text\/html.*20 rows/s);
  assert.match(shown(cells[2]), /SQLSTATE 42703.*LINE 1: SELECT nothere.*\^/);
  assert.match(shown(cells[3]), /CREATE TABLE, /);
  assert.match(shown(cells[5]), /Seq Scan on t/);
});

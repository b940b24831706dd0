import assert from "node:assert/strict";
import { temporaryFolder } from "../support/files.ts";
import {
  type CellRun,
  GOES,
  installedKernel,
  jupyterMissing,
  type KernelCell,
  outputsOf,
  runCells,
  runNotebook,
} from "../support/jupyter.ts";
import { notebookFolder, notebookOf } from "../support/notebook.ts";
import { postgresMissing } from "../support/postgres.ts";
import { pythonWith } from "../support/python.ts";
import { CLUSTER } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { sharedGateway } from "../support/shared_servers.ts";

/** The cells' runs, and whether the kernel lived. */
async function run(cells: (string | KernelCell)[]) {
  await using kernel = await installedKernel();
  return await runCells(cells, kernel.options);
}

function error(cell: CellRun): { ename: string; evalue: string; traceback: string[] } {
  const errors = outputsOf(cell).filter(({ type }) => type === "error");
  assert.equal(errors.length, 1, JSON.stringify(cell));
  const { ename, evalue, traceback } = errors[0]!.content as ReturnType<typeof error>;
  assert.deepEqual([cell.reply?.ename, cell.reply?.evalue, cell.reply?.traceback], [ename, evalue, traceback]);
  return { ename, evalue, traceback };
}

Deno.test({
  ...requires("a cell that does not parse shows its error and its line", jupyterMissing),
  fn: async () => {
    const { cells, alive } = await run([
      "const fine: number = 1;\n\nlet broken = = 2;",
      'import missing from "npm:@lakebase-test/there-is-no-such-package";',
      "%%nothing",
      "fine ?? 1",
    ]);
    assert.equal(error(cells[0]!).evalue, "Expression expected (line 3, column 14)");
    assert.match(error(cells[1]!).evalue, /there-is-no-such-package/);
    const { ename, evalue } = error(cells[2]!);
    assert.equal(ename, "UsageError");
    assert.match(evalue, /no magic %%nothing/);
    assert.equal(error(cells[3]!).ename, "ReferenceError"); // no part of the first cell ran
    assert.ok(alive);
  },
});

Deno.test({
  ...requires("nbclient gets all outputs of 200 cells, and the cells as they were written", jupyterMissing),
  fn: async () => {
    await using kernel = await installedKernel();
    const sources = Array.from({ length: 200 }, (_, n) =>
      [
        `${n}`,
        `await Deno.jupyter.display({ "text/plain": "${n}" }, { raw: true })`,
        `console.log("x".repeat(100_000)); throw new Error("${n}")`,
        `%lsmagic`,
      ][n % 4]!);
    const { cells } = await runNotebook(sources, { ...kernel.options, allowErrors: true });
    const expected = [["execute_result"], ["display_data"], ["stream", "error"], ["stream"]];
    for (const [n, { source, outputs, execution_count: count }] of cells.entries()) {
      assert.deepEqual(outputs?.map(({ output_type: type }) => type), expected[n % 4], `cell ${n}`);
      assert.equal(count, n + 1);
      assert.equal([source].flat().join(""), sources[n]);
    }
  },
});

Deno.test({
  ...requires("Stop ends a loop, a loop after an await, and any wait, and the kernel lives", jupyterMissing),
  fn: async () => {
    const stopped = (code: string) => ({
      code: `var kept = ${JSON.stringify(code)}; ${code.replace("GO", 'console.log("go")')}`,
      interruptAt: '"go',
    });
    const codes = [
      "GO; while (true) {}",
      "await new Promise((done) => setTimeout(done, 50)); GO; while (true) {}",
      "GO; await new Promise(() => {})",
      "GO; await new Promise((done) => setTimeout(done, 60_000))",
    ];
    const { cells, alive } = await run(codes.flatMap((code) => [stopped(code), "kept"]));
    for (const [n, code] of codes.entries()) {
      assert.equal(error(cells[n * 2]!).ename, "Interrupted", code);
      assert.ok(JSON.stringify(outputsOf(cells[n * 2 + 1]!)).includes(code));
    }
    assert.ok(alive);
  },
});

Deno.test({
  ...requires("Stop says so if it can't end a cell, and the cell goes on", jupyterMissing),
  fn: async () => {
    // Stop gives up after seconds; no event of the kernel could end the drawing after that.
    const drawn = 'new Promise((done) => setTimeout(done, 15_000, { "text/plain": "7" }))';
    const code = `({ [Symbol.for("Jupyter.display")]: () => { console.log("go"); return ${drawn} } })`;
    const { cells, alive } = await run([{ code, interruptAt: '"go' }, "1", { code: "2", interruptAfter: 0 }, "3"]);
    const [, note, result] = outputsOf(cells[0]!);
    assert.match(String(note!.content["text"]), /^Stop: this cell did not end and is still running/);
    assert.match(JSON.stringify(result), /7/);
    assert.equal(cells[0]!.reply!.status, "ok");
    assert.match(JSON.stringify(outputsOf(cells[3]!)), /3/);
    assert.ok(alive);
  },
});

Deno.test({
  ...requires("Stop on a query cancels it on the server, also twice in a moment", jupyterMissing, postgresMissing),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using kernel = await installedKernel();
    await using folder = await notebookFolder();
    const local = await sharedGateway({}, CLUSTER, "Stop on a query");
    const sleeping = { code: 'void goes("pg_sleep"); await sql`SELECT pg_sleep(60)`', interruptAt: '"go' };
    const ended =
      "while (await sql`SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' " +
      "AND pid <> pg_backend_pid()`.value() > 0);\n70";
    const { cells, alive } = await runCells([
      `import { connect, sql } from "lakebase"; const db = await connect(); ${GOES}; undefined`,
      sleeping,
      sleeping,
      { code: 'await sql`SELECT 1`; console.log("go"); for (;;) await sql`SELECT 1`', interruptAt: '"go' },
      ended,
    ], { ...kernel.options, cwd: folder.path, env: { ...kernel.options.env, ...local.env } });
    for (const cell of cells.slice(1, 4)) {
      assert.match(error(cell).evalue, /Canceled|Stop ended this cell/); // the second text if the query ends slowly
    }
    assert.match(JSON.stringify(outputsOf(cells[4]!)), /70/);
    assert.ok(alive);
  },
});

Deno.test({
  ...requires("a cell whose Deno process ends says so, and the kernel's process ends", jupyterMissing),
  fn: async () => {
    const { cells, alive } = await run(["1", "Deno.exit(3)", "2"]);
    assert.equal(
      error(cells[1]!).evalue,
      "The Deno process of this notebook ended with code 3; its variables are lost",
    );
    assert.ok(!alive);
    assert.ok(!cells[2]?.idle);
  },
});

Deno.test({
  ...requires("a kernel runs in its notebook's folder, with that folder's import map", jupyterMissing),
  fn: async () => {
    await using kernel = await installedKernel();
    await using folder = await temporaryFolder();
    const cwd = folder.path;
    await Deno.writeTextFile(`${cwd}/deno.json`, '{ "imports": { "here": "./here.ts" } }');
    await Deno.writeTextFile(`${cwd}/here.ts`, "export const here = 42;");
    const { cells } = await runCells(['import { here } from "here"; here', "Deno.cwd()"], { ...kernel.options, cwd });
    assert.match(JSON.stringify(outputsOf(cells[0]!)), /42/);
    assert.ok(JSON.stringify(outputsOf(cells[1]!)).includes(cwd));
  },
});

Deno.test({
  ...requires(
    "a query without await that fails also fails its cell, and ends a notebook that runs unattended",
    jupyterMissing,
  ),
  fn: async () => {
    await using folder = await notebookFolder();
    await using kernel = await installedKernel();
    const options = { ...kernel.options, cwd: folder.path, env: { ...kernel.options.env, LAKEBASE_LOCAL: "1" } };
    const failing = 'import { connect, sql } from "lakebase";\nvar db = await connect();\nsql`SELECT 1 / 0`';
    const { cells } = await runCells([
      failing,
      "sql`SELECT 7 AS n`",
      '({ [Symbol.for("Jupyter.display")]: () => { throw new TypeError("mine") } })',
      'await Deno.jupyter.broadcast("error", { ename: "a", evalue: "b", traceback: ["c"] }); 8',
    ], options);
    assert.equal(cells[0]?.reply?.status, "error");
    assert.match(error(cells[0]!).evalue, /division by zero/);
    assert.equal(cells[1]?.reply?.status, "ok");
    assert.equal(error(cells[2]!).evalue, "mine");
    assert.equal(cells[3]?.reply?.status, "ok", "an error that a cell broadcasts does not end the cell");
    await assert.rejects(runNotebook([failing, 'console.log("later")'], options), /division by zero/);
    const { cells: run } = await runNotebook([failing, '"later"'], { ...options, allowErrors: true });
    assert.deepEqual(run.map(({ outputs }) => outputs?.map(({ output_type: type }) => type)), [["error"], [
      "execute_result",
    ]]);
  },
});

function nbconvertMissing(): string | undefined {
  return pythonWith("nbconvert", "nbclient") ? undefined : "no Python with nbconvert found; pip install nbconvert";
}

Deno.test({
  ...requires("nbconvert --execute fails if, and only if, a query without await fails", nbconvertMissing),
  fn: async () => {
    await using kernel = await installedKernel();
    await using folder = await notebookFolder();
    const convert = async (query: string) => {
      const notebook = notebookOf(['import { sql } from "lakebase";', query], kernel.options.kernel);
      await Deno.writeTextFile(`${folder.path}/job.ipynb`, JSON.stringify(notebook));
      const args = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", "ran.ipynb", "job.ipynb"];
      const { code, stderr } = await new Deno.Command(pythonWith("nbconvert", "nbclient")!, {
        args,
        cwd: folder.path,
        env: { ...kernel.options.env, LAKEBASE_LOCAL: "1", NO_COLOR: "1", ZONE: "Harlem" },
        stdout: "null",
      }).output();
      return { code, stderr: new TextDecoder().decode(stderr) };
    };
    const failed = await convert("sql`SELECT nope`");
    assert.equal(failed.code, 1, failed.stderr);
    assert.match(failed.stderr, /column "nope" does not exist/);
    const worked = await convert("sql`SELECT ${Deno.env.get('ZONE')} AS zone`"); // a parameter of the run
    assert.equal(worked.code, 0, worked.stderr);
    assert.match(await Deno.readTextFile(`${folder.path}/ran.ipynb`), / Harlem/);
  },
});

import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import {
  type CellRun,
  installedKernel,
  jupyterMissing,
  type JupyterOptions,
  type KernelRun,
  outputsOf,
  runCells,
  runFrontends,
} from "../support/jupyter.ts";
import { postgresMissing } from "../support/postgres.ts";
import { CLUSTER } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { sharedGateway, sharedPGlite } from "../support/shared_servers.ts";

const NOTEBOOKS = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);

/** The drawing, the output or the error of a cell. */
const shown = (cell: CellRun | undefined) => JSON.stringify(cell && outputsOf(cell));

type Backend = "PGlite" | "PostgreSQL";

interface KernelChoice {
  kernel: string;
  backend?: Backend;
}

let runs = 0;

/** The drawing and the output of a cell, as text. */
function plainText(cell: CellRun): string {
  return cell.messages.map(({ content }) => {
    const data = content["data"] as Record<string, string> | undefined;
    return data?.["text/plain"] ?? content["text"] ?? "";
  }).join("\n");
}

/** Calls `work` with a function that runs cells on an empty Lakebase, in one of the kernels. */
async function inKernel<Run>(
  { kernel, backend = "PGlite" }: KernelChoice,
  work: (options: JupyterOptions) => Promise<Run>,
): Promise<Run> {
  await using sqlKernel = await installedKernel();
  const caller = `session notebook ${++runs}`;
  const local = await (backend === "PGlite" ? sharedPGlite({}, caller) : sharedGateway({}, CLUSTER, caller));
  const env = { ...sqlKernel.options.env, ...local.env, NO_COLOR: "1" };
  try {
    return await work({
      cwd: NOTEBOOKS,
      env,
      kernel: kernel === "own" ? sqlKernel.options.kernel : "deno",
    });
  } finally {
    // PGlite's temporary tables end with its last session.
    await eventually("the kernel's sessions have ended", () => local.connections === 0);
  }
}

const FIRST = `import { connect, sql } from "lakebase"; const db = await connect({ max: 3, idleTimeout: 1 });`;

/** Cells in TypeScript, each with its drawing, because the stock kernel may send printed text after the end of the cell. */
const TYPESCRIPT: [string, RegExp][] = [
  [FIRST, /\[\]/],
  ["sql`CREATE TEMP TABLE mine AS SELECT 1 AS id`", /SELECT 1/],
  [
    "await sql`SET search_path = pg_temp, public`; await db.pool.query('SELECT 1'); " +
    "while (db.pool.totalCount > 1) await new Promise((resolve) => setTimeout(resolve, 50))", // the idle connection is closed
    /\[\]/,
  ],
  [
    "[await sql`SELECT count(*) FROM mine`.value(), ...await Promise.all([1, 2, 3].map(() => sql`SHOW search_path`.value()))].join('; ')",
    /1; pg_temp, public; pg_temp, public; pg_temp, public/,
  ],
  ["sql`BEGIN`", /BEGIN, in a transaction/],
  ["sql`INSERT INTO mine VALUES (2)`", /INSERT 0 1, in a transaction/],
  ["sql`COMMIT`", /COMMIT, \d/],
  ["'rows ' + await sql`SELECT count(*) FROM mine`.value()", /rows 2/],
  ["await sql`BEGIN`; await sql`SELECT 1 / 0`.catch(() => {}); await sql`TABLE mine`", /25P02.*Run ROLLBACK/],
  ["sql`ROLLBACK`", /ROLLBACK, \d/],
  [
    "await sql`SET app.tenant = 'x'`; " +
    "(await Promise.all([1, 2, 3].map(() => sql`SELECT current_setting('app.tenant', true)`.value()))).join()",
    /x,x,x/,
  ],
  ["await connect({ max: 4 }); undefined", /has closed the connection .* Lost with its session: .*custom settings/],
  [
    "await sql`BEGIN`; var slow = sql`SELECT pg_sleep(1)`.then(() => 'slept'); await (await connect({ max: 4 })).close(); await slow",
    /was closed in a transaction.*rolled back/,
  ],
];

/** The same in `%%sql` cells, for the kernel that supports them. */
const SQL_CELLS: [string, RegExp][] = [
  [FIRST, /./],
  ["%%sql\nCREATE TEMP TABLE mine AS SELECT 1 AS id", /SELECT 1/],
  ["%%sql\nBEGIN", /BEGIN, in a transaction/],
  ["sql`INSERT INTO mine VALUES (2)`", /INSERT 0 1, in a transaction/],
  ["%%sql kept <<\nTABLE mine", /kept: 2 rows, in a transaction/],
  ["%%sql\nINSERT INTO mine VALUES (3);\nINSERT INTO mine VALUES (${4})", /INSERT 0 1, in a transaction/],
  ["%%sql\nCOMMIT", /COMMIT, \d/],
  ["%%sql\nSELECT count(*) AS n FROM mine", /\b4\b/],
  ["%%sql\nBEGIN;\nDELETE FROM mine WHERE id = ${1};\nROLLBACK", /ROLLBACK, \d/],
  ["%%sql\nSELECT count(*) AS n FROM mine", /\b4\b/],
];

function check(run: KernelRun, cells: [string, RegExp][]): void {
  assert.equal(run.alive, true);
  cells.forEach(([code, shows], index) => assert.match(shown(run.cells[index]), shows, code));
}

for (const kernel of ["stock", "own"]) {
  for (const [backend, missing] of [["PGlite", () => undefined], ["PostgreSQL", postgresMissing]] as const) {
    Deno.test({
      ...requires(`cells share one server session, as in psql [${kernel} kernel, ${backend}]`, jupyterMissing, missing),
      sanitizeOps: false,
      sanitizeResources: false,
      fn: async () => {
        const run = (cells: [string, RegExp][]) =>
          inKernel({ kernel, backend }, (options) => runCells(cells.map(([code]) => code), options));
        check(await run(TYPESCRIPT), TYPESCRIPT);
        if (kernel === "own") check(await run(SQL_CELLS), SQL_CELLS);
      },
    });
  }
}

/** Cells whose transaction loads a module for the first time. The drawing of the cell and the next cells are outside of it. */
const LOADED_IN_TRANSACTION: [string, RegExp][] = [
  [FIRST, /\[\]/],
  ["await db.transaction((tx) => tx.sql`SELECT 1 AS a`.columns()); db.sql`SELECT 40 + 2 AS n`", /\b42\b/],
  ["db.sql`SELECT 40 + 3 AS n`", /\b43\b/],
  ["await db.transaction((tx) => tx.sql`SELECT nothing`).catch(() => {}); db.sql`SELECT 40 + 4 AS n`", /\b44\b/],
  ["db.sql`SELECT 40 + 5 AS n`", /\b45\b/],
];

/** Cells that leave a query running, and those after them. */
const STILL_RUNNING: [string, RegExp][] = [
  [FIRST, /\[\]/],
  ["await sql`CREATE TABLE written (id int)`", /CREATE TABLE/],
  [
    "var late = sql`INSERT INTO written SELECT 1 FROM pg_sleep(1)`.then(() => 'written'); " +
    "var failed = sql`SELECT 1 / length(pg_sleep(1)::text)`.catch(({ sqlstate }) => sqlstate); undefined",
    /^(?!.*never run)/,
  ],
  ["sql`SELECT 41 + 1 AS answer`", /\b42\b/],
  [
    "[await late, await failed, await sql`SELECT count(*) FROM written`.value(), db.closed].join(' ')",
    /written 22012 1 false/,
  ],
];

for (const kernel of ["stock", "own"]) {
  Deno.test({
    ...requires(`a module that a transaction loads does not keep later cells in it [${kernel} kernel]`, jupyterMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const codes = LOADED_IN_TRANSACTION.map(([code]) => code);
      check(await inKernel({ kernel }, (options) => runCells(codes, options)), LOADED_IN_TRANSACTION);
    },
  });

  Deno.test({
    ...requires(`a cell may end while its queries still run [${kernel} kernel]`, jupyterMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const codes = STILL_RUNNING.map(([code]) => code);
      const run = await inKernel({ kernel }, (options) => runCells(codes, options));
      check(run, STILL_RUNNING);
      for (const cell of run.cells) assert.equal(cell.reply?.status, "ok");
    },
  });

  Deno.test({
    ...requires(`two frontends that run cells at once share one server session [${kernel} kernel]`, jupyterMissing),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const cells = (name: string) => [
        `await sql\`CREATE TEMP TABLE made_by_${name} AS SELECT pg_backend_pid() AS pid\``,
        ...Array.from({ length: 5 }, (_, index) => `sql\`SELECT '${name} ${index}' AS said\``),
        `sql\`SELECT 'sessions of ${name}: ' || count(DISTINCT pid) AS said FROM (SELECT pid FROM made_by_${name}
          UNION ALL SELECT pg_backend_pid()) AS s\``,
      ];
      const run = await inKernel(
        { kernel },
        (options) => runFrontends(FIRST, [cells("first"), cells("second")], options),
      );
      assert.equal(run.alive, true);
      const texts = run.frontends.map((cells) => cells.map(plainText));
      for (const [index, name] of ["first", "second"].entries()) {
        assert.deepEqual(run.frontends[index]!.map(({ reply }) => reply?.status), Array(7).fill("ok"), String(texts));
        // The stock kernel sends the outputs of a cell to the frontend whose request came last.
        const shown = kernel === "own" ? texts[index]! : texts.flat();
        for (let cell = 0; cell < 5; cell++) {
          assert.ok(shown.some((text) => text.includes(`${name} ${cell}`)), String(texts));
        }
        assert.ok(shown.some((text) => text.includes(`sessions of ${name}: 1`)), String(texts));
        const other = name === "first" ? "second" : "first";
        if (kernel === "own") assert.ok(!shown.some((text) => text.includes(other)), String(texts));
      }
    },
  });
}

import assert from "node:assert/strict";
import { install } from "../../src/kernel/install.ts";
import { startLocal } from "../../src/local/mod.ts";
import { type CellRun, jupyterMissing, type KernelRun, runCells } from "../support/jupyter.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { requires } from "../support/requirements.ts";

const NOTEBOOKS = decodeURIComponent(new URL("../../notebooks/", import.meta.url).pathname);

/** What a cell showed, wrote or failed with. */
function shown(cell: CellRun | undefined): string {
  return JSON.stringify(cell?.messages.filter(({ type }) => type !== "status" && type !== "execute_input"));
}

async function inKernel(cells: string[], { kernel, database }: { kernel?: string; database?: string }) {
  const prefix = await Deno.makeTempDir({ prefix: "lakebase-prefix-" });
  const { name } = await install({ prefix });
  await using local = await startLocal(database === undefined ? {} : { database });
  const env = { ...local.env, NO_COLOR: "1", JUPYTER_PATH: `${prefix}/share/jupyter` };
  try {
    return await runCells(cells, { cwd: NOTEBOOKS, env, kernel: kernel === "own" ? name : "deno", timeout: 60 });
  } finally {
    await Deno.remove(prefix, { recursive: true });
  }
}

const FIRST = `import { connect, sql } from "lakebase"; const db = await connect({ max: 3, idleTimeout: 1 });`;

/** Cells in TypeScript, each with what it shows. */
const TYPESCRIPT: [string, RegExp][] = [
  [FIRST, /\[\]/],
  ["sql`CREATE TEMP TABLE mine AS SELECT 1 AS id`", /SELECT 1/],
  ["await sql`SET search_path = pg_temp, public`; await new Promise((resolve) => setTimeout(resolve, 2500))", /\[\]/],
  [
    "console.log(await sql`SELECT count(*) FROM mine`.value(), (await Promise.all([1, 2, 3].map(() => sql`SHOW search_path`.value()))).join('; '))",
    /1 pg_temp, public; pg_temp, public; pg_temp, public/,
  ],
  ["sql`BEGIN`", /BEGIN, in a transaction/],
  ["sql`INSERT INTO mine VALUES (2)`", /INSERT 0 1, in a transaction/],
  ["sql`COMMIT`", /COMMIT, \d/],
  ["console.log('rows', await sql`SELECT count(*) FROM mine`.value())", /rows 2/],
  ["await sql`BEGIN`; await sql`SELECT 1 / 0`.catch(() => {}); await sql`TABLE mine`", /25P02.*Run ROLLBACK/],
  ["sql`ROLLBACK`", /ROLLBACK, \d/],
  ["await sql`BEGIN`; await db.close()", /was closed in a transaction.*rolled back/],
];

/** The same from `%%sql` cells, for the kernel that has them. */
const SQL_CELLS: [string, RegExp][] = [
  [FIRST, /./],
  ["%%sql\nCREATE TEMP TABLE mine AS SELECT 1 AS id", /SELECT 1/],
  ["%%sql\nBEGIN", /BEGIN, in a transaction/],
  ["sql`INSERT INTO mine VALUES (2)`", /INSERT 0 1, in a transaction/],
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
        await using postgres = backend === "PGlite" ? undefined : await startPostgres();
        const on = { kernel, ...(postgres === undefined ? {} : { database: postgres.url }) };
        check(await inKernel(TYPESCRIPT.map(([code]) => code), on), TYPESCRIPT);
        if (kernel === "own") check(await inKernel(SQL_CELLS.map(([code]) => code), on), SQL_CELLS);
      },
    });
  }
}

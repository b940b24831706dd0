import assert from "node:assert/strict";
import { jupyterMissing, runNotebook } from "../support/jupyter.ts";
import { notebookFolder, textOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const CELLS = 200;

Deno.test({
  ...requires(
    `nbclient keeps the outputs of ${CELLS} queries, and of a connection, of which the stock kernel alone loses some`,
    jupyterMissing,
  ),
  fn: async () => {
    await using folder = await notebookFolder();
    const connect = 'import { connect, sql } from "lakebase";\nconst db = await connect({ local: true });';
    const queries = Array.from({ length: CELLS }, (_, n) =>
      // Small and large outputs in turn, rows, commands and errors, because each reaches the frontend in another way.
      [
        `sql\`SELECT \${${n}}::int AS n\``,
        `sql\`SELECT ${n} AS n, repeat('x', 200) AS x FROM generate_series(1, 400)\`.with({ limit: 400 })`,
        `await sql\`SELECT \${${n}}::int AS n\``,
        `sql\`SELECT nothing_${n}\``,
      ][n % 4]!);
    const { cells } = await runNotebook([connect, ...queries, ...Array<string>(CELLS / 2).fill("db")], {
      cwd: folder.path,
      allowErrors: true,
    });
    const lost = cells.slice(1).filter(({ outputs }) => outputs?.length !== 1);
    assert.deepEqual(lost.map(({ source, outputs }) => [source, outputs]), []);
    for (const [n, { outputs }] of cells.slice(1, CELLS + 1).entries()) {
      const [output] = outputs!;
      const text = output?.output_type === "error" ? output.evalue : textOf(output, "text/plain");
      assert.match(text ?? "", new RegExp(`(^|\\D)${n}(\\D|$)`), `cell ${n}`);
    }
  },
});

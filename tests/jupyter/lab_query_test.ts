import assert from "node:assert/strict";
import { codeBlocks, readDocument } from "../docs/markdown.ts";
import { eventually } from "../support/eventually.ts";
import { isFile } from "../support/files.ts";
import { JupyterLab, jupyterLabMissing } from "../support/jupyterlab.ts";
import { notebookFolder, notebookOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const PICTURE = new URL("../../docs/notebook.png", import.meta.url);

const CELLS = [
  codeBlocks(await readDocument("README.md")).find(({ language }) => language === "ts")!.code.trimEnd(),
  `sql\`SELECT *, CASE id % 2 WHEN 0 THEN '<b>bold</b>' END AS note
  FROM trips WHERE fare > \${10} ORDER BY id\`.with({ limit: 4 })`,
  "sql`SELECT id, zon FROM trips`",
  "let kept = 42;\nawait sql`SELECT pg_sleep(60)`",
  "kept + await sql`SELECT 1`.value()",
  // Makes a file once the query above is sent, because an earlier Stop belongs to the kernel.
  `const { pool } = await connect({ local: true });
const sent = () => pool._clients.some((client) => client._activeQuery?.text?.includes("pg_sleep"));
void (async () => {
  while (!sent()) await new Promise((resolve) => setTimeout(resolve, 20));
  await Deno.writeTextFile("sent", "");
})()`,
];

Deno.test({
  ...requires("JupyterLab draws a query, points at an error, and Stop cancels and keeps the kernel", jupyterLabMissing),
  fn: async () => {
    await using folder = await notebookFolder();
    await using lab = await JupyterLab.start({ folder: folder.path, env: { NO_COLOR: "1" } });
    await using notebook = await lab.open(notebookOf(CELLS), { width: 1150, height: 1000 });

    await notebook.run(0);
    await notebook.showsMatch(0, /Harlem\s+49[^]*2 rows/);
    await notebook.run(1);
    await notebook.showsMatch(1, /first 4 rows, there are more/);
    const html = await notebook.outputHtml(1);
    assert.match(html, /Harlem|SoHo/);
    assert.match(html, /&lt;b&gt;bold&lt;\/b&gt;/);
    assert.doesNotMatch(html, /<b>bold/);

    await notebook.run(2);
    const error = await notebook.showsMatch(2, /HINT: [^\n]*"trips\.zone"/);
    assert.match(error, /column "zon" does not exist \(SQLSTATE 42703\)\nLINE 1: SELECT id, zon FROM trips\n {19}\^/);
    assert.doesNotMatch(error, /node_modules|pg-protocol|client\.js/);
    assert.equal(await notebook.emptyOutputs(), 0);
    await notebook.run(5);
    await notebook.start(3);
    await eventually("the query is sent", () => isFile(`${folder.path}/sent`));
    await notebook.stop();
    await notebook.idle();
    await notebook.showsMatch(3, /Canceled/);
    await notebook.run(4);
    await notebook.showsMatch(4, /^43$/);
    await notebook.savePicture(PICTURE, 0, 4);
  },
});

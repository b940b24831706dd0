import assert from "node:assert/strict";
import { JupyterLab, jupyterLabMissing } from "../support/jupyterlab.ts";
import type { LabNotebook } from "../support/lab_notebook.ts";
import { notebookOf } from "../support/notebook.ts";
import { notebookFolder } from "../support/notebook_folder.ts";
import { requires } from "../support/requirements.ts";

const PICTURE = new URL("../../docs/notebook.png", import.meta.url);

/** The cells, without the room below them. */
async function picture({ page }: LabNotebook): Promise<Uint8Array> {
  const boxes = await Promise.all(
    (await page.locator(".jp-Notebook .jp-Cell").all()).map((cell) => cell.boundingBox()),
  );
  const [first, last] = [boxes[0]!, boxes.at(-1)!];
  const clip = { x: first.x, y: first.y - 4, width: first.width, height: last.y + last.height - first.y + 8 };
  return await page.screenshot({ clip });
}

const CELLS = [
  `import { connect, sql } from "lakebase";

const db = await connect({ local: true });
await sql\`CREATE TABLE trips (id int, zone text, fare numeric(8, 2), started timestamptz, note text)\`;
sql\`INSERT INTO trips
  SELECT n, (ARRAY['Harlem', 'SoHo', '東京'])[1 + n % 3], n * 1.25,
         '2026-03-01Z'::timestamptz + n * interval '1 hour',
         CASE n % 4 WHEN 0 THEN '' WHEN 1 THEN '<b>bold</b>' END
  FROM generate_series(1, 5000) AS n\``,
  "sql`SELECT * FROM trips WHERE fare > ${10} ORDER BY id`.with({ limit: 6 })",
  "sql`SELECT id, zon FROM trips`",
  "let kept = 42;\nawait sql`SELECT pg_sleep(60)`",
  "kept + await sql`SELECT 1`.value()",
];

Deno.test({
  ...requires("JupyterLab draws a query, points at an error, and Stop cancels and keeps the kernel", jupyterLabMissing),
  fn: async () => {
    await using folder = await notebookFolder();
    await using lab = await JupyterLab.start({ folder: folder.path, env: { NO_COLOR: "1" } });
    await using notebook = await lab.open(notebookOf(CELLS), { width: 1150, height: 1000 });

    await notebook.run(0);
    await notebook.run(1);
    const html = await notebook.outputHtml(1);
    assert.match(html, /Harlem|SoHo/);
    assert.match(html, /&lt;b&gt;bold&lt;\/b&gt;/);
    assert.doesNotMatch(html, /<b>bold/);
    assert.match(await notebook.outputText(1), /first 6 rows, there are more/);

    await notebook.run(2);
    const error = await notebook.outputText(2);
    assert.match(error, /column "zon" does not exist \(SQLSTATE 42703\)\nLINE 1: SELECT id, zon FROM trips\n {19}\^/);
    assert.match(error, /Did you mean zone\?/);
    assert.doesNotMatch(error, /node_modules|pg-protocol|client\.js/);
    assert.equal(await notebook.emptyOutputs(), 0);
    await notebook.start(3);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await notebook.stop();
    await notebook.idle(10);
    assert.match(await notebook.outputText(3), /Canceled/);
    await notebook.run(4);
    assert.equal(await notebook.outputText(4), "43");
    if (Deno.env.get("LAKEBASE_SAVE_PICTURES") === "1") await Deno.writeFile(PICTURE, await picture(notebook));
  },
});

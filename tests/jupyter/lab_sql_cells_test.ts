import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { installedKernel } from "../support/jupyter.ts";
import { JupyterHome } from "../support/jupyter_home.ts";
import { JupyterLab, jupyterLabMissing } from "../support/jupyterlab.ts";
import type { LabNotebook } from "../support/lab_notebook.ts";
import { notebookFolder, notebookOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const PICTURE = new URL("../../docs/sql-cells.png", import.meta.url);

const CELLS = [
  `import { connect } from "lakebase";

const db = await connect({ local: true });
const least = 10;`,
  `%%sql
CREATE TABLE trips (id int, zone text, fare numeric(8, 2), started timestamptz);

INSERT INTO trips -- five thousand of them
SELECT n, (ARRAY['Harlem', 'SoHo', 'Queens'])[1 + n % 3], n * 1.25,
       '2026-03-01Z'::timestamptz + n * interval '1 hour'
FROM generate_series(1, 5000) AS n`,
  `%%sql zones <<
SELECT zone, count(*)::int AS trips FROM trips GROUP BY zone`,
  `zones.map(({ zone }) => zone).toSorted().join(", ")`,
  `%%sql
SELECT zone, count(*) AS trips, round(avg(fare), 2) AS fare, max(started) AS last
FROM trips
WHERE fare > \${least} -- a bound parameter
GROUP BY zone ORDER BY zone`,
  "%%sql\nSELECT t.fa",
  "%%sql\nSELECT * FROM trips",
  `%%sql
CREATE TABLE "t<img src=x onerror=pwned()>" ("c<svg onload=pwned()>" text);
COMMENT ON TABLE "t<img src=x onerror=pwned()>" IS '<img src=x onerror=pwned()>'`,
  "%%sql\nSELECT * FROM ",
  '%%sql\nSELECT * FROM "t<img src=x onerror=pwned()>"',
];

/** The language in which JupyterLab colors a cell, and the colors that it uses there. */
async function highlightingOf({ page }: LabNotebook, cell: number): Promise<{ language: string; colors: number }> {
  return await page.evaluate(`(() => {
    const { model, editor } = window.jupyterapp.shell.currentWidget.content.widgets[${cell}];
    const colors = [...editor.host.querySelectorAll(".cm-line span")].map((span) => getComputedStyle(span).color);
    return { language: model.mimeType, colors: new Set(colors).size };
  })()`);
}

/** Puts the cursor at the end of a cell. */
async function edit({ page }: LabNotebook, cell: number): Promise<void> {
  await page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".cm-content").click();
  await page.keyboard.press("Control+End");
}

/** Completes and inspects names that a page could treat as more than text. */
async function hostileNames(notebook: LabNotebook): Promise<void> {
  const { page } = notebook;
  await page.evaluate("window.ran = 0; window.pwned = () => window.ran++");
  await notebook.run(7);
  const item = page.locator(".jp-Completer-item", { hasText: "onerror" });
  // The catalog is sent a moment after the cell.
  for (let tries = 0; tries < 20 && await item.count() === 0; tries++) {
    await page.keyboard.press("Escape");
    await edit(notebook, 8);
    await page.keyboard.press("Tab");
    await item.first().waitFor({ timeout: 5000 }).catch(() => {});
  }
  assert.match(await item.first().innerText(), /"t<img src=x onerror=pwned\(\)>"/);
  assert.equal(await page.locator(".jp-Completer :is(img, svg[onload], [onerror])").count(), 0);
  await page.keyboard.press("Escape");
  await edit(notebook, 9);
  await page.keyboard.press("Shift+Tab");
  const tooltip = page.locator(".jp-Tooltip");
  await tooltip.waitFor();
  assert.match(await tooltip.innerText(), /c<svg onload=pwned\(\)>/);
  assert.equal(await page.locator(".jp-Tooltip :is(img, svg[onload], [onerror])").count(), 0);
  assert.equal(await page.evaluate("window.ran"), 0);
}

Deno.test({
  ...requires("JupyterLab colors %%sql cells as SQL, completes them, and Shift-Tab shows a table", jupyterLabMissing),
  fn: async () => {
    await using folder = await notebookFolder();
    await using home = await JupyterHome.make();
    await using sqlKernel = await installedKernel();
    const env = { ...sqlKernel.options.env, NO_COLOR: "1" };
    await using lab = await JupyterLab.start({ folder: folder.path, home, env });
    await using notebook = await lab.open(notebookOf(CELLS, sqlKernel.options.kernel), { width: 1150, height: 1000 });
    const { page } = notebook;

    for (const cell of [0, 1, 2, 3, 4]) await notebook.run(cell);
    await notebook.showsMatch(1, /^INSERT 0 5000, /);
    await notebook.showsMatch(2, /^zones: 3 rows, /);
    await notebook.showsMatch(3, /^"Harlem, Queens, SoHo"$/);
    await notebook.showsMatch(4, /Harlem[^]*3 rows/);
    assert.equal(await notebook.emptyOutputs(), 0);
    await notebook.savePicture(PICTURE, 0, 4);

    assert.deepEqual(await highlightingOf(notebook, 0).then(({ language }) => language), "application/typescript");
    await eventually("the SQL is colored", async () => { // CodeMirror loads the language, and colors when it has time
      const { language, colors } = await highlightingOf(notebook, 1);
      return language === "text/x-pgsql" && colors >= 4;
    });
    await edit(notebook, 3);
    await page.keyboard.press("Control+A");
    await page.keyboard.type("%%sql\nSELECT 1");
    const becomes = async (language: string) =>
      await eventually(
        `the cell is ${language}`,
        async () => (await highlightingOf(notebook, 3)).language === language,
      );
    await becomes("text/x-pgsql");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("1 + 1");
    await becomes("application/typescript");

    await edit(notebook, 5);
    await page.keyboard.press("Backspace");
    await page.keyboard.press("Backspace");
    await page.keyboard.type(" FROM trips AS t");
    for (const _ of " FROM trips AS t") await page.keyboard.press("ArrowLeft");
    const items = page.locator(".jp-Completer-item");
    // The catalog is sent a moment after the cells, and JupyterLab drops completions that take longer than a second.
    await eventually("the columns are offered", async () => {
      await page.keyboard.press("Escape");
      await page.locator(".jp-Notebook .jp-Cell").nth(5).locator(".cm-content").focus();
      await page.keyboard.press("Tab");
      await items.first().waitFor({ timeout: 5000 }).catch(() => {});
      const offered = await items.locator(".jp-Completer-match").allInnerTexts();
      return offered.slice(0, 4).join() === "id,zone,fare,started";
    });
    await page.keyboard.press("Escape");

    await edit(notebook, 6);
    await page.keyboard.press("Shift+Tab");
    const tooltip = page.locator(".jp-Tooltip");
    await tooltip.waitFor();
    assert.match(await tooltip.innerText(), /table public\.trips\s+id +integer[^]*started +timestamp with time zone/);
    await page.keyboard.press("Escape");
    await hostileNames(notebook);
  },
});

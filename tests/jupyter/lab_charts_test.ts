import assert from "node:assert/strict";
import { JupyterLab, jupyterLabMissing } from "../support/jupyterlab.ts";
import type { LabNotebook } from "../support/lab_notebook.ts";
import { type Notebook, notebookFolder } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

const NOTEBOOK = new URL("../../notebooks/charts.ipynb", import.meta.url);
const PICTURE = new URL("../../docs/charts.png", import.meta.url);
const DARK_PICTURE = new URL("../../docs/charts-dark.png", import.meta.url);

Deno.test({
  ...requires(
    "JupyterLab draws each chart of charts.ipynb, light and dark, and its table pages, sorts and searches",
    jupyterLabMissing,
  ),
  fn: async () => {
    await using folder = await notebookFolder();
    const { cells, ...rest }: Notebook = JSON.parse(await Deno.readTextFile(NOTEBOOK));
    const empty = cells.map((cell) =>
      cell.cell_type === "code" ? { ...cell, outputs: [], execution_count: null } : cell
    );
    await using lab = await JupyterLab.start({ folder: folder.path, env: { NO_COLOR: "1" } });
    await using notebook = await lab.open({ ...rest, cells: empty }, { width: 1150, height: 1000 });
    const charts: number[] = [];
    for (const [index, { cell_type, source }] of empty.entries()) {
      const code = [source].flat().join("");
      if (cell_type !== "code" || code.includes("close()")) continue;
      await notebook.run(index);
      if (code.includes(".plot(")) charts.push(index);
      if (code.includes(".browse(")) await browse(notebook, index);
      if (code.includes(".profile(")) await notebook.outputs(index).locator("svg rect").nth(10).waitFor();
    }
    assert.equal(charts.length, 7);
    for (const index of charts) await assertDrawn(notebook, index);
    assert.equal(await notebook.emptyOutputs(), 0);
    await notebook.savePicture(PICTURE, charts[0]!, charts[1]!);

    // JupyterLab draws a chart for the theme that is set at that time.
    await notebook.setTheme("dark");
    for (const index of charts) {
      const before = await appearanceOf(notebook, index);
      await notebook.run(index);
      await assertDrawn(notebook, index);
      const { clear, text } = await appearanceOf(notebook, index);
      assert.ok(clear > 0.2, `in the dark theme, ${clear} of chart ${index} is transparent`);
      assert.ok(
        before.text < 100 && text > 150,
        `text of chart ${index}: ${before.text} when light, ${text} when dark`,
      );
    }
    const [color, background] = await notebook.page.evaluate(COLORS) as number[];
    assert.ok(color! > 150 && background! < 100, `in the dark theme, a table has ${color} on ${background}`);
    await notebook.savePicture(DARK_PICTURE, charts[0]!, charts[1]!);
  },
});

/** The brightness of a table's text and of its background, from 0 to 255. */
const COLORS = `{
  const paint = document.createElement("canvas").getContext("2d");
  const bright = (color) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return a === 0 ? undefined : (r + g + b) / 3;
  };
  const cell = document.querySelector(".lakebase td");
  let behind = cell;
  while (bright(getComputedStyle(behind).backgroundColor) === undefined) behind = behind.parentElement;
  [bright(getComputedStyle(cell).color), bright(getComputedStyle(behind).backgroundColor)];
}`;

/** The part of a chart that is transparent, and the brightness of its first opaque gray, which is the title. */
async function appearanceOf({ page }: LabNotebook, cell: number): Promise<{ clear: number; text: number }> {
  return await page.evaluate(`{
    const canvas = document.querySelectorAll(".jp-Notebook .jp-Cell")[${cell}].querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let clear = 0, text;
    for (let at = 0; at < data.length; at += 4) {
      const [r, g, b, a] = data.subarray(at, at + 4);
      if (a === 0) clear++;
      else if (a === 255 && r === g && g === b) text ??= r;
    }
    ({ clear: clear / (data.length / 4), text });
  }`);
}

/** The position of the fare in a row of the notebook's table. */
const FARE = 3;

/** Vega draws on a canvas. A canvas with a single color would be blank. */
async function assertDrawn({ page }: LabNotebook, cell: number): Promise<void> {
  const output = page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".vega-embed");
  await output.waitFor();
  await output.locator("canvas").waitFor();
  // The page has the canvas before Vega draws on it.
  await page.waitForFunction(`(() => {
    const canvas = document.querySelectorAll(".jp-Notebook .jp-Cell")[${cell}].querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size > 5;
  })()`);
}

async function browse(notebook: LabNotebook, cell: number): Promise<void> {
  const output = notebook.outputs(cell);
  const first = async () => await output.locator("tbody tr").first().locator("td").allInnerTexts();
  const status = async () => await output.getByRole("status").innerText();
  assert.equal(await status(), "rows 1 to 20 of 1,000");
  await notebook.showsMatch(cell, /the first 1,000 rows \(there are more\)/);
  assert.equal((await first())[0], "1");
  await output.getByRole("button", { name: "Next page" }).click();
  assert.equal(await status(), "rows 21 to 40 of 1,000");
  assert.equal((await first())[0], "21");
  await output.getByRole("button", { name: /^fare/ }).click();
  assert.equal(await output.locator('th[aria-sort="ascending"]').count(), 1);
  assert.equal(await status(), "rows 1 to 20 of 1,000");
  const lowest = Number((await first())[FARE]);
  await output.getByRole("button", { name: /^fare/ }).press("Enter");
  assert.equal(await output.locator('th[aria-sort="descending"]').count(), 1);
  assert.ok(Number((await first())[FARE]) > lowest + 20);
  await output.getByRole("searchbox").fill("harlem");
  assert.match(await status(), /^rows 1 to 20 of \d+ that match$/);
  assert.equal((await first())[1], "Harlem");
  await output.getByRole("searchbox").fill("nothing like it");
  assert.equal(await status(), "no rows that match");
  await output.getByRole("searchbox").fill("");
  await output.getByRole("button", { name: "Next page" }).focus();
  await notebook.page.keyboard.press("Space");
  assert.equal(await status(), "rows 21 to 40 of 1,000");
}

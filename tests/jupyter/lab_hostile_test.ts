import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { JupyterLab, jupyterLabMissing } from "../support/jupyterlab.ts";
import { notebookFolder, notebookOf } from "../support/notebook.ts";
import { requires } from "../support/requirements.ts";

/** Each text would call `window.pwned()` if a page treated it as more than text. */
const HOSTILE = [
  "<script>pwned()</script>",
  "<img src=x onerror=pwned()>",
  "<svg onload=pwned()>",
  "<svg><script>pwned()</script></svg>",
  "<details open ontoggle=pwned()>",
  "<input autofocus onfocus=pwned()>",
  "<iframe srcdoc='<script>parent.pwned()</script>'></iframe>",
  "<body onload=pwned()>",
  "<a href='javascript:pwned()'>x</a>",
  "<style>@import 'javascript:pwned()'</style>",
  "<math><mtext><script>pwned()</script></mtext></math>",
  "</td></tr></table><script>pwned()</script>",
  "</title></textarea></style></script><script>pwned()</script>",
  `"><script>pwned()</script>`,
  `' onmouseover='pwned()' x='`,
  `" onpointerenter="pwned()" style="position:fixed;inset:0" x="`,
  "<!--<script>pwned()</script>-->",
  "<![CDATA[<script>pwned()</script>]]>",
  "&lt;script&gt;pwned()&lt;/script&gt;",
  "\\u003cscript\\u003epwned()\\u003c/script\\u003e",
  "${pwned()}",
  "\u001b]8;;javascript:pwned()\u0007x\u001b]8;;\u0007",
  "\u001b[31m<script>pwned()</script>\u001b[0m",
  "<base href='javascript:pwned()//'>",
  "<object data='javascript:pwned()'></object>",
  "$$\\href{javascript:pwned()}{x}$$",
  "<x-card contenteditable onblur=pwned() autofocus>",
  "<meta http-equiv=refresh content='0;javascript:pwned()'>",
];

const CELLS = [
  `import { connect, show, sql } from "lakebase";
const db = await connect({ local: true });
const hostile = ${JSON.stringify(HOSTILE)};
"ready"`,
  "sql`SELECT * FROM unnest(${hostile}::text[]) AS value`.with({ limit: 100 })",
  "const names = sql.join(hostile.map((name) => sql`1 AS ${sql.id(name.slice(0, 60))}`), sql`, `);\nawait show(sql`SELECT ${names}`)",
  "await show(...hostile.map((text) => sql`SELECT ${{ text }}::json AS json, ARRAY[${text}] AS list`))",
  "for (const text of hostile) await show(sql`SELECT 1 FROM (SELECT ${text}::text) AS t; SELECT 1 AS n`).catch(() => {});\n" +
  "await sql`DO $$ BEGIN RAISE NOTICE '%', '<script>pwned()</script><img src=x onerror=pwned()>'; END $$`",
  "await sql`SELECT ${hostile.join(' ')}::int`",
  'await sql`SELECT * FROM "<img src=x onerror=pwned()>"`',
  'sql`SELECT 1 AS "<svg onload=pwned()>" FROM nowhere`',
  'await sql`CREATE TABLE "<img src=x onerror=pwned()>" ("<script>pwned()</script>" text)`;\n' +
  'await sql`INSERT INTO "<img src=x onerror=pwned()>" SELECT * FROM unnest(${hostile}::text[])`;\n' +
  "await show(db.tables(), db.describe('\"<img src=x onerror=pwned()>\"'), db.profile('\"<img src=x onerror=pwned()>\"'))",
  "(await sql`SELECT * FROM unnest(${hostile}::text[]) AS value`.explain())",
  "sql`SELECT * FROM unnest(${hostile}::text[]) AS value`.columns()",
  "await sql`SELECT * FROM unnest(${hostile}::text[]) AS value`.pull('<img src=x onerror=pwned()>.csv')",
  "db",
  ...["image", "title", '\\\\", "image": datum.x, "z'].map((name) =>
    `sql\`SELECT \${'x" onerror="pwned()'}::text AS \${sql.id(${JSON.stringify(name)})}, 1 AS n\`.plot({ ` +
    `mark: "bar", x: ${JSON.stringify(name)}, y: "n", width: 400, height: 200 })`
  ),
];

Deno.test({
  ...requires("no text from a database runs as code in a notebook", jupyterLabMissing),
  fn: async () => {
    await using folder = await notebookFolder();
    await using lab = await JupyterLab.start({ folder: folder.path });
    await using notebook = await lab.open(notebookOf(CELLS), { width: 1150, height: 1000 });
    await notebook.page.evaluate("window.ran = 0; window.pwned = () => window.ran++");
    for (let cell = 0; cell < CELLS.length; cell++) {
      await notebook.run(cell);
      await eventually(`cell ${cell} shows something`, async () => await notebook.outputHtml(cell) !== "");
    }
    const table = notebook.outputs(1).locator("td");
    for (let row = 0; row < await table.count(); row++) await table.nth(row).hover({ force: true });
    for (let cell = CELLS.findIndex((code) => code.includes(".plot(")); cell < CELLS.length; cell++) {
      // A bar in the middle of the chart.
      const canvas = notebook.outputs(cell).locator("canvas");
      await canvas.scrollIntoViewIfNeeded();
      const { width, height } = (await canvas.boundingBox())!;
      const tooltip = notebook.page.locator("#vg-tooltip-element.visible");
      await eventually("the chart shows a tooltip", async () => { // which it does not before it is drawn
        await canvas.hover({ position: { x: width / 2 + Math.random(), y: height / 2 } });
        return await tooltip.isVisible();
      });
      assert.match(await tooltip.innerText(), /x" onerror="pwned\(\)/);
      assert.equal(await tooltip.locator("img, h2").count(), 0, CELLS[cell]);
      await notebook.page.mouse.move(0, 0);
    }
    assert.match(await notebook.outputText(1), /<script>pwned\(\)<\/script>/, "the text is shown as it is");
    const live =
      ".jp-OutputArea-output :is(script, iframe, object, base, meta, [onerror], [onload], [autofocus], [href^=javascript])";
    assert.equal(await notebook.page.locator(live).count(), 0);
    // The page can run a script, so this test can fail. A script of an output would have run before this one.
    await notebook.page.evaluate(
      `const image = new Image(); image.onerror = pwned; image.src = "data:,"; document.body.append(image)`,
    );
    await notebook.page.waitForFunction("window.ran > 0");
    assert.equal(await notebook.page.evaluate("window.ran"), 1);
  },
});

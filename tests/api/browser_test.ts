import assert from "node:assert/strict";
import { renderBrowse } from "../../src/api/browser.ts";
import { chromiumMissing, launchChromium } from "../support/chromium.ts";
import { drawn, errorOf, queryTest } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { readHtml } from "../draw/html_check.ts";

const FIELDS = [{ name: "n", key: "n", type: "int8" }, { name: "</script>", key: "t", type: "text" }];
const EVIL = `</script><script>window.evil = true</script><img src=x onerror="window.evil = true"><!--`;

function html(rows: Record<string, unknown>[], more = false): string {
  return renderBrowse({ fields: FIELDS, rows, more, elapsed: 5 })["text/html"]!;
}

/** The visible text if neither scripts nor styles work. */
function still(html: string) {
  return readHtml(
    html.replace(/<script>[^]*<\/script>/, "").replace(/<style>[^]*?<\/style>/g, "").replace(
      / data-lb-browse="[^"]*"/,
      "",
    ),
  );
}

Deno.test("renderBrowse() draws the first page as a plain table if no script runs, and says which rows it has", () => {
  const rows = Array.from({ length: 45 }, (_, n) => ({ n, t: n % 2 === 0 ? null : EVIL }));
  const read = still(html(rows));
  assert.equal(read.rows.length, 20);
  assert.deepEqual(read.rows[0], ["0", "NULL"]);
  assert.equal(read.rows[1]![1], EVIL);
  assert.match(read.text, /rows 1 to 20 of 45 rows, 5 ms/);
  assert.match(still(html(rows.slice(0, 1))).text, /1 row, 5 ms$/);
  assert.match(still(html(rows, true)).text, /rows 1 to 20 of the first 45 rows \(there are more\)/);
  assert.match(still(html([])).text, /0 rows, 5 ms$/);
});

Deno.test("renderBrowse() keeps its data in its script, and each table has its own", () => {
  const [one, other] = [html([{ n: 1, t: EVIL }]), html([{ n: 1, t: EVIL }])];
  assert.equal(one.match(/<script/g)?.length, 1);
  assert.equal(one.match(/<\/script/g)?.length, 1);
  assert.doesNotMatch(one, /<!--|src=x onerror="/);
  const id = (html: string) => /data-lb-browse="([^"]+)"/.exec(html)![1];
  assert.notEqual(id(one), id(other));
});

Deno.test("renderBrowse() stays within a megabyte and says that it dropped rows", () => {
  for (const t of ["<".repeat(200), "x".repeat(5000), "東".repeat(300), "\u0007".repeat(300)]) {
    const bundle = renderBrowse({ fields: FIELDS, rows: Array(1000).fill({ n: 1n, t }), more: true, elapsed: 5 });
    assert.ok(new TextEncoder().encode(JSON.stringify(bundle)).length < 1_050_000, t.slice(0, 1));
    assert.ok(new TextEncoder().encode(bundle["text/html"]).length < 1_000_000);
  }
  const wide = renderBrowse({
    fields: Array.from({ length: 1600 }, (_, n) => ({ name: `c${n}`, key: `c${n}`, type: "int4" })),
    rows: Array(1000).fill(Object.fromEntries(Array.from({ length: 1600 }, (_, n) => [`c${n}`, n]))),
    more: false,
    elapsed: 5,
  });
  assert.match(wide["text/html"]!, /the first \d+ rows \(there are more\), cut to stay within 1 MB/);
});

Deno.test({
  ...requires(
    "(slow) a browsed table pages, sorts and searches, with the keyboard too, and runs no code from its values",
    chromiumMissing,
  ),
  fn: async () => {
    const rows = Array.from(
      { length: 45 },
      (_, n) => ({ n: n === 7 ? null : String((n * 17) % 45), t: `${EVIL} ${n % 9}` }),
    );
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      await page.setContent(`<body>${html(rows)}${html(rows.slice(0, 3))}</body>`);
      const [table, other] = [page.locator(".lb-browse").nth(0), page.locator(".lb-browse").nth(1)];
      const column = async (index: number) => await table.locator(`tbody td:nth-child(${index})`).allInnerTexts();
      const status = table.getByRole("status");
      assert.equal(await status.innerText(), "rows 1 to 20 of 45");
      assert.equal(await other.getByRole("status").innerText(), "rows 1 to 3 of 3");
      assert.equal(await table.getByRole("button", { name: "Previous page" }).isDisabled(), true);
      await table.getByRole("button", { name: /^n/ }).focus();
      await page.keyboard.press("Enter");
      assert.deepEqual((await column(1)).slice(0, 4), ["0", "1", "2", "3"]);
      assert.equal(await table.locator("th").first().getAttribute("aria-sort"), "ascending");
      const next = table.getByRole("button", { name: "Next page" });
      await next.click();
      await next.click();
      assert.equal(await status.innerText(), "rows 41 to 45 of 45");
      assert.equal((await column(1)).at(-1), "NULL");
      assert.equal(await next.isDisabled(), true);
      await table.getByRole("button", { name: "First page" }).click();
      assert.equal(await status.innerText(), "rows 1 to 20 of 45");
      await table.getByRole("button", { name: "Last page" }).click();
      assert.equal(await status.innerText(), "rows 41 to 45 of 45");
      await table.getByRole("button", { name: /^n/ }).click();
      assert.deepEqual((await column(1)).slice(0, 2), ["44", "43"]);
      await table.getByRole("searchbox").fill("-- 4");
      assert.equal(await status.innerText(), "rows 1 to 5 of 5 that match");
      assert.equal((await column(2))[0], `${EVIL} 4`);
      assert.equal(await other.getByRole("status").innerText(), "rows 1 to 3 of 3");
      assert.equal(await page.evaluate("window.evil"), undefined);
      assert.equal(await page.locator("img").count(), 0);
    } finally {
      await browser.close();
    }
  },
});

Deno.test({
  ...requires(
    "a browsed table shows that its headers sort, and which rows it sorts if there are more",
    chromiumMissing,
  ),
  fn: async () => {
    const rows = Array.from({ length: 45 }, (_, n) => ({ n: String(n), t: "x" }));
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      await page.setContent(`<body>${html(rows)}${html(rows, true)}</body>`);
      const [all, part] = [page.locator(".lb-browse").nth(0), page.locator(".lb-browse").nth(1)];
      assert.match(await all.locator("th").first().innerText(), /^n \u21c5\s+int8$/);
      assert.equal(await all.locator("th button").first().getAttribute("title"), "Sort by this column");
      assert.equal(await all.locator(".lb-part").count(), 0);
      assert.match(await part.locator(".lb-part").innerText(), /more rows: .* cover only the first 45 rows/);
      assert.equal(
        await part.locator("th button").first().getAttribute("title"),
        "Sort the first 45 rows by this column",
      );
      assert.equal(await part.getByRole("searchbox").getAttribute("placeholder"), "Search in the first 45 rows");
    } finally {
      await browser.close();
    }
  },
});

queryTest("browse() fetches at most 1,000 rows, and draws the error of a query", async ({ db }) => {
  const query = db.sql`SELECT n, 'x' || n AS t FROM generate_series(1, ${3000}::int) n`;
  assert.match(await drawn(query.browse()), /20 of the first 1,000 rows \(there are more\)/);
  assert.equal((await query.browse()).rows.length, 1000);
  assert.match(await drawn(db.sql`SELECT 1 AS n WHERE false`.browse()), /0 rows/);
  assert.match(await drawn(db.sql`CREATE TABLE b_made ()`.browse()), /^CREATE TABLE/);
  assert.match((await errorOf(() => db.sql`SELECT nope`.browse())).message, /LINE 1: SELECT nope/);
  await db.sql`DROP TABLE b_made`;
});

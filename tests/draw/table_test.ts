import assert from "node:assert/strict";
import { chromiumMissing, launchChromium } from "../support/chromium.ts";
import { sized } from "../support/random.ts";
import { requires } from "../support/requirements.ts";
import { textWidth } from "../../src/core/text.ts";
import { visible } from "../../src/draw/escape.ts";
import { elapsedText, footerText, renderCommand, renderTable } from "../../src/draw/table.ts";
import { readHtml } from "./html_check.ts";

const bytes = (text: string): number => new TextEncoder().encode(text).length;
const column = (name: string, type = "text") => ({ name, type });
const OVERFLOW = (box: unknown) => {
  const { scrollHeight, clientHeight } = box as { scrollHeight: number; clientHeight: number };
  return scrollHeight - clientHeight;
};
const HOSTILE = [
  "__proto__",
  "then",
  "constructor",
  "<script>alert(1)</script>",
  `" onmouseover="alert(1)`,
  "' onclick='x",
  "`x`",
  "</td></tr></table></div>",
  "</style><style>*{display:none}",
  "&lt;b&gt; &amp &#60;",
  "<!--",
  "]]>",
  "\0\x1b[31mred\x07",
  "\u202Edesrever\u202C",
  "\ud800",
  "a\r\nb\rc\u2028d",
  "",
  " ",
  "${1}",
  "javascript:alert(1)",
];

Deno.test("footerText() gives the shown rows, all rows and the time", () => {
  const cases: [Parameters<typeof footerText>[0], string][] = [
    [{ shown: 5, elapsed: 12 }, "5 rows, 12 ms"],
    [{ shown: 20, total: 12345, elapsed: 143 }, "20 of 12,345 rows, 143 ms"],
    [{ shown: 20, total: 10n ** 10n }, "20 of 10,000,000,000 rows"],
    [{ shown: 20, total: 20, more: false }, "20 rows"],
    [{ shown: 20, more: true, elapsed: 12 }, "first 20 rows, there are more, 12 ms"],
    [{ shown: 1, more: true }, "first row, there are more"],
    [{ shown: 1, elapsed: 0.84 }, "1 row, 0.8 ms"],
    [{ shown: 0 }, "0 rows"],
    [{ shown: 1234, elapsed: NaN }, "1,234 rows"],
    [{ shown: 2, elapsed: -1 }, "2 rows"],
  ];
  for (const [options, expected] of cases) assert.equal(footerText(options), expected);
});

Deno.test("elapsedText() rounds without showing a thousand of a unit", () => {
  const cases: [number, string][] = [
    [0, "0 ms"],
    [0.04, "0 ms"],
    [9.94, "9.9 ms"],
    [9.96, "10 ms"],
    [999.4, "999 ms"],
    [999.6, "1 s"],
    [1240, "1.24 s"],
    [59_949, "59.9 s"],
    [59_999, "1 min 0 s"],
    [125_000, "2 min 5 s"],
    [3_599_600, "1 h 0 min"],
    [7_500_000, "2 h 5 min"],
  ];
  for (const [elapsed, expected] of cases) assert.equal(elapsedText(elapsed), expected, String(elapsed));
});

Deno.test("renderTable() draws psql's table as text", () => {
  const { "text/plain": text } = renderTable({
    columns: [column("id", "int4"), column("name"), column("note")],
    rows: [[1, "Zoë", null], [20, "", "a\nb\tc"]],
    footer: "2 rows, 12 ms",
    notices: [{ severity: "NOTICE", message: "hello", hint: "do" }],
  });
  assert.equal(
    text,
    [
      " id | name | note",
      "----+------+-------",
      "  1 | Zoë  | NULL",
      " 20 |      | a↵b⇥c",
      "(2 rows, 12 ms)",
      "NOTICE:  hello",
      "HINT:  do",
    ].join("\n"),
  );
});

Deno.test("renderTable() aligns text by its display width", () => {
  const cells = ["abc", "東京駅", "Zoe\u0308", "👩‍👩‍👧", "🇩🇪🇯🇵", "❤️", "1️⃣", "ｱｲ", "한국", "क्षि", "x".repeat(300)];
  const { "text/plain": text } = renderTable({
    columns: [column("a"), column("価格", "numeric"), column("c"), column("d"), column("e")],
    rows: cells.map((cell) => [cell, cell, "|", "", "end"]),
  });
  const lines = text.split("\n").slice(2, -1);
  assert.equal(lines.length, cells.length);
  assert.equal(new Set(lines.map(textWidth)).size, 1);
});

Deno.test("renderTable() distinguishes NULL, an empty string and the text NULL in HTML", () => {
  const { "text/html": html } = renderTable({ columns: [column("a")], rows: [[null], [""], ["NULL"], [undefined]] });
  const cells = [...html.matchAll(/<td[^>]*>(.*?)<\/td>/g)].map((match) => match[1]);
  const drawnNull = '<em class="lb-null">NULL</em>';
  assert.deepEqual(cells, [drawnNull, "", "NULL", drawnNull]);
});

Deno.test("renderTable() right-aligns numbers, and names arrays as Postgres does", () => {
  const types = ["int2", "int4", "int8", "float4", "float8", "numeric", "money", "oid", "double precision"];
  for (const type of types) {
    const { "text/html": html } = renderTable({ columns: [column("n", type)], rows: [[1]] });
    assert.equal(html.match(/text-align:right/g)?.length, 2, type);
  }
  const { "text/html": html } = renderTable({ columns: [column("a", "_int4")], rows: [[[1, null]]] });
  assert.deepEqual(readHtml(html), { head: ["aint4[]"], rows: [["{1,NULL}"]], text: "aint4[]{1,NULL}1 row" });
});

Deno.test("renderTable() lets a click open up to 2,000 characters of a long cell", () => {
  const { "text/html": html } = renderTable({ columns: [column("a")], rows: [["x\n".repeat(3000)]] });
  assert.match(html, /<summary>(x<i>↵<\/i>){100}<b>… more<\/b><\/summary>/);
  assert.match(html, /<div class="lb-full">(x\n){1000}<b>… 4,000 more characters<\/b><\/div>/);
  readHtml(html);
});

Deno.test("renderTable() does not cut a character in two", () => {
  const { "text/html": html, "text/plain": text } = renderTable({
    columns: [column("a")],
    rows: [["a" + "😀".repeat(2000)]],
    maxCell: 10,
  });
  assert.ok(!(html + text).includes("\uFFFD"));
  assert.match(text, /^ a😀{4}…$/mu);
});

Deno.test("renderTable() draws tables without rows, without columns and with repeated names", () => {
  const noRows = renderTable({ columns: [column("a"), column("a")], rows: [] });
  assert.equal(noRows["text/plain"], " a | a\n---+---\n(0 rows)");
  assert.deepEqual(readHtml(noRows["text/html"]).head, ["atext", "atext"]);
  const noColumns = renderTable({ columns: [], rows: [[], [], []] });
  assert.equal(noColumns["text/plain"], "--\n(3 rows)");
  assert.deepEqual(readHtml(noColumns["text/html"]), { head: [], rows: [], text: "3 rows" });
  assert.equal(renderTable({ columns: [column("")], rows: [[1]], footer: "" })["text/plain"], "\n---\n 1");
});

Deno.test("renderTable() escapes hostile text everywhere", () => {
  for (const text of HOSTILE) {
    const bundle = renderTable({
      columns: [column(text, text), column(text, "int4")],
      rows: [[text, text], [{ [text]: text }, [text]]],
      caption: text,
      footer: text,
      notices: [{ severity: text, message: text, detail: text, hint: text }],
    });
    const read = readHtml(bundle["text/html"]);
    assert.equal(read.rows[0]?.[0], visible(text));
    assert.equal(read.head[1], visible(text) + "int4");
    assert.deepEqual(read.rows.map((row) => row.length), [2, 2]);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(bundle["text/plain"], /[\0-\x09\x0b-\x1f\x7f\u202a-\u202e]/);
    readHtml(renderCommand({ tag: text, elapsed: 1 })["text/html"]);
  }
});

Deno.test("renderTable() writes no id, script or address", () => {
  const { "text/html": html } = renderTable({ columns: [column("a")], rows: [["x".repeat(900)]] });
  assert.doesNotMatch(html, /\sid=|<script|url\(|@import|https?:|src=|href=/);
});

Deno.test("(slow) renderTable() keeps to maxBytes with 1,600 columns of hostile names", () => {
  const columns = Array.from({ length: 1600 }, (_, index) => column(`<&'"${index}>`.repeat(12), "text"));
  const rows = Array.from({ length: 50 }, () => columns.map(() => "<'\"&>\u202E".repeat(60)));
  for (const maxBytes of [0, 10, 150, 3000, 5000, 20_000, 1_000_000]) {
    const { "text/html": html, "text/plain": text } = renderTable({ columns, rows, maxBytes });
    assert.ok(bytes(html) <= maxBytes, `${bytes(html)} > ${maxBytes}`);
    assert.ok(bytes(text) <= 100_000);
    readHtml(html);
    assert.match(text, /50 rows and |columns not shown/);
  }
  const { "text/html": html } = renderTable({ columns, rows });
  assert.match(html, /cut to the first row and [\d,]+ of 1,600 columns to stay within 1 MB/);
  assert.ok(bytes(html) > 950_000);
});

Deno.test("renderTable() drops rows from the end and says so", () => {
  const rows = Array.from({ length: 5000 }, (_, index) => [index, "東".repeat(190)]);
  const bundle = renderTable({
    columns: [column("i", "int4"), column("t")],
    rows,
    footer: "5,000 rows",
    maxBytes: 1e5,
  });
  const read = readHtml(bundle["text/html"]);
  assert.ok(bytes(bundle["text/html"]) <= 1e5 && bytes(bundle["text/html"]) > 99_000);
  assert.ok(read.text.endsWith(`5,000 rows; cut to the first ${read.rows.length} rows to stay within 100 kB`));
  const lines = bundle["text/plain"].split("\n");
  assert.equal(lines.at(-1), `(5,000 rows; ${(5000 - (lines.length - 3)).toLocaleString("en-US")} rows not shown)`);
  assert.ok(bytes(bundle["text/plain"]) <= 100_000);
});

Deno.test("renderTable() limits captions, footers and notices", () => {
  const long = "<é>\n".repeat(1_000_000);
  const notices = Array.from(
    { length: 10_000 },
    () => ({ severity: "WARNING", message: long, detail: long, hint: long }),
  );
  for (const maxBytes of [1000, 20_000, 1_000_000]) {
    const bundle = renderTable({
      columns: [column(long, long)],
      rows: [[long]],
      caption: long,
      footer: long,
      notices,
      maxBytes,
    });
    assert.ok(bytes(bundle["text/html"]) <= maxBytes);
    assert.ok(bytes(bundle["text/plain"]) <= 100_000);
    readHtml(bundle["text/html"]);
  }
});

Deno.test("(slow) renderTable() neither reads a value of 50 MB completely nor draws a million rows", () => {
  const long = "<\n".repeat(25_000_000);
  renderTable({
    columns: [column("a"), column("b", "json"), column("c", "_text"), column("d", "bytea")],
    rows: [[long, { long: [long] }, [long], new Uint8Array(5e7)]],
  });
  let reads = 0;
  const many = new Proxy(Array<string>(1_000_000).fill("x"), {
    get: (target, key) => (reads++, Reflect.get(target, key)),
  });
  renderTable({ columns: [column("a", "json"), column("b", "_text")], rows: [[{ many }, many]] });
  assert.ok(reads > 0 && reads < 10_000, `${reads} of a million values are read`);
  const row = ["x"];
  const { "text/html": html } = renderTable({ columns: [column("a")], rows: Array(1_000_000).fill(row) });
  assert.ok(html!.length < 2_000_000, `${html!.length} characters`);
});

Deno.test("renderTable() keeps its limits for random tables", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = mulberry32(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const text = () =>
    Array.from({ length: Math.floor(random() ** 4 * 300) }, () => pick([...HOSTILE, "東", "😀", "z"])).join("");
  for (let round = 0; round < sized(30, 100); round++) {
    const columns = Array.from(
      { length: Math.floor(random() ** 3 * 60) },
      () => column(text(), pick(["int4", "json", "_text", text()])),
    );
    const value = () =>
      pick<unknown>([null, text(), random(), [text()], { [text()]: text() }, new Date(NaN), 1n, true]);
    const rows = Array.from({ length: Math.floor(random() ** 3 * 60) }, () => columns.map(value));
    const maxBytes = pick([Math.floor(random() * 10_000), Math.floor(random() * 300_000), 1_000_000]);
    const bundle = renderTable({
      columns,
      rows,
      caption: text(),
      footer: text(),
      maxBytes,
      maxCell: pick([1, 20, 200]),
    });
    const where = `seed ${seed}, round ${round}`;
    const read = readChecked(bundle["text/html"], where);
    assert.ok(bytes(bundle["text/html"]) <= maxBytes, where);
    assert.ok(bytes(bundle["text/plain"]) <= 100_000, where);
    assert.ok(read.rows.every((row) => row.length === read.head.length), where);
  }
});

function readChecked(html: string, where: string): ReturnType<typeof readHtml> {
  try {
    return readHtml(html);
  } catch (cause) {
    throw new Error(where, { cause });
  }
}

function mulberry32(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

Deno.test({
  ...requires("a table has the colors of VS Code's themes, as its pages set them", chromiumMissing),
  fn: async () => {
    const table = renderTable({ columns: [{ name: "n", type: "int4" }], rows: [[1]] })["text/html"];
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      for (
        const [classes, text, behind, scheme] of [
          ["vscode-light", "rgb(59, 59, 59)", "rgb(255, 255, 255)", "normal"],
          ["vscode-dark", "rgb(204, 204, 204)", "rgb(31, 31, 31)", "dark"],
          ["vscode-high-contrast", "rgb(255, 255, 255)", "rgb(0, 0, 0)", "dark"],
          ["vscode-high-contrast vscode-high-contrast-light", "rgb(41, 41, 41)", "rgb(255, 255, 255)", "normal"],
        ] as const
      ) {
        const variables = `--vscode-editor-foreground:${text};--vscode-editor-background:${behind}`;
        await page.setContent(`<html style="${variables}"><body class="${classes}">${table}</body></html>`);
        const seen = await page.evaluate(`{
          const { color, backgroundColor, colorScheme } = getComputedStyle(document.querySelector(".lb-scroll"));
          [color, backgroundColor, colorScheme];
        }`);
        assert.deepEqual(seen, [text, behind, scheme], classes);
      }
    } finally {
      await browser.close();
    }
  },
});

Deno.test({
  ...requires(
    "a table of 20 rows is shown completely; a longer one scrolls in a notebook, but not in an exported page",
    chromiumMissing,
  ),
  fn: async () => {
    const table = (count: number) =>
      renderTable({
        columns: [{ name: "n", type: "int4" }, { name: "t", type: "text" }],
        rows: Array.from({ length: count }, (_, n) => [n, "two\nlines"]),
      })["text/html"];
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      const hidden = async (body: string, count: number) => {
        await page.setContent(body.replace("TABLE", table(count)));
        return await page.locator(".lb-scroll").evaluate(OVERFLOW);
      };
      const [lab, code] = ['<div class="jp-LabShell">TABLE</div>', '<body class="vscode-dark">TABLE</body>'];
      const exported = '<body class="jp-Notebook" data-jp-theme-light="true">TABLE</body>';
      for (const body of [lab, code, exported]) assert.equal(await hidden(body, 20), 0);
      for (const body of [lab, code]) assert.ok(await hidden(body, 200) > 1000);
      assert.equal(await hidden(exported, 200), 0);
      await page.setContent(lab.replace("TABLE", table(200)));
      await page.emulateMedia({ media: "print" });
      assert.equal(await page.locator(".lb-scroll").evaluate(OVERFLOW), 0);
    } finally {
      await browser.close();
    }
  },
});

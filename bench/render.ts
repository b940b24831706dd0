/**
 * Compares the cost of drawing a result with `Deno.inspect`, and with a table that only escapes its values. Run with `deno bench bench/render.ts`.
 */
import { renderTable, type TableColumn } from "../src/draw/table.ts";

const TYPES = ["int8", "timestamptz", "text", "numeric", "float8", "bool", "_text", "jsonb", "text", "bytea"];
const NAMES = ["id", "at", "zone", "fare", "tip", "paid", "tags", "meta", "note", "hash"];
const columns: TableColumn[] = TYPES.map((type, index) => ({ name: NAMES[index] ?? "", type }));

function makeRows(count: number): unknown[][] {
  return Array.from({ length: count }, (_, index) => [
    index,
    new Date(1.7e12 + index),
    ["Midtown", "東京駅", "Zoë's café 🇩🇪"][index % 3],
    (index / 7).toFixed(2),
    index % 5 === 0 ? null : index / 3,
    index % 2 === 0,
    ["cash", "a b"],
    { driver: { id: index }, stops: [1, 2, 3] },
    "a note <of> some length, & more of it. ".repeat(index % 8),
    new Uint8Array(32).fill(index),
  ]);
}

function naiveTable(rows: readonly (readonly unknown[])[]): string {
  const escape = (value: unknown) =>
    String(value).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const head = columns.map(({ name }) => `<th>${escape(name)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((value) => `<td>${escape(value)}</td>`).join("")}</tr>`);
  return `<table><tr>${head}</tr>${body.join("")}</table>`;
}

for (const count of [20, 1_000]) {
  const rows = makeRows(count);
  const objects = rows.map((row) => Object.fromEntries(row.map((value, index) => [NAMES[index], value])));
  const group = `${count} rows of 10`;
  Deno.bench({
    name: "renderTable (HTML and text)",
    group,
    baseline: true,
    fn: () => void renderTable({ columns, rows }),
  });
  Deno.bench({ name: "naive HTML table", group, fn: () => void naiveTable(rows) });
  Deno.bench({ name: "Deno.inspect", group, fn: () => void Deno.inspect(objects, { iterableLimit: count }) });
}

const long = [["<\n".repeat(25_000_000)]];
const wide = Array.from({ length: 1_600 }, (_, index) => ({ name: `column_${index}`, type: "int4" }));
const wideRows = Array.from({ length: 20 }, () => wide.map((_, index) => index));
Deno.bench("one value of 50 MB", () => void renderTable({ columns: [{ name: "a", type: "text" }], rows: long }));
Deno.bench("20 rows of 1,600", () => void renderTable({ columns: wide, rows: wideRows }));

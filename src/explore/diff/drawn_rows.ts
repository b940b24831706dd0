import { countText } from "../../core/text.ts";
import { cellText, drawnValue, ServerText } from "../../draw/cell.ts";
import { elapsedText, type TableOptions } from "../../draw/table.ts";
import type { RowDifference, TableDiffFacts } from "./rows.ts";
import type { Pair } from "./sides.ts";

/** The facts that a drawing shows besides the rows and their counts. */
interface DrawingFacts {
  /** The names of the two databases. */
  names: Pair<string>;
  /** The milliseconds that the comparison took. */
  elapsed: number;
  /** The Postgres types of the columns, by name. */
  columnTypes: ReadonlyMap<string, string>;
}

/** The maximum number of rows that are drawn. */
const MAX_DRAWN_ROWS = 100;

/** Lays out the rows that differ, with a changed value as `old → new`. If no rows differ, lays out the counts. */
export function drawRows(facts: TableDiffFacts, rows: readonly RowDifference[], drawing: DrawingFacts): TableOptions {
  const { names, elapsed, columnTypes } = drawing;
  const caption = `${facts.table}: from ${names.before} to ${names.after}`;
  const footer = [
    `${differencesText(facts)} in ${totalText(facts.total)}, ${elapsedText(elapsed)}`,
    ...keptText(facts, rows.length),
    ...columnTexts(facts, names),
  ].join("; ");
  if (rows.length === 0) return { ...drawCounts(facts), caption, footer };
  const drawn = rows.slice(0, MAX_DRAWN_ROWS);
  const columns = drawnColumns(facts, rows);
  return {
    columns: [
      { name: "change", type: "text" },
      ...columns.map((name) => ({ name, type: columnTypes.get(name) ?? "text" })),
    ],
    rows: drawn.map((row) => [
      row.change,
      ...columns.map((name) => drawnCell(row, name, columnTypes.get(name) ?? "text")),
    ]),
    caption,
    footer,
  };
}

function drawCounts({ added, removed, changed, key, total }: TableDiffFacts): Pick<TableOptions, "columns" | "rows"> {
  const counts: [string, number][] = [["added", added], ["removed", removed]];
  if (key !== null) counts.push(["changed", changed]);
  return {
    columns: [{ name: "change", type: "text" }, { name: key === null ? "whole rows" : "rows", type: "int8" }],
    rows: [...counts, ["equal", total.before - removed - changed]].map(([name, count]) => [
      name,
      count!.toLocaleString("en-US"),
    ]),
  };
}

function differencesText({ added, removed, changed, key }: TableDiffFacts): string {
  if (added + removed + changed === 0) return "no differences";
  const counts: [count: number, change: string][] = [[added, "added"], [removed, "removed"]];
  if (key !== null) counts.push([changed, "changed"]);
  return counts.map(([count, change]) => `${count.toLocaleString("en-US")} ${change}`).join(", ");
}

function totalText({ before, after }: Pair<number>): string {
  return before === after
    ? countText(before, "row")
    : `${before.toLocaleString("en-US")} and ${countText(after, "row")}`;
}

function keptText({ added, removed, changed, key }: TableDiffFacts, kept: number): string[] {
  if (key === null) return ["the tables share no key, so whole rows were counted"];
  const total = added + removed + changed;
  const drawn = Math.min(kept, MAX_DRAWN_ROWS);
  return [
    ...(drawn < total ? [`${countText(drawn, "row")} shown`] : []),
    ...(kept < total ? [`${countText(kept, "row")} kept, see the option limit`] : []),
  ];
}

function columnTexts({ only, types }: TableDiffFacts, names: Pair<string>): string[] {
  const onlyIn = (name: string, columns: readonly string[]) =>
    columns.length === 0 ? [] : [`not compared: ${columns.join(", ")}, only in ${name}`];
  return [
    ...onlyIn(names.before, only.before),
    ...onlyIn(names.after, only.after),
    ...types.map(({ column, before, after }) =>
      `${column} is ${before} in ${names.before} and ${after} in ${names.after}`
    ),
  ];
}

/** The names of the key's columns and of the columns that differ, or of all columns if a row was added or removed. */
function drawnColumns({ key }: TableDiffFacts, rows: readonly RowDifference[]): string[] {
  const whole = rows.find(({ change }) => change !== "changed");
  const names = whole === undefined
    ? rows.flatMap(({ columns }) => columns)
    : Object.keys((whole.before ?? whole.after)!);
  return [...new Set([...key!, ...names])];
}

/** The value of a cell. If it changed, excerpts of both texts, from shortly before their first difference. */
function drawnCell({ columns, before, after }: RowDifference, name: string, type: string): unknown {
  if (!columns.includes(name)) return drawnValue(after ?? before, name);
  const text = (row: unknown) => cellText(drawnValue(row, name), type, MAX_COMPARED)?.text ?? "NULL";
  return new ServerText(excerpts(text(before), text(after)).join(" → "));
}

/** The maximum characters of a value that are searched for a difference. */
const MAX_COMPARED = 10_000;
/** The maximum characters of each excerpt of a value. */
const EXCERPT_LENGTH = 80;
/** The characters before the first difference that an excerpt shows. */
const CONTEXT_LENGTH = 20;

/** Cuts two long texts so that their first difference is visible. */
export function excerpts(
  before: string,
  after: string,
  length: number = EXCERPT_LENGTH,
): [before: string, after: string] {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  if (Math.max(before.length, after.length) > length) {
    while (start < shorter && before[start] === after[start]) start++;
    start = Math.max(0, start - CONTEXT_LENGTH);
  }
  const cut = (text: string) => {
    const end = text.length > start + length ? `${text.slice(start, start + length)}…` : text.slice(start);
    return (start > 0 ? `…${end}` : end).toWellFormed();
  };
  return [cut(before), cut(after)];
}

/** Sorts rows by their keys. */
export function sortByKey(rows: readonly RowDifference[]): RowDifference[] {
  return rows.toSorted((one, other) => {
    for (const [name, value] of Object.entries(one.key)) {
      const order = compareValues(value, other.key[name]);
      if (order !== 0) return order;
    }
    return 0;
  });
}

/** Compares numbers and times by value, and other values as texts, with the numbers in them by value. */
function compareValues(one: unknown, other: unknown): number {
  const [a, b] = [one, other] as [number, number];
  if (typeof one !== "string" && typeof one === typeof other && one !== null && (a < b || a > b || a === b)) {
    return a < b ? -1 : a > b ? 1 : 0;
  }
  return COLLATOR.compare(String(one), String(other));
}

const COLLATOR = new Intl.Collator("en", { numeric: true });

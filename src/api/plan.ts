import { type Bundle, DISPLAY, holdIdle } from "../draw/notebook.ts";
import { elapsedText, originText, renderTable, type ResultOrigin } from "../draw/table.ts";
import type { Statement } from "../sql/fragment.ts";
import { OUTCOME } from "../sql/result.ts";
import { type FindSession, run } from "../sql/run.ts";
import type { StopOptions } from "../sql/stop.ts";
import { DEFAULT_TYPES } from "../sql/types.ts";

/** One node of `EXPLAIN (FORMAT JSON)`. */
export interface PlanNode {
  /** The kind of node, such as `Seq Scan`. */
  "Node Type": string;
  /** The nodes that it reads from. */
  Plans?: PlanNode[];
  /** The other properties that the server reports. */
  [property: string]: unknown;
}

/**
 * Asks the server for the plan of a statement.
 *
 * @param find Finds the session.
 * @param statement One statement. If the text had several, the statements after the first would run.
 * @param analyze Whether to run the statement and measure it.
 * @param stops What stops it.
 */
export async function explainStatement(
  find: FindSession,
  statement: Statement,
  analyze: boolean,
  stops: StopOptions,
): Promise<Plan> {
  const explained = { ...statement, prefix: `EXPLAIN (FORMAT JSON${analyze ? ", ANALYZE" : ""}) ` };
  const rows = await run<{ "QUERY PLAN": ConstructorParameters<typeof Plan>[0][] }>(find, explained, {
    ...stops,
    single: true,
    types: DEFAULT_TYPES,
  });
  return new Plan(rows[0]!["QUERY PLAN"][0]!, rows[OUTCOME]);
}

/**
 * The plan of a statement, with measurements if `explain({ analyze: true })` made it.
 *
 * @example
 * ```ts
 * import { connect } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * await using db = await connect({ local: true });
 * const plan = await db.sql`SELECT count(*) FROM generate_series(1, 100)`.explain({ analyze: true });
 * assert.equal(plan.root["Node Type"], "Aggregate");
 * assert.equal(plan.root.Plans?.[0]?.["Actual Rows"], 100);
 * console.log(plan.times.execution, "ms", String(plan));
 * ```
 */
export class Plan {
  /** The tree, as the server describes it. */
  readonly root: PlanNode;
  /** The milliseconds that planning took and, with `analyze`, running. */
  readonly times: { planning?: number; execution?: number };

  readonly #origin: ResultOrigin;

  /** Made by `Query.explain`. */
  constructor(
    explained: { Plan: PlanNode; "Planning Time"?: number; "Execution Time"?: number },
    origin: ResultOrigin = {},
  ) {
    this.#origin = origin;
    this.root = explained.Plan;
    const { "Planning Time": planning, "Execution Time": execution } = explained;
    this.times = { ...(planning === undefined ? {} : { planning }), ...(execution === undefined ? {} : { execution }) };
  }

  /** The plan as text: a line for each node, indented by depth. */
  toString(): string {
    return planLines(this.root).map(({ text }) => text).join("\n");
  }

  /** The output in a notebook: a row for each node, with estimates and measurements. */
  [DISPLAY](): Bundle {
    const measured = this.root["Actual Rows"] !== undefined;
    const rows = planLines(this.root).map(({ text, node }) => [
      text,
      node["Plan Rows"],
      ...(measured ? [node["Actual Rows"], node["Actual Loops"], node["Actual Total Time"]] : []),
      node["Total Cost"],
    ]);
    const number = (name: string) => ({ name, type: "float8" });
    const columns = [
      { name: "plan", type: "text" },
      number("rows planned"),
      ...(measured ? [number("rows"), number("loops"), number("ms")] : []),
      number("cost"),
    ];
    const { planning, execution } = this.times;
    const footer = [
      ...(planning === undefined ? [] : [`planned in ${elapsedText(planning)}`]),
      ...(execution === undefined ? ["not run"] : [`run in ${elapsedText(execution)}`]),
    ].join(", ");
    return holdIdle({ ...renderTable({ columns, rows, footer: `${footer}${originText(this.#origin)}` }) });
  }

  /** The text that `console.log` prints. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }
}

/** A node, and its line of the drawing. */
interface PlanLine {
  text: string;
  node: PlanNode;
}

/** A line for each node. The last child of a node has a corner; the lines of the others continue to the next child. */
function planLines(node: PlanNode, corner = "", indent = ""): PlanLine[] {
  const children = node.Plans ?? [];
  return [
    { text: `${corner}${title(node)}`, node },
    ...children.flatMap((child, index) =>
      index < children.length - 1
        ? planLines(child, `${indent}├─ `, `${indent}│  `)
        : planLines(child, `${indent}└─ `, `${indent}   `)
    ),
  ];
}

/** The properties that distinguish nodes of the same kind. */
const DETAILS = [
  "Index Name",
  "Index Cond",
  "Hash Cond",
  "Merge Cond",
  "Join Filter",
  "Filter",
  "Sort Key",
  "Group Key",
];

function title(node: PlanNode): string {
  const { "Relation Name": relation, Alias: alias } = node;
  const on = relation === undefined
    ? ""
    : ` on ${relation}${alias === undefined || alias === relation ? "" : ` ${alias}`}`;
  const details = DETAILS.filter((name) => node[name] !== undefined).map((name) => `${name}: ${node[name]}`);
  return `${node["Node Type"]}${on}${details.length === 0 ? "" : ` (${details.join("; ")})`}`;
}

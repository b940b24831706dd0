import type { Session } from "../query/session.ts";

/**
 * How many rows the server's planner expects, which scales what it knows of a table by its size of now.
 *
 * @param session Where to ask: on a connection of its own, where one is free. A transaction's own changes count little.
 * @param text A statement without parameters.
 * @returns `undefined` where it can't be known at once; never an error.
 */
export async function estimateRows(session: Session, text: string): Promise<number | undefined> {
  try {
    const [row] = await session.lookUp(`EXPLAIN (FORMAT JSON) ${text}`, []);
    return plannedRows(row?.["QUERY PLAN"]);
  } catch {
    return undefined; // what is wrong with the statement, the transfer itself says
  }
}

/** The number at the top of a plan, as text or parsed. */
function plannedRows(explained: unknown): number | undefined {
  const plans = (typeof explained === "string" ? JSON.parse(explained) : explained) as
    | { Plan?: { "Plan Rows"?: unknown } }[]
    | undefined;
  const rows = plans?.[0]?.Plan?.["Plan Rows"];
  return typeof rows === "number" && rows >= 0 ? rows : undefined;
}

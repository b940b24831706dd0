import type { Catalogue } from "./catalogue.ts";
import { completeSql } from "./completion.ts";
import { inspectSql } from "./inspection.ts";
import { cellMagicEnd } from "./magic.ts";

/** A reply that needs no child. */
export interface EditorReply {
  type: string;
  content: Record<string, unknown>;
}

/**
 * Answers what an editor asks in SQL.
 *
 * @param type The request's type.
 * @param content The request's content.
 * @param catalogue What the database holds, as far as it is known.
 * @param connections Variables of the notebook that may hold connections.
 * @returns `undefined` where the child is to be asked.
 */
export function editorReply(
  type: string | undefined,
  content: Record<string, unknown>,
  catalogue: Catalogue | undefined,
  connections: readonly string[] = [],
): EditorReply | undefined {
  const { code, cursor_pos: cursor } = content;
  if (typeof code !== "string") return undefined;
  if (type === "is_complete_request") return isComplete(code);
  if (typeof cursor !== "number") return undefined;
  if (type === "complete_request") {
    const completion = completeSql(code, cursor, catalogue, connections);
    return completion && { type: "complete_reply", content: { status: "ok", ...completion } };
  }
  if (type === "inspect_request") {
    const data = inspectSql(code, cursor, catalogue);
    return data && { type: "inspect_reply", content: { status: "ok", found: true, data, metadata: {} } };
  }
  return undefined;
}

/** In a console, a cell of SQL is complete behind a semicolon or a blank line. */
function isComplete(code: string): EditorReply | undefined {
  if (!isSqlCell(code)) return undefined;
  const status = /;\s*$|\n[ \t]*\n?$|\?\s*$/.test(code) ? "complete" : "incomplete";
  return { type: "is_complete_reply", content: { status, indent: "" } };
}

function isSqlCell(code: string): boolean {
  try {
    return cellMagicEnd(code) !== undefined;
  } catch {
    return true; // it is refused when it runs
  }
}

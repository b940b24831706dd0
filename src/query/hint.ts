import { utf16Index } from "../sql_text.ts";
import type { Statement } from "./fragment.ts";

const NAME = "a ${value} is never SQL: a name goes in as ${sql.id(name)}, a part of the statement as ${sql`...`}";
const LIST = "a list is one value: = ANY(${list}), or <> ALL(${list}), instead of IN";

/**
 * What to write instead, where a value was put where the server takes none, or a list where it takes one value.
 *
 * @param failure What the server said.
 * @param statement The statement.
 * @returns The end of a hint; `undefined` where the failure is none of these.
 */
export function hintFor(
  { code, message, position }: { code?: string; message: string; position?: string },
  { text, values, prefix = "" }: Statement,
): string | undefined {
  if (code === "42601" && /at or near "\$\d+"/.test(message) && position !== undefined) {
    const before = text.slice(0, utf16Index(text, Number(position) - 1 - prefix.length)).trimEnd();
    return /\bin$/i.test(before.slice(-3)) ? LIST : NAME;
  }
  if (code !== "22P02") return undefined;
  const lists = values.filter((value) => typeof value === "string" && value.startsWith("{"));
  return lists.some((list) => message.endsWith(`: "${list}"`)) ? LIST : undefined;
}

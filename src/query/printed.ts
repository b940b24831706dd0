import { compile, type Fragment } from "./fragment.ts";

/** Characters of a statement that are printed. */
const MOST = 10_000;

/** How `console.log` prints a query: as the statement that it is. */
export function printed(query: Fragment): string {
  try {
    const { text } = compile(query);
    return `Query { ${text.length > MOST ? `${text.slice(0, MOST)}…` : text} }`;
  } catch (error) {
    return `Query { ${(error as Error).message} }`;
  }
}

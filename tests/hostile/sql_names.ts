import { loadModule, parseSync } from "npm:@libpg-query/parser@17.6.10";

await loadModule();

type Node = Record<string, unknown>;

/**
 * Finds the names that a statement leaves to `search_path`: functions, operators, types, collations and the catalog's
 * tables. A schema on the path could have an object of that name, and its owner's code would run as the user who runs
 * the statement.
 *
 * @throws For a text that is not SQL.
 */
export function unqualified(sql: string): string[] {
  const found = new Set<string>();
  visit(parseSync(sql), found);
  return [...found];
}

function visit(value: unknown, found: Set<string>): void {
  if (Array.isArray(value)) return value.forEach((one) => visit(one, found));
  if (typeof value !== "object" || value === null) return;
  for (const [kind, node] of Object.entries(value as Node)) {
    check(kind, node as Node, found);
    visit(node, found);
  }
}

function check(kind: string, node: Node, found: Set<string>): void {
  const name = (list: unknown) => (list as { String: { sval: string } }[] ?? []).map(({ String: { sval } }) => sval);
  const lone = (what: string, list: unknown) => {
    if (name(list).length === 1) found.add(`${what} ${name(list)[0]}`);
  };
  if (kind === "FuncCall") lone("function", node["funcname"]);
  if (kind === "A_Expr") lone("operator", node["name"]);
  if (kind === "TypeName" || kind === "typeName") lone("type", node["names"]);
  if (kind === "CollateClause") lone("collation", node["collname"]);
  if (kind === "RangeTableSample") lone("method", node["method"]);
  if (kind === "SortBy") lone("operator", node["useOp"]);
  if (kind === "CaseExpr" && "arg" in node) found.add("operator = of CASE x WHEN");
  if (kind === "JoinExpr" && ("usingClause" in node || node["isNatural"])) found.add("operator = of JOIN USING");
  if (kind === "SubLink") {
    if (node["subLinkType"] === "ANY_SUBLINK" && !("operName" in node)) found.add("operator = of IN");
    lone("operator", node["operName"]);
  }
  const table = String(node?.["relname"] ?? "");
  if (kind === "RangeVar" && !("schemaname" in node) && table.startsWith("pg_")) found.add(`table ${table}`);
}

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
  const names = new Set<string>();
  visit(parseSync(sql), names);
  return [...names];
}

function visit(value: unknown, names: Set<string>): void {
  if (Array.isArray(value)) return value.forEach((one) => visit(one, names));
  if (typeof value !== "object" || value === null) return;
  for (const [kind, node] of Object.entries(value as Node)) {
    check(kind, node as Node, names);
    visit(node, names);
  }
}

function check(kind: string, node: Node, names: Set<string>): void {
  const partsOf = (list: unknown) => (list as { String: { sval: string } }[] ?? []).map(({ String: { sval } }) => sval);
  const addIfUnqualified = (what: string, list: unknown) => {
    if (partsOf(list).length === 1) names.add(`${what} ${partsOf(list)[0]}`);
  };
  if (kind === "FuncCall") addIfUnqualified("function", node["funcname"]);
  if (kind === "A_Expr") addIfUnqualified("operator", node["name"]);
  if (kind === "TypeName" || kind === "typeName") addIfUnqualified("type", node["names"]);
  if (kind === "CollateClause") addIfUnqualified("collation", node["collname"]);
  if (kind === "RangeTableSample") addIfUnqualified("method", node["method"]);
  if (kind === "SortBy") addIfUnqualified("operator", node["useOp"]);
  if (kind === "CaseExpr" && "arg" in node) names.add("operator = of CASE x WHEN");
  if (kind === "JoinExpr" && ("usingClause" in node || node["isNatural"])) names.add("operator = of JOIN USING");
  if (kind === "SubLink") {
    if (node["subLinkType"] === "ANY_SUBLINK" && !("operName" in node)) names.add("operator = of IN");
    addIfUnqualified("operator", node["operName"]);
  }
  const table = String(node?.["relname"] ?? "");
  if (kind === "RangeVar" && !("schemaname" in node) && table.startsWith("pg_")) names.add(`table ${table}`);
}

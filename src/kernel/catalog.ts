/** What a database has, for completion. */
export interface Catalogue {
  tables: readonly CatalogueTable[];
  functions: readonly CatalogueFunction[];
  /** Variables of the notebook that hold connections, as far as `%%sql` cells have named them. */
  connections: readonly string[];
}

/** A table, a view or the like. */
export interface CatalogueTable {
  schema: string;
  name: string;
  /** PostgreSQL's `relkind`. */
  kind: string;
  /** Whether its name is enough, without the schema. */
  visible: boolean;
  columns: readonly CatalogueColumn[];
}

/** A column of a table. */
export interface CatalogueColumn {
  name: string;
  /** Its type as SQL writes it; empty where that is not known. */
  type: string;
  notNull: boolean;
}

/** A function or procedure that can be called. */
export interface CatalogueFunction {
  schema: string;
  name: string;
  /** Its arguments as SQL writes them. */
  args: string;
  /** What it returns; empty for a procedure. */
  result: string;
  /** Whether its name is enough, without the schema. */
  visible: boolean;
}

/** How a function is called, and what it gives. */
export function signatureOf({ args, result }: CatalogueFunction): string {
  return result === "" ? `(${args})` : `(${args}) → ${result}`;
}

/**
 * Code that makes the child send the catalogue, later and by itself, where it is connected; for a hidden request, when one
 * is wanted for the first time.
 */
export const REFRESH_CATALOGUE = 'globalThis[Symbol.for("lakebase.cell")]?.refresh();';

/**
 * Checks what the child has sent.
 *
 * @param content A message's content.
 * @returns The catalogue; `undefined` for anything else.
 */
export function parseCatalogue(content: unknown): Catalogue | undefined {
  if (!isRecord(content)) return undefined;
  const { tables, functions, connections } = content;
  if (!isList(tables, isTable) || !isList(functions, isFunction) || !isList(connections, isText)) return undefined;
  return {
    tables: tables.map((table) => ({
      ...table,
      columns: table.columns.map(([name, type, notNull]) => ({ name, type, notNull })),
    })),
    functions,
    connections,
  };
}

type SentTable = Omit<CatalogueTable, "columns"> & { columns: [name: string, type: string, notNull: boolean][] };

function isTable(item: unknown): item is SentTable {
  if (!isRecord(item)) return false;
  const { schema, name, kind, visible, columns } = item;
  return isText(schema) && isText(name) && isText(kind) && typeof visible === "boolean" && isList(columns, isColumn);
}

function isColumn(item: unknown): item is SentTable["columns"][number] {
  return Array.isArray(item) && isText(item[0]) && isText(item[1]) && typeof item[2] === "boolean";
}

function isFunction(item: unknown): item is CatalogueFunction {
  if (!isRecord(item)) return false;
  const { schema, name, args, result, visible } = item;
  return isText(schema) && isText(name) && isText(args) && isText(result) && typeof visible === "boolean";
}

function isText(item: unknown): item is string {
  return typeof item === "string";
}

function isList<T>(items: unknown, is: (item: unknown) => item is T): items is T[] {
  return Array.isArray(items) && items.every(is);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

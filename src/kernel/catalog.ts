/** The tables and functions of a database, for completion. */
export interface Catalog {
  tables: readonly CatalogTable[];
  functions: readonly CatalogFunction[];
  /** The notebook's variables that hold connections and that `%%sql` cells have named. */
  connections: readonly string[];
  /** The catalog that names of a SQL warehouse may begin with; `undefined` for Postgres. */
  catalog?: string | undefined;
}

/** A table, view or other relation. */
export interface CatalogTable {
  schema: string;
  name: string;
  /** PostgreSQL's `relkind`. */
  kind: string;
  /** Whether it can be named without its schema. */
  visible: boolean;
  columns: readonly CatalogColumn[];
}

/** A column of a table. */
export interface CatalogColumn {
  name: string;
  /** The type in SQL; empty when unknown. */
  type: string;
  notNull: boolean;
}

/** A function or procedure. */
export interface CatalogFunction {
  schema: string;
  name: string;
  /** The arguments in SQL. */
  args: string;
  /** The result type; empty for a procedure. */
  result: string;
  /** Whether it can be named without its schema. */
  visible: boolean;
}

/** The arguments and the result type of a function, as text. */
export function signatureOf({ args, result }: CatalogFunction): string {
  return result === "" ? `(${args})` : `(${args}) → ${result}`;
}

/** Code of an internal request after which the child, if it is connected, sends the catalog in the background. */
export const REFRESH_CATALOG = 'globalThis[Symbol.for("lakebase.cell")]?.refresh();';

/**
 * Checks and parses a catalog that the child has sent.
 *
 * @param content The content of the message.
 * @returns The catalog; `undefined` when the content is anything else.
 */
export function parseCatalog(content: unknown): Catalog | undefined {
  if (!isRecord(content)) return undefined;
  const { tables, functions, connections, catalog } = content;
  if (!isList(tables, isTable) || !isList(functions, isFunction) || !isList(connections, isText)) return undefined;
  return {
    tables: tables.map((table) => ({
      ...table,
      columns: table.columns.map(([name, type, notNull]) => ({ name, type, notNull })),
    })),
    functions,
    connections,
    ...(isText(catalog) ? { catalog } : {}),
  };
}

type SentTable = Omit<CatalogTable, "columns"> & { columns: [name: string, type: string, notNull: boolean][] };

function isTable(item: unknown): item is SentTable {
  if (!isRecord(item)) return false;
  const { schema, name, kind, visible, columns } = item;
  return isText(schema) && isText(name) && isText(kind) && typeof visible === "boolean" && isList(columns, isColumn);
}

function isColumn(item: unknown): item is SentTable["columns"][number] {
  return Array.isArray(item) && isText(item[0]) && isText(item[1]) && typeof item[2] === "boolean";
}

function isFunction(item: unknown): item is CatalogFunction {
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

/** The maximum number of variables to remember. */
const MAX_NAMES = 100;

/** An assignment of a connection, such as `db = await connect(`. */
const CONNECTING =
  /(?:^|[\s;{(,])([\p{L}_$][\p{L}\p{N}_$]*)[ \t]*=\s*(?:await\s+)?(?:[\p{L}_$][\p{L}\p{N}_$]*\.)?(?:connect|lakehouse)\s*\(/gu;

/** The variables to which cells assign connections, found in the cells' text; for completion only. */
export class ConnectionNames {
  readonly #names = new Set<string>();

  /** The names, latest first. */
  get all(): string[] {
    return [...this.#names].reverse();
  }

  /** Adds the names from a cell that runs. */
  addFrom(source: string): void {
    if (!source.includes("connect") && !source.includes("lakehouse")) return;
    for (const [, name] of source.matchAll(CONNECTING)) {
      this.#names.delete(name!);
      if (this.#names.size < MAX_NAMES) this.#names.add(name!);
    }
  }
}

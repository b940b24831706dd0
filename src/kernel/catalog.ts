/** What a database has, for completion. */
export interface Catalog {
  tables: readonly CatalogTable[];
  functions: readonly CatalogFunction[];
  /** Variables of the notebook that hold connections, as far as `%%sql` cells have named them. */
  connections: readonly string[];
}

/** A table, a view or the like. */
export interface CatalogTable {
  schema: string;
  name: string;
  /** PostgreSQL's `relkind`. */
  kind: string;
  /** Whether its name is enough, without the schema. */
  visible: boolean;
  columns: readonly CatalogColumn[];
}

/** A column of a table. */
export interface CatalogColumn {
  name: string;
  /** Its type as SQL writes it; empty where that is not known. */
  type: string;
  notNull: boolean;
}

/** A function or procedure that can be called. */
export interface CatalogFunction {
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
export function signatureOf({ args, result }: CatalogFunction): string {
  return result === "" ? `(${args})` : `(${args}) → ${result}`;
}

/**
 * Code that makes the child send the catalog, later and by itself, where it is connected; for a hidden request, when one
 * is wanted for the first time.
 */
export const REFRESH_CATALOG = 'globalThis[Symbol.for("lakebase.cell")]?.refresh();';

/**
 * Checks what the child has sent.
 *
 * @param content A message's content.
 * @returns The catalog; `undefined` for anything else.
 */
export function parseCatalog(content: unknown): Catalog | undefined {
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

/** More are not worth a list. */
const MOST = 100;

const CONNECTING =
  /(?:^|[\s;{(,])([\p{L}_$][\p{L}\p{N}_$]*)[ \t]*=\s*(?:await\s+)?(?:[\p{L}_$][\p{L}\p{N}_$]*\.)?connect\s*\(/gu;

/** The variables that a notebook's cells have put connections into, going by their text; for completion only. */
export class ConnectionNames {
  readonly #names = new Set<string>();

  /** Names, the last one first. */
  get all(): string[] {
    return [...this.#names].reverse();
  }

  /** Takes note of a cell that is run. */
  addFrom(source: string): void {
    if (!source.includes("connect")) return;
    for (const [, name] of source.matchAll(CONNECTING)) {
      this.#names.delete(name!);
      if (this.#names.size < MOST) this.#names.add(name!);
    }
  }
}

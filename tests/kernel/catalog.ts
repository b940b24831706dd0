import { type Catalog, parseCatalog } from "../../src/kernel/catalog.ts";

/** A catalog in the form that the child sends. */
export const SENT_CATALOG = {
  connections: ["db2"],
  tables: [
    table("public", "trips", "r", true, ["id integer!", "zone text", "fare numeric(8,2)"]),
    table("public", "Odd Name", "p", true, ["Id integer", "user text"]),
    table("public", "order", "r", true, ["id integer"]),
    table("app", "users", "v", false, ["email text!", "age integer"]),
    table("pg_catalog", "pg_class", "r", true, ["oid oid!", "relname name!"]),
  ],
  functions: [
    { schema: "pg_catalog", name: "count", args: '"any"', result: "bigint", visible: true },
    { schema: "public", name: "my_proc", args: "IN a integer", result: "", visible: true },
    { schema: "app", name: "fare_of", args: "id integer", result: "numeric", visible: false },
  ],
};

function table(schema: string, name: string, kind: string, visible: boolean, columns: string[]) {
  return {
    schema,
    name,
    kind,
    visible,
    columns: columns.map((column) => {
      const [name, type] = column.replace("!", "").split(" ");
      return [name, type, column.endsWith("!")];
    }),
  };
}

export const CATALOG: Catalog = parseCatalog(SENT_CATALOG)!;

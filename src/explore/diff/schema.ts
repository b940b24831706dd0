import { type ExploreOptions, IS_USER_SCHEMA, KIND, kindIs, queryCatalog } from "../../catalog/relation.ts";
import { countText } from "../../core/text.ts";
import { elapsedText, type TableOptions } from "../../draw/table.ts";
import { checkCall } from "../../sql/options.ts";
import { stoppable } from "../../sql/stop.ts";
import { fieldsFor, type ListingParts } from "../../sql/result.ts";
import { excerpts } from "./drawn_rows.ts";
import { mapPair, onBoth, type Pair, type Side } from "./sides.ts";

/** The kind of an object of a schema. */
export type SchemaObjectKind =
  | "extension"
  | "schema"
  | "type"
  | "sequence"
  | "table"
  | "column"
  | "constraint"
  | "index"
  | "trigger"
  | "policy"
  | "view"
  | "materialized view"
  | "function";

/** An object that differs. */
export interface SchemaDifference {
  /** Whether the object is only in the other database (`added`), only in this one (`removed`), or in both (`changed`). */
  change: "added" | "removed" | "changed";
  /** The kind of object. */
  kind: SchemaObjectKind;
  /** The quoted name, such as `public.trips`, `public.trips.fare` for a column, `public.tip(fare numeric)` for a function. */
  name: string;
  /** The definition in this database, in the server's form; `null` if the object is not there. */
  before: string | null;
  /** The definition in the other database; `null` if the object is not there. */
  after: string | null;
}

/** The facts of the comparison of two schemas besides the objects. */
export interface SchemaDiffFacts {
  /** The number of objects that only the other database has. */
  readonly added: number;
  /** The number of objects that only this database has. */
  readonly removed: number;
  /** The number of objects that both have and that differ. */
  readonly changed: number;
  /** The number of all objects: `before` in this database, `after` in the other one. */
  readonly total: Pair<number>;
}

/** An object of a schema. */
interface SchemaObject {
  kind: SchemaObjectKind;
  /** The quoted name with the schema. */
  name: string;
  /** The quoted name of the table that the object is part of; `null` if there is none. */
  part_of: string | null;
  /** The definition. */
  definition: string;
}

/** SQL for whether an object does not belong to an extension. Extensions are compared as a whole. */
function isNotOfExtension(catalog: string, oid: string): string {
  return `NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e WHERE e.classid OPERATOR(pg_catalog.=)
    'pg_catalog.${catalog}'::pg_catalog.regclass AND e.objid OPERATOR(pg_catalog.=) ${oid} AND e.deptype OPERATOR(pg_catalog.=) 'e')`;
}

/** SQL that joins texts with spaces, and leaves out those that are NULL. */
function joinTexts(...parts: readonly string[]): string {
  return `pg_catalog.concat_ws(' ', ${parts.join(", ")})`;
}

/** SQL that chooses by a letter of the catalog. It is not `CASE x WHEN`, which takes its operator from the search path. */
function choose(letter: string, choices: Readonly<Record<string, string>>, otherwise: string = "NULL"): string {
  const cases = Object.entries(choices).map(([value, sql]) =>
    `WHEN ${letter} OPERATOR(pg_catalog.=) '${value}' THEN ${sql}`
  );
  return `CASE ${cases.join(" ")} ELSE ${otherwise} END`;
}

const TABLE_NAME = "pg_catalog.format('%I.%I', n.nspname, c.relname)";
const IN_SCHEMA = "JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=)";

/** SQL that joins the table that an object is part of, as `c`, without tables of extensions. */
const joinTable = (table: string, kinds: string[] = ["r", "p", "f"]) =>
  `JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) ${table} ${IN_SCHEMA} c.relnamespace
  WHERE ${IS_USER_SCHEMA} AND ${kindIs(...kinds)} AND ${isNotOfExtension("pg_class", "c.oid")}`;

const TABLES = `SELECT 'table' AS kind, ${TABLE_NAME} AS name, NULL AS part_of, ${
  joinTexts(
    choose("c.relpersistence", { u: "'unlogged'", t: "'temporary'" }),
    KIND,
    "'partitioned by ' OPERATOR(pg_catalog.||) pg_catalog.pg_get_partkeydef(c.oid)",
    `(SELECT pg_catalog.string_agg('child of ' OPERATOR(pg_catalog.||) h.inhparent::pg_catalog.regclass::pg_catalog.text, ', '
      ORDER BY h.inhseqno) FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid)`,
    "pg_catalog.pg_get_expr(c.relpartbound, c.oid)",
    "CASE WHEN c.relrowsecurity THEN 'with row level security' END",
    "CASE WHEN c.relforcerowsecurity THEN 'forced' END",
  )
} AS definition FROM pg_catalog.pg_class AS c ${IN_SCHEMA} c.relnamespace
  WHERE ${IS_USER_SCHEMA} AND ${kindIs("r", "p", "f")} AND ${isNotOfExtension("pg_class", "c.oid")}`;

/** Leaves out the columns of partitions, which repeat those of the partitioned table. */
const COLUMNS =
  `SELECT 'column', ${TABLE_NAME} OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(a.attname), ${TABLE_NAME}, ${
    joinTexts(
      "pg_catalog.format_type(a.atttypid, a.atttypmod)",
      `CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) t.typcollation THEN 'collate ' OPERATOR(pg_catalog.||)
      (SELECT pg_catalog.quote_ident(collname) FROM pg_catalog.pg_collation AS o WHERE o.oid OPERATOR(pg_catalog.=) a.attcollation) END`,
      "CASE WHEN a.attnotnull THEN 'not null' END",
      `CASE WHEN a.attidentity OPERATOR(pg_catalog.=) 'a' THEN 'generated always as identity'
      WHEN a.attidentity OPERATOR(pg_catalog.=) 'd' THEN 'generated by default as identity'
      WHEN a.attgenerated OPERATOR(pg_catalog.=) 's' THEN 'generated always as (' OPERATOR(pg_catalog.||)
        pg_catalog.pg_get_expr(d.adbin, d.adrelid) OPERATOR(pg_catalog.||) ') stored'
      WHEN a.attgenerated OPERATOR(pg_catalog.<>) '' THEN 'generated always as (' OPERATOR(pg_catalog.||)
        pg_catalog.pg_get_expr(d.adbin, d.adrelid) OPERATOR(pg_catalog.||) ')'
      ELSE 'default ' OPERATOR(pg_catalog.||) pg_catalog.pg_get_expr(d.adbin, d.adrelid) END`,
    )
  } FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
  ${joinTable("a.attrelid")} AND NOT c.relispartition AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped`;

/** Leaves out NOT NULL, which is part of its column's definition. */
const CONSTRAINTS =
  `SELECT 'constraint', ${TABLE_NAME} OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(k.conname),
  ${TABLE_NAME}, pg_catalog.pg_get_constraintdef(k.oid, true) FROM pg_catalog.pg_constraint AS k ${
    joinTable("k.conrelid")
  }
  AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,f,c,x}') AND k.conparentid OPERATOR(pg_catalog.=) 0
  AND NOT (c.relispartition AND NOT k.conislocal)`;

/** Leaves out the indexes that constraints define. */
const INDEXES =
  `SELECT 'index', ${TABLE_NAME} OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(ic.relname), ${TABLE_NAME}, ${
    joinTexts("pg_catalog.pg_get_indexdef(i.indexrelid)", "CASE WHEN NOT i.indisvalid THEN 'INVALID' END")
  } FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS ic ON ic.oid OPERATOR(pg_catalog.=) i.indexrelid
  ${joinTable("i.indrelid", ["r", "p", "f", "m"])}
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid OPERATOR(pg_catalog.=) i.indexrelid
    AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid OPERATOR(pg_catalog.=) i.indexrelid)`;

const TRIGGERS =
  `SELECT 'trigger', ${TABLE_NAME} OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(g.tgname), ${TABLE_NAME}, ${
    joinTexts(
      "pg_catalog.pg_get_triggerdef(g.oid)",
      choose("g.tgenabled", { D: "'disabled'", R: "'on replicas'", A: "'always'" }),
    )
  } FROM pg_catalog.pg_trigger AS g ${joinTable("g.tgrelid", ["r", "p", "f", "v"])}
  AND NOT g.tgisinternal AND g.tgparentid OPERATOR(pg_catalog.=) 0`;

const POLICIES =
  `SELECT 'policy', ${TABLE_NAME} OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(y.polname), ${TABLE_NAME}, ${
    joinTexts(
      "CASE WHEN y.polpermissive THEN 'permissive' ELSE 'restrictive' END",
      `'for ' OPERATOR(pg_catalog.||) ${
        choose("y.polcmd", { r: "'select'", a: "'insert'", w: "'update'", d: "'delete'" }, "'all'")
      }`,
      `'to ' OPERATOR(pg_catalog.||) (SELECT pg_catalog.string_agg(CASE WHEN role OPERATOR(pg_catalog.=) 0 THEN 'public'
      ELSE pg_catalog.pg_get_userbyid(role)::pg_catalog.text END, ', ' ORDER BY 1) FROM pg_catalog.unnest(y.polroles) AS role)`,
      "'using (' OPERATOR(pg_catalog.||) pg_catalog.pg_get_expr(y.polqual, y.polrelid) OPERATOR(pg_catalog.||) ')'",
      "'with check (' OPERATOR(pg_catalog.||) pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid) OPERATOR(pg_catalog.||) ')'",
    )
  } FROM pg_catalog.pg_policy AS y ${joinTable("y.polrelid")}`;

const VIEWS = `SELECT ${KIND}, ${TABLE_NAME}, NULL, pg_catalog.pg_get_viewdef(c.oid, true)
  FROM pg_catalog.pg_class AS c ${IN_SCHEMA} c.relnamespace
  WHERE ${IS_USER_SCHEMA} AND ${kindIs("v", "m")} AND ${isNotOfExtension("pg_class", "c.oid")}`;

/** Leaves out the sequences of identity columns, which are part of their column's definition. */
const SEQUENCES = `SELECT 'sequence', ${TABLE_NAME}, NULL, ${
  joinTexts(
    "pg_catalog.format_type(s.seqtypid, NULL)",
    "'start ' OPERATOR(pg_catalog.||) s.seqstart::pg_catalog.text",
    "'increment ' OPERATOR(pg_catalog.||) s.seqincrement::pg_catalog.text",
    "'from ' OPERATOR(pg_catalog.||) s.seqmin::pg_catalog.text",
    "'to ' OPERATOR(pg_catalog.||) s.seqmax::pg_catalog.text",
    "'cache ' OPERATOR(pg_catalog.||) s.seqcache::pg_catalog.text",
    "CASE WHEN s.seqcycle THEN 'cycle' END",
  )
} FROM pg_catalog.pg_sequence AS s ${joinTable("s.seqrelid", ["S"])}
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS o WHERE o.objid OPERATOR(pg_catalog.=) c.oid
    AND o.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND o.deptype OPERATOR(pg_catalog.=) 'i')`;

const FUNCTIONS = `SELECT 'function', pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
    pg_catalog.pg_get_function_identity_arguments(p.oid)), NULL,
  CASE WHEN p.prokind OPERATOR(pg_catalog.<>) 'a' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE (SELECT ${
  joinTexts(
    "'aggregate'",
    "pg_catalog.pg_get_function_result(p.oid)",
    "g.aggtransfn::pg_catalog.text",
    "g.aggfinalfn::pg_catalog.text",
    "g.agginitval",
  )
} FROM pg_catalog.pg_aggregate AS g WHERE g.aggfnoid OPERATOR(pg_catalog.=) p.oid) END
  FROM pg_catalog.pg_proc AS p ${IN_SCHEMA} p.pronamespace WHERE ${IS_USER_SCHEMA} AND ${
  isNotOfExtension("pg_proc", "p.oid")
}`;

/** Leaves out the types of tables, arrays and multiranges, which other objects define. */
const TYPES = `SELECT 'type', pg_catalog.format('%I.%I', n.nspname, t.typname), NULL, ${
  joinTexts(
    choose("t.typtype", {
      e: `'enum ' OPERATOR(pg_catalog.||) (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(l.enumlabel), ', '
        ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum AS l WHERE l.enumtypid OPERATOR(pg_catalog.=) t.oid)`,
      d: "'domain over ' OPERATOR(pg_catalog.||) pg_catalog.format_type(t.typbasetype, t.typtypmod)",
      c: `'composite (' OPERATOR(pg_catalog.||) (SELECT pg_catalog.string_agg(pg_catalog.format('%I %s', a.attname,
        pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)
        OPERATOR(pg_catalog.||) ')'`,
      r: `'range of ' OPERATOR(pg_catalog.||) (SELECT pg_catalog.format_type(r.rngsubtype, NULL) FROM pg_catalog.pg_range AS r
        WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid)`,
    }, "'base type'"),
    "CASE WHEN t.typnotnull THEN 'not null' END",
    "'default ' OPERATOR(pg_catalog.||) t.typdefault",
    `(SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid, true), ' ' ORDER BY k.conname)
      FROM pg_catalog.pg_constraint AS k WHERE k.contypid OPERATOR(pg_catalog.=) t.oid AND k.contype OPERATOR(pg_catalog.=) 'c')`,
  )
} FROM pg_catalog.pg_type AS t ${IN_SCHEMA} t.typnamespace
  WHERE ${IS_USER_SCHEMA} AND ${isNotOfExtension("pg_type", "t.oid")} AND t.typcategory OPERATOR(pg_catalog.<>) 'A'
  AND t.typtype OPERATOR(pg_catalog.<>) 'm' AND (t.typrelid OPERATOR(pg_catalog.=) 0 OR EXISTS (SELECT FROM pg_catalog.pg_class AS c
    WHERE c.oid OPERATOR(pg_catalog.=) t.typrelid AND c.relkind OPERATOR(pg_catalog.=) 'c'))`;

const SCHEMAS = `SELECT 'schema', pg_catalog.quote_ident(n.nspname), NULL, 'schema' FROM pg_catalog.pg_namespace AS n
  WHERE ${IS_USER_SCHEMA} AND ${isNotOfExtension("pg_namespace", "n.oid")}`;

const EXTENSIONS =
  `SELECT 'extension', pg_catalog.quote_ident(x.extname), NULL, 'version ' OPERATOR(pg_catalog.||) x.extversion
  FROM pg_catalog.pg_extension AS x`;

const OBJECTS = [
  TABLES,
  COLUMNS,
  CONSTRAINTS,
  INDEXES,
  TRIGGERS,
  POLICIES,
  VIEWS,
  SEQUENCES,
  FUNCTIONS,
  TYPES,
  SCHEMAS,
  EXTENSIONS,
].join("\nUNION ALL ");

/** With an empty search path, the definitions of both sides name the schema of every object. */
const SETTINGS = { search_path: "" };

/** Compares the schemas of two databases. See `Lakebase.diff`. */
export async function diffSchemas(
  sides: Pair<Side>,
  options: ExploreOptions,
): Promise<ListingParts<SchemaDifference, SchemaDiffFacts>> {
  checkCall("compare the schemas", options, {});
  using stop = stoppable(options, "the comparison");
  const started = performance.now();
  const objects = await onBoth(
    sides,
    stop,
    SETTINGS,
    async (tx) => await mapPair(tx, async (find) => [...await queryCatalog<SchemaObject>(find, OBJECTS)]),
  );
  stop.succeeded();
  const rows = compareObjects(objects);
  const elapsed = performance.now() - started;
  const count = (change: string) => rows.filter((row) => row.change === change).length;
  const facts = {
    added: count("added"),
    removed: count("removed"),
    changed: count("changed"),
    total: { before: objects.before.length, after: objects.after.length },
  };
  const draw = (drawn: readonly SchemaDifference[]) => drawSchema(facts, drawn, sides, elapsed);
  return { rows, fields: SCHEMA_FIELDS, elapsed, facts, draw };
}

const SCHEMA_FIELDS = fieldsFor({ change: "text", kind: "text", name: "text", before: "text", after: "text" });

/** Compares objects by kind and name. If a table was added or removed, only the table itself is listed. */
function compareObjects({ before, after }: Pair<readonly SchemaObject[]>): SchemaDifference[] {
  const [beforeById, afterById] = [byId(before), byId(after)];
  const differences: SchemaDifference[] = [];
  const hasTable = (objects: ReadonlyMap<string, SchemaObject>, table: string | null) =>
    table === null || ["table", "materialized view", "view"].some((kind) => objects.has(`${kind} ${table}`));
  for (const [id, { kind, name, definition, part_of }] of beforeById) {
    const other = afterById.get(id)?.definition;
    if (other === definition) continue;
    if (other !== undefined) differences.push({ change: "changed", kind, name, before: definition, after: other });
    else if (hasTable(afterById, part_of)) {
      differences.push({ change: "removed", kind, name, before: definition, after: null });
    }
  }
  for (const [id, { kind, name, definition, part_of }] of afterById) {
    if (!beforeById.has(id) && hasTable(beforeById, part_of)) {
      differences.push({ change: "added", kind, name, before: null, after: definition });
    }
  }
  const compareTexts = (one: string, other: string) => one < other ? -1 : one > other ? 1 : 0;
  return differences.sort((one, other) => compareTexts(one.name, other.name) || compareTexts(one.kind, other.kind));
}

function byId(objects: readonly SchemaObject[]): Map<string, SchemaObject> {
  return new Map(objects.map((object) => [`${object.kind} ${object.name}`, object]));
}

/** The maximum characters of a definition that are drawn. */
const MAX_DEFINITION_LENGTH = 200;

function drawSchema(
  { added, removed, changed, total }: SchemaDiffFacts,
  rows: readonly SchemaDifference[],
  { before: one, after: other }: Pair<Side>,
  elapsed: number,
): TableOptions {
  const counts = rows.length === 0 ? "no differences" : `${added} added, ${removed} removed, ${changed} changed`;
  const objects = total.before === total.after
    ? countText(total.before, "object")
    : `${total.before.toLocaleString("en-US")} and ${countText(total.after, "object")}`;
  return {
    columns: SCHEMA_FIELDS,
    rows: rows.map(({ change, kind, name, before, after }) => {
      const [from, to] = before === null || after === null
        ? [before ?? "", after ?? ""]
        : excerpts(before, after, MAX_DEFINITION_LENGTH);
      return [change, kind, name, from, to];
    }),
    caption: `schema: from ${one.name} to ${other.name}`,
    footer:
      `${counts} in ${objects}, ${
        elapsedText(elapsed)
      }; a comparison, not a migration: owners, privileges, comments and ` +
      "the order of changes are left out",
  };
}

/** Words that begin a statement of PostgreSQL. */
export const STATEMENTS: ReadonlySet<string> = new Set(
  ("abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete " +
    "discard do drop end execute explain fetch grant import insert listen load lock merge move notify prepare " +
    "reassign refresh reindex release reset revoke rollback savepoint security select set show start table truncate " +
    "unlisten update vacuum values with").split(" "),
);

/** Keywords to offer as completions. */
export const KEYWORDS: readonly string[] =
  ("abort add after all alter always analyze and any as asc at authorization before begin between bigint boolean " +
    "both by bytea cascade case cast check checkpoint close cluster collate column columns comment commit " +
    "concurrently conflict constraint copy create cross cube current current_date current_role current_schema " +
    "current_time current_timestamp current_user cursor data database date day deallocate declare default deferrable " +
    "deferred delete desc describe discard distinct do domain drop each else end enum escape except exclude execute " +
    "exists explain extension extract false fetch filter first following for foreign from full function generated " +
    "global grant group grouping groups having hour identity if ilike immutable in index inherits initially inner " +
    "inout insert instead int int4 int8 integer intersect interval into is isnull isolation join json jsonb key " +
    "language last lateral leading left level like limit listen local localtime localtimestamp locked login " +
    "materialized matched merge minute month move names natural no not nothing notify notnull nowait null nulls " +
    "numeric of off offset on only or order ordinality out outer over overlaps overriding owner partition password " +
    "plpgsql position preceding precision prepare primary privileges procedure procedures range read real recursive " +
    "references refresh reindex release rename repeatable replace reset restrict return returning returns revoke " +
    "right role rollback rollup row rows rule savepoint schema second security select sequence serializable session " +
    "session_user set sets share show similar skip smallint some stable start statement stored strict substring " +
    "symmetric table tables tablesample temp temporary text then ties time timestamp timestamptz to trailing " +
    "transaction trigger trim true truncate type unbounded uncommitted union unique unknown unlisten unlogged update " +
    "user using uuid vacuum valid validate values varchar verbose view volatile when where window with within without " +
    "work write year zone").split(" ");

/** Words after a table that are not an alias. */
export const NO_ALIAS: ReadonlySet<string> = new Set(
  ("and as asc cross default desc do else end except fetch for from full group having in inner intersect into is " +
    "isnull join lateral left like limit natural not notnull offset on or order returning right select set similar " +
    "tablesample then union using values when where window with").split(" "),
);

/** Words that must be quoted to be names. */
export const RESERVED: ReadonlySet<string> = new Set(
  ("all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation " +
    "column concurrently constraint create cross current_catalog current_date current_role current_schema " +
    "current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for " +
    "foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral " +
    "leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps " +
    "placing primary references returning right select session_user similar some symmetric system_user table " +
    "tablesample then to trailing true union unique user using variadic verbose when where window with").split(" "),
);

/** Words that can follow a table, most likely first. */
export const AFTER_TABLE: readonly string[] =
  ("where join left inner full cross natural on using group order having limit offset set values returning union as tablesample")
    .split(" ");

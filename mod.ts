/**
 * From an empty notebook cell, or a script, to rows of a Databricks Lakebase.
 *
 * ```ts
 * import { connect } from "lakebase";
 *
 * await using db = await connect({ local: true }); // without `local`: your workspace
 * console.log(await db.version());
 * ```
 *
 * @module
 */

export { check } from "./src/check.ts";
export { connect, sql } from "./src/connect.ts";
export { LakebaseError } from "./src/errors.ts";
export { Lakebase } from "./src/lakebase.ts";
export { show } from "./src/notebook/show.ts";

// What those take and give, by name; nothing below exists at run time.
export type { LakebaseErrorCode, LakebaseErrorOptions } from "./src/errors.ts";
export type { CheckFacts, CheckStep, Checkup } from "./src/doctor/checkup.ts";
export type { ExploreOptions } from "./src/explore/look.ts";
export type { ColumnInfo, ConstraintInfo, IndexInfo, TableDescription, TableFacts } from "./src/explore/description.ts";
export type { Listing } from "./src/explore/listing.ts";
export type { Lookup } from "./src/query/lookup.ts";
export type { ProfileOptions } from "./src/explore/profile.ts";
export type { ColumnProfile, Profile, ProfileFacts } from "./src/explore/profiled.ts";
export type { SchemaInfo } from "./src/explore/schemas.ts";
export type { TableInfo, TableKind } from "./src/explore/tables.ts";
export type { PgPool } from "./src/lakebase.ts";
export type { DatabaseSession } from "./src/database_session.ts";
export type { TransactionOptions } from "./src/query/transaction.ts";
export type { Queryable } from "./src/queryable.ts";
export type {
  LocalBranch,
  LocalEndpoint,
  LocalInstance,
  LocalOptions,
  LocalProject,
  ServicePrincipal,
} from "./src/local/mod.ts";
export type { Browser } from "./src/notebook/browser.ts";
export type { Bundle } from "./src/notebook/display.ts";
export type { ConnectOptions, SslMode, WorkspaceClientLike } from "./src/settings/options.ts";
export type { PlotMark, PlotOptions } from "./src/plot/options.ts";
export type { Plot } from "./src/plot/plot.ts";
export type { Fragment } from "./src/query/fragment.ts";
export type { ColumnsOptions, ExplainOptions, Query, QueryOptions } from "./src/query/query.ts";
export type { PullOptions, PullResult, PullTarget } from "./src/transfer/pull.ts";
export type { Plan, PlanNode } from "./src/query/plan.ts";
export type { Field, Notice, Result } from "./src/query/result.ts";
export type { Sql } from "./src/query/sql.ts";
export type { TypeParser, TypeParsers } from "./src/query/types.ts";
export type { ColumnValues } from "./src/transfer/batch.ts";
export type { Column } from "./src/transfer/column.ts";
export type { ColumnType } from "./src/transfer/column_type.ts";
export type { ArrowTable, Columns } from "./src/transfer/columns.ts";
export type { LoadFormat, PullFormat } from "./src/transfer/file_format.ts";
export type { LoadOptions } from "./src/transfer/load_options.ts";
export type { LoadResult } from "./src/transfer/load_result.ts";
export type { LoadSource } from "./src/transfer/load_source.ts";
export type { Progress } from "./src/transfer/progress.ts";

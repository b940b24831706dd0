/**
 * Query a Databricks Lakebase (its serverless Postgres) from a Deno notebook or script. {@linkcode connect} finds the
 * endpoint, logs in with a token that it renews, verifies the server, and wakes the sleeping compute; {@linkcode sql} binds
 * values and draws rows. Without a workspace, `connect({ local: true })` starts a Lakebase on this machine.
 *
 * In the examples, `"lakebase"` stands for this module: `"jsr:@lakebase/deno"`, its path, or a name in `deno.json`.
 *
 * @example A query and its rows
 * ```ts
 * import { connect, sql } from "lakebase";
 *
 * await using db = await connect({ local: true }); // without `local`: your workspace
 * const least = 100;
 * const rows = await sql<{ n: number }>`SELECT n FROM generate_series(1, 300) AS n WHERE n > ${least}`;
 * console.log(await db.version(), rows.length); // PostgreSQL ... 200
 * ```
 *
 * @example A file and a table
 * ```ts
 * import { connect } from "lakebase";
 *
 * await using db = await connect({ local: true });
 * await db.load("zones", [{ id: 1, zone: "Harlem" }, { id: 2, zone: "SoHo" }], { create: true });
 * const file = await Deno.makeTempFile({ suffix: ".csv" }); // also .parquet, .arrow, .ndjson, .tsv
 * await db.pull("zones", file);
 * ```
 *
 * @module
 */

import { answerSqlCells } from "./src/cells/sql_cell.ts";

export { check } from "./src/api/check.ts";
export { connect, sql } from "./src/api/connect.ts";
export { LakebaseError } from "./src/core/errors.ts";
export { Lakebase } from "./src/api/lakebase.ts";
export { lakehouse } from "./src/api/lakehouse.ts";
export { show } from "./src/api/display.ts";

// The types of their parameters and results. They do not exist at run time.
export type { LakebaseErrorCode, LakebaseErrorOptions, NamedOptions, OptionValue } from "./src/core/errors.ts";
export type { CheckFacts, CheckStep } from "./src/doctor/checkup.ts";
export type { Checkup, ExtraSteps } from "./src/api/check.ts";
export type { ExploreOptions, TableKind } from "./src/catalog/relation.ts";
export type { ColumnInfo, ConstraintInfo, IndexInfo, TableFacts } from "./src/explore/describe.ts";
export type { DiffOptions, RowDifference, TableDiffFacts } from "./src/explore/diff/rows.ts";
export type { SchemaDifference, SchemaDiffFacts, SchemaObjectKind } from "./src/explore/diff/schema.ts";
export type { Pair } from "./src/explore/diff/sides.ts";
export type { Listing, Profile, Result, SchemaDiff, TableDescription, TableDiff } from "./src/api/result.ts";
export type { Lookup } from "./src/api/display.ts";
export type { ColumnProfile, ProfileFacts, ProfileOptions } from "./src/explore/profile.ts";
export type { SchemaInfo, TableInfo } from "./src/explore/listings.ts";
export type { Branch, BranchOptions } from "./src/api/branch.ts";
export type { BranchInfo, DropBranchOptions } from "./src/api/branches.ts";
export type { Lakehouse, LakehouseOptions, WorkspaceLakehouseOptions } from "./src/api/lakehouse.ts";
export type { LakehouseColumn, LakehouseSchema, LakehouseTable } from "./src/lake/catalog.ts";
export type { PgPool } from "./src/api/lakebase.ts";
export type { DatabaseSession, Queryable } from "./src/api/session.ts";
export type { TransactionOptions } from "./src/sql/transaction.ts";
export type {
  LocalBranch,
  LocalEndpoint,
  LocalInstance,
  LocalOptions,
  LocalProject,
  ServicePrincipal,
} from "./src/core/local_options.ts";
export type { Browser } from "./src/api/browser.ts";
export type { Bundle } from "./src/draw/notebook.ts";
export type { ConnectOptions, SslMode, TypeParser, TypeParsers, WorkspaceClientLike } from "./src/settings/options.ts";
export type { PlotMark, PlotOptions } from "./src/plot/options.ts";
export type { Plot } from "./src/plot/plot.ts";
export type { Fragment } from "./src/sql/fragment.ts";
export type { ColumnsOptions, ExplainOptions, Query, QueryOptions } from "./src/api/query.ts";
export type { PullOptions, PullResult, PullTarget } from "./src/transfer/pull/pull.ts";
export type { Plan, PlanNode } from "./src/api/plan.ts";
export type { Field } from "./src/sql/result.ts";
export type { Notice } from "./src/sql/exchange.ts";
export type { Sql } from "./src/api/sql.ts";
export type { ColumnType, ColumnValues } from "./src/transfer/columns/batch.ts";
export type { ArrowTable, Column, Columns } from "./src/transfer/columns/columns.ts";
export type { LoadFormat, PullFormat } from "./src/transfer/formats/file_format.ts";
export type { DialectGuess } from "./src/transfer/load/dialect.ts";
export type { LoadOptions } from "./src/transfer/load/options.ts";
export type { LoadResult } from "./src/transfer/load/load.ts";
export type { LoadSource } from "./src/transfer/load/source.ts";
export type { Progress } from "./src/draw/progress.ts";

// From now on, the `%%sql` cells of a notebook find this module.
answerSqlCells();

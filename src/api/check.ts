import { loadModule } from "../core/lazy_import.ts";
import { readVolumePath } from "../core/file_store.ts";
import type { CheckFacts, CheckOptions, CheckStep } from "../doctor/checkup.ts";
import { announceEnvFile } from "../draw/notices.ts";
import type { ConnectOptions } from "../settings/options.ts";
import { type ReadSettings, readSettings } from "../settings/read_settings.ts";
import { checkUnstoppable, type OptionChecks } from "../sql/options.ts";
import { Lookup } from "./display.ts";
import { leaseLocal } from "./local_server.ts";
import { type Listing, makeListing } from "./result.ts";

/** The steps of connecting, with a row for each, in order. The list draws itself as a table. */
export type Checkup = Listing<CheckStep> & CheckFacts;

/** What to check in addition to connecting. */
export interface ExtraSteps {
  /** A Volume, or a path in a Volume, that this login should be able to read. @default {none} */
  volume?: string;
}

/**
 * Finds out why `connect()` fails. It runs each step of connecting separately, from the settings to a query, and says
 * what to do about the first step that fails. If `DATABRICKS_WAREHOUSE_ID` names a SQL warehouse, the last step tries
 * it. The steps show no secrets.
 *
 * @param options The options of `connect()`.
 * @param extra What to check in addition, such as `{ volume: "/Volumes/main/raw/landing" }`.
 * @returns A row for each step: `step`, `outcome` (`ok`, `warning`, `failed`, `skipped`), `detail`, `ms`; and `ok` as a
 * property. In a cell it draws itself, with or without `await`. It does not throw if a step fails.
 *
 * @example
 * ```ts
 * import { check } from "lakebase";
 * import assert from "node:assert/strict";
 *
 * const checkup = await check({ local: true });
 * assert.equal(checkup.ok, true);
 * assert.equal(checkup.find(({ step }) => step === "query")?.outcome, "ok");
 * ```
 */
export function check(options: ConnectOptions = {}, extra: ExtraSteps = {}): Lookup<Checkup> {
  return new Lookup(() => {
    const { volume } = checkUnstoppable("check", extra, EXTRA_STEPS, '{ volume: "/Volumes/main/raw/landing" }');
    return diagnose(options, {}, volume === undefined ? [] : [volume]);
  });
}

const EXTRA_STEPS: OptionChecks<ExtraSteps> = {
  volume: [
    (value) => typeof value === "string" && typeof readVolumePath(value) !== "string",
    "the path of a Volume, /Volumes/catalog/schema/volume",
  ],
};

/** Like {@linkcode check}, but it starts at once and can be stopped. */
export async function diagnose(
  options: ConnectOptions,
  checkOptions: CheckOptions = {},
  volumes: readonly string[] = [],
): Promise<Checkup> {
  const started = performance.now();
  try {
    const read = await readSettings(options, leaseLocal);
    if (read.envFile !== undefined) announceEnvFile(read.envFile);
    await using _local = { [Symbol.asyncDispose]: read.releaseLocal };
    return await diagnoseSettings(read, volumes, checkOptions);
  } catch (error) {
    checkOptions.signal?.throwIfAborted();
    const { messageOf, reportSteps } = await loadModule(() => import("../doctor/checkup.ts"));
    const detail = (checkOptions.messageOf ?? messageOf)(error);
    return makeListing(reportSteps([{ step: "settings", outcome: "failed", detail, ms: performance.now() - started }]));
  }
}

/** Runs each step of connecting with settings that have already been read. */
export async function diagnoseSettings(
  { settings, explicit, warehouse }: Pick<ReadSettings, "settings" | "explicit" | "warehouse">,
  volumes: readonly string[],
  options: CheckOptions = {},
): Promise<Checkup> {
  const { runSteps } = await loadModule(() => import("../doctor/checkup.ts")); // loaded late, because most programs do not need it
  const { CheckState } = await loadModule(() => import("../doctor/steps.ts"));
  return makeListing(await runSteps(new CheckState(settings, explicit, { warehouse, volumes }), options));
}

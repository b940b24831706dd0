import {
  type CheckFacts,
  type CheckOptions,
  type CheckStep,
  messageOf,
  reportSteps,
  runSteps,
} from "../doctor/checkup.ts";
import { CheckState } from "../doctor/steps.ts";
import { announceEnvFile } from "../draw/notices.ts";
import type { ConnectOptions } from "../settings/options.ts";
import { readSettings } from "../settings/read_settings.ts";
import { type Listing, makeListing } from "./listing.ts";
import { Lookup } from "./lookup.ts";

/** The steps of connecting: a row for each, in order. It draws itself as a table. */
export type Checkup = Listing<CheckStep> & CheckFacts;

/**
 * Finds out why `connect()` fails. It runs each step of connecting by itself, from the settings to a query, and says what to
 * do about the first step that fails. It shows no secrets.
 *
 * @param options The options of `connect()`.
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
export function check(options: ConnectOptions = {}): Lookup<Checkup> {
  return new Lookup(() => diagnose(options));
}

/** {@linkcode check}, started at once, with what stops it. */
export async function diagnose(options: ConnectOptions, checkOptions: CheckOptions = {}): Promise<Checkup> {
  const started = performance.now();
  try {
    const { settings, found, envFile, release } = await readSettings(options);
    if (envFile !== undefined) announceEnvFile(envFile);
    await using _local = { [Symbol.asyncDispose]: release };
    return makeListing(await runSteps(new CheckState(settings, found), checkOptions));
  } catch (error) {
    checkOptions.signal?.throwIfAborted();
    const detail = (checkOptions.messageOf ?? messageOf)(error);
    return makeListing(reportSteps([{ step: "settings", outcome: "failed", detail, ms: performance.now() - started }]));
  }
}

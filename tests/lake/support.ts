import assert from "node:assert/strict";
import { type LakebaseError, type Lakehouse, lakehouse } from "../../mod.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { workspaceOf } from "../support/lakebase.ts";

/** The path of statements in the API. */
export const STATEMENTS = "/api/2.0/sql/statements";

/** Opens the lakehouse of a local Lakebase. */
export function open(local: LocalLakebase): Promise<Lakehouse> {
  return lakehouse({ workspace: workspaceOf(local) });
}

/** The calls to the workspace while some work runs. */
export async function callsOf(local: LocalLakebase, work: () => Promise<unknown>): Promise<string[]> {
  const before = local.requests.length;
  await work();
  return local.requests.slice(before).map(({ method, path }) => `${method} ${path}`);
}

/** Checks that an error contains no secret, however it is printed. */
export function checkSecrets(error: LakebaseError): void {
  const text = Deno.inspect(error, { depth: 20, showHidden: true }) + error.stack;
  assert.doesNotMatch(text, /X-Amz-|\/results\/|customer-key|eyJ|dapi[0-9a-f]{8}|Bearer \S{8}/);
}

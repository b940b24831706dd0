import assert from "node:assert/strict";
import { originsOf } from "../../src/settings/origins.ts";
import { setBy } from "../../src/settings/set_by.ts";
import type { LakebaseErrorCode } from "../../src/errors.ts";
import type { ConnectOptions } from "../../src/settings/options.ts";

type Env = Record<string, string>;

Deno.test("setBy() tells where the settings behind a failure came from, options in code aside", () => {
  const workspace = { config: {} } as NonNullable<ConnectOptions["workspace"]>;
  const web = { DATABRICKS_HOST: "https://w" };
  const cases: [LakebaseErrorCode, ConnectOptions, Env, Env, string][] = [
    ["DNS", {}, {}, { PGHOST: "h" }, "The host is set by PGHOST in .env"],
    ["DNS", { host: "h" }, {}, { PGHOST: "h" }, ""],
    ["DNS", {}, {}, {}, ""],
    ["UNREACHABLE", {}, { PGPORT: "1" }, { PGHOST: "h" }, "The host is set by PGHOST in .env, the port by PGPORT"],
    ["LOGIN_REFUSED", { host: "h" }, {}, { PGUSER: "u" }, "The user is set by PGUSER in .env"],
    ["DATABASE_NOT_FOUND", {}, { PGDATABASE: "d" }, {}, "The database is set by PGDATABASE"],
    ["QUERY_FAILED", {}, {}, { PGHOST: "h" }, ""],
    ["WORKSPACE_UNAVAILABLE", {}, {}, web, "The workspace is set by DATABRICKS_HOST in .env"],
    ["WORKSPACE_UNAVAILABLE", {}, web, {}, "The workspace is set by DATABRICKS_HOST"],
    ["WORKSPACE_UNAVAILABLE", {}, {}, {}, "The workspace is set by the profile DEFAULT of ~/.databrickscfg"],
    [
      "WORKSPACE_UNAVAILABLE",
      { profile: "dev" },
      web,
      {},
      "The workspace is set by the profile dev of ~/.databrickscfg",
    ],
    ["WORKSPACE_UNAVAILABLE", { workspace }, web, {}, ""],
  ];
  for (const [code, options, env, dotenv, told] of cases) {
    assert.equal(setBy(code, originsOf(options, env, dotenv)), told);
  }
});

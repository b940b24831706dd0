import assert from "node:assert/strict";
import { originsOf } from "../../src/settings/origins.ts";
import type { ConnectOptions } from "../../src/settings/options.ts";

type Env = Record<string, string>;

Deno.test("originsOf() says where each value came from: options, then the environment, then .env", () => {
  const cases: [ConnectOptions, Env, Env, string[]][] = [
    [{}, {}, {}, []],
    [{ host: "h" }, { PGHOST: "e" }, { PGHOST: "f" }, ["host = h from option"]],
    [{}, { PGHOST: "e" }, { PGHOST: "f" }, ["host = e from PGHOST"]],
    [{}, { PGHOST: "" }, { PGHOST: "f" }, ["host = f from PGHOST in .env"]],
    [{ max: 3, readOnly: true }, {}, {}, ["max = 3 from option", "readOnly = true from option"]],
    [{}, { DATABRICKS_CLIENT_ID: "id" }, {}, ["user = id from DATABRICKS_CLIENT_ID"]],
    [{}, { DATABRICKS_HOST: "https://w", HOME: "/" }, {}, ["DATABRICKS_HOST = https://w from DATABRICKS_HOST"]],
    [{}, { DATABRICKS_NEW: "v" }, {}, ["DATABRICKS_NEW = set, not shown from DATABRICKS_NEW"]],
    [{ tokenTtl: 300 }, {}, {}, ["tokenTtl = 300 from option"]],
    [{ ca: "-----BEGIN CERTIFICATE-----\n" }, {}, {}, ["ca = PEM text from option"]],
  ];
  for (const [options, env, dotenv, expected] of cases) {
    const found = originsOf(options, env, dotenv).map(({ setting, value, from }) =>
      `${setting} = ${value} from ${from}`
    );
    assert.deepEqual(found, expected);
  }
});

Deno.test("originsOf() shows no secret", () => {
  const secrets = {
    PGPASSWORD: "s3cret",
    DATABRICKS_TOKEN: "s3cret",
    DATABRICKS_CLIENT_SECRET: "s3cret",
    ARM_CLIENT_SECRET: "s3cret",
    GOOGLE_CREDENTIALS: "s3cret",
    DATABRICKS_BEARER: "s3cret",
    DATABRICKS_PAT: "s3cret",
    DATABRICKS_HOST: "https://token:s3cret@w",
    PGDATABASE: "postgres://app:s3cret@h/db",
  };
  for (const found of [originsOf({}, secrets, {}), originsOf({ password: "s3cret" }, {}, secrets)]) {
    assert.ok(found.length >= 9);
    assert.doesNotMatch(JSON.stringify(found), /s3cret/);
  }
  assert.equal(originsOf({ password: () => "s3cret" }, {}, {})[0]?.value, "a function");
});

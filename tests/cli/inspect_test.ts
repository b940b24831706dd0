import assert from "node:assert/strict";
import { denoDir } from "../support/files.ts";
import { cliTest, lakebase } from "./support.ts";

cliTest("lakebase doctor runs each step, and exits with 0 if all work", async ({ run }) => {
  const { code, stdout, stderr } = await run(["doctor"]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^ok {6}deno .*\n(ok .*\n){11}\(everything works\)\n$/);
  const report = JSON.parse((await run(["doctor", "--format", "json"])).stdout);
  assert.equal(report.length, 12);
  assert.match(report[11].detail, /^"Serverless Starter Warehouse" \([0-9a-f]{16}\), RUNNING, SELECT 1 is 1$/);
});

cliTest("lakebase doctor tries the SQL warehouse of the settings, and does not start it", async ({ run, local }) => {
  const before = local.requests.length;
  local.faults.warehouse.stop();
  const stopped = await run(["doctor"]);
  assert.match(stopped.stdout, /^ok {6}warehouse .*, STOPPED: a statement waits until it is running$/m);
  const unknown = await run(["doctor"], { env: { DATABRICKS_WAREHOUSE_ID: "none" } });
  assert.equal(unknown.code, 1);
  assert.match(unknown.stdout, /^ok {6}clock .*\nfailed {2}warehouse .*"none"/m);
  const unnamed = await run(["doctor"], { env: { DATABRICKS_WAREHOUSE_ID: "" } });
  assert.doesNotMatch(unnamed.stdout, /warehouse/);
  const paths = local.requests.slice(before).map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(paths.filter((path) => /start|statements/.test(path)), []);
});

cliTest("lakebase doctor prints the failure, and exits with 1", async ({ run, local }) => {
  local.faults.certificate = "expired";
  const { code, stdout, stderr } = await run(["doctor"]);
  assert.equal(code, 1);
  assert.match(stdout, /^failed {2}tls .*it expired on/m);
  assert.match(stdout, /^skipped login {2}.* tls failed$/m);
  assert.equal(`${stdout}${stderr}`.match(/it expired on/g)?.length, 1);
  assert.equal(stderr, "lakebase: failed at tls\n");
});

Deno.test("lakebase doctor explains a setting that can't be used", async () => {
  const { code, stdout } = await lakebase(["doctor"], { env: { PGPORT: "none" } });
  assert.equal(code, 1);
  assert.match(stdout, /^failed {2}settings .*PGPORT is "none"/);
});

Deno.test("lakebase doctor uses the terms of the shell, in its table and in JSON", async () => {
  const home = await Deno.makeTempDir();
  for (const format of ["table", "json"]) {
    const { code, stdout } = await lakebase(["doctor", "--format", format], {
      env: { HOME: home, DENO_DIR: denoDir() },
    });
    assert.equal(code, 1);
    assert.match(stdout, /to try without a workspace, --local/);
    assert.doesNotMatch(stdout, /connect\(/);
  }
  await Deno.remove(home, { recursive: true });
});

cliTest("lakebase tables lists tables and views", async ({ run }) => {
  await run(["query", "CREATE TABLE IF NOT EXISTS stations (id int); CREATE TABLE IF NOT EXISTS docks (id int)"]);
  const table = await run(["tables"]);
  assert.match(table.stdout, /public \| docks .*\n.*public \| stations /);
  const json = await run(["tables", "stat*", "--format", "json"]);
  assert.deepEqual(
    JSON.parse(json.stdout).map(({ schema, name, size }: Record<string, unknown>) => [schema, name, typeof size]),
    [
      ["public", "stations", "number"],
    ],
  );
  assert.equal((await run(["tables", "nope", "--format", "csv"])).stdout, "schema,name,kind,rows,size,comment\n");
  assert.equal((await run(["tables", "a.b.c"])).code, 2);
});

import assert from "node:assert/strict";
import type { LocalLakebase } from "../src/local/mod.ts";
import { inTime } from "./support/eventually.ts";
import { localTests } from "./support/lakebase.ts";
import { LOCKED } from "./support/files.ts";

const test = localTests();
const SCRIPT = new URL("./support/pull_script.ts", import.meta.url).href;

/** The flags that docs/shell.md names for a script that pulls. */
function flagsFor({ env }: LocalLakebase, folder: string): Record<string, string> {
  return {
    net: `--allow-net=${new URL(env["DATABRICKS_HOST"]!).host},${env["PGHOST"]}:${env["PGPORT"]}`,
    env: "--allow-env",
    read: `--allow-read=.,${folder},${env["PGSSLROOTCERT"]}`,
    write: `--allow-write=${folder}`,
  };
}

async function run(local: LocalLakebase, folder: string, file: string, flags: string[]) {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", ...LOCKED, ...flags, SCRIPT, `${folder}/${file}`],
    env: local.env,
  }).output();
  return { success, output: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

test("(slow) a pull needs the two hosts, the environment, and the folder that it writes to", async ({ local }) => {
  const folder = await Deno.makeTempDir();
  const flags = flagsFor(local, folder);
  for (const file of ["out.csv", "out.csv.gz", "out.ndjson", "out.arrow", "out.parquet"]) {
    const { success, output } = await run(local, folder, file, Object.values(flags));
    assert.ok(success, output);
    assert.match(output, /^1000 PostgreSQL/);
    assert.ok((await Deno.stat(`${folder}/${file}`)).size > 0);
  }
  for (const missing of Object.keys(flags)) {
    const rest = Object.entries(flags).filter(([name]) => name !== missing).map(([, flag]) => flag);
    const { success, output } = await run(local, folder, "never.csv", rest);
    assert.ok(!success, `the pull succeeded without ${missing}`);
    assert.match(output, new RegExp(`--allow-${missing}|${missing} access|permission`, "i"));
  }
  await Deno.remove(folder, { recursive: true });
});

test("the doctor connects by the host's name, like connect(), if a program may reach named hosts only", async ({ local }) => {
  const { net, env, read } = flagsFor(local, "/tmp");
  const code = `import { check } from "${new URL("../mod.ts", import.meta.url)}";
    for (const { step, outcome, detail } of await check({ connectTimeout: 600 })) console.log(step, outcome, detail);`;
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(script, code);
  const running = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", ...LOCKED, net!, env!, read!, script],
    env: local.env,
  }).output();
  // No time limit of a step keeps the program from ending.
  const { stdout, stderr } = await inTime("the end of the program", running);
  await Deno.remove(script);
  const output = new TextDecoder().decode(stdout);
  assert.match(output, /^dns skipped Deno looks it up/m, new TextDecoder().decode(stderr));
  assert.match(output, /^tcp ok 127\.0\.0\.1:\d+ answers$/m);
  assert.match(output, /^query ok /m);
});

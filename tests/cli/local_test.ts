import assert from "node:assert/strict";
import { command, lakebase } from "./support.ts";

Deno.test("(slow) lakebase local prints the variables that connect to it, stops on SIGTERM and leaves nothing behind", async () => {
  const passwords = await Deno.makeTempFile({ prefix: "lakebase-cli-" });
  await Deno.writeTextFile(passwords, "# native logins\n\napp=a=b\r\n");
  const server = command(["local", "--user", "o'neil@example.com", "--passwords", passwords]).spawn();
  const env: Record<string, string> = {};
  for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
    for (const line of text.split("\n").filter((line) => line !== "")) {
      const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? assert.fail(line);
      env[name!] = value!.replaceAll(`'\\''`, "\0").replaceAll("'", "").replaceAll("\0", "'");
    }
    break;
  }
  assert.equal(env["PGUSER"], "o'neil@example.com");
  const { code, stdout, stderr } = await lakebase(["version"], { env });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^PostgreSQL \d+/);
  const native = await lakebase(["version"], { env: { ...env, PGUSER: "app", PGPASSWORD: "a=b" } });
  assert.equal(native.stdout, stdout, native.stderr);
  server.kill("SIGTERM");
  assert.equal((await server.status).code, 0);
  await server.stderr.cancel();
  await assert.rejects(Deno.stat(env["PGSSLROOTCERT"]!), Deno.errors.NotFound);
  await Deno.remove(passwords);
});

Deno.test("(slow) --local starts a Lakebase for one command, and --data-dir keeps its data", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-cli-" });
  try {
    const args = ["query", "--format", "csv", "--data-dir", `${folder}/data`];
    const made = await lakebase([...args, "CREATE TABLE kept AS SELECT 1 AS one"]);
    assert.deepEqual([made.code, made.stderr], [0, ""]);
    assert.equal((await lakebase([...args, "TABLE kept"])).stdout, "one\n1\n");
    const empty = await lakebase(["query", "--local", "TABLE kept"]);
    assert.equal(empty.code, 1);
    assert.match(empty.stderr, /relation "kept" does not exist/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

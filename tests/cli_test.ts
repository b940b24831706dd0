import assert from "node:assert/strict";

const CLI = decodeURIComponent(new URL("../src/cli.ts", import.meta.url).pathname);
const CONFIG = decodeURIComponent(new URL("../deno.json", import.meta.url).pathname);

function lakebase(args: string[], env: Record<string, string> = {}): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `--config=${CONFIG}`, CLI, ...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function outcome(args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await lakebase(args, env).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("lakebase --help shows commands and examples", async () => {
  const { code, stdout } = await outcome(["--help"]);
  assert.equal(code, 0);
  assert.match(stdout, /lakebase version.*lakebase local.*Examples/s);
});

Deno.test("lakebase refuses what it does not know, with exit code 2", async () => {
  for (
    const args of [
      ["locl"],
      ["local", "--port", "1"],
      ["local", "--postgres-port", "x"],
      ["local", "--password", "x"],
      ["constructor"],
      [],
    ]
  ) {
    const { code } = await outcome(args);
    assert.equal(code, 2, args.join(" "));
  }
});

Deno.test("lakebase local prints an environment that leads to it, stops on SIGTERM and leaves nothing behind", async () => {
  const server = lakebase(["local", "--user", "o'neil@example.com", "--password", "app=a=b"]).spawn();
  const env: Record<string, string> = {};
  for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
    for (const line of text.split("\n").filter((line) => line !== "")) {
      const [, name, value] = /^export (\w+)=(.*)$/.exec(line) ?? assert.fail(line);
      env[name!] = value!.replaceAll(`'\\''`, "\0").replaceAll("'", "").replaceAll("\0", "'");
    }
    break;
  }
  assert.equal(env["PGUSER"], "o'neil@example.com");
  const { code, stdout, stderr } = await outcome(["version"], env);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^PostgreSQL \d+/);
  const native = await outcome(["version"], { ...env, PGUSER: "app", PGPASSWORD: "a=b" });
  assert.equal(native.stdout, stdout, native.stderr);
  server.kill("SIGTERM");
  assert.equal((await server.status).code, 0);
  await server.stderr.cancel();
  await assert.rejects(Deno.stat(env["PGSSLROOTCERT"]!), Deno.errors.NotFound);
});

import assert from "node:assert/strict";
import { requires } from "../support/requirements.ts";
import { type CliTest, cliTest, command, lakebase, PROGRAM } from "./support.ts";

/** Waits until a statement holds this lock, or doesn't. */
async function untilHeld({ run }: CliTest, lock: number, held: boolean): Promise<void> {
  const sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $lock";
  for (let tries = 0; tries < 50; tries++) {
    const { stdout } = await run(["query", "--format", "csv", "--no-header", sql, "-p", `lock=${lock}`]);
    if (stdout === (held ? "1\n" : "0\n")) return;
  }
  assert.fail(`the lock is ${held ? "not held" : "still held"}`);
}

for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  cliTest(`${signal} cancels the query on the server, leaves no file and exits with ${expected}`, async (test) => {
    const child = test.spawn([
      "query",
      `SELECT 1; SELECT pg_advisory_lock(${expected}), pg_sleep(60)`,
      "--output",
      "rows.txt",
    ]);
    const output = child.output();
    await untilHeld(test, expected, true);
    child.kill(signal);
    const stopped = performance.now();
    const { code, stdout, stderr } = await output;
    assert.ok(performance.now() - stopped < 4000);
    assert.equal(code, expected);
    assert.deepEqual([new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)], [
      "",
      "lakebase: [CANCELED] Canceled\n",
    ]);
    await untilHeld(test, expected, false);
    assert.deepEqual([...Deno.readDirSync(test.folder)], []);
  });
}

cliTest("a reader that stops reading ends it quietly, as it does other programs", async ({ spawn }) => {
  const child = spawn([
    "query",
    "--format",
    "csv",
    "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) AS n",
  ]);
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.ok(new TextDecoder().decode(value).startsWith("n,repeat\n"));
  await reader.cancel();
  const [stderr, { code }] = await Promise.all([new Response(child.stderr).text(), child.status]);
  assert.deepEqual([code, stderr], [141, ""]);
});

cliTest("a reader that does not read does not keep Stop waiting", async ({ spawn }) => {
  const child = spawn([
    "query",
    "--format",
    "csv",
    "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) AS n",
  ]);
  const reader = child.stdout.getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 500)); // the pipe is full by then
  child.kill("SIGINT");
  const stopped = performance.now();
  assert.equal((await child.status).code, 130);
  assert.ok(performance.now() - stopped < 4000);
  await reader.cancel();
  await child.stderr.cancel();
});

Deno.test("Stop ends the wait for a server that does not answer", async () => {
  using silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = silent.addr as Deno.NetAddr;
  const child = command(["query", "SELECT 1", "--host", "127.0.0.1", "--port", `${port}`, "--user", "app"], {
    env: { PGPASSWORD: "secret" },
  }).spawn();
  const output = child.output();
  using _held = await silent.accept();
  child.kill("SIGINT");
  const stopped = performance.now();
  const { code, stderr } = await output;
  assert.deepEqual([code, new TextDecoder().decode(stderr)], [130, "lakebase: [CANCELED] Canceled\n"]);
  assert.ok(performance.now() - stopped < 4000);
});

function scriptMissing(): string | undefined {
  const found = Deno.build.os === "linux" &&
    new Deno.Command("sh", { args: ["-c", "command -v script"], stdout: "null" })
      .outputSync().success;
  return found ? undefined : "no script of util-linux, which makes a terminal";
}

/** What a terminal gets of a command. */
async function onTerminal(words: string[], env: Record<string, string>): Promise<{ code: number; shown: string }> {
  const line = [...PROGRAM, ...words].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  const { code, stdout } = await new Deno.Command("script", {
    args: ["-qec", line, "/dev/null"],
    env: { NO_COLOR: "", ...env },
    stdin: "null",
  }).output();
  return { code, shown: new TextDecoder().decode(stdout) };
}

const { ignore } = requires("", scriptMissing);
cliTest("on a terminal NULL is dimmed, unless NO_COLOR is set", async ({ local }) => {
  if (ignore) return;
  const words = ["query", "--no-header", "SELECT NULL AS a, 'NULL' AS b"];
  assert.equal((await onTerminal(words, local.env)).shown, " \x1b[2mNULL\x1b[22m | NULL\r\n");
  assert.equal((await onTerminal(words, { ...local.env, NO_COLOR: "1" })).shown, " NULL | NULL\r\n");
});

Deno.test("without SQL on a terminal it says what to do, and does not wait", async () => {
  if (ignore) return;
  const { code, shown } = await onTerminal(["query"], {});
  assert.equal(code, 2);
  assert.match(shown, /there is no SQL; put it in the command line/);
  assert.equal((await lakebase(["query"])).code, 2);
});

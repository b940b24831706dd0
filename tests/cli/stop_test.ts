import assert from "node:assert/strict";
import { eventually, inTime } from "../support/eventually.ts";
import { requires } from "../support/requirements.ts";
import { type CliTest, cliTest, command, lakebase, PROGRAM } from "./support.ts";

/** Waits until a statement holds this lock, or does not hold it. */
async function untilHeld({ run }: CliTest, lock: number, held: boolean): Promise<void> {
  const sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $lock";
  await eventually(`the lock is ${held ? "held" : "released"}`, async () => {
    const { stdout } = await run(["query", "--format", "csv", "--no-header", sql, "-p", `lock=${lock}`]);
    return stdout === (held ? "1\n" : "0\n");
  });
}

for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  cliTest(
    `${
      signal === "SIGINT" ? "" : "(slow) "
    }${signal} cancels the query on the server, leaves no file and exits with ${expected}`,
    async (test) => {
      const child = test.spawn([
        "query",
        `SELECT 1; SELECT pg_advisory_lock(${expected}), pg_sleep(60)`,
        "--output",
        "rows.txt",
      ]);
      const output = child.output();
      await untilHeld(test, expected, true);
      child.kill(signal);
      const { code, stdout, stderr } = await inTime("the end of the program", output);
      assert.equal(code, expected);
      assert.deepEqual([new TextDecoder().decode(stdout), new TextDecoder().decode(stderr)], [
        "",
        "lakebase: [CANCELED] Canceled\n",
      ]);
      await untilHeld(test, expected, false);
      assert.deepEqual([...Deno.readDirSync(test.folder)], []);
    },
  );
}

cliTest("a reader that closes the output ends the command quietly, like other programs", async ({ spawn }) => {
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

/** Waits until a program has filled a pipe that no one reads. No event shows this; an earlier signal must also end it. */
function pipeFilled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 500));
}

cliTest("(slow) Stop does not wait for a reader that has stopped reading", async ({ spawn }) => {
  const child = spawn([
    "query",
    "--format",
    "csv",
    "SELECT n, repeat('x', 1000) FROM generate_series(1, 10000000) AS n",
  ]);
  const reader = child.stdout.getReader();
  await reader.read();
  await pipeFilled();
  child.kill("SIGINT");
  assert.equal((await inTime("the end of the program", child.status)).code, 130);
  await reader.cancel();
  await child.stderr.cancel();
});

const ENDLESS = ["--sql", "SELECT generate_series(1, 100000000), repeat('x', 1000)", "--format", "csv"];

/** A way in which a pull ends although nobody reads its output. */
interface End {
  /** Further arguments of the command. */
  args?: string[];
  /** The signals that the command gets. */
  signals?: Deno.Signal[];
  /** The exit code. */
  code: number;
}

const ENDS: Readonly<Record<string, End>> = {
  "--timeout": { args: ["--timeout", "5"], code: 1 }, // in which also a busy machine writes the first rows
  "Ctrl-C": { signals: ["SIGINT"], code: 130 },
  "SIGTERM": { signals: ["SIGTERM"], code: 143 },
  "Ctrl-C twice": { signals: ["SIGINT", "SIGINT"], code: 130 },
};

for (const [cause, { args = [], signals = [], code }] of Object.entries(ENDS)) {
  cliTest(`(slow) ${cause} ends a pull to standard output that no one reads`, async ({ spawn }) => {
    const child = spawn(["pull", ...ENDLESS, "-", ...args]);
    const stderr = new Response(child.stderr).text();
    const reader = child.stdout.getReader();
    assert.equal((await reader.read()).done, false);
    await pipeFilled();
    for (const signal of signals) child.kill(signal);
    assert.equal((await inTime("the end of the program", child.status)).code, code);
    if (signals.length < 2) assert.match(await stderr, /^lakebase: \[CANCELED\] Canceled/);
    await reader.cancel();
    await stderr;
  });
}

function namedPipesMissing(): string | undefined {
  return Deno.build.os === "windows" ? "Windows has no named pipes in its file system" : undefined;
}

async function endsWhileAPipeWaits(test: CliTest): Promise<void> {
  const [unread, held] = [`${test.folder}/unread`, `${test.folder}/held`];
  assert.ok((await new Deno.Command("mkfifo", { args: [unread, held] }).output()).success);
  using _reader = await Deno.open(held, { read: true, write: true }); // it never reads
  const rows = ["query", "--format", "csv", ENDLESS[1]!, "--output"];
  const cases: [args: string[], signal: Deno.Signal | undefined, code: number][] = [
    [["pull", ...ENDLESS, unread, "--timeout", "1"], undefined, 1],
    [["pull", ...ENDLESS, held, "--timeout", "1"], undefined, 1],
    [["pull", ...ENDLESS, unread], "SIGINT", 130],
    [["pull", ...ENDLESS, held], "SIGTERM", 143],
    [[...rows, unread], "SIGINT", 130],
    [[...rows, held], "SIGINT", 130],
  ];
  for (const [args, signal, code] of cases) {
    const before = test.local.logins.length;
    const child = test.spawn(args);
    const output = child.output();
    // Nothing shows that the command waits, but it waits soon after this.
    await eventually(
      "the command has logged in",
      () => test.local.logins.slice(before).some(({ outcome }) => outcome === "ok"),
    );
    if (signal !== undefined) child.kill(signal);
    const { code: ended, stderr } = await inTime(`the end of ${args.join(" ")}`, output);
    assert.equal(ended, code, args.join(" "));
    assert.match(new TextDecoder().decode(stderr), /^lakebase: \[CANCELED\] Canceled/);
  }
  assert.deepEqual([...Deno.readDirSync(test.folder)].map(({ name }) => name).sort(), ["held", "unread"]);
}

cliTest(
  "(slow) a command that waits for the reader of a pipe ends by --timeout or by a signal",
  endsWhileAPipeWaits,
  namedPipesMissing,
);

cliTest("(slow) standard output that is closed from the start ends a command quietly", async ({ local, folder }) => {
  for (const words of ["query 'SELECT 1'", `pull --sql 'SELECT 1' - --format csv --quiet`]) {
    const line = `${PROGRAM.map((word) => `'${word}'`).join(" ")} ${words} >&-`;
    const { code, stderr } = await new Deno.Command("sh", { args: ["-c", line], env: local.env, cwd: folder }).output();
    assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""], words);
  }
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
  const { code, stderr } = await inTime("the end of the program", output);
  assert.deepEqual([code, new TextDecoder().decode(stderr)], [130, "lakebase: [CANCELED] Canceled\n"]);
});

function scriptMissing(): string | undefined {
  const found = Deno.build.os === "linux" &&
    new Deno.Command("sh", { args: ["-c", "command -v script"], stdout: "null" })
      .outputSync().success;
  return found ? undefined : "no script of util-linux, which makes a terminal";
}

/** The output of a command to a terminal. */
async function onTerminal(args: string[], env: Record<string, string>): Promise<{ code: number; shown: string }> {
  const line = [...PROGRAM, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  const { code, stdout } = await new Deno.Command("script", {
    args: ["-qec", line, "/dev/null"],
    env: { NO_COLOR: "", ...env },
    stdin: "null",
  }).output();
  return { code, shown: new TextDecoder().decode(stdout) };
}

async function dimsNull({ local }: CliTest): Promise<void> {
  const args = ["query", "--no-header", "SELECT NULL AS a, 'NULL' AS b"];
  assert.equal((await onTerminal(args, local.env)).shown, " \x1b[2mNULL\x1b[22m | NULL\r\n");
  assert.equal((await onTerminal(args, { ...local.env, NO_COLOR: "1" })).shown, " NULL | NULL\r\n");
}

cliTest("(slow) on a terminal NULL is dimmed, unless NO_COLOR is set", dimsNull, scriptMissing);

Deno.test({
  ...requires("on a terminal, a command without SQL prints what to do and does not wait for input", scriptMissing),
  fn: async () => {
    const { code, shown } = await onTerminal(["query"], {});
    assert.equal(code, 2);
    assert.match(shown, /there is no SQL; put it in the command line/);
    assert.equal((await lakebase(["query"])).code, 2);
  },
});

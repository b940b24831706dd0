import assert from "node:assert/strict";
import { cliTest, lakebase, type Outcome } from "./support.ts";

cliTest(
  "(slow) the program behaves the same in a new process as in the shared one",
  async ({ run, runAlone }) => {
    const cases: [args: string[], stdin?: string][] = [
      [["query", "--help"]],
      [["locl"]],
      [["query", "SELECT NULL AS a, 1.50 AS b"]],
      [["query", "--format", "csv", "-p", "a=1"], "SELECT $a AS a; DO $$ BEGIN RAISE NOTICE 'said'; END $$"],
      [["query", "SELECT nope"]],
      [["query", "SELECT 1", "--port", "1", "--connect-timeout", "5"]],
      [["pull", "--sql", "SELECT 'é' AS a", "-", "--format", "csv"]],
      [["pull", "nowhere", "rows.csv"]],
      [["load", "nowhere", "-", "--format", "csv"], "id\n1\n"],
      [["tables", "--format", "json"]],
      [["version"]],
    ];
    const untimed = (outcome: Outcome) => JSON.stringify(outcome).replace(/[\d.]+ (ms|s|B\/s|rows\/s)\b/g, "");
    for (const [args, stdin] of cases) {
      const options = stdin === undefined ? {} : { stdin };
      assert.equal(untimed(await runAlone(args, options)), untimed(await run(args, options)), args.join(" "));
    }
  },
);

Deno.test("lakebase --help and the help of each command show examples", async () => {
  const { code, stdout, stderr } = await lakebase(["--help"]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /version.*query.*pull.*load.*tables.*local.*Exit codes.*Examples/s);
  const commands = [...stdout.matchAll(/^ {2}(\w+) .*$/gm)].map(([, name]) => name!).filter((name) => name !== "help");
  assert.ok(commands.length >= 6);
  for (
    const args of commands.filter((name) => name !== "lakebase").flatMap((name) => [[name, "--help"], ["help", name]])
  ) {
    const help = await lakebase(args);
    assert.deepEqual([help.code, help.stderr], [0, ""], args.join(" "));
    assert.match(help.stdout, /^Usage: lakebase .*Examples:\n {2}(.+\| )?lakebase /s, args.join(" "));
    assert.ok(help.stdout.split("\n").every((line) => line.length <= 130), help.stdout);
  }
});

Deno.test("lakebase --version prints the version of the command", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assert.deepEqual(await lakebase(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
});

Deno.test("lakebase refuses unknown commands and options with exit code 2 and a suggestion", async () => {
  const cases: [args: string[], message: RegExp][] = [
    [["locl"], /unknown command 'locl'\n\(Did you mean local\?\)\nSee lakebase --help/],
    [["qurey", "SELECT 1"], /Did you mean query\?/],
    [["local", "--post-gres-port", "1"], /unknown option.*Did you mean --postgres-port\?.*See lakebase local --help/s],
    [["local", "--postgres-port", "x"], /whole number from 0 to 65535/],
    [["local", "--postgres-port", "65536"], /whole number from 0 to 65535/],
    [["local", "--password", "app=x"], /unknown option '--password'/],
    [["local", "--database", "postgres://u:hunter2@h/db"], /LAKEBASE_LOCAL_DATABASE/],
    [["local", "--passwords", "/no/such/file"], /passwords of "\/no\/such\/file"/],
    [["constructor"], /unknown command/],
    [["version", "extra"], /too many arguments/],
    [["--unknown"], /unknown option/],
    [[], /Usage: lakebase/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await lakebase(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
  }
});

/** Replaces the program, and records how a shell called it: its arguments and its standard input. */
const STAND_IN = `#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done > "$0.args"
[ -t 0 ] || cat > "$0.stdin"
`;

cliTest("(slow) the examples that --help shows for this machine work", async ({ folder, run, runAlone }) => {
  await Deno.writeTextFile(`${folder}/lakebase`, STAND_IN, { mode: 0o755 });
  const examples: string[] = [];
  for (const name of ["version", "query", "pull", "load", "tables"]) {
    const { stdout } = await lakebase([name, "--help"]);
    const lines = stdout.slice(stdout.indexOf("Examples:")).split("\n").map((line) => line.trim());
    examples.push(...lines.filter((line) => line.includes(" --local ") || line.endsWith(" --local")));
  }
  assert.ok(examples.length >= 7, examples.join("\n"));
  for (const [at, example] of examples.entries()) {
    const path = `${folder}:${Deno.env.get("PATH")}`;
    await new Deno.Command("sh", { args: ["-c", example], cwd: folder, env: { PATH: path } }).output();
    const args = (await Deno.readTextFile(`${folder}/lakebase.args`)).split("\0").slice(0, -1);
    const stdin = await Deno.readTextFile(`${folder}/lakebase.stdin`);
    // One example runs as it is written. For the others there is a local Lakebase.
    const { code, stdout, stderr } = at === 0
      ? await runAlone(args, { stdin })
      : await run(args.filter((word) => word !== "--local"), { stdin });
    assert.equal(code, 0, `${example}\n${stderr}`);
    assert.ok(stdout.length > 0 || example.includes("--output"), example);
  }
  assert.equal((await Deno.readTextFile(`${folder}/squares.csv`)).split("\n").length, 1002);
});

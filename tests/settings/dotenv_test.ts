import assert from "node:assert/strict";
import { parseEnv } from "node:util";
import { canonicalDotenv, readDotenv } from "../../src/settings/dotenv.ts";

const CASES: [text: string, values: Record<string, string>][] = [
  ["A=1\nB=2", { A: "1", B: "2" }],
  ["A=x\r\nB=y\r\n", { A: "x", B: "y" }],
  ["export A=1", { A: "1" }],
  ["export\tA=1", { A: "1" }],
  ["  A = 1 ", { A: "1" }],
  ["A=", { A: "" }],
  ["A=''", { A: "" }],
  ["A='x y'", { A: "x y" }],
  ['A="x y"', { A: "x y" }],
  ["A='a#b' # c", { A: "a#b" }],
  ['A="a#b"#c', { A: "a#b" }],
  ["A=a#b", { A: "a" }],
  ["# c\nA=1", { A: "1" }],
  ['A="a\\nb"', { A: "a\nb" }],
  ["A='a\\nb'", { A: "a\\nb" }],
  ['A="l1\nl2 # x\nl3"\nB=2', { A: "l1\nl2 # x\nl3", B: "2" }],
  ["A='\n-----BEGIN\nx=\n'\nB=1", { A: "-----BEGIN\nx=", B: "1" }],
  ["A=pa$$w0rd", { A: "pa$$w0rd" }],
  ["A=${B}\nB=1", { A: "${B}", B: "1" }],
  ["A=`x`", { A: "`x`" }],
  ["A=it's", { A: "it's" }],
  [`A='say "hi"'`, { A: 'say "hi"' }],
  ["A=x=y=z", { A: "x=y=z" }],
  ["A=1\nA=2", { A: "2" }],
  ["\ufeffA=1", { A: "1" }],
  ["A.B=1\n1A=2\n=3\nA: 4\nA", {}],
  ['A="unclosed\nB=1', { A: '"unclosed', B: "1" }],
  ["A='unclosed", { A: "'unclosed" }],
];

Deno.test("canonicalDotenv() makes Node's parseEnv read a file as the table says", () => {
  for (const [text, values] of CASES) assert.deepEqual({ ...parseEnv(canonicalDotenv(text)) }, values, text);
});

Deno.test("canonicalDotenv() leaves nothing that @std/dotenv would read in its own way", () => {
  for (const [text] of CASES) {
    for (const line of canonicalDotenv(text).replaceAll(/=('[^']*'|"[^"]*")/g, "=").split("\n")) {
      assert.doesNotMatch(line, /\$|`.*`$|\\[nrt]|#|export/, text);
    }
  }
});

Deno.test("readDotenv() reads the named file and leaves the environment alone", async () => {
  const path = await Deno.makeTempFile({ suffix: ".env" });
  await Deno.writeTextFile(path, "LAKEBASE_DOTENV_TEST=it's # a comment\nexport B='x'");
  try {
    assert.deepEqual(await readDotenv(path), { LAKEBASE_DOTENV_TEST: "it's", B: "x" });
    assert.equal(Deno.env.get("LAKEBASE_DOTENV_TEST"), undefined);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("readDotenv() says which file it can't read", async () => {
  await assert.rejects(readDotenv("/no/such/.env"), { code: "BAD_SETTING", message: /envFile "\/no\/such\/.env"/ });
});

Deno.test("readDotenv() reads the file with Node's parser when JSR never answers", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const held: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) held.push(connection);
  })();
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/.env`, "A=1");
  const module = import.meta.resolve("../../src/settings/dotenv.ts");
  try {
    const { success, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", `import { readDotenv } from "${module}"; console.log(JSON.stringify(await readDotenv()));`],
      cwd: folder,
      env: {
        JSR_URL: `http://127.0.0.1:${listener.addr.port}`,
        DENO_DIR: `${folder}/cache`,
        DENO_NO_UPDATE_CHECK: "1",
      },
      signal: AbortSignal.timeout(30_000), // the limit itself is 3 s; without one this would wait for ever
    }).output();
    assert.equal(success, true);
    assert.equal(new TextDecoder().decode(stdout).trim(), '{"A":"1"}');
    assert.ok(held.length > 0, "JSR was not asked");
  } finally {
    listener.close();
    await accepting.catch(() => {});
    held.forEach((connection) => connection.close());
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { parseEnv } from "node:util";
import config from "../../deno.json" with { type: "json" };
import { canonicalDotenv, readEnvFile, scanDotenv } from "../../src/settings/environment.ts";

/** The result of reading a file; `unlike` if Node's `parseEnv` reads it differently, for the reasons at `scanDotenv`. */
const CASES: [text: string, values: Record<string, string>, unlike?: "unlike"][] = [
  ["A=1\nB=2", { A: "1", B: "2" }],
  ["A=x\r\nB=y\r\n", { A: "x", B: "y" }],
  ["export A=1", { A: "1" }],
  ["export\tA=1", { A: "1" }, "unlike"],
  ["  A = 1 ", { A: "1" }],
  ["A=", { A: "" }],
  ["A=''", { A: "" }],
  ["A='x y'", { A: "x y" }],
  ['A="x y"', { A: "x y" }],
  ["A='a#b' # c", { A: "a#b" }],
  ['A="a#b"#c', { A: "a#b" }],
  ["A=a #b", { A: "a" }],
  ["A=#b", { A: "" }],
  ["# c\nA=1", { A: "1" }],
  ['A="a\\nb"', { A: "a\nb" }],
  ['A="a\\tb"', { A: "a\tb" }, "unlike"],
  ["A='a\\nb'", { A: "a\\nb" }],
  ['A="say \\"hi\\" now"', { A: 'say "hi" now' }, "unlike"],
  ['A="say \\"hi\\" it\'s" # c\nB=1', { A: 'say "hi" it\'s', B: "1" }, "unlike"],
  ['A="C:\\dir\\"\nB="x"', { A: "C:\\dir\\", B: "x" }],
  ['A="it\'s\\\\new"', { A: "it's\\\new" }],
  ['A="l1\nl2 # x\nl3"\nB=2', { A: "l1\nl2 # x\nl3", B: "2" }],
  ["A='\n-----BEGIN\nx=\n'\nB=1", { A: "-----BEGIN\nx=", B: "1" }, "unlike"],
  ["A=pa$$w0rd", { A: "pa$$w0rd" }],
  ["A=${B}\nB=1", { A: "${B}", B: "1" }],
  ["A=`x`", { A: "`x`" }, "unlike"],
  ["A=it's", { A: "it's" }],
  [`A='say "hi"'`, { A: 'say "hi"' }],
  ["A=x=y=z", { A: "x=y=z" }],
  ["A=1\nA=2", { A: "2" }],
  ["\ufeffA=1", { A: "1" }, "unlike"],
  ["A.B=1\n1A=2\n=3\nA: 4\nA", {}, "unlike"],
  ['A="unclosed\nB=1', { A: '"unclosed', B: "1" }],
  ["A='unclosed", { A: "'unclosed" }],
];

/**
 * The files of the table that `@std/dotenv` reads differently, because it ends a value at an escaped quote and expands
 * `$name`.
 */
const UNLIKE_STD: Record<string, Record<string, string>> = {
  'A="say \\"hi\\" now"': { A: "say \\" },
  'A="say \\"hi\\" it\'s" # c\nB=1': { A: "say \\", B: "1" },
  "A=pa$$w0rd": { A: "paundefined" },
  "A=${B}\nB=1": { A: "1", B: "1" },
};

function valuesOf(text: string): Record<string, string> {
  return Object.fromEntries([...scanDotenv(text)].map(([name, { value }]) => [name, value]));
}

Deno.test("scanDotenv() reads a file as the table says, and otherwise as Node does", () => {
  for (const [text, values, unlike] of CASES) {
    assert.deepEqual(valuesOf(text), values, text);
    if (unlike === undefined) assert.deepEqual({ ...parseEnv(text) }, values, text);
    else assert.notDeepEqual({ ...parseEnv(text) }, values, text);
  }
});

Deno.test("canonicalDotenv() is read by Node as it was scanned, and has nothing that @std/dotenv reads differently", () => {
  for (const [text] of CASES) {
    const canonical = canonicalDotenv(scanDotenv(text));
    for (const [name, value] of Object.entries(parseEnv(canonical))) assert.equal(value, valuesOf(text)[name], text);
    for (const line of canonical.replaceAll(/=('[^']*'|"[^"]*")/g, "=").split("\n")) {
      assert.doesNotMatch(line, /\$|`.*`$|\\[nrt]|#|export/, text);
    }
  }
});

// JSR may be unreachable and never answer.
if (Deno.env.get("LAKEBASE_TEST_JSR") !== undefined) {
  Deno.test("@std/dotenv reads the table as it says, and what canonicalDotenv() writes as it was scanned", async () => {
    const { parse } = await import(config.imports["@std/dotenv"]);
    for (const [text, values] of CASES) {
      assert.deepEqual(parse(text), UNLIKE_STD[text] ?? values, text);
      for (const [name, value] of Object.entries(parse(canonicalDotenv(scanDotenv(text))))) {
        assert.equal(value, valuesOf(text)[name], text);
      }
    }
  });
}

Deno.test("scanDotenv() gives the line of each value, and finds ambiguous values", () => {
  const cases: [text: string, line: number, fault: RegExp | undefined][] = [
    ["A=1", 1, undefined],
    ["# x\r\n\r\nA=1", 3, undefined],
    ["B='x\ny'\nA=1", 3, undefined],
    ['A="say "hi" now"', 1, /closing quote/],
    ["A='it's'", 1, /closing quote/],
    ["A=pa#ss", 1, /"#" must be in quotes/],
    ["A='pa#ss'", 1, undefined],
  ];
  for (const [text, line, fault] of cases) {
    const assignment = scanDotenv(text).get("A")!;
    assert.equal(assignment.line, line, text);
    if (fault === undefined) assert.equal(assignment.fault, undefined, text);
    else assert.match(assignment.fault!, fault, text);
  }
});

Deno.test("scanDotenv() takes linear time", () => {
  const texts = ["A='", 'A="\\"', "A=", " \n", "export ", 'A=\\"\n', "='"].map((part) =>
    part.repeat(1_000_000 / part.length)
  );
  for (const text of texts) assert.ok(scanDotenv(text).size <= 1);
});

Deno.test("readEnvFile() reads the named file and does not change the environment", async () => {
  const path = await Deno.makeTempFile({ suffix: ".env" });
  await Deno.writeTextFile(path, "LAKEBASE_DOTENV_TEST=it's # a comment\nexport B='x'");
  try {
    assert.deepEqual(await readEnvFile(path), {
      path,
      values: new Map([["LAKEBASE_DOTENV_TEST", { value: "it's", line: 1 }], ["B", { value: "x", line: 2 }]]),
    });
    assert.equal(Deno.env.get("LAKEBASE_DOTENV_TEST"), undefined);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("readEnvFile() says which file it can't read, and why", async () => {
  const folder = await Deno.makeTempDir();
  const file = (name: string) => `${folder}/${name}`;
  await Deno.writeFile(file("nul"), new TextEncoder().encode("A=1\0"));
  await Deno.writeFile(file("utf16"), new Uint8Array([0xff, 0xfe, 65, 0, 61, 0]));
  await Deno.writeFile(file("latin1"), new Uint8Array([65, 61, 0xe9]));
  await Deno.writeFile(file("large"), new Uint8Array(10_000_000).fill(65));
  await Deno.writeTextFile(file("target"), "A=1");
  await Deno.symlink(file("target"), file("link"));
  await Deno.symlink("/dev/zero", file("endless"));
  const cases: [string, RegExp][] = [
    ["nothing", /nothing": No such file/],
    ["", /it is a folder/],
    ["nul", /NUL/],
    ["utf16", /NUL|UTF-8/],
    ["latin1", /not UTF-8/],
    ["large", /10000000 bytes; the limit is 1000000/],
    ["endless", /it is not a file/],
  ];
  try {
    for (const [name, message] of cases) {
      await assert.rejects(readEnvFile(file(name)), { code: "BAD_SETTING", message, setting: "envFile" });
    }
    assert.equal(await readEnvFile("/dev/null"), undefined);
    assert.equal((await readEnvFile(file("link")))?.values.get("A")?.value, "1");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("readEnvFile() looks for @std/dotenv once in a process, and reads with Node's parser when JSR never answers", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const held: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) held.push(connection);
  })();
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/.env`, "A=1");
  const module = import.meta.resolve("../../src/settings/environment.ts");
  const code = `import { readEnvFile } from "${module}";
    const files = [await readEnvFile()];
    const { Command } = Deno;
    Deno.Command = class extends Command { constructor() { throw new Error("a second child"); } };
    files.push(await readEnvFile());
    console.log(JSON.stringify(files.map(({ values }) => [...values])));`;
  try {
    const { success, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", code],
      cwd: folder,
      env: {
        JSR_URL: `http://127.0.0.1:${listener.addr.port}`,
        DENO_DIR: `${folder}/cache`,
        DENO_NO_UPDATE_CHECK: "1",
      },
      signal: AbortSignal.timeout(30_000), // the limit itself is 3 s; without one this would wait forever
    }).output();
    assert.equal(success, true);
    const values = [["A", { value: "1", line: 1 }]];
    assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), [values, values]);
    assert.ok(held.length > 0, "JSR was not asked");
  } finally {
    listener.close();
    await accepting.catch(() => {});
    held.forEach((connection) => connection.close());
    await Deno.remove(folder, { recursive: true });
  }
});

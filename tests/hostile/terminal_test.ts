import assert from "node:assert/strict";
import { print } from "../../src/cli/output.ts";
import { LakebaseError } from "../../src/core/errors.ts";
import { printable, printableJson } from "../../src/core/text.ts";
import { cliTest, PROGRAM } from "../cli/support.ts";

/** Commands to terminals: reset, clipboard, title, link, the same in C1, a line that is written over, hidden text. */
const COMMANDS = [
  "\x1bc",
  "\x1b]52;c;cm0gLXJmIH4=\x07",
  "\x1b]0;title\x1b\\",
  "\x1b]8;;file:///etc/passwd\x07",
  "\x9b2J",
  "\x9d52;c;eA==\x9c",
  "\rover",
  "\x1b[8m",
  "\x08\x7f",
  "\u202e",
];

/** The characters that a terminal must not get from a value. */
// deno-lint-ignore no-control-regex
const OBEYED = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/;

/** A terminal that records its input. */
function terminal(isTerminal: boolean): typeof Deno.stdout & { text: string } {
  const kept = {
    text: "",
    isTerminal: () => isTerminal,
    write(bytes: Uint8Array) {
      kept.text += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  };
  return kept as unknown as typeof Deno.stdout & { text: string };
}

Deno.test("printed text contains no terminal commands, and a file gets it unchanged", async () => {
  for (const text of COMMANDS) {
    const [screen, file] = [terminal(true), terminal(false)];
    await print(screen, `a\t${text}b\n\x1b[2mNULL\x1b[22m\n`);
    assert.doesNotMatch(screen.text.replaceAll("\x1b[2m", "").replaceAll("\x1b[22m", ""), OBEYED);
    assert.match(screen.text, /^a\t.*<U\+.*b\n/);
    await print(file, text);
    assert.equal(file.text, text);
  }
});

Deno.test("JSON escapes terminal commands, and keeps its value", () => {
  for (const text of COMMANDS) {
    const json = printableJson(`{"a": ${JSON.stringify(text)},\n "b": 1}`);
    assert.doesNotMatch(json, OBEYED);
    assert.equal(JSON.parse(json).a, text);
  }
});

Deno.test("an error and its causes contain no terminal commands", () => {
  for (const text of COMMANDS) {
    const cause = Object.assign(new Error(text, { cause: new Error(text) }), { detail: text, hint: text });
    cause.stack = `Error: ${text}\n    at ${text}`;
    const error = new LakebaseError("QUERY_FAILED", `no ${text}\nHINT: none`, { cause });
    assert.doesNotMatch(Deno.inspect(error, { depth: 9, showHidden: true }), OBEYED);
    assert.doesNotMatch(error.message, OBEYED);
    assert.match(error.message, /\nHINT: none$/);
  }
  assert.equal(printable("a\r\nb\tc"), "a\nb\tc");
});

const HOSTILE = "SELECT E'\\x1bc\\u009b2J' AS \"\x1b]0;x\x07\x9b2J\"";

cliTest("(slow) each format of lakebase query is safe on a real terminal", async ({ local: { env } }) => {
  const sh = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  for (const format of ["table", "csv", "json", "ndjson"]) {
    const words = [...PROGRAM, "query", "--format", format, HOSTILE].map(sh).join(" ");
    const args = ["-qec", words, "/dev/null"];
    const { stdout } = await new Deno.Command("script", { args, env, stdin: "null" }).output();
    const text = new TextDecoder().decode(stdout).replaceAll("\r\n", "\n");
    assert.match(text, /2J/, text);
    assert.doesNotMatch(text, OBEYED, format);
  }
});

cliTest("an error of lakebase query contains no terminal commands", async ({ runAlone }) => {
  const { code, stderr: text } = await runAlone(["query", 'SELECT * FROM "\x1bc\x9b2J\x1b]52;c;eA==\x07"']);
  assert.equal(code, 1);
  assert.match(text, /<U\+001B>c<U\+009B>2J/);
  assert.doesNotMatch(text, OBEYED);
});

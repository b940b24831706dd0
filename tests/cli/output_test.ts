import assert from "node:assert/strict";
import { errorText, exitCode, shellMessage } from "../../src/cli/output.ts";
import { LakebaseError, optionName, optionText, quotedOption } from "../../src/core/errors.ts";
import type { ConnectOptions } from "../../src/settings/options.ts";
import { resolveSettings } from "../../src/settings/settings.ts";

Deno.test("shellMessage() writes each option in the form of the shell", () => {
  const cases: [typescript: string, shell: string, marked: string][] = [
    ['{ format: "csv" }', "--format csv", optionText({ format: "csv" })],
    ["{ parallel: 2 }", "--parallel 2", optionText({ parallel: 2 })],
    ["{ create: true }", "--create", optionText({ create: true })],
    ["{ header: false }", "--no-header", optionText({ header: false })],
    ['{ types: { "a": "text" } }', "--type a=text", optionText({ types: { a: "text" } })],
    [
      '{ types: { "a b": "numeric(10, 2)", "it\'s": "text" } }',
      `--type 'a b=numeric(10, 2)' --type 'it'\\''s=text'`,
      optionText({ types: { "a b": "numeric(10, 2)", "it's": "text" } }),
    ],
    ['{ types: { "} }": "text" } }', "--type '} }=text'", optionText({ types: { "} }": "text" } })],
    [
      '{ format: "csv", delimiter: ";" }',
      "--format csv --delimiter ';'",
      optionText({ format: "csv", delimiter: ";" }),
    ],
    ['{ delimiter: "\\t" }', "--delimiter '\\t'", optionText({ delimiter: "\t" })],
    [
      '{ rowGroupSize: 5, nullText: "" }',
      "--row-group-size 5 --null ''",
      optionText({ rowGroupSize: 5, nullText: "" }),
    ],
    [
      '{ columns: ["id", "c,d", "e\\"f"] }',
      `--columns 'id,"c,d","e""f"'`,
      optionText({ columns: ["id", "c,d", 'e"f'] }),
    ],
    ["{ columns: [...] }", "--columns NAMES", optionText({ columns: [] })],
    ['{ columns: { "a": "b" } }', "--rename a=b", optionText({ columns: { a: "b" } })],
    ['{ mode: "replace" }', "--replace", optionText({ mode: "replace" })],
    ["connect({ local: true })", "--local", optionText({ local: true }, "connect({ local: true })")],
    ["envFile: false", "--no-env-file", optionText({ envFile: false }, "envFile: false")],
    ["${zone}", "$zone, with -p zone=VALUE", optionText({ param: "zone" }, "${zone}")],
    ["rowGroupSize", "--row-group-size", optionName("rowGroupSize")],
    ["header", "--no-header", optionName("header")],
    ["nullText", "--null", optionName("nullText")],
    ['"ca"', "--ca", quotedOption("ca")],
  ];
  for (const [typescript, shell, marked] of cases) {
    const error = new LakebaseError("BAD_FILE", `Cannot do it: say ${marked}, or not`);
    assert.equal(error.message, `Cannot do it: say ${typescript}, or not`);
    assert.equal(shellMessage(error), `Cannot do it: say ${shell}, or not`);
  }
});

Deno.test("shellMessage() does not change the texts of a server or a file", () => {
  const message = `column "a": { format: "csv" }\nHINT: say ${optionText({ types: { a: "text" } })}, "ca" (text)`;
  const error = new LakebaseError("QUERY_FAILED", message);
  assert.equal(shellMessage(error), 'column "a": { format: "csv" }\nHINT: say --type a=text, "ca" (text)');
});

Deno.test("shellMessage() writes the options of an error that was thrown again with its location", () => {
  const cause = new LakebaseError("QUERY_FAILED", `no table\nHINT: ${optionText({ create: true })} makes it`);
  const error = new LakebaseError("QUERY_FAILED", `SQL:2: ${cause.message}`, { cause });
  assert.equal(error.message, "SQL:2: no table\nHINT: { create: true } makes it");
  assert.equal(shellMessage(error), "SQL:2: no table\nHINT: --create makes it");
});

Deno.test("shellMessage() names the settings of connecting in the terms of the shell", () => {
  const cases: [options: ConnectOptions, typescript: string, shell: string][] = [
    [{ sslMode: "x" as "require" }, 'option "sslMode" is "x"', 'option --ssl-mode is "x"'],
    [{ port: 0 }, 'option "port" is 0', "option --port is 0"],
    [{ endpoint: "a b" }, '"endpoint" (LAKEBASE_ENDPOINT) is "a b"', '--endpoint (LAKEBASE_ENDPOINT) is "a b"'],
    [
      { endpoint: "p", instance: "i" },
      '"endpoint" (LAKEBASE_ENDPOINT) and "instance"',
      "--endpoint (LAKEBASE_ENDPOINT) and --instance",
    ],
  ];
  for (const [options, typescript, shell] of cases) {
    assert.throws(() => resolveSettings(options, new Map()), (error: LakebaseError) => {
      assert.ok(error.message.startsWith(`Cannot connect: ${typescript}`), error.message);
      assert.ok(shellMessage(error).startsWith(`Cannot connect: ${shell}`), shellMessage(error));
      return true;
    });
  }
});

Deno.test("marks of options do not keep secrets from being hidden, and marks in other texts do no harm", () => {
  const forged = new LakebaseError(
    "QUERY_FAILED",
    'a \ufdd0x\ufdd1not JSON\ufdd2 \ufdd0\ufdd0 password=\ufdd0a\ufdd1"b"\ufdd2',
  );
  assert.doesNotMatch(forged.message, /not JSON/);
  const secret = new LakebaseError("BAD_FILE", `say ${optionText({ nullText: "Bearer abcdefgh12345678" })}`);
  for (const text of [secret.message, shellMessage(secret)]) assert.doesNotMatch(text, /abcdefgh/);
});

Deno.test("exitCode() distinguishes wrong usage, failure and a closed output", () => {
  const pipe = new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
  const socket = Object.assign(new Error("write EPIPE"), { code: "EPIPE" });
  const cases: [error: unknown, code: number][] = [
    [new LakebaseError("BAD_SETTING", "x"), 2],
    [new LakebaseError("BAD_PARAMETER", "x"), 2],
    [new LakebaseError("QUERY_FAILED", "x"), 1],
    [new LakebaseError("BAD_FILE", "x"), 1],
    [new Error("x"), 1],
    ["x", 1],
    [pipe, 141],
    [new LakebaseError("BAD_FILE", "Cannot write standard output", { cause: pipe }), 141],
    [new LakebaseError("CONNECTION_LOST", "x", { cause: socket }), 1],
    [socket, 1],
  ];
  for (const [error, code] of cases) {
    assert.equal(exitCode(error), code, String(error));
    assert.equal(errorText(error, false) === "", code === 141);
  }
});

Deno.test("errorText() has the code, the shell's options, and no secret", () => {
  const text = (message: string) => errorText(new LakebaseError("BAD_PARAMETER", message), false);
  assert.equal(text("Cannot pull: x"), "lakebase: [BAD_PARAMETER] Cannot pull: x\n");
  assert.equal(text(`give ${optionText({ format: "csv" })}`), "lakebase: [BAD_PARAMETER] give --format csv\n");
  assert.doesNotMatch(errorText(new Error("at postgres://me:hunter2@host/db"), false), /hunter2/);
  assert.doesNotMatch(errorText(new Error("Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc"), true), /eyJ/);
  assert.match(errorText(new Error("x"), true), /output_test\.ts/);
});

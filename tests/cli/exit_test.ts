import assert from "node:assert/strict";
import { errorText, exitCode } from "../../src/cli/output.ts";
import { LakebaseError, optionText } from "../../src/core/errors.ts";

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
  assert.match(errorText(new Error("x"), true), /exit_test\.ts/);
});

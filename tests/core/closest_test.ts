import assert from "node:assert/strict";
import { closest } from "../../src/core/closest.ts";
import { OPTION_NAMES } from "../../src/settings/options.ts";

Deno.test("closest() finds the name for a typo, and nothing for other names", () => {
  const cases: [written: string, meant: string | undefined][] = [
    ["lcoal", "local"], // swapped
    ["prot", "port"],
    ["usre", "user"],
    ["hsot", "host"],
    ["pasword", "password"], // left out
    ["Host", "host"], // capital
    ["timeout", undefined],
    ["", undefined],
  ];
  for (const [written, meant] of cases) assert.equal(closest(written, OPTION_NAMES), meant, written);
  assert.equal(closest("mdoe", ["mode", "format"]), "mode");
  assert.equal(closest("trisp", ["strip", "trips"]), "trips");
});

import assert from "node:assert/strict";
import { channelsOf } from "../../src/local/embedded_session.ts";
import { commandLineOptions, literal, settingsScript, startupSettings } from "../../src/local/session_settings.ts";

const options: [string, [string, string][]][] = [
  ["", []],
  ["-c statement_timeout=5s", [["statement_timeout", "5s"]]],
  ["-cgeqo=off --work-mem=8MB", [["geqo", "off"], ["work_mem", "8MB"]]],
  ["-c search_path=a,\\ b -c x.y=back\\\\slash", [["search_path", "a, b"], ["x.y", "back\\slash"]]],
  ["-c", []],
  ["-c nonsense", []],
];

for (const [text, expected] of options) {
  Deno.test(`commandLineOptions() of ${JSON.stringify(text)}`, () => {
    assert.deepEqual([...commandLineOptions(text)], expected);
  });
}

Deno.test("startupSettings() leaves out other parameters, and makes a session read only", () => {
  const parameters = new Map([["application_name", "a"], ["options", "-c geqo=off"], ["_pq_.x", "1"]]);
  assert.deepEqual([...startupSettings(parameters, true)], [
    ["geqo", "off"],
    ["application_name", "a"],
    ["default_transaction_read_only", "on"],
  ]);
});

Deno.test("settingsScript() quotes names and values", () => {
  const script = settingsScript({ user: `o'\\b`, role: "none", values: new Map([["a.b", "it's"]]) });
  assert.match(script, /SET SESSION AUTHORIZATION E'o\\'\\\\b'; SET ROLE NONE/);
  assert(script.includes(literal("it's")));
});

Deno.test("channelsOf() finds the channels of LISTEN and UNLISTEN", () => {
  const sql = `LISTEN Abc; listen "A ""b"; UNLISTEN x; UNLISTEN *`;
  assert.deepEqual(channelsOf(sql, "LISTEN"), ["abc", `A "b`]);
  assert.deepEqual(channelsOf(sql, "UNLISTEN"), ["x", "*"]);
});

import assert from "node:assert/strict";
import { commandLineOptions, quoteLiteral, settingsScript, startupSettings } from "../../src/local/database.ts";
import { Turn } from "../../src/local/embedded.ts";
import { channelsOf, PreparedStatements, SessionStatements, sqlOf } from "../../src/local/embedded_session.ts";
import { cstring, type Frame, frame, messageType, query, readCString } from "../../src/local/messages.ts";

const parse = (name: string, sql = "SELECT 1") => frame("P", cstring(name), cstring(sql), new Uint8Array(2));
const bind = (name: string) => frame("B", cstring(""), cstring(name), new Uint8Array(6));
const names = (requests: Frame[]) =>
  requests.map((request) => {
    const first = readCString(request, 5);
    return messageType(request) + (messageType(request) === "B" ? readCString(request, first.next).text : first.text);
  });

function sessions(): [SessionStatements, SessionStatements] {
  const backend = new PreparedStatements();
  return [new SessionStatements(1, backend), new SessionStatements(2, backend)];
}

Deno.test("SessionStatements separates the names of two sessions, and does not change portals", () => {
  const [one, two] = sessions();
  const batch = [parse("same"), frame("D", cstring("Ssame")), bind("same"), frame("D", cstring("P")), frame("E")];
  assert.deepEqual(names(one.rewrite(batch).requests), ["Ps1.same", "DSs1.same", "Bs1.same", "DP", "E"]);
  assert.deepEqual(names(two.rewrite(batch).requests), ["Ps2.same", "DSs2.same", "Bs2.same", "DP", "E"]);
});

Deno.test("SessionStatements prepares the unnamed statement again after another session's", () => {
  const [one, two] = sessions();
  assert.deepEqual(one.rewrite([parse("", "SELECT 1")]).restore, []);
  assert.deepEqual(one.rewrite([bind("")]).restore, []);
  two.rewrite([parse("", "SELECT 2")]);
  assert.deepEqual(sqlOf(one.rewrite([bind("")]).restore), "SELECT 1");
  assert.deepEqual(one.rewrite([bind("")]).restore, []);
  two.rewrite([query("SELECT 3")]);
  assert.deepEqual(sqlOf(one.rewrite([bind("")]).restore), "SELECT 1");
  one.rewrite([query("SELECT 3")]);
  assert.deepEqual(one.rewrite([bind("")]).restore, []);
});

Deno.test("SessionStatements prepares statements again that another session's DISCARD ALL dropped", () => {
  const [one, two] = sessions();
  one.rewrite([parse("a", "SELECT 1")]);
  two.rewrite([parse("b", "SELECT 2")]);
  two.forgetAll();
  assert.deepEqual(sqlOf(one.rewrite([bind("a")]).restore), "SELECT 1");
  assert.deepEqual(two.rewrite([bind("b")]).restore, []);
});

Deno.test("SessionStatements prefixes its names in DEALLOCATE", () => {
  const [one] = sessions();
  one.rewrite([parse("_pg3_0"), parse("A b")]);
  for (
    const [sql, expected] of [
      ["DEALLOCATE _pg3_0", 'DEALLOCATE "s1._pg3_0"'],
      ['deallocate prepare "A b";', 'DEALLOCATE "s1.A b"'],
      ["DEALLOCATE other", "DEALLOCATE other"],
      ["SELECT 'DEALLOCATE x'", "SELECT 'DEALLOCATE x'"],
    ]
  ) assert.equal(sqlOf(one.rewrite([query(sql!)]).requests), expected);
});

Deno.test("SessionStatements.close() drops the session's statements", () => {
  const [one] = sessions();
  one.rewrite([parse("a"), parse("b"), parse(""), frame("C", cstring("Sa"))]);
  assert.deepEqual(names(one.close()), ["CSs1.b"]);
});

const options: [string, [string, string][]][] = [
  ["", []],
  ["-c statement_timeout=5s", [["statement_timeout", "5s"]]],
  ["-cgeqo=off --work-mem=8MB", [["geqo", "off"], ["work_mem", "8MB"]]],
  ["-c search_path=a,\\ b -c x.y=back\\\\slash", [["search_path", "a, b"], ["x.y", "back\\slash"]]],
  ["-c", []],
  ["-c nonsense", []],
];

for (const [text, expected] of options) {
  Deno.test(`commandLineOptions() reads ${JSON.stringify(text)}`, () => {
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
  assert(script.includes(quoteLiteral("it's")));
});

Deno.test("channelsOf() finds the channels of LISTEN and UNLISTEN", () => {
  const sql = `LISTEN Abc; listen "A ""b"; UNLISTEN x; UNLISTEN *`;
  assert.deepEqual(channelsOf(sql, "LISTEN"), ["abc", `A "b`]);
  assert.deepEqual(channelsOf(sql, "UNLISTEN"), ["x", "*"]);
});

Deno.test("Turn gives turns in the order of the requests", async () => {
  const turn = new Turn<string>();
  const order: string[] = [];
  await turn.take("a", 1000, undefined);
  await turn.take("a", 1000, undefined);
  const waiting = ["b", "c"].map(async (holder) => {
    await turn.take(holder, 1000, undefined);
    order.push(holder);
    turn.give(holder);
  });
  turn.give("nobody");
  assert.equal(turn.holder, "a");
  turn.give("a");
  await Promise.all(waiting);
  assert.deepEqual(order, ["b", "c"]);
  assert.equal(turn.holder, undefined);
});

Deno.test("Turn rejects a holder that waits too long or is refused", async () => {
  const turn = new Turn<string>();
  await turn.take("a", 1000, undefined);
  await assert.rejects(turn.take("b", 5, new Error("too long")), /too long/);
  const waiting = turn.take("c", 1000, undefined);
  assert.equal(turn.refuse("c", new Error("refused")), true);
  await assert.rejects(waiting, /refused/);
  assert.equal(turn.refuse("c", new Error("refused")), false);
  turn.give("a");
  assert.equal(turn.holder, undefined);
});

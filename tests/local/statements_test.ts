import assert from "node:assert/strict";
import { cstring, type Frame, frame, query, readCString, type } from "../../src/local/messages.ts";
import { PreparedStatements, SessionStatements, sqlOf } from "../../src/local/embedded_session.ts";

const parse = (name: string, sql = "SELECT 1") => frame("P", cstring(name), cstring(sql), new Uint8Array(2));
const bind = (name: string) => frame("B", cstring(""), cstring(name), new Uint8Array(6));
const names = (requests: Frame[]) =>
  requests.map((request) => {
    const first = readCString(request, 5);
    return type(request) + (type(request) === "B" ? readCString(request, first.next).text : first.text);
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
  two.dropped();
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

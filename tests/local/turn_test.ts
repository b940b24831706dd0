import assert from "node:assert/strict";
import { Turn } from "../../src/local/embedded.ts";

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

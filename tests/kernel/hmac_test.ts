import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Hmac } from "../../src/kernel/hmac.ts";
import { newSeed, randomFrom } from "../support/random.ts";

Deno.test("signatures are those of node:crypto, whatever the lengths and the parts", () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const bytes = (length: number) => new Uint8Array(length).map(() => random.below(256));
  for (let length = 0; length < 260; length++) {
    const key = "k".repeat(1 + random.below(random.one([64, 200])));
    const parts = [bytes(length), bytes(random.below(130)), bytes(0), bytes(random.below(70))];
    const wanted = parts.reduce((hmac, part) => hmac.update(part), createHmac("sha256", key)).digest("hex");
    assert.equal(new Hmac(key).sign(parts), wanted, `LAKEBASE_TEST_SEED=${seed}, length ${length}`);
  }
});

Deno.test("one key signs many times, and 20 MB in a moment", () => {
  const hmac = new Hmac("key");
  const large = new Uint8Array(20e6).fill(7);
  const wanted = createHmac("sha256", "key").update(large).digest("hex");
  const started = performance.now();
  assert.equal(hmac.sign([large]), wanted);
  assert.ok(performance.now() - started < 5000);
  assert.equal(hmac.sign([large.subarray(0, 10), large.subarray(10)]), wanted);
});

import assert from "node:assert/strict";
import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import { type Credential, CredentialCache, credentialLifetime, refreshAfter } from "../../src/auth/credential.ts";
import { LakebaseError } from "../../src/core/errors.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOW = Date.parse("2026-03-01T12:00:00Z");

Deno.test("credentialLifetime() reads the server's clock at both ends", () => {
  const known = (lifetime: number) => ({ lifetime, lifetimeKnown: true });
  const assumed = { lifetime: 60_000, lifetimeKnown: false };
  const cases: [string, Record<string, unknown>, number | undefined, object][] = [
    ["an hour", { expire_time: "2026-03-01T13:00:00Z" }, NOW, known(HOUR)],
    ["without a Date header", { expire_time: "2026-03-01T13:00:00Z" }, undefined, known(HOUR)],
    ["five minutes", { expire_time: "2026-03-01T12:05:00Z" }, NOW, known(300_000)],
    ["nanoseconds", { expire_time: "2026-03-01T12:30:00.000000000Z" }, NOW, known(HOUR / 2)],
    ["Provisioned", { expiration_time: "2026-03-01T13:00:00Z" }, NOW, known(HOUR)],
    ["a server 10 minutes ahead", { expire_time: "2026-03-01T13:10:00Z" }, NOW + 600_000, known(HOUR)],
    ["a server 10 minutes behind", { expire_time: "2026-03-01T12:50:00Z" }, NOW - 600_000, known(HOUR)],
    ["the year 9999", { expire_time: "9999-12-31T23:59:59Z" }, NOW, known(HOUR)],
    ["in the past", { expire_time: "2026-03-01T11:59:59Z" }, NOW, assumed],
    ["a second ahead", { expire_time: "2026-03-01T12:00:01Z" }, NOW, assumed],
    ["no date", { expire_time: "soon" }, NOW, assumed],
    ["a number", { expire_time: 1e12 }, NOW, assumed],
    ["missing", {}, NOW, assumed],
  ];
  for (const [name, body, serverTime, expected] of cases) {
    assert.deepEqual(credentialLifetime({ body, serverTime }, NOW), expected, name);
  }
});

/** A workspace that mints on demand, and a clock that the test moves. */
function rig(lifetime: number | (() => Partial<Credential>) = HOUR): Rig {
  const clock = install({ now: 1_800_000_000_000, toFake: ["setTimeout", "clearTimeout", "Date"] });
  const minted: number[] = [];
  const rig: Rig = {
    clock,
    minted,
    outage: undefined,
    cache: new CredentialCache(async () => {
      minted.push(Date.now());
      await Promise.resolve();
      if (rig.outage !== undefined) throw rig.outage;
      const life = typeof lifetime === "number" ? { lifetime } : lifetime();
      return { token: `token ${minted.length}`, mintedAt: Date.now(), lifetime: HOUR, lifetimeKnown: true, ...life };
    }),
    [Symbol.dispose]() {
      rig.cache.close();
      clock.uninstall();
    },
  };
  return rig;
}

interface Rig extends Disposable {
  clock: Clock;
  minted: number[];
  outage: Error | undefined;
  cache: CredentialCache;
}

const unavailable = new LakebaseError("WORKSPACE_UNAVAILABLE", "Cannot reach the workspace");
const refused = new LakebaseError("WORKSPACE_AUTH", "Cannot log in to the workspace");

Deno.test("refreshAfter() leaves 10 minutes of an hour, and a sixth of a shorter lifetime", () => {
  const cases: [number, number][] = [[HOUR, 50 * MINUTE], [30 * MINUTE, 25 * MINUTE], [5 * MINUTE, 250_000]];
  for (const [lifetime, expected] of cases) assert.equal(refreshAfter(lifetime), expected);
});

Deno.test("CredentialCache.get() mints once for 200 callers", async () => {
  using r = rig();
  const credentials = await Promise.all(Array.from({ length: 200 }, () => r.cache.get()));
  assert.equal(r.minted.length, 1);
  assert.equal(new Set(credentials).size, 1);
});

Deno.test("CredentialCache mints 24 to 30 times in 24 hours of use, and never late", async () => {
  using r = rig();
  for (let minute = 0; minute < 24 * 60; minute++) {
    const { mintedAt, lifetime } = await r.cache.get();
    assert.ok(mintedAt + lifetime > Date.now() + 9 * MINUTE, `late at minute ${minute}`);
    await r.clock.tickAsync(MINUTE);
  }
  assert.ok(r.minted.length >= 24 && r.minted.length <= 30, `${r.minted.length} mints`);
});

Deno.test("CredentialCache refreshes a credential of 5 minutes in time", async () => {
  using r = rig(5 * MINUTE);
  for (let second = 0; second < 3600; second += 10) {
    const { mintedAt, lifetime } = await r.cache.get();
    assert.ok(mintedAt + lifetime > Date.now() + 30_000);
    await r.clock.tickAsync(10_000);
  }
  assert.ok(r.minted.length >= 12 && r.minted.length <= 15, `${r.minted.length} mints`);
});

Deno.test("CredentialCache returns a valid credential while refreshing fails, and a new one when it works again", async () => {
  using r = rig();
  const first = await r.cache.get();
  r.outage = unavailable;
  await r.clock.tickAsync(55 * MINUTE);
  assert.equal(await r.cache.get(), first);
  const tries = r.minted.length - 1;
  assert.ok(tries >= 4 && tries <= 40, `${tries} tries in 5 minutes`);
  r.outage = undefined;
  await r.clock.tickAsync(2 * MINUTE);
  assert.notEqual(await r.cache.get(), first);
});

Deno.test("CredentialCache reports the failure once the credential has ended, and recovers", async () => {
  using r = rig();
  await r.cache.get();
  r.outage = unavailable;
  await r.clock.tickAsync(61 * MINUTE);
  await assert.rejects(r.cache.get(), { code: "WORKSPACE_UNAVAILABLE" });
  r.outage = undefined;
  assert.ok(await r.cache.get());
});

for (const minutes of [1, 10, 60]) {
  Deno.test(`CredentialCache survives an outage of the workspace of ${minutes} minutes while the token is valid`, async () => {
    using r = rig();
    const first = await r.cache.get();
    await r.clock.tickAsync(45 * MINUTE); // the refresh is due in 5
    r.outage = unavailable;
    for (let minute = 45; minute < 45 + minutes; minute++) {
      if (minute < 60) assert.equal(await r.cache.get(), first, `minute ${minute}`);
      else await assert.rejects(r.cache.get(), { code: "WORKSPACE_UNAVAILABLE" }, `minute ${minute}`);
      await r.clock.tickAsync(MINUTE);
    }
    r.outage = undefined;
    const back = Date.now();
    const next = await r.cache.get();
    if (minutes === 60) {
      assert.equal(next.mintedAt, back, "after the end of the credential, the first caller renews it");
    }
    await r.clock.tickAsync(6 * MINUTE);
    const renewed = await r.cache.get();
    assert.ok(renewed !== first && renewed.mintedAt >= back, "the cache renews the credential without a caller");
    const tries = r.minted.length - 2;
    assert.ok(minutes === 1 ? tries === 0 : tries > 2 && tries < 100, `${tries} tries meanwhile`);
  });
}

Deno.test("CredentialCache does not retry in the background after a refusal", async () => {
  using r = rig();
  await r.cache.get();
  r.outage = refused;
  await r.clock.tickAsync(59 * MINUTE);
  assert.equal(r.minted.length, 2);
  await r.clock.tickAsync(24 * HOUR);
  assert.equal(r.minted.length, 2);
  await assert.rejects(r.cache.get(), { code: "WORKSPACE_AUTH" });
});

Deno.test("CredentialCache never loops on an invalid expiry time", async () => {
  using r = rig(() => ({ lifetime: MINUTE, lifetimeKnown: false }));
  await r.cache.get();
  await r.clock.tickAsync(24 * HOUR);
  assert.equal(r.minted.length, 1);
  for (let n = 0; n < 100; n++) await r.cache.get();
  assert.equal(r.minted.length, 2);
});

Deno.test("CredentialCache mints after the machine slept past the end of the credential", async () => {
  using r = rig();
  const first = await r.cache.get();
  r.clock.setSystemTime(Date.now() + 8 * HOUR); // a closed laptop: no timer fired meanwhile
  assert.notEqual(await r.cache.get(), first);
});

Deno.test("CredentialCache.invalidate() drops the refused credential, not a newer one", async () => {
  using r = rig();
  const first = await r.cache.get();
  r.cache.invalidate(first);
  const second = await r.cache.get();
  assert.notEqual(second, first);
  r.cache.invalidate(first);
  assert.equal(await r.cache.get(), second);
});

Deno.test("CredentialCache lets the next caller try after a failure", async () => {
  using r = rig();
  r.outage = unavailable;
  await assert.rejects(r.cache.get());
  r.outage = undefined;
  assert.ok(await r.cache.get());
});

Deno.test("CredentialCache.close() leaves no timer and refuses further calls", async () => {
  using r = rig();
  await r.cache.get();
  r.cache.close();
  assert.equal(r.clock.countTimers(), 0);
  await assert.rejects(r.cache.get(), { code: "CLOSED" });
});

Deno.test("CredentialCache.close() ends a mint that is under way", async () => {
  const cache = new CredentialCache((signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
  );
  const waiting = cache.get();
  cache.close();
  await assert.rejects(waiting, { code: "CLOSED" });
});

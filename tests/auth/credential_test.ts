import assert from "node:assert/strict";
import { credentialLifetime } from "../../src/auth/credential.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const HOUR = 3_600_000;

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

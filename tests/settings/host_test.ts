import assert from "node:assert/strict";
import { isLoopback } from "../../src/settings/host.ts";

Deno.test("isLoopback() knows this machine's names", () => {
  const yes = ["localhost", "db.localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "LOCALHOST"];
  const no = ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "::2", "notlocalhost"];
  assert.deepEqual(yes.filter((host) => !isLoopback(host)), []);
  assert.deepEqual(no.filter(isLoopback), []);
});

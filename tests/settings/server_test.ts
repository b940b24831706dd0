import assert from "node:assert/strict";
import { isLoopback, isLoopbackAddress } from "../../src/settings/server.ts";

Deno.test("isLoopback() accepts this machine's names", () => {
  const yes = ["localhost", "db.localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "LOCALHOST"];
  const no = [
    "localhost.example.com",
    "127.0.0.1.example.com",
    "127.999.0.1",
    "127.1",
    "::ffff:10.0.0.1",
    "10.0.0.1",
    "::2",
    "notlocalhost",
  ];
  assert.deepEqual(yes.filter((host) => !isLoopback(host)), []);
  assert.deepEqual(no.filter(isLoopback), []);
});

Deno.test("isLoopbackAddress() accepts this machine's addresses", () => {
  const yes = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"];
  const no = ["127.999.0.1", "10.0.0.1", "::2", "::ffff:10.0.0.1", "localhost", "0.0.0.0", "::"];
  assert.deepEqual(yes.filter((address) => !isLoopbackAddress(address)), []);
  assert.deepEqual(no.filter(isLoopbackAddress), []);
});

import assert from "node:assert/strict";
import { LakebaseError } from "../../mod.ts";
import type { Address, HostLookup } from "../../src/net/dns.ts";
import { eventually } from "../support/eventually.ts";
import { localTests } from "../support/lakebase.ts";
import { relay } from "../support/relay.ts";
import { requires } from "../support/requirements.ts";
import { localPool } from "./local_pool.ts";

/** On PGlite only, because names and addresses do not reach a backend. */
const test = localTests({ passwords: { app: "native-secret" } });

/** Only on Linux are all addresses of 127.0.0.0/8 usable at once. */
const manyAddresses = () => Deno.build.os === "linux" ? undefined : "this system has one loopback address";

test(requires("an endpoint that moves to another address is found there", manyAddresses), async ({ local }) => {
  let found: Address | LakebaseError;
  const find: HostLookup = (_host, options, callback) => {
    if (found instanceof LakebaseError) return callback(found);
    if (typeof options === "object" && options.all) callback(null, [found]);
    else callback(null, found.address, found.family);
  };
  const first = relay({ hostname: "127.0.0.2", to: Number(local.env["PGPORT"]) });
  const pool = await localPool(local, { port: first.port, max: 2, connectTimeout: 5, find });
  const one = async () => (await pool.query("SELECT 1 AS n")).rows[0].n;
  found = { address: "127.0.0.2", family: 4 };
  assert.equal(await one(), 1);
  first[Symbol.dispose]();
  await eventually("the client knows that its connection is gone", () => pool.totalCount === 0);

  found = new LakebaseError("DNS", "Cannot find the address");
  await assert.rejects(one(), { code: "DNS" }, "a name that does not resolve is what the error says");
  found = { address: "127.0.0.3", family: 4 };
  await assert.rejects(one(), { code: "UNREACHABLE" }, "nothing is there yet");

  using _second = relay({ hostname: "127.0.0.3", to: Number(local.env["PGPORT"]), port: first.port });
  assert.equal(await one(), 1);
  await pool.end();
});

test("connecting waits for a slow resolver, but not longer than connectTimeout", async ({ local }) => {
  for (const connectTimeout of [30, 0.3]) {
    const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const find: HostLookup = (_host, options, callback) => {
      const all = typeof options === "object" && options.all;
      const found: Address = { address: "127.0.0.1", family: 4 };
      answer.promise.then(() => all ? callback(null, [found]) : callback(null, found.address, found.family));
      asked.resolve();
    };
    const pool = await localPool(local, { max: 2, connectTimeout, find });
    const asking = pool.query("SELECT 1 AS n");
    if (connectTimeout < 1) await assert.rejects(asking, { code: "CONNECT_TIMEOUT" });
    await asked.promise;
    answer.resolve();
    if (connectTimeout > 1) assert.equal((await asking).rows[0].n, 1);
    await pool.end();
  }
});

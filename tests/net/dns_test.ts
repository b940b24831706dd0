import assert from "node:assert/strict";
import { LakebaseError } from "../../mod.ts";
import { type Address, type HostLookup, lookup, parseDig, resolveHost, type Resolver } from "../../src/net/dns.ts";
import { eventually, inTime } from "../support/eventually.ts";
import { localTests } from "../support/lakebase.ts";
import { relay } from "../support/relay.ts";
import { requires } from "../support/requirements.ts";
import { localPool } from "./local_pool.ts";

Deno.test("parseDig() keeps addresses and skips CNAMEs, comments and junk", () => {
  const cases: [string, string[]][] = [
    ["203.0.113.7\n", ["203.0.113.7"]],
    ["proxy.example.com.\n203.0.113.7\n203.0.113.8\n", ["203.0.113.7", "203.0.113.8"]],
    ["203.0.113.7\n2001:db8::7\n", ["203.0.113.7", "2001:db8::7"]],
    ["203.0.113.7\r\n203.0.113.7\r\n", ["203.0.113.7"]],
    [";; communications error to 192.0.2.1#53: timed out\n203.0.113.7\n", ["203.0.113.7"]],
    [";; connection timed out; no servers could be reached\n", []],
    ["", []],
    ["999.1.1.1\n<html>\n1.2.3\n\0\n", []],
  ];
  for (const [output, expected] of cases) assert.deepEqual(parseDig(output).map(({ address }) => address), expected);
  assert.deepEqual(parseDig("2001:db8::7"), [{ address: "2001:db8::7", family: 6 }]);
});

const answer = (address: string): Resolver => () => Promise.resolve([{ address, family: 4 }]);
const fails: Resolver = () => Promise.reject(new Error("ENOTFOUND"));
const empty: Resolver = () => Promise.resolve([]);

Deno.test("resolveHost() uses the first resolver that finds an address", async () => {
  const cases: [[string, Resolver][], string][] = [
    [[["a", answer("203.0.113.1")], ["b", answer("203.0.113.2")]], "203.0.113.1"],
    [[["a", fails], ["b", answer("203.0.113.2")]], "203.0.113.2"],
    [[["a", empty], ["b", fails], ["c", answer("203.0.113.3")]], "203.0.113.3"],
  ];
  for (const [ways, expected] of cases) {
    assert.equal((await resolveHost("db.example.com", ways)).addresses[0]?.address, expected);
  }
});

Deno.test("resolveHost() reports the error of each resolver when none finds an address", async () => {
  const ways: [string, Resolver][] = [["the system", fails], ["dig", empty]];
  await assert.rejects(resolveHost("db.example.com", ways), {
    code: "DNS",
    message: /"db\.example\.com" \(the system: ENOTFOUND; dig: no address\)/,
  });
});

Deno.test("resolveHost() returns an IP address as it is", async () => {
  assert.deepEqual(await resolveHost("203.0.113.7", []), {
    addresses: [{ address: "203.0.113.7", family: 4 }],
    resolver: "itself",
  });
  assert.deepEqual(await resolveHost("::1", []), { addresses: [{ address: "::1", family: 6 }], resolver: "itself" });
});

Deno.test("lookup() supports both callback forms of Node", async () => {
  const one = Promise.withResolvers<unknown[]>();
  lookup("127.0.0.1", {}, (...answer) => one.resolve(answer));
  assert.deepEqual(await one.promise, [null, "127.0.0.1", 4]);
  const all = Promise.withResolvers<unknown[]>();
  lookup("127.0.0.1", { all: true }, (...answer) => all.resolve(answer));
  assert.deepEqual(await all.promise, [null, [{ address: "127.0.0.1", family: 4 }]]);
});

/** Resolves a name that no resolver knows, with our own `dig` on the PATH, or with none. */
async function resolveWith(
  dig: string | undefined,
  host = "ep-test.invalid",
): Promise<{ output: string }> {
  const folder = await Deno.makeTempDir();
  if (dig !== undefined) {
    await Deno.writeTextFile(`${folder}/dig`, `#!/bin/sh\n${dig}\n`);
    await Deno.chmod(`${folder}/dig`, 0o755);
  }
  try {
    const script = `import { resolveHost } from "${import.meta.resolve("../../src/net/dns.ts")}";
      console.log(await resolveHost(${JSON.stringify(host)}).then(JSON.stringify, (error) => error.message));`;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", script],
      env: { PATH: folder },
      stderr: "null",
    }).output();
    return { output: new TextDecoder().decode(stdout) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const ignore = Deno.build.os === "windows"; // the stand-ins for dig are shell scripts

Deno.test({ name: "resolveHost() falls back to dig", ignore }, async () => {
  const { output } = await resolveWith(
    '[ "$*" = "+short +time=2 +tries=2 ep-test.invalid A ep-test.invalid AAAA" ] && echo 203.0.113.7',
  );
  assert.deepEqual(JSON.parse(output), { addresses: [{ address: "203.0.113.7", family: 4 }], resolver: "dig" });
});

Deno.test({ name: "resolveHost() goes on without a dig that is missing, fails, or prints junk", ignore }, async () => {
  const cases: [string | undefined, RegExp][] = [
    [undefined, /dig: /],
    ["exit 9", /dig: it failed/],
    ["echo ';; no servers could be reached'; echo junk", /dig: no address/],
    ["while :; do echo junk; done", /dig: it printed too much/],
  ];
  for (const [dig, expected] of cases) {
    const { output } = await resolveWith(dig);
    assert.match(output, expected);
    assert.match(output, /Cannot find the address of "ep-test.invalid"/);
  }
});

Deno.test({ name: "(slow) resolveHost() stops a dig that hangs, and its children", ignore }, async () => {
  const { output } = await inTime("the end of dig", resolveWith("/bin/sleep 600"));
  assert.match(output, /dig: no answer in 5 s/);
});

Deno.test({ name: "resolveHost() passes dig nothing that looks like an option", ignore }, async () => {
  for (const host of ["-f/etc/passwd", "@203.0.113.9", "+trace", "a b"]) {
    assert.match((await resolveWith("echo 203.0.113.7", host)).output, /dig: not a host name/, host);
  }
});

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
  const pool = await localPool(local, { port: first.port, max: 2, connectTimeout: 30, find });
  const one = async () => (await pool.query("SELECT 1 AS n")).rows[0].n;
  found = { address: "127.0.0.2", family: 4 };
  assert.equal(await one(), 1);
  first[Symbol.dispose]();
  await eventually("the client knows that its connection is gone", () => pool.totalCount === 0);

  found = new LakebaseError("DNS", "Cannot find the address");
  await assert.rejects(one(), { code: "DNS" }, "the error says that the name does not resolve");
  found = { address: "127.0.0.3", family: 4 };
  await assert.rejects(one(), { code: "UNREACHABLE" }, "nothing listens at this address");

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

import assert from "node:assert/strict";
import { check, connect, type ConnectOptions } from "../../mod.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { freePort } from "../support/port.ts";
import { bothTests } from "../support/lakebase.ts";

const test = bothTests({ passwords: { app: "native-secret" } });
const BEFORE = { neverReached: "it fails before the database is reached" };
const SECRETS = /eyJ|dapi[0-9a-f]{8}|native-secret/;
const STEPS = "deno settings workspace endpoint dns tcp tls credential login query clock".split(" ");

test("check() runs every step of connecting", async ({ settings }) => {
  const checkup = await check(settings());
  assert.equal(checkup.ok, true);
  assert.deepEqual(checkup.map(({ step }) => step), STEPS);
  assert.ok(checkup.every(({ outcome, ms }) => outcome === "ok" && ms !== null && ms >= 0));
  const details = Object.fromEntries(checkup.map(({ step, detail }) => [step, detail]));
  assert.match(details["deno"]!, /^Deno 2\.\d+\.\d+ .*lakebase \d.*pg \d/);
  assert.match(details["workspace"]!, /you@example\.com/);
  assert.match(
    details["endpoint"]!,
    /^projects\/local\/branches\/production\/endpoints\/primary, ACTIVE, at localhost; branch production, the default branch$/,
  );
  assert.match(details["dns"]!, /by the system$/);
  assert.match(details["tls"]!, /^TLSv1\.3, CN=localhost by CN=Lakebase on this machine, valid until \d{4}-/);
  assert.match(details["credential"]!, /60 minutes/);
  assert.match(details["query"]!, /PostgreSQL/);
  assert.match(Deno.inspect(checkup), /everything works/);
});

test("check() skips the workspace for a native password", async ({ local, settings }) => {
  const { workspace: _, endpoint: __, ...alone } = settings({ user: "app", password: "native-secret" });
  const asked = local.requests.length;
  const checkup = await check(alone);
  assert.equal(checkup.ok, true);
  const skipped = checkup.filter(({ outcome }) => outcome === "skipped").map(({ step }) => step);
  assert.deepEqual(skipped, ["workspace", "endpoint", "credential", "clock"]);
  assert.equal(local.requests.length, asked);
  assert.doesNotMatch(Deno.inspect(checkup), SECRETS);
});

type Break = (local: LocalLakebase) => ConnectOptions | void;

const FAILURES: [name: string, spoil: Break, step: string, detail: RegExp][] = [
  ["a revoked token", (local) => local.faults.revokeToken(), "workspace", /401.*databricks auth login/],
  [
    "a workspace that is a web page",
    ({ faults }) => faults.workspace("*", { body: "<html>" }),
    "workspace",
    /web page/,
  ],
  ["an endpoint that does not exist", () => ({ endpoint: "projects/none" }), "endpoint", /There is projects\/local/],
  ["a host without an address", () => ({ host: "ep-none.invalid" }), "dns", /the system: .*dig: .*Deno\.resolveDns: /],
  ["a port without a listener", () => ({ port: freePort() }), "tcp", /nothing listens there/],
  ["a server that goes silent", ({ faults }) => void (faults.blackhole = true), "tls", /no answer/],
  ["a server that hangs up", ({ faults }) => void (faults.greeting = "close"), "tls", /the connection broke/],
  [
    "a server that resets the connection",
    ({ faults }) => void (faults.greeting = "reset"),
    "(tcp|tls)",
    /the connection broke/,
  ],
  ["a port that speaks HTTP", ({ faults }) => void (faults.greeting = "http"), "tls", /does not speak Postgres/],
  [
    "the workspace's port",
    ({ env }) => ({ port: Number(new URL(env["DATABRICKS_HOST"]!).port) }),
    "tls",
    /does not speak Postgres/,
  ],
  [
    "an expired certificate",
    ({ faults }) => void (faults.certificate = "expired"),
    "tls",
    /it expired on \d{4}-\d\d-\d\d/,
  ],
  ["another server's certificate", ({ faults }) => void (faults.certificate = "wrong-name"), "tls", /somewhere-else/],
  [
    "an unknown authority",
    ({ faults }) => void (faults.certificate = "self-signed"),
    "tls",
    /not trusted.*PGSSLROOTCERT/,
  ],
  [
    "a credential that is refused",
    ({ faults }) => {
      faults.workspace("POST *", { status: 403, message: "no access to the project" });
    },
    "credential",
    /403.*no access to the project/,
  ],
  ["a role that may not log in", ({ faults }) => faults.failLogins({ times: 9 }), "login", /28P01.*Does "you@/],
  ["a database that does not exist", () => ({ database: "nowhere" }), "login", /"nowhere" does not exist/],
];

for (const [name, spoil, step, detail] of FAILURES) {
  test(`check() explains ${name}`, async ({ local, settings }) => {
    const checkup = await check(settings({ connectTimeout: 5, ...spoil(local) }));
    assert.equal(checkup.ok, false);
    const failed = checkup.filter(({ outcome }) => outcome === "failed");
    assert.equal(failed.length, 1);
    assert.match(failed[0]!.step, new RegExp(`^${step}$`), Deno.inspect(checkup));
    assert.match(failed[0]!.detail, detail);
    const after = checkup.slice(checkup.indexOf(failed[0]!) + 1);
    assert.ok(after.every(({ outcome, ms }) => outcome === "skipped" && ms === null));
    assert.doesNotMatch(Deno.inspect(checkup) + JSON.stringify(checkup), SECRETS);
  }, step === "login" ? {} : BEFORE);
}

test("check() reports a setting that can't be used", async () => {
  const checkup = await check({ port: 0 });
  assert.deepEqual([checkup.ok, checkup[0]?.step, checkup[0]?.outcome], [false, "settings", "failed"]);
  assert.match(checkup[0]!.detail, /"port" is 0/);
}, BEFORE);

test("check() shows no password that another option contains", async ({ settings }) => {
  const url = "postgres://app:s3cretpw@127.0.0.1:1/db";
  const { workspace: _, endpoint: __, ...alone } = settings({ user: "app", password: "native-secret" });
  for (const options of [{ ...alone, database: url }, settings({ database: url }), settings({ host: url })]) {
    const checkup = await check(options);
    assert.equal(checkup.ok, false);
    assert.doesNotMatch(Deno.inspect(checkup) + JSON.stringify(checkup), /s3cretpw/);
  }
});

for (const refuse of ["hold", "28000", "reset", "close"] as const) {
  test(`check() waits for a compute that is waking up and answers with ${refuse}`, async ({ local, settings }) => {
    local.faults.suspend({ wakeAfter: 600, refuse });
    const checkup = await check(settings({ connectTimeout: 60 }));
    assert.equal(checkup.ok, true, Deno.inspect(checkup));
    assert.match(checkup.find(({ step }) => step === "endpoint")!.detail, /IDLE/);
  });
}

test("check() distinguishes a server without TLS from one that does not speak Postgres", async ({ settings }) => {
  for (const [answer, expected] of [["N", /offers no TLS/], ["E", /does not speak Postgres/]] as const) {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    (async () => {
      for await (const conn of listener) await conn.write(new TextEncoder().encode(answer)).then(() => conn.readable);
    })().catch(() => {});
    const checkup = await check(settings({ port: (listener.addr as Deno.NetAddr).port }));
    assert.match(checkup.find(({ step }) => step === "tls")!.detail, expected);
  }
}, BEFORE);

test("check() warns about a wrong clock", async ({ local, settings }) => {
  for (
    const [offset, expected] of [[600_000, /(59\d|60\d) s behind/], [-600_000, /(59\d|60\d) s ahead of/]] as const
  ) {
    local.faults.clockOffset = offset;
    const checkup = await check(settings());
    const clock = checkup.find(({ step }) => step === "clock");
    assert.deepEqual([checkup.ok, clock?.outcome], [true, "warning"]);
    assert.match(clock!.detail, expected);
  }
}, BEFORE);

test("db.check() explains why a connection has stopped working", async ({ local, settings }) => {
  await using db = await connect(settings());
  assert.equal((await db.check()).ok, true);
  local.faults.certificate = "expired";
  assert.match((await db.check()).find(({ outcome }) => outcome === "failed")!.detail, /expired/);
}, BEFORE);

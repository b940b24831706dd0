import assert from "node:assert/strict";
import { connect, type Lakebase, LakebaseError, type Lakehouse } from "../mod.ts";
import type { LocalLakebase } from "../src/local/mod.ts";
import { bothTests } from "./support/lakebase.ts";
import { lakebase } from "./cli/support.ts";
import { LOCKED } from "./support/files.ts";

const CLIENT_SECRET = "dose-of-secret-9f2c";
const PASSWORD = "native-secret-77aa";
const test = bothTests({
  passwords: { app: PASSWORD },
  servicePrincipals: [{ clientId: "11111111-2222-3333-4444-555555555555", clientSecret: CLIENT_SECRET }],
});

/** The texts that no output may contain: any JWT, the workspace's token, the password, the client secret. */
function secretsOf({ env }: LocalLakebase): RegExp {
  const known = [env["DATABRICKS_TOKEN"]!, PASSWORD, CLIENT_SECRET].map((secret) => RegExp.escape(secret));
  const encoded = [PASSWORD, CLIENT_SECRET].map((secret) => RegExp.escape(btoa(secret).replace(/=+$/, "")));
  return new RegExp([
    "eyJ[\\w-]{4}", // a token that was cut off, too
    "Bearer \\w{8}",
    ...known,
    ...encoded,
  ].join("|"));
}

/** Removes the megabytes around a secret, if there are any. */
function assertNone(said: string, secrets: RegExp): void {
  const found = secrets.exec(said);
  assert.equal(found === null ? "none" : said.slice(Math.max(0, found.index - 300), found.index + 40), "none");
}

/** The output of a client for each of these options, with the given environment. */
async function talk(local: LocalLakebase, ...options: unknown[]): Promise<string> {
  const script = new URL("./support/printing_client.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...LOCKED, script, ...options.map((option) => JSON.stringify(option))],
    env: { ...local.env, NODE_DEBUG: "net,tls,http,https,stream,timer,pg", NO_COLOR: "1" },
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.match(said, /^(closed|connect) .*LakebaseError/m, said.slice(-2000));
  return said;
}

/** Without Node's debugger: the program's own output, as a person sees it. */
async function run(local: LocalLakebase, words: string[], env: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr } = await lakebase(words, { env: { ...local.env, LAKEBASE_DEBUG: "1", ...env } });
  return stdout + stderr;
}

const FAULTS: [name: string, strike: (local: LocalLakebase) => void][] = [
  ["nothing", () => {}],
  ["a login that is refused", ({ faults }) => faults.failLogins({ times: 99 })],
  ["a workspace that refuses", ({ faults }) => faults.revokeToken()],
  ["a workspace that answers with a page", ({ faults }) => faults.workspace("*", { body: "<html>" })],
  ["a workspace that is away", ({ faults }) => faults.workspace("*", { answer: "reset" })],
  ["a credential without an expiry", ({ faults }) => void (faults.credential = { expire_time: undefined })],
  ["a bad certificate", ({ faults }) => void (faults.certificate = "expired")],
  ["a server that does not speak Postgres", ({ faults }) => void (faults.greeting = "http")],
];

for (const [name, strike] of FAULTS) {
  // Each is a process that logs everything that it does.
  test(
    `${name === "a login that is refused" ? "" : "(slow) "}no secret is shown, whatever is printed: ${name}`,
    async ({ local }) => {
      strike(local);
      const machine = {
        DATABRICKS_CLIENT_ID: "11111111-2222-3333-4444-555555555555",
        DATABRICKS_CLIENT_SECRET: CLIENT_SECRET,
      };
      const said = await talk(
        local,
        { connectTimeout: 2 },
        { connectTimeout: 2, env: { ...machine, DATABRICKS_TOKEN: "", PGUSER: "" } },
        { connectTimeout: 2, env: { PGUSER: "app", PGPASSWORD: PASSWORD } },
        { connectTimeout: 2, user: "app", password: PASSWORD, database: "postgres" },
      );
      assert.equal(said.match(/^connect /gm)?.length, 4);
      assertNone(said, secretsOf(local));
    },
    name === "nothing" ? {} : { neverReached: "the workspace or the network is what fails" },
  );
}

const QUICK = { connectTimeout: 1 };
const NATIVE = { ...QUICK, user: "app", password: PASSWORD };

for (const status of [403, 404, 409, 429, 503]) {
  test(
    `${status === 403 ? "" : "(slow) "}no secret is shown: a workspace that answers ${status} and quotes the login`,
    async ({ local }) => {
      local.faults.workspace("*", { status, message: `refused: Bearer ${local.env["DATABRICKS_TOKEN"]}` });
      assertNone(await talk(local, QUICK), secretsOf(local));
      if (status < 429) assertNone(await run(local, ["doctor"]), secretsOf(local)); // else it tries for a minute
    },
    { neverReached: "the workspace is what fails" },
  );
}

test("(slow) no secret is shown: an answer that is cut off", async ({ local }) => {
  local.faults.workspace("POST *", { answer: "truncated" });
  assertNone(await talk(local, QUICK), secretsOf(local));
}, { neverReached: "the workspace is what fails" });

test("(slow) no secret is shown: a compute that suspends again and again, and connections that break", async ({ local }) => {
  let over = false;
  const striking = (async () => {
    // On a busy machine a login takes longer, so it gets more time until one has succeeded.
    for (let n = 0, before = local.logins.length, pause = 150; !over; n++) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = local.logins.slice(before).some(({ outcome }) => outcome === "ok") ? 150 : Math.min(pause * 2, 2400);
      before = local.logins.length;
      if (n % 2) local.faults.suspend({ wakeAfter: 20 });
      else local.faults.dropConnections();
    }
  })();
  const said = await talk(local, { connectTimeout: 20 }, { ...NATIVE, connectTimeout: 20 }).finally(() => over = true);
  await striking;
  assert.match(said, /CONNECTION_LOST/);
  assertNone(said, secretsOf(local));
});

test("(slow) no secret is shown: a server that is full, and names that lead nowhere", async ({ local }) => {
  local.faults.maxConnections = 0;
  const said = await talk(local, QUICK, NATIVE, { ...QUICK, host: "ep-none.invalid" }, {
    ...QUICK,
    host: "ep-none-pooler.localhost",
  });
  for (const code of ["TOO_MANY_CONNECTIONS", "DNS", "POOLED_HOST"]) assert.match(said, new RegExp(code));
  assertNone(said, secretsOf(local));
}, { neverReached: "it fails before the database is reached" });

/** A password in a wrong place, in every form in which people have it. */
const MISPLACED = [
  ...[`postgres://app:${PASSWORD}@h/db`, `postgres://app:x/${PASSWORD}@h/db`, `postgres://app:x@${PASSWORD}@h/db`],
  ...[
    `postgresql://h/db?password=${PASSWORD}`,
    `host=h password=${PASSWORD}`,
    `jdbc:postgresql://h/?password=${PASSWORD}`,
  ],
];

test("(slow) no secret is shown: a password in a wrong place", async ({ local }) => {
  const options = MISPLACED.flatMap((
    text,
  ) => [{ host: text }, { endpoint: text }, { database: text }, { instance: text }]);
  const bad = [...options, { host: `app:${PASSWORD}@h` }, { local: { database: MISPLACED[0] } }];
  const said = await talk(local, ...bad.map((each) => ({ ...QUICK, ...each })));
  assert.match(said, /BAD_SETTING/);
  assertNone(said, secretsOf(local));
});

test("no output of the program contains a secret", async ({ local }) => {
  const secrets = secretsOf(local);
  const [url] = MISPLACED as [string];
  const cases: [string[], Record<string, string>?][] = [
    [["doctor"]],
    [["doctor"], { PGDATABASE: url, DATABRICKS_PAT: PASSWORD, DATABRICKS_BEARER: PASSWORD }],
    [["doctor"], { DATABRICKS_HOST: `https://token:${PASSWORD}@localhost:1`, PGHOST: "" }],
    [["doctor", "--format", "json"], { PGUSER: "app", PGPASSWORD: PASSWORD }],
    [["version"]],
    [["query", "SELECT nothing"]],
    [["tables"], { PGHOST: url }],
    [["query", "SELECT 1"], { LAKEBASE_ENDPOINT: url }],
    [["pull", "SELECT 1", "/nowhere/at/all.csv"], { PGUSER: "app", PGPASSWORD: PASSWORD }],
    [["load", "nowhere", "/nowhere.csv"]],
  ];
  for (const [words, env] of cases) {
    const said = await run(local, words, env);
    assert.ok(said.length > 10, words.join(" "));
    assertNone(said, secrets);
  }
}, { neverReached: "what the server says is shown as in the first of these tests" });

/** The texts that a server may quote: the login, presigned addresses in several forms, connection strings. */
function quoting({ env }: LocalLakebase): string {
  return `refused: Bearer ${env["DATABRICKS_TOKEN"]}, ${env["DATABRICKS_TOKEN"]}, https://b.example/k?X-Amz-Date=1&` +
    `X-Amz-Signature=${PASSWORD}, {"u":"https:\\/\\/b.example\\/k?sig=${PASSWORD}"}, /k?X-Amz-Signature=${PASSWORD}, ` +
    `postgres://app:${PASSWORD}@h/db, host=h password=${PASSWORD}, {"client_secret": "${CLIENT_SECRET}"}`;
}

const PLACE = "/Volumes/main/raw/landing";

/** Each way to a warehouse or a Volume. */
const LAKE_WORK: Record<string, (db: Lakebase, lake: Lakehouse) => PromiseLike<unknown>> = {
  "the warehouse is found": (db) => db.lakehouse(),
  rows: (_, lake) => lake.sql`SELECT 1 AS n`,
  "the first row": (_, lake) => lake.sql`SELECT 1 AS n`.first(),
  columns: (_, lake) => lake.sql`SELECT 1 AS n`.columns(),
  tables: (_, lake) => lake.tables(),
  "a load from the warehouse": (db, lake) => db.load("never", lake.sql`SELECT 1 AS n`, { create: true }),
  "a pull of the warehouse": (_, lake) => lake.sql`SELECT 1 AS n`.pull(`${PLACE}/w.csv`),
  "a pull into a Volume": (db) => db.pull("pg_am", `${PLACE}/new.csv`),
  "a pull into a folder": (db) => db.pull("pg_am", `${PLACE}/new/`, { format: "csv", rowsPerFile: 1 }),
  "a load from a Volume": (db) => db.load("never", `${PLACE}/t.csv`, { create: true }),
  "a load of Parquet": (db) => db.load("never", `${PLACE}/t.parquet`, { create: true }),
  "a load of a glob": (db) => db.load("never", `${PLACE}/*.csv`, { create: true }),
};

const LAKE_FAULTS: Record<string, (local: LocalLakebase) => void> = Object.fromEntries([
  ...[400, 401, 403, 404, 409, 412, 413, 429, 503, 507].map((status) =>
    [
      `the workspace answers ${status}`,
      (local: LocalLakebase) => local.faults.workspace("*", { status, message: quoting(local), retryAfter: 3600 }),
    ] as const
  ),
  ["the workspace answers with a page", (local) => local.faults.workspace("*", { body: `<html>${quoting(local)}` })],
  [
    "the workspace answers something else",
    (local) =>
      local.faults.workspace("*", { body: JSON.stringify({ status: quoting(local), warehouses: quoting(local) }) }),
  ],
  ["the statement fails", (local) => local.faults.warehouse.fail({ message: quoting(local), times: 99 })],
  ...(["forbidden", "html", "truncated"] as const).map((answer) =>
    [`a link is ${answer}`, (local: LocalLakebase) => local.faults.warehouse.link({ answer })] as const
  ),
  [
    "a link that can't be used",
    (local) => {
      local.faults.warehouse.link({ answer: "forbidden" });
      const address = `https://127.0.0.1:1/k?X-Amz-Signature=${PASSWORD}`;
      const external_links = [{ chunk_index: 0, external_link: address, http_headers: { "x-key": `${PASSWORD}\n\0` } }];
      local.faults.workspace("GET */result/chunks/*", { body: JSON.stringify({ external_links }) });
    },
  ],
]);

test("(slow) no secret is shown: warehouses and Volumes that fail and quote", async ({ local, settings }) => {
  await using db = await connect(settings());
  const lake = await db.lakehouse();
  for (const name of ["t.csv", "t.parquet"]) await db.pull("pg_am", `${PLACE}/${name}`);
  const secrets = secretsOf(local);
  for (const [fault, strike] of Object.entries(LAKE_FAULTS)) {
    let failed = 0;
    for (const [name, work] of Object.entries(LAKE_WORK)) {
      if (fault.startsWith("a link") && name !== "columns") continue; // each is asked for again for two seconds
      local.faults.reset();
      strike(local);
      try {
        await work(db, lake);
      } catch (error) {
        failed++;
        assert.ok(error instanceof LakebaseError, `${fault}, ${name}: ${error}`);
        assertNone(Deno.inspect(error, { depth: 20, showHidden: true }) + error.stack, secrets);
      }
    }
    assert.ok(failed > 0, fault);
  }
  local.faults.reset();
}, { neverReached: "what the workspace answers is the same with each database" });

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
  const secrets = [env["DATABRICKS_TOKEN"]!, PASSWORD, CLIENT_SECRET].map((secret) => RegExp.escape(secret));
  const encoded = [PASSWORD, CLIENT_SECRET].map((secret) => RegExp.escape(btoa(secret).replace(/=+$/, "")));
  return new RegExp([
    "eyJ[\\w-]{4}", // a token that was cut off, too
    "Bearer \\w{8}",
    ...secrets,
    ...encoded,
  ].join("|"));
}

/** Fails if a text contains a secret. The message has only the text before the secret, which may be megabytes. */
function assertNone(output: string, secrets: RegExp): void {
  const found = secrets.exec(output);
  assert.equal(found === null ? "none" : output.slice(Math.max(0, found.index - 300), found.index + 40), "none");
}

/** What a client that prints everything prints, with each of these options of `connect()`. */
async function printedBy(local: LocalLakebase, ...options: unknown[]): Promise<string> {
  const script = new URL("./support/printing_client.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...LOCKED, script, ...options.map((option) => JSON.stringify(option))],
    env: { ...local.env, NODE_DEBUG: "net,tls,http,https,stream,timer,pg", NO_COLOR: "1" },
  }).output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.match(output, /^(closed|connect) .*LakebaseError/m, output.slice(-2000));
  return output;
}

/** The output of a command, without that of Node's debugger. */
async function run(local: LocalLakebase, words: string[], env: Record<string, string> = {}): Promise<string> {
  const { stdout, stderr } = await lakebase(words, { env: { ...local.env, LAKEBASE_DEBUG: "1", ...env } });
  return stdout + stderr;
}

const FAULTS: [name: string, cause: (local: LocalLakebase) => void][] = [
  ["nothing", () => {}],
  ["a login that is refused", ({ faults }) => faults.failLogins({ times: 99 })],
  ["a workspace that refuses", ({ faults }) => faults.revokeToken()],
  ["a workspace that answers with a page", ({ faults }) => faults.workspace("*", { body: "<html>" })],
  ["a workspace that is away", ({ faults }) => faults.workspace("*", { answer: "reset" })],
  ["a credential without an expiry", ({ faults }) => void (faults.credential = { expire_time: undefined })],
  ["a bad certificate", ({ faults }) => void (faults.certificate = "expired")],
  ["a server that does not speak Postgres", ({ faults }) => void (faults.greeting = "http")],
];

for (const [name, cause] of FAULTS) {
  // Each is slow, because its process logs everything that it does.
  test(
    `${name === "a login that is refused" ? "" : "(slow) "}no secret is shown, whatever is printed: ${name}`,
    async ({ local }) => {
      cause(local);
      const machine = {
        DATABRICKS_CLIENT_ID: "11111111-2222-3333-4444-555555555555",
        DATABRICKS_CLIENT_SECRET: CLIENT_SECRET,
      };
      const output = await printedBy(
        local,
        { connectTimeout: 2 },
        { connectTimeout: 2, env: { ...machine, DATABRICKS_TOKEN: "", PGUSER: "" } },
        { connectTimeout: 2, env: { PGUSER: "app", PGPASSWORD: PASSWORD } },
        { connectTimeout: 2, user: "app", password: PASSWORD, database: "postgres" },
      );
      assert.equal(output.match(/^connect /gm)?.length, 4);
      assertNone(output, secretsOf(local));
    },
    name === "nothing" ? {} : { neverReached: "only the workspace or the network fails" },
  );
}

const QUICK = { connectTimeout: 1 };
const NATIVE = { ...QUICK, user: "app", password: PASSWORD };

for (const status of [403, 404, 409, 429, 503]) {
  test(
    `${status === 403 ? "" : "(slow) "}no secret is shown: a workspace that answers ${status} and quotes the login`,
    async ({ local }) => {
      local.faults.workspace("*", { status, message: `refused: Bearer ${local.env["DATABRICKS_TOKEN"]}` });
      assertNone(await printedBy(local, QUICK), secretsOf(local));
      if (status < 429) assertNone(await run(local, ["doctor"]), secretsOf(local)); // for the others it retries for a minute
    },
    { neverReached: "only the workspace fails" },
  );
}

test("(slow) no secret is shown: an answer that is cut off", async ({ local }) => {
  local.faults.workspace("POST *", { answer: "truncated" });
  assertNone(await printedBy(local, QUICK), secretsOf(local));
}, { neverReached: "only the workspace fails" });

test("(slow) no secret is shown: a compute that suspends again and again, and connections that break", async ({ local }) => {
  let ended = false;
  const causing = (async () => {
    // On a busy machine a login takes longer, so it gets more time until one has succeeded.
    for (let n = 0, before = local.logins.length, pause = 150; !ended; n++) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = local.logins.slice(before).some(({ outcome }) => outcome === "ok") ? 150 : Math.min(pause * 2, 2400);
      before = local.logins.length;
      if (n % 2) local.faults.suspend({ wakeAfter: 20 });
      else local.faults.dropConnections();
    }
  })();
  try {
    // On a busy machine, all statements of a client may run between two of the faults; then another client tries.
    for (let lost = false; !lost;) {
      const output = await printedBy(local, { connectTimeout: 20 }, { ...NATIVE, connectTimeout: 20 });
      assertNone(output, secretsOf(local));
      lost = output.includes("CONNECTION_LOST");
    }
  } finally {
    ended = true;
    await causing;
  }
});

test("(slow) no secret is shown: a server that is full, and names that lead nowhere", async ({ local }) => {
  local.faults.maxConnections = 0;
  // A login that takes longer than connectTimeout, or a lookup, would have another error.
  const output = await printedBy(
    local,
    { connectTimeout: 4 },
    NATIVE,
    { connectTimeout: 20, host: "ep-none.invalid" },
    {
      ...QUICK,
      host: "ep-none-pooler.localhost",
    },
  );
  for (const code of ["TOO_MANY_CONNECTIONS", "DNS", "POOLED_HOST"]) assert.match(output, new RegExp(code));
  assertNone(output, secretsOf(local));
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
  const refused = [...options, { host: `app:${PASSWORD}@h` }, { local: { database: MISPLACED[0] } }];
  const output = await printedBy(local, ...refused.map((each) => ({ ...QUICK, ...each })));
  assert.match(output, /BAD_SETTING/);
  assertNone(output, secretsOf(local));
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
    const output = await run(local, words, env);
    assert.ok(output.length > 10, words.join(" "));
    assertNone(output, secrets);
  }
}, { neverReached: "the first of these tests covers what the server says" });

/** The texts that a server may quote: the login, presigned addresses in several forms, connection strings. */
function quoting({ env }: LocalLakebase): string {
  return `refused: Bearer ${env["DATABRICKS_TOKEN"]}, ${env["DATABRICKS_TOKEN"]}, https://b.example/k?X-Amz-Date=1&` +
    `X-Amz-Signature=${PASSWORD}, {"u":"https:\\/\\/b.example\\/k?sig=${PASSWORD}"}, /k?X-Amz-Signature=${PASSWORD}, ` +
    `postgres://app:${PASSWORD}@h/db, host=h password=${PASSWORD}, {"client_secret": "${CLIENT_SECRET}"}`;
}

const FOLDER = "/Volumes/main/raw/landing";

/** Each call that reaches a warehouse or a Volume. */
const LAKE_WORK: Record<string, (db: Lakebase, lake: Lakehouse) => PromiseLike<unknown>> = {
  "the warehouse is found": (db) => db.lakehouse(),
  rows: (_, lake) => lake.sql`SELECT 1 AS n`,
  "the first row": (_, lake) => lake.sql`SELECT 1 AS n`.first(),
  columns: (_, lake) => lake.sql`SELECT 1 AS n`.columns(),
  tables: (_, lake) => lake.tables(),
  "a load from the warehouse": (db, lake) => db.load("never", lake.sql`SELECT 1 AS n`, { create: true }),
  "a pull of the warehouse": (_, lake) => lake.sql`SELECT 1 AS n`.pull(`${FOLDER}/w.csv`),
  "a pull into a Volume": (db) => db.pull("pg_am", `${FOLDER}/new.csv`),
  "a pull into a folder": (db) => db.pull("pg_am", `${FOLDER}/new/`, { format: "csv", rowsPerFile: 1 }),
  "a load from a Volume": (db) => db.load("never", `${FOLDER}/t.csv`, { create: true }),
  "a load of Parquet": (db) => db.load("never", `${FOLDER}/t.parquet`, { create: true }),
  "a load of a glob": (db) => db.load("never", `${FOLDER}/*.csv`, { create: true }),
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
  for (const name of ["t.csv", "t.parquet"]) await db.pull("pg_am", `${FOLDER}/${name}`);
  const secrets = secretsOf(local);
  for (const [fault, cause] of Object.entries(LAKE_FAULTS)) {
    let failed = 0;
    for (const [name, work] of Object.entries(LAKE_WORK)) {
      if (fault.startsWith("a link") && name !== "columns") continue; // a link is requested again for two seconds
      local.faults.reset();
      cause(local);
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

import assert from "node:assert/strict";
import type { LocalLakebase } from "../src/local/mod.ts";
import { localTests } from "./support/lakebase.ts";

const CLIENT_SECRET = "dose-of-secret-9f2c";
const PASSWORD = "native-secret-77aa";
const test = localTests({
  passwords: { app: PASSWORD },
  servicePrincipals: [{ clientId: "11111111-2222-3333-4444-555555555555", clientSecret: CLIENT_SECRET }],
});

/** What nothing may show: any JWT, the workspace's token, the password, the client secret. */
function secretsOf({ env }: LocalLakebase): RegExp {
  const known = [env["DATABRICKS_TOKEN"]!, PASSWORD, CLIENT_SECRET].map((secret) => RegExp.escape(secret));
  const encoded = [PASSWORD, CLIENT_SECRET].map((secret) => RegExp.escape(btoa(secret).replace(/=+$/, "")));
  return new RegExp(["eyJ[\\w-]+\\.", "Bearer \\w{8}", ...known, ...encoded].join("|"));
}

/** Without the megabytes around it, should there be one. */
function assertNone(said: string, secrets: RegExp): void {
  const found = secrets.exec(said);
  assert.equal(found === null ? "none" : said.slice(Math.max(0, found.index - 300), found.index + 40), "none");
}

async function talk(local: LocalLakebase, env: Record<string, string>, ...options: unknown[]): Promise<string> {
  const script = new URL("./support/talkative_client.ts", import.meta.url).href;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, ...options.map((option) => JSON.stringify(option))],
    env: { ...local.env, NODE_DEBUG: "net,tls,http,https,stream,timer,pg", NO_COLOR: "1", ...env },
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.match(said, /^(closed|connect) .*LakebaseError/m, said.slice(-2000));
  return said;
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
  test(`no secret is shown, whatever is printed: ${name}`, async ({ local }) => {
    strike(local);
    const secrets = secretsOf(local);
    const oauth = await talk(local, {}, { connectTimeout: 2 });
    assertNone(oauth, secrets);
    const native = await talk(local, { PGUSER: "app", PGPASSWORD: PASSWORD }, { connectTimeout: 2 }, {
      ...{ connectTimeout: 2, user: "app", password: PASSWORD, database: "postgres" },
    });
    assertNone(native, secrets);
    const machine = {
      DATABRICKS_CLIENT_ID: "11111111-2222-3333-4444-555555555555",
      DATABRICKS_CLIENT_SECRET: CLIENT_SECRET,
    };
    assertNone(
      await talk(local, { ...machine, DATABRICKS_TOKEN: "", PGUSER: "" }, { connectTimeout: 2 }),
      secrets,
    );
  });
}

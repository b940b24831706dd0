import assert from "node:assert/strict";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { localTests } from "../support/lakebase.ts";
import { LOCKED } from "../support/files.ts";

const test = localTests({ passwords: { app: "native-secret" } });

/** The variables of libpq and of `pg`; PostgreSQL's manual, section "Environment Variables". */
const LIBPQ = [
  "PGAPPNAME PGBINARY PGCHANNELBINDING PGCLIENTENCODING PGCLIENT_ENCODING PGCONNECT_TIMEOUT PGDATABASE PGDATESTYLE",
  "PGGEQO PGGSSDELEGATION PGGSSENCMODE PGGSSLIB PGHOST PGHOSTADDR PGKRBSRVNAME PGLOADBALANCEHOSTS PGLOCALEDIR",
  "PGMAXPROTOCOLVERSION PGMINPROTOCOLVERSION PGOPTIONS PGPASSFILE PGPASSWORD PGPORT PGREPLICATION PGREQUIREAUTH",
  "PGREQUIREPEER PGREQUIRESSL PGSERVICE PGSERVICEFILE PGSSLCERT PGSSLCERTMODE PGSSLCOMPRESSION PGSSLCRL PGSSLCRLDIR",
  "PGSSLKEY PGSSLMAXPROTOCOLVERSION PGSSLMINPROTOCOLVERSION PGSSLMODE PGSSLNEGOTIATION PGSSLROOTCERT PGSSLSNI",
  "PGSYSCONFDIR PGTARGETSESSIONATTRS PGTZ PGUSER",
].join(" ").split(" ");

/** The variables of the Databricks SDK and CLI, of this module, and those that locate files and proxies. */
const WORKSPACE = [
  "ACTIONS_ID_TOKEN_REQUEST_TOKEN ACTIONS_ID_TOKEN_REQUEST_URL ARM_CLIENT_ID ARM_CLIENT_SECRET ARM_ENVIRONMENT",
  "ARM_TENANT_ID ARM_USE_MSI DATABRICKS_ACCOUNT_ID DATABRICKS_AUTH_TYPE DATABRICKS_AZURE_LOGIN_APP_ID",
  "DATABRICKS_AZURE_RESOURCE_ID DATABRICKS_CLIENT_ID DATABRICKS_CLIENT_SECRET DATABRICKS_CLI_PATH",
  "DATABRICKS_CLUSTER_ID DATABRICKS_CONFIG_FILE DATABRICKS_CONFIG_PROFILE DATABRICKS_DEBUG_HEADERS",
  "DATABRICKS_EXPERIMENTAL_IS_UNIFIED_HOST DATABRICKS_GOOGLE_SERVICE_ACCOUNT DATABRICKS_HOST",
  "DATABRICKS_METADATA_SERVICE_URL DATABRICKS_PASSWORD DATABRICKS_RATE_LIMIT DATABRICKS_SDK_PROXY_STRICT_SSL",
  "DATABRICKS_SERVERLESS_COMPUTE_ID DATABRICKS_TOKEN DATABRICKS_USERNAME DATABRICKS_WAREHOUSE_ID",
  "DATABRICKS_WORKSPACE_ID GOOGLE_CREDENTIALS LAKEBASE_BRANCH LAKEBASE_ENDPOINT LAKEBASE_ENV_FILE LAKEBASE_INSTANCE",
  "LAKEBASE_LOCAL HOME HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY",
].join(" ").split(" ");

const NONSENSE = [
  "nonsense",
  "\x1b[31m\nä😀",
  "postgres://app:hunter2secret@127.0.0.1:1/db?sslmode=off",
  "' x".repeat(7000), // no login has so many bytes
];

/** The outcome of connecting. */
interface Outcome {
  value?: number;
  code?: string;
  message?: string;
  printed?: string;
}

async function connectWith(env: Record<string, string>, cases: [string, string][]): Promise<Outcome[]> {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/cases.json`, JSON.stringify(cases));
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      ...LOCKED,
      import.meta.resolve("./environment_script.ts"),
      `${folder}/cases.json`,
    ],
    env,
  }).output();
  await Deno.remove(folder, { recursive: true });
  const lines = new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
  assert.equal(lines.length, cases.length, `it ended early: ${new TextDecoder().decode(stderr)}`);
  return lines.map((line) => JSON.parse(line));
}

function logins(local: LocalLakebase): Record<string, Record<string, string>> {
  const { PGHOST, PGPORT, PGSSLROOTCERT, PGDATABASE } = local.env as Record<string, string>;
  return {
    "a token of the workspace": local.env,
    "a native password": {
      PGHOST: PGHOST!,
      PGPORT: PGPORT!,
      PGSSLROOTCERT: PGSSLROOTCERT!,
      PGDATABASE: PGDATABASE!,
      PGUSER: "app",
      PGPASSWORD: "native-secret",
    },
  };
}

/** The variables for which an invalid value matters, by the login. All others have no effect. */
const USED: Record<string, { used: RegExp; variables: string[] }> = {
  "a token of the workspace": {
    used:
      /^(PG(DATABASE|HOST|OPTIONS|PASSWORD|PORT|SSLMODE|SSLROOTCERT|USER)|ARM_.*|DATABRICKS_(AUTH_TYPE|AZURE_.*|CLIENT_.*|CONFIG_.*|GOOGLE_.*|HOST|METADATA_SERVICE_URL|PASSWORD|TOKEN|USERNAME|WORKSPACE_ID)|GOOGLE_CREDENTIALS|LAKEBASE_.*)$/,
    variables: [...LIBPQ, ...WORKSPACE],
  },
  "a native password": { used: /^PG(DATABASE|HOST|OPTIONS|PASSWORD|PORT|SSLMODE|SSLROOTCERT|USER)$/, variables: LIBPQ },
};

for (const [login, { used, variables }] of Object.entries(USED)) {
  test(`(slow) an invalid value of any variable of libpq or the SDK is refused by name, or has no effect: ${login}`, async ({ local }) => {
    const cases = variables.flatMap((name) => NONSENSE.map((value): [string, string] => [name, value]));
    const outcomes = await connectWith(logins(local)[login]!, cases);
    for (const [index, outcome] of outcomes.entries()) {
      const [name, value] = cases[index]!;
      const details = `${name}=${JSON.stringify(value.slice(0, 60))}: ${JSON.stringify(outcome).slice(0, 1000)}`;
      if (outcome.value === 1) continue;
      const { code = "", message = "", printed = "" } = outcome;
      assert.match(name, used, details);
      assert.match(code, /^[A-Z_]+$/, details); // a LakebaseError
      assert.ok(message.includes(name), details);
      assert.ok(message.length < 3000, details);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(message + printed, /hunter2secret|native-secret|dapi[0-9a-f]{8}|\x1b\[31m/, details);
    }
  });
}

import assert from "node:assert/strict";
import { LakebaseError } from "../../src/core/errors.ts";
import { mergeVariables, scanDotenv } from "../../src/settings/environment.ts";
import type { ConnectOptions } from "../../src/settings/options.ts";
import { describeOrigin, originsBehind } from "../../src/settings/origin.ts";
import { parseProfiles } from "../../src/settings/profiles.ts";
import { resolveLocal } from "../../src/settings/read_settings.ts";
import { resolveSettings, type SettingsWithOrigins } from "../../src/settings/settings.ts";

type Env = Record<string, string | undefined>;

/** The environment over a `.env`, which is given by its lines or by its values. */
function variables(env: Env, file: string | Env = "") {
  const text = typeof file === "string"
    ? file
    : Object.entries(file).map(([name, value]) => `${name}=${value}`).join("\n");
  return mergeVariables(env, { path: ".env", values: scanDotenv(text) });
}

function resolve(options: ConnectOptions, env: Env, file: string | Env = "", profiles = ""): SettingsWithOrigins {
  return resolveSettings(options, variables(env, file), parseProfiles(profiles, "~/.databrickscfg"));
}

function settle(options: ConnectOptions, env: Env, file: string | Env = "", profiles = "") {
  return resolve(options, env, file, profiles).settings;
}

Deno.test("resolveSettings() prefers options to the environment, the environment to .env, and .env to defaults", () => {
  const cases: [ConnectOptions, Record<string, string>, Record<string, string>, string][] = [
    [{ database: "a" }, { PGDATABASE: "b" }, { PGDATABASE: "c" }, "a"],
    [{}, { PGDATABASE: "b" }, { PGDATABASE: "c" }, "b"],
    [{}, { PGDATABASE: "" }, { PGDATABASE: "c" }, "c"],
    [{}, {}, {}, "databricks_postgres"],
  ];
  for (const [options, env, dotenv, expected] of cases) {
    assert.equal(settle(options, env, dotenv).database, expected);
  }
});

Deno.test("resolveSettings() fills in the documented defaults", () => {
  const settings = settle({}, {});
  const { port, sslMode, max, idleTimeout, maxLifetime, connectTimeout, statementTimeout, readOnly } = settings;
  assert.deepEqual(
    { port, sslMode, max, idleTimeout, maxLifetime, connectTimeout, statementTimeout, readOnly },
    {
      port: 5432,
      sslMode: "verify-full",
      max: 15,
      idleTimeout: 30,
      maxLifetime: 3600,
      connectTimeout: 60,
      statementTimeout: 0,
      readOnly: false,
    },
  );
  for (
    const name of ["endpoint", "instance", "host", "user", "password", "group", "tokenTtl", "ca"] as const
  ) {
    assert.equal(settings[name], undefined, name);
  }
});

Deno.test("resolveSettings() reads each documented environment variable", () => {
  const cases: [Record<string, string>, Partial<ReturnType<typeof settle>>][] = [
    [{ LAKEBASE_ENDPOINT: "projects/p/branches/b/endpoints/e" }, { endpoint: "projects/p/branches/b/endpoints/e" }],
    [{ LAKEBASE_INSTANCE: "i" }, { instance: "i" }],
    [{ PGHOST: "h.example.com" }, { host: "h.example.com" }],
    [{ PGPORT: "6543" }, { port: 6543 }],
    [{ PGUSER: "u", DATABRICKS_CLIENT_ID: "sp" }, { user: "u" }],
    [{ DATABRICKS_CLIENT_ID: "sp" }, { user: "sp" }],
    [{ PGUSER: "u", PGPASSWORD: "p$w#d" }, { user: "u", password: "p$w#d" }],
    [{ PGSSLMODE: "require" }, { sslMode: "require" }],
    [{ PGSSLMODE: "disable", PGHOST: "localhost" }, { sslMode: "disable" }],
    [{ PGSSLMODE: "prefer", PGHOST: "127.0.0.1" }, { sslMode: "disable" }],
    [{ PGSSLROOTCERT: "/ca.pem" }, { ca: "/ca.pem" }],
    [{ PGSSLROOTCERT: "system" }, { ca: undefined }],
  ];
  for (const [env, expected] of cases) {
    const settings = settle({}, env);
    for (const [name, value] of Object.entries(expected)) {
      assert.equal(settings[name as keyof typeof settings], value, `${JSON.stringify(env)} ${name}`);
    }
  }
});

Deno.test("resolveSettings() replaces the endpoint's branch, and asks the workspace for the host of the new one", () => {
  const E = "projects/p/branches/b/endpoints/e";
  const cases: [ConnectOptions, Record<string, string>, Partial<ReturnType<typeof settle>>][] = [
    [{ branch: "c" }, {}, { endpoint: undefined, branch: "c" }],
    [{ branch: "c" }, { LAKEBASE_ENDPOINT: E, PGHOST: "h.example.com" }, {
      endpoint: "projects/p/branches/c",
      host: undefined,
    }],
    [{ branch: "c" }, { LAKEBASE_ENDPOINT: "p" }, { endpoint: "projects/p/branches/c", branch: undefined }],
    [{ branch: "c", endpoint: "projects/p" }, {}, { endpoint: "projects/p/branches/c" }],
    [{ branch: "projects/q/branches/c" }, { LAKEBASE_ENDPOINT: E }, { endpoint: "projects/q/branches/c" }],
    [{}, { LAKEBASE_BRANCH: "c", LAKEBASE_ENDPOINT: E }, { endpoint: "projects/p/branches/c" }],
    [{ endpoint: E }, { LAKEBASE_BRANCH: "c" }, { endpoint: E, branch: undefined }],
    [{ endpoint: "p" }, { LAKEBASE_BRANCH: "c" }, { endpoint: "projects/p/branches/c" }],
    [{ instance: "i" }, { LAKEBASE_BRANCH: "c" }, { instance: "i", branch: undefined }],
    // The output of "lakebase branch create", all of which belongs to the same branch.
    [{}, { LAKEBASE_BRANCH: "b", LAKEBASE_ENDPOINT: E, PGHOST: "h.example.com" }, {
      endpoint: E,
      host: "h.example.com",
    }],
    [{ branch: "b", endpoint: E, host: "h.example.com" }, {}, { endpoint: E, host: "h.example.com" }],
  ];
  for (const [options, env, expected] of cases) {
    const settings = settle(options, env);
    for (const [name, value] of Object.entries(expected)) {
      assert.equal(settings[name as keyof typeof settings], value, `${name} of ${JSON.stringify({ options, env })}`);
    }
  }
  const refusals: [ConnectOptions, Record<string, string>, RegExp][] = [
    [{ branch: "c", endpoint: E }, {}, /options "branch" and "endpoint" name different branches, "c" and "projects/],
    [{ branch: "c", instance: "i" }, {}, /an instance of Lakebase Provisioned has no branches/],
    [{ branch: "c" }, { LAKEBASE_INSTANCE: "i" }, /an instance of Lakebase Provisioned has no branches/],
    [{ branch: "c", host: "h.example.com" }, {}, /option "host" is "h.example.com", and "branch" is "c"/],
    [{ branch: "a b" }, {}, /"branch" \(LAKEBASE_BRANCH\) is "a b"; it must be a branch's id/],
    ...["..", ".", "projects/../branches/b", "projects/p/branches/.."].map((branch) =>
      [{ branch }, {}, /it must be a branch's id/] as [ConnectOptions, Record<string, string>, RegExp]
    ),
    [{ endpoint: "projects/p/branches/../endpoints/e" }, {}, /"endpoint" \(LAKEBASE_ENDPOINT\) is "projects/],
    [{ instance: ".." }, {}, /"instance" \(LAKEBASE_INSTANCE\) is "\.\."; it must be a name/],
    [{ branch: "" }, {}, /option "branch" is ""/],
    [{}, { LAKEBASE_BRANCH: "postgres://u:p@h/d" }, /a connection string or an address, which is not shown/],
  ];
  for (const [options, env, message] of refusals) assert.throws(() => settle(options, env), message);
});

Deno.test("resolveSettings() prefers an endpoint in an option to an instance in the environment, and the reverse", () => {
  assert.equal(settle({ endpoint: "p" }, { LAKEBASE_INSTANCE: "i" }).instance, undefined);
  assert.equal(settle({ instance: "i" }, { LAKEBASE_ENDPOINT: "p" }).endpoint, undefined);
});

Deno.test("resolveSettings() does not take the environment's service principal for another workspace's user", () => {
  assert.equal(settle({ profile: "dev" }, { DATABRICKS_CLIENT_ID: "sp" }).user, undefined);
  assert.equal(settle({ group: "analysts" }, {}).user, "analysts");
});

Deno.test("resolveSettings() does not show a connection string that stands in for a name", () => {
  const strings = [
    ...["postgres://app:s3cret@h/db", "postgres://app:s3cret/pw@h/db", "postgres://app:p@s3cret@h/db"],
    ...[
      "postgresql://h/db?user=a&password=s3cret",
      "host=h user=a password=s3cret",
      "jdbc:postgresql://h/db?password=s3cret",
    ],
    ...["app:s3cret@h", "app:s3cret@ep-1-pooler.h", `postgres://app:${"x".repeat(90)}s3cret@h/db`],
  ];
  for (const text of strings) {
    for (
      const options of [{ host: text }, { endpoint: text }, { instance: text }, { endpoint: text, instance: text }]
    ) {
      assert.throws(() => settle(options, {}), (error) => {
        assert.match(String(error), /"(host|endpoint|instance)"/);
        assert.doesNotMatch(Deno.inspect(error), /s3cret|xxx/, text);
        return true;
      });
    }
    assert.throws(() => settle({ sslMode: text } as ConnectOptions, {}), (error) => {
      if (!text.startsWith("app:")) assert.doesNotMatch(Deno.inspect(error), /s3cret|xxx/, text);
      return true;
    });
  }
});

Deno.test("resolveSettings() refuses bad values with the setting, the value and what is allowed", () => {
  const cases: [unknown, Record<string, string>, RegExp][] = [
    [{ endpont: "x" }, {}, /no option "endpont"; did you mean "endpoint"\?/],
    [{ ssl: true }, {}, /no option "ssl".*sslMode/],
    ["projects/p", {}, /options are "projects\/p"; they must be an object/],
    [null, {}, /must be an object/],
    [{ endpoint: "projects/p/endpoints/e" }, {}, /"endpoint".*"projects\/p\/endpoints\/e".*projects\/p\/branches\/b/],
    [{ endpoint: "" }, {}, /option "endpoint" is ""/],
    [{ endpoint: 7 }, {}, /option "endpoint" is 7/],
    [{ endpoint: "p", instance: "i" }, {}, /"endpoint" .* and "instance" .* are both set/],
    [{ port: 0 }, {}, /option "port" is 0.*1 to 65535/],
    [{ port: "5432" }, {}, /option "port" is "5432"/],
    [{}, { PGPORT: "54x" }, /PGPORT is "54x"/],
    [{ max: 1.5 }, {}, /option "max" is 1.5.*whole number/],
    [{ tokenTtl: 60 }, {}, /"tokenTtl" is 60.*300 to 3600/],
    [{ connectTimeout: -1 }, {}, /"connectTimeout" is -1/],
    [{ statementTimeout: NaN }, {}, /"statementTimeout" is NaN/],
    [{ readOnly: "yes" }, {}, /"readOnly" is "yes"; it must be true or false/],
    [{ sslMode: "verify-ful" }, {}, /"sslMode" is "verify-ful"; it must be verify-full/],
    [{ sslMode: "disable", host: "db.example.com" }, {}, /"disable".*plain text/],
    [{ sslMode: "disable" }, {}, /plain text/],
    [{}, { PGSSLMODE: "no-verify" }, /PGSSLMODE is "no-verify"/],
    [{}, { PGSSLMODE: "allow", PGHOST: "db.example.com" }, /PGSSLMODE is "allow".*plain text/],
    [{ host: "postgres://u:p@h/db" }, {}, /"host" \(PGHOST\).*host name alone/],
    [{ instance: "a b" }, {}, /"instance" \(LAKEBASE_INSTANCE\) is "a b"/],
    [{ host: "-x" }, {}, /"host"/],
    [{ host: "db.example.com:5432" }, {}, /"host" \(PGHOST\).*port/],
    [{ password: "p" }, {}, /"password" \(PGPASSWORD\) is set without "user"/],
    [{ password: 1 }, {}, /option "password" is number/],
    [{ password: "p", user: "u", group: "g" }, {}, /native login/],
    [{ workspace: {} }, {}, /"workspace" is an object; it must be a WorkspaceClient/],
    [{ onConnect: 5 }, {}, /option "onConnect" is 5; it must be SQL/],
    [{ onConnect: " " }, {}, /option "onConnect" is " "/],
    [{ onconnect: "SET x TO y" }, {}, /no option "onconnect"; did you mean "onConnect"\?/],
    [{ types: { numerik: Number } }, {}, /"numerik", which is not a Postgres type; did you mean "numeric"\?/],
    [{ types: { numeric: 5 } }, {}, /option "types" has a number for "numeric"; it must be a function/],
    [{ types: [] }, {}, /option "types" is an array; it must be an object/],
  ];
  for (const [options, env, message] of cases) {
    assert.throws(() => settle(options as ConnectOptions, env), (error) => {
      assert.ok(error instanceof LakebaseError);
      assert.equal(error.code, "BAD_SETTING");
      assert.match(error.message, message);
      return true;
    }, JSON.stringify(options));
  }
});

Deno.test("resolveSettings() refuses a -pooler host with OAuth, and accepts it with a native password", () => {
  const host = "ep-a-b-pooler.database.us-east-1.cloud.databricks.com";
  assert.throws(() => settle({ host }, {}), { code: "POOLED_HOST" });
  assert.equal(settle({ host, user: "u", password: "p" }, {}).host, host);
});

Deno.test("resolveSettings() never shows the password", () => {
  assert.throws(() => settle({ password: "s3cret!", group: "g" }, {}), (error: Error) => {
    assert.doesNotMatch(`${error.message}${error.stack}${Deno.inspect(error)}`, /s3cret/);
    return true;
  });
});

Deno.test("resolveSettings() does not change its arguments", () => {
  const options = Object.freeze({ database: "a" });
  const env = Object.freeze({ PGHOST: "h", PGUSER: "" });
  settle(options, env, Object.freeze({ PGUSER: "u" }));
});

Deno.test("resolveLocal() prefers the option to the environment, and the environment to .env, and refuses unknown values", () => {
  const cases: [ConnectOptions, Record<string, string>, Record<string, string>, object | undefined][] = [
    [{}, {}, {}, undefined],
    [{ local: true }, { LAKEBASE_LOCAL: "0" }, {}, {}],
    [{ local: false }, { LAKEBASE_LOCAL: "1" }, {}, undefined],
    [{}, { LAKEBASE_LOCAL: "on" }, {}, {}],
    [{}, {}, { LAKEBASE_LOCAL: "true" }, {}],
    [{ local: { user: "u" } }, {}, {}, { user: "u" }],
  ];
  for (const [options, env, dotenv, expected] of cases) {
    assert.deepEqual(resolveLocal(options, variables(env, dotenv))?.value, expected);
  }
  const refused: [unknown, Record<string, string>, RegExp][] = [
    [{ local: "yes" }, {}, /"local" is "yes"; it must be true, false or an object/],
    [{ local: { usr: "u" } }, {}, /"local.usr"; did you mean "local.user"/],
    [{}, { LAKEBASE_LOCAL: "junk" }, /LAKEBASE_LOCAL is "junk"/],
  ];
  for (const [options, env, message] of refused) {
    assert.throws(() => resolveLocal(options as ConnectOptions, variables(env)), { code: "BAD_SETTING", message });
  }
});

/** What happens to a login with a server, by the origin of each; the same rules as the table in SECURITY.md. */
const TRUST: [string, ConnectOptions, Env, string, string, "used" | "confirmed" | RegExp][] = [
  // A native password.
  ["host env, password env", {}, { PGHOST: "h", PGUSER: "u", PGPASSWORD: "p" }, "", "", "used"],
  ["host .env, password .env", {}, {}, "PGHOST=h\nPGUSER=u\nPGPASSWORD=p", "", "used"],
  ["host env, password .env", {}, { PGHOST: "h" }, "PGUSER=u\nPGPASSWORD=p", "", "used"],
  ["host code, password env", { host: "h" }, { PGUSER: "u", PGPASSWORD: "p" }, "", "", "used"],
  [
    "host .env, password env",
    {},
    { PGUSER: "u", PGPASSWORD: "p" },
    "PGHOST=h",
    "",
    /PGHOST in \.env, line 1.*PGPASSWORD/,
  ],
  ["host .env, password code", { user: "u", password: "p" }, {}, "PGHOST=h", "", /PGHOST in \.env.*option "password"/],
  [
    "host env, password code",
    { user: "u", password: "p" },
    { PGHOST: "h" },
    "",
    "",
    /PGHOST names.*option "password".* one place, as in host: Deno\.env\.get\("PGHOST"\)$/,
  ],
  ["host code, password function", { host: "h", user: "u", password: () => "p" }, {}, "", "", "used"],
  [
    "port .env, password env",
    {},
    { PGHOST: "h", PGUSER: "u", PGPASSWORD: "p" },
    "PGPORT=1",
    "",
    /PGPORT in \.env.*port/,
  ],
  ["the usual port .env", {}, { PGHOST: "h", PGUSER: "u", PGPASSWORD: "p" }, "PGPORT=5432", "", "used"],
  [
    "CA .env, password env",
    {},
    { PGHOST: "h", PGUSER: "u", PGPASSWORD: "p" },
    "PGSSLROOTCERT=./ca",
    "",
    /PGSSLROOTCERT in \.env/,
  ],
  ["the system's CAs .env", {}, { PGHOST: "h", PGUSER: "u", PGPASSWORD: "p" }, "PGSSLROOTCERT=system", "", "used"],
  ["CA env, password .env", {}, { PGSSLROOTCERT: "ca" }, "PGHOST=h\nPGUSER=u\nPGPASSWORD=p", "", "used"],
  [
    "no TLS .env",
    {},
    { PGHOST: "localhost", PGUSER: "u", PGPASSWORD: "p" },
    "PGSSLMODE=disable",
    "",
    /PGSSLMODE in \.env/,
  ],
  ["TLS .env", {}, { PGHOST: "h", PGUSER: "u", PGPASSWORD: "p" }, "PGSSLMODE=require", "", "used"],
  [
    "password env, to what the workspace of .env names",
    {},
    { PGUSER: "u", PGPASSWORD: "p" },
    "DATABRICKS_HOST=https://w\nDATABRICKS_TOKEN=t",
    "",
    /DATABRICKS_HOST in \.env, line 1.*PGPASSWORD/,
  ],
  // The workspace's own login.
  ["workspace env, token env", {}, { DATABRICKS_HOST: "w", DATABRICKS_TOKEN: "t" }, "", "", "used"],
  ["workspace env, token .env", {}, { DATABRICKS_HOST: "w" }, "DATABRICKS_TOKEN=t", "", "used"],
  ["workspace .env, token .env", {}, {}, "DATABRICKS_HOST=w\nDATABRICKS_TOKEN=t", "", "used"],
  [
    "workspace .env, token env",
    {},
    { DATABRICKS_TOKEN: "t" },
    "DATABRICKS_HOST=w",
    "",
    /DATABRICKS_HOST in \.env.*DATABRICKS_TOKEN/,
  ],
  [
    "workspace .env, client secret env",
    {},
    { DATABRICKS_CLIENT_ID: "i", DATABRICKS_CLIENT_SECRET: "s" },
    "DATABRICKS_HOST=w",
    "",
    /DATABRICKS_HOST in \.env.*DATABRICKS_CLIENT_SECRET/,
  ],
  [
    "workspace .env, a tool's login",
    {},
    {},
    "DATABRICKS_HOST=w",
    "",
    /DATABRICKS_HOST in \.env.*databricks auth login/,
  ],
  [
    "workspace .env, half a login .env",
    {},
    {},
    "DATABRICKS_HOST=w\nDATABRICKS_CLIENT_SECRET=s",
    "",
    /but has no complete login/,
  ],
  ["workspace .env, another's profile", {}, {}, "DATABRICKS_HOST=w", "[dev]\nhost=https://other\ntoken=t", /in \.env/],
  [
    "workspace .env, its own profile",
    {},
    {},
    "DATABRICKS_HOST=https://w/?o=1",
    "[dev]\nhost=https://w\ntoken=t",
    "used",
  ],
  [
    "workspace .env, a named profile of another",
    {},
    {},
    "DATABRICKS_HOST=w\nDATABRICKS_CONFIG_PROFILE=dev",
    "[dev]\nhost=other\ntoken=t",
    /its own host/,
  ],
  ["profile .env", {}, {}, "DATABRICKS_CONFIG_PROFILE=dev", "[dev]\nhost=other\ntoken=t", "used"],
  ["profile code, workspace .env", { profile: "dev" }, {}, "DATABRICKS_HOST=w", "[dev]\nhost=other\ntoken=t", "used"],
  [
    "workspace of a profile, token env",
    {},
    { DATABRICKS_TOKEN: "t", DATABRICKS_CONFIG_PROFILE: "dev" },
    "",
    "[dev]\nhost=w",
    /profile "dev".*DATABRICKS_TOKEN/,
  ],
  [
    "way of logging in .env",
    {},
    { DATABRICKS_HOST: "w" },
    "DATABRICKS_AUTH_TYPE=azure-cli",
    "",
    /DATABRICKS_AUTH_TYPE in \.env/,
  ],
  ["program .env", {}, { DATABRICKS_HOST: "w", DATABRICKS_TOKEN: "t" }, "DATABRICKS_CLI_PATH=./tool", "", "used"],
  // The OAuth token that the workspace mints, for a server.
  ["server env, login env", {}, { PGHOST: "h", DATABRICKS_HOST: "w", DATABRICKS_TOKEN: "t" }, "", "", "used"],
  ["server env, login of a profile", {}, { PGHOST: "h" }, "", "[DEFAULT]\nhost=w\ntoken=t", "used"],
  [
    "server .env, login of that .env",
    {},
    {},
    "PGHOST=h\nPGPORT=1\nPGSSLROOTCERT=ca\nDATABRICKS_HOST=w\nDATABRICKS_TOKEN=t",
    "",
    "used",
  ],
  ["server .env, login of a profile", {}, {}, "PGHOST=h", "[DEFAULT]\nhost=w\ntoken=t", "confirmed"],
  ["server .env, login env", {}, { DATABRICKS_HOST: "w", DATABRICKS_TOKEN: "t" }, "PGHOST=h", "", "confirmed"],
  [
    "CA .env, login env",
    {},
    { DATABRICKS_HOST: "w", DATABRICKS_TOKEN: "t" },
    "PGSSLROOTCERT=ca",
    "",
    /PGSSLROOTCERT in \.env/,
  ],
  ["port .env, login of a profile", {}, {}, "PGPORT=1", "[DEFAULT]\nhost=w\ntoken=t", /PGPORT in \.env/],
];

for (const [name, options, env, file, profiles, expected] of TRUST) {
  Deno.test(`a login goes only where an equally trusted source sends it: ${name}`, () => {
    const settled = () => settle(options, env, file, profiles);
    if (typeof expected !== "string") return assert.throws(settled, { code: "BAD_SETTING", message: expected });
    const { unconfirmedHost, login } = settled();
    assert.equal(unconfirmedHost === undefined, expected === "used");
    assert.equal(login?.attributes["databricksCliPath"], undefined);
  });
}

Deno.test("a hostile .env can name no program, no configuration file and no service that gives out logins", () => {
  const names = [
    "DATABRICKS_CLI_PATH",
    "DATABRICKS_CONFIG_FILE",
    "DATABRICKS_METADATA_SERVICE_URL",
    "GOOGLE_CREDENTIALS",
  ]
    .concat("ARM_USE_MSI", "DATABRICKS_AZURE_RESOURCE_ID", "DATABRICKS_GOOGLE_SERVICE_ACCOUNT", "HTTPS_PROXY", "PATH");
  const file = names.map((name) => `${name}=./tool`).join("\n");
  assert.deepEqual([...variables({}, file).keys()], []);
  const { login } = settle({ profile: "p" }, {}, file, "[p]\nhost=w\ntoken=t");
  assert.deepEqual(login, { host: "https://w", workspaceId: undefined, profile: "p", attributes: { token: "t" } });
});

Deno.test("with a host from .env, the SDK must use the login in the same file", () => {
  const { login } = settle({}, {}, "DATABRICKS_HOST=w\nDATABRICKS_TOKEN=t");
  assert.deepEqual(login?.attributes, { token: "t", authType: "pat" });
});

Deno.test("if the environment has a login method, .env adds no other method", () => {
  const env = { DATABRICKS_HOST: "w", DATABRICKS_TOKEN: "t" };
  const { login } = settle({}, env, "DATABRICKS_CLIENT_ID=i\nDATABRICKS_CLIENT_SECRET=s");
  assert.deepEqual(login?.attributes, { token: "t" });
});

Deno.test("profiles are chosen as the Databricks CLI chooses them", () => {
  const cases: [string, ConnectOptions, Env, string, { host?: string; profile?: string; workspaceId?: string }][] = [
    ["DEFAULT", {}, {}, "[DEFAULT]\nhost=https://a\n[b]\nhost=https://b", { host: "https://a", profile: "DEFAULT" }],
    ["the one chosen", {}, {}, "[__settings__]\ndefault_profile = b\n[DEFAULT]\nhost=https://a\n[b]\nhost=https://b", {
      host: "https://b",
      profile: "b",
    }],
    ["the only one", {}, {}, "[b]\nhost=https://b", { host: "https://b", profile: "b" }],
    ["an empty DEFAULT and one more", {}, {}, "[DEFAULT]\n[b]\nhost=https://b", { host: "https://b", profile: "b" }],
    ["none of several", {}, {}, "[a]\nhost=https://a\n[b]\nhost=https://b", {}],
    ["a byte order mark, CRLF, colons", {}, {}, "\ufeff[DEFAULT]\r\nhost : https://a\r\n", {
      host: "https://a",
      profile: "DEFAULT",
    }],
    ["comments, quotes", {}, {}, "; x\n# y\n[DEFAULT]\nhost = 'https://a' \n", {
      host: "https://a",
      profile: "DEFAULT",
    }],
    ["of the host", {}, { DATABRICKS_HOST: "https://b" }, "[a]\nhost=https://a\n[b]\nhost=b/", {
      host: "https://b",
      profile: "b",
    }],
    ["a pasted address", {}, { DATABRICKS_HOST: "https://w.example/sql/editor?o=12#x", DATABRICKS_TOKEN: "t" }, "", {
      host: "https://w.example",
      workspaceId: "12",
    }],
    ["its workspace's id", { profile: "u" }, {}, "[u]\nhost=https://u\nworkspace_id=7", {
      host: "https://u",
      profile: "u",
      workspaceId: "7",
    }],
    ["no such profile", { profile: "zz" }, {}, "[u]\nhost=https://u", { profile: "zz" }],
  ];
  for (const [name, options, env, profiles, expected] of cases) {
    const { host, profile, workspaceId } = settle(options, env, "", profiles).login!;
    assert.deepEqual({ host, profile, workspaceId }, {
      host: undefined,
      profile: undefined,
      workspaceId: undefined,
      ...expected,
    }, name);
  }
  assert.throws(
    () => settle({}, { DATABRICKS_HOST: "a" }, "", "[x]\nhost=a\ntoken=t\n[y]\nhost=a\ntoken=u"),
    /x, y.*name one/,
  );
});

Deno.test("a workspace's address with a login in it is refused, and not shown", () => {
  for (const host of ["https://token:s3cret@w", "s3cret@w", "https://s3cret@w/x"]) {
    assert.throws(() => settle({}, { DATABRICKS_HOST: host, DATABRICKS_TOKEN: "t" }), (error) => {
      assert.match(String(error), /DATABRICKS_HOST holds a login, which is not shown/);
      assert.doesNotMatch(Deno.inspect(error), /s3cret/);
      return true;
    });
  }
});

Deno.test("LAKEBASE_LOCAL in .env is refused if code or the environment names a server", () => {
  const file = "LAKEBASE_LOCAL=1";
  assert.deepEqual(resolveLocal({}, variables({}, file))?.value, {});
  assert.equal(resolveLocal({ local: false }, variables({ PGHOST: "h" }, file)), undefined);
  for (
    const [options, env] of [[{ host: "h" }, {}], [{ profile: "p" }, {}], [{}, { DATABRICKS_HOST: "w" }], [{}, {
      PGHOST: "h",
    }]] as const
  ) {
    assert.throws(() => resolveLocal(options, variables(env, file)), {
      code: "BAD_SETTING",
      message: /LAKEBASE_LOCAL in \.env/,
    });
  }
  assert.deepEqual(resolveLocal({ endpoint: "p" }, variables({ LAKEBASE_LOCAL: "1" }))?.value, {});
});

Deno.test("the error for a bad setting has fields for its name and its origin", () => {
  const cases: [ConnectOptions, Env, string, string, string][] = [
    [{ port: 0 }, {}, "", "port", "option"],
    [{}, { PGPORT: "x" }, "", "PGPORT", "PGPORT"],
    [{}, {}, "\nPGPORT=x", "PGPORT", "PGPORT in .env, line 2"],
    [{ sslMode: "x" as never }, {}, "", "sslMode", "option"],
    [{}, {}, "LAKEBASE_ENDPOINT='a b'", "endpoint", "LAKEBASE_ENDPOINT in .env, line 1"],
    [{}, {}, 'PGPASSWORD="a"b', "PGPASSWORD", "PGPASSWORD in .env, line 1"],
  ];
  for (const [options, env, file, setting, origin] of cases) {
    assert.throws(() => settle(options, env, file), (error) => {
      assert.ok(error instanceof LakebaseError);
      assert.deepEqual([error.setting, error.origin], [setting, origin]);
      return true;
    });
  }
});

Deno.test("the explicit settings are listed with their origins, and show no secret", () => {
  const list = (options: ConnectOptions, env: Env, file = "", profiles = "") =>
    resolve(options, env, file, profiles).explicit.map(({ setting, value, origin }) =>
      `${setting} = ${value} from ${describeOrigin(origin)}`
    );
  assert.deepEqual(list({}, {}), []);
  assert.deepEqual(list({}, {}, "\nPGDATABASE=d"), ["database = d from PGDATABASE in .env, line 2"]);
  assert.deepEqual(list({ max: 3, tokenTtl: 300 }, {}), [
    'tokenTtl = 300 from the option "tokenTtl"',
    'max = 3 from the option "max"',
  ]);
  assert.deepEqual(list({}, {}, "", "[p]\nhost=https://w\ntoken=t"), [
    'workspace = https://w from the profile "p" of ~/.databrickscfg, line 2',
    'DATABRICKS_HOST = https://w from the profile "p" of ~/.databrickscfg, line 2',
  ]);
  const secrets = { PGPASSWORD: "s3cret", PGUSER: "u", DATABRICKS_HOST: "https://w", DATABRICKS_TOKEN: "s3cret" };
  const others = {
    GOOGLE_CREDENTIALS: "s3cret",
    ARM_CLIENT_SECRET: "s3cret",
    PGDATABASE: "postgres://app:s3cret@h/db",
  };
  const shown = list({}, { ...secrets, ...others, DATABRICKS_CLIENT_SECRET: "s3cret", DATABRICKS_PASSWORD: "s3cret" });
  assert.ok(shown.length >= 8, String(shown));
  assert.doesNotMatch(shown.join(), /s3cret/);
});

Deno.test("originsBehind() says where the settings behind a failure come from, except options in code", () => {
  const origins = (
    code: Parameters<typeof originsBehind>[0],
    options: ConnectOptions,
    env: Env,
    file = "",
    profiles = "",
  ) => originsBehind(code, resolve(options, env, file, profiles).explicit);
  const login = "DATABRICKS_HOST=https://w\nDATABRICKS_TOKEN=t\n";
  assert.equal(origins("DNS", {}, {}, `${login}PGHOST=h`), "The host is set by PGHOST in .env, line 3");
  assert.equal(origins("DNS", { host: "h" }, {}, `${login}PGHOST=g`), "");
  assert.equal(
    origins("UNREACHABLE", {}, { PGHOST: "h", PGPORT: "1" }),
    "The host is set by PGHOST, the port by PGPORT",
  );
  assert.equal(origins("DATABASE_NOT_FOUND", {}, { PGDATABASE: "d" }), "The database is set by PGDATABASE");
  assert.equal(origins("QUERY_FAILED", {}, { PGHOST: "h" }), "");
  assert.equal(
    origins("WORKSPACE_UNAVAILABLE", {}, {}, login),
    "The workspace is set by DATABRICKS_HOST in .env, line 1",
  );
  assert.equal(
    origins("WORKSPACE_UNAVAILABLE", { profile: "dev" }, { DATABRICKS_HOST: "https://x" }, "", "[dev]\nhost=https://w"),
    'The workspace is set by the profile "dev" of ~/.databrickscfg, line 2',
  );
});

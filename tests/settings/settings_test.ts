import assert from "node:assert/strict";
import { LakebaseError } from "../../src/errors.ts";
import { resolveLocal } from "../../src/settings/local_setting.ts";
import type { ConnectOptions } from "../../src/settings/options.ts";
import { resolveSettings } from "../../src/settings/settings.ts";

Deno.test("resolveSettings() takes options over environment over .env over defaults", () => {
  const cases: [ConnectOptions, Record<string, string>, Record<string, string>, string][] = [
    [{ database: "a" }, { PGDATABASE: "b" }, { PGDATABASE: "c" }, "a"],
    [{}, { PGDATABASE: "b" }, { PGDATABASE: "c" }, "b"],
    [{}, { PGDATABASE: "" }, { PGDATABASE: "c" }, "c"],
    [{}, {}, {}, "databricks_postgres"],
  ];
  for (const [options, env, dotenv, expected] of cases) {
    assert.equal(resolveSettings(options, env, dotenv).database, expected);
  }
});

Deno.test("resolveSettings() fills in the defaults of the design", () => {
  const settings = resolveSettings({}, {});
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
    const name of ["endpoint", "instance", "host", "user", "password", "group", "tokenTtl", "ca", "profile"] as const
  ) {
    assert.equal(settings[name], undefined, name);
  }
});

Deno.test("resolveSettings() reads each environment variable of the design", () => {
  const cases: [Record<string, string>, Partial<ReturnType<typeof resolveSettings>>][] = [
    [{ LAKEBASE_ENDPOINT: "projects/p/branches/b/endpoints/e" }, { endpoint: "projects/p/branches/b/endpoints/e" }],
    [{ LAKEBASE_INSTANCE: "i" }, { instance: "i" }],
    [{ DATABRICKS_CONFIG_PROFILE: "dev" }, { profile: "dev" }],
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
    const settings = resolveSettings({}, env);
    for (const [name, value] of Object.entries(expected)) {
      assert.equal(settings[name as keyof typeof settings], value, `${JSON.stringify(env)} ${name}`);
    }
  }
});

Deno.test("resolveSettings() lets an endpoint option win over an instance in the environment, and the reverse", () => {
  assert.equal(resolveSettings({ endpoint: "p" }, { LAKEBASE_INSTANCE: "i" }).instance, undefined);
  assert.equal(resolveSettings({ instance: "i" }, { LAKEBASE_ENDPOINT: "p" }).endpoint, undefined);
});

Deno.test("resolveSettings() does not take the environment's service principal for another workspace's user", () => {
  assert.equal(resolveSettings({ profile: "dev" }, { DATABRICKS_CLIENT_ID: "sp" }).user, undefined);
  assert.equal(resolveSettings({ group: "analysts" }, {}).user, "analysts");
});

Deno.test("resolveSettings() does not show a connection string where a name should be", () => {
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
      assert.throws(() => resolveSettings(options, {}), (error) => {
        assert.match(String(error), /"(host|endpoint|instance)"/);
        assert.doesNotMatch(Deno.inspect(error), /s3cret|xxx/, text);
        return true;
      });
    }
    assert.throws(() => resolveSettings({ sslMode: text } as ConnectOptions, {}), (error) => {
      if (!text.startsWith("app:")) assert.doesNotMatch(Deno.inspect(error), /s3cret|xxx/, text);
      return true;
    });
  }
});

Deno.test("resolveSettings() refuses what can't be right, naming setting, value and what is allowed", () => {
  const cases: [unknown, Record<string, string>, RegExp][] = [
    [{ endpont: "x" }, {}, /no option "endpont"; did you mean "endpoint"\?/],
    [{ ssl: true }, {}, /no option "ssl".*sslMode/],
    ["projects/p", {}, /options are "projects\/p"; they must be an object/],
    [null, {}, /must be an object/],
    [{ endpoint: "projects/p/endpoints/e" }, {}, /"endpoint".*"projects\/p\/endpoints\/e".*projects\/p\/branches\/b/],
    [{ endpoint: "" }, {}, /option "endpoint" is ""/],
    [{ endpoint: 7 }, {}, /option "endpoint" is 7/],
    [{ endpoint: "p", instance: "i" }, {}, /"endpoint" and "instance" are both set/],
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
  ];
  for (const [options, env, message] of cases) {
    assert.throws(() => resolveSettings(options as ConnectOptions, env), (error) => {
      assert.ok(error instanceof LakebaseError);
      assert.equal(error.code, "BAD_SETTING");
      assert.match(error.message, message);
      return true;
    }, JSON.stringify(options));
  }
});

Deno.test("resolveSettings() refuses a -pooler host with OAuth, and takes it with a native password", () => {
  const host = "ep-a-b-pooler.database.us-east-1.cloud.databricks.com";
  assert.throws(() => resolveSettings({ host }, {}), { code: "POOLED_HOST" });
  assert.equal(resolveSettings({ host, user: "u", password: "p" }, {}).host, host);
});

Deno.test("resolveSettings() never shows the password", () => {
  assert.throws(() => resolveSettings({ password: "s3cret!", group: "g" }, {}), (error: Error) => {
    assert.doesNotMatch(`${error.message}${error.stack}${Deno.inspect(error)}`, /s3cret/);
    return true;
  });
});

Deno.test("resolveSettings() leaves what it is given as it was", () => {
  const options = Object.freeze({ database: "a" });
  const env = Object.freeze({ PGHOST: "h", PGUSER: "" });
  resolveSettings(options, env, Object.freeze({ PGUSER: "u" }));
});

Deno.test("resolveLocal() takes the option over the environment over .env, and refuses what it does not know", () => {
  const cases: [ConnectOptions, Record<string, string>, Record<string, string>, object | undefined][] = [
    [{}, {}, {}, undefined],
    [{ local: true }, { LAKEBASE_LOCAL: "0" }, {}, {}],
    [{ local: false }, { LAKEBASE_LOCAL: "1" }, {}, undefined],
    [{}, { LAKEBASE_LOCAL: "on" }, {}, {}],
    [{}, {}, { LAKEBASE_LOCAL: "true" }, {}],
    [{ local: { user: "u" } }, {}, {}, { user: "u" }],
  ];
  for (const [options, env, dotenv, expected] of cases) assert.deepEqual(resolveLocal(options, env, dotenv), expected);
  const refused: [unknown, Record<string, string>, RegExp][] = [
    [{ local: "yes" }, {}, /"local" is "yes"; it must be true, false or an object/],
    [{ local: { usr: "u" } }, {}, /"local.usr"; did you mean "local.user"/],
    [{}, { LAKEBASE_LOCAL: "junk" }, /LAKEBASE_LOCAL is "junk"/],
  ];
  for (const [options, env, message] of refused) {
    assert.throws(() => resolveLocal(options as ConnectOptions, env), { code: "BAD_SETTING", message });
  }
});

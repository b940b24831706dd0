import assert from "node:assert/strict";
import { WorkspaceClient } from "@databricks/sdk-experimental";
import { connect, type ConnectOptions, type LakebaseErrorCode, sql } from "../../mod.ts";
import type { WorkspaceFault } from "../../src/local/mod.ts";
import { eventually } from "../support/eventually.ts";
import { denoDir, LOCKED } from "../support/files.ts";
import { bothTests, connectError, type LocalRun, optionsOf, ownLakebase, workspaceOf } from "../support/lakebase.ts";

const onBoth = bothTests();
/** A test that does not reach the database, like most tests of connecting. */
const test = (name: string, run: LocalRun) =>
  onBoth(name, run, { neverReached: "the workspace and the network alone decide" });

onBoth("connect() reaches Postgres through workspace, credential, TLS and login", async ({ settings }) => {
  await using db = await connect(settings());
  assert.match(await db.version(), /^PostgreSQL \d+/);
  const [row] = await db.query("SELECT current_user AS role, current_database() AS database");
  assert.deepEqual(row, { role: "you@example.com", database: "databricks_postgres" });
});

test("connect() finds the endpoint from every form of its name, and from none", async ({ settings }) => {
  const full = "projects/local/branches/production/endpoints/primary";
  for (const endpoint of [full, "projects/local/branches/production", "projects/local", "local", undefined]) {
    const { endpoint: _, host: __, user: ___, ...rest } = settings();
    await using db = await connect(endpoint === undefined ? rest : { ...rest, endpoint });
    assert.match(Deno.inspect(db), new RegExp(full), `${endpoint}`);
  }
});

test("connect() with the same settings returns the connection that is open", async ({ settings }) => {
  await using first = await connect(settings());
  assert.equal(await connect(settings()), first);
  const [second, third] = await Promise.all([connect(settings()), connect(settings())]);
  assert.equal(second, first);
  assert.equal(third, first);
});

test("connect() with changed settings closes the old connection and opens a new one", async ({ settings }) => {
  const first = await connect(settings());
  await using second = await connect(settings({ max: 3 }));
  assert.notEqual(second, first);
  assert.equal(first.closed, true);
  await assert.rejects(first.query("SELECT 1"), { code: "CLOSED" });
  assert.equal(await second.version(), await second.version());
});

test("connect() with a new client of the same workspace closes the old connection", async ({ local, settings }) => {
  const first = await connect(settings());
  const { config } = workspaceOf(local);
  await using second = await connect(settings({ workspace: { config } }));
  assert.notEqual(second, first);
  assert.equal(first.closed, true);
});

test("connect() recognizes a client of the SDK, which has circular references", async ({ local, settings }) => {
  const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token } = local.env;
  const workspace = new WorkspaceClient({ host: host!, token: token! });
  await using first = await connect(settings({ workspace }));
  assert.equal(await connect(settings({ workspace })), first);
});

onBoth("connect() runs onConnect on each new session, before anything else", async ({ settings }) => {
  let calls = 0;
  const onConnect = () => {
    calls++;
    return "SET search_path TO app, public; SET application_name TO 'orders'";
  };
  await using db = await connect(settings({ onConnect, max: 3 }));
  await using session = await db.session();
  for (const { sql } of [session, db]) {
    assert.equal(await sql`SHOW search_path`.value(), "app, public");
    assert.equal(await sql`SHOW application_name`.value(), "orders");
  }
  assert.equal(calls, db.pool.totalCount);
  assert.equal((await db.check()).find(({ outcome }) => outcome === "failed"), undefined);
});

onBoth(
  "connect() reports an onConnect that fails, with its SQL, and leaves no connection open",
  async ({ settings }) => {
    const late = { connectTimeout: 4 };
    const cases: [ConnectOptions, LakebaseErrorCode, RegExp][] = [
      [
        { onConnect: "SET a.b TO 1;\nSELEC 2" },
        "QUERY_FAILED",
        /"onConnect" failed: .*42601\)\nLINE 2: SELEC 2\n {8}\^/,
      ],
      [
        { onConnect: () => "SELECT nowhere()" },
        "QUERY_FAILED",
        /"onConnect" failed: [^]*42883[^]*LINE 1: SELECT nowhere/,
      ],
      [{ onConnect: "CREATE TEMP TABLE c (a int); COPY c FROM STDIN" }, "QUERY_FAILED", /"onConnect" failed: .*57014/],
      [{ onConnect: "BEGIN" }, "BAD_SETTING", /"onConnect" left a transaction open; end it with COMMIT/],
      [{ onConnect: () => Promise.resolve("") }, "BAD_SETTING", /function "onConnect" returned an empty text/],
      [{ onConnect: (() => 5) as never }, "BAD_SETTING", /function "onConnect" returned number/],
      [
        { onConnect: () => Promise.reject(new Error("no vault")) },
        "BAD_SETTING",
        /"onConnect" threw an error: no vault/,
      ],
      [
        { onConnect: "SELECT pg_catalog.pg_sleep(100)", ...late },
        "CONNECT_TIMEOUT",
        /"onConnect" did not end within 4 s/,
      ],
      [{ onConnect: () => new Promise(() => {}), ...late }, "CONNECT_TIMEOUT", /"onConnect" did not end within 4 s/],
    ];
    for (const [options, code, message] of cases) {
      await assert.rejects(connect(settings(options)), { code, message }, `${options.onConnect}`);
    }
    await using db = await connect(settings());
    const running = () =>
      db.sql`SELECT 1 FROM pg_catalog.pg_stat_activity WHERE query LIKE ${"%pg_sleep(" + "100)%"} AND state = 'active'`;
    await eventually("the canceled onConnect has ended", async () => (await running()).length === 0);
  },
);

test("a later session whose onConnect fails does not stay in the pool", async ({ settings }) => {
  let calls = 0;
  const onConnect = () => ++calls === 2 || calls === 3 ? "SELECT nowhere" : "SELECT 1";
  await using db = await connect(settings({ max: 2, onConnect }));
  await using _session = await db.session();
  for (let n = 0; n < 2; n++) {
    await assert.rejects(db.query("SELECT 1"), { code: "QUERY_FAILED", message: /"onConnect"/ });
  }
  assert.equal(await db.sql`SELECT 1`.value(), 1);
});

test("connect() with another onConnect opens a new connection", async ({ settings }) => {
  const first = await connect(settings({ onConnect: "SET a.b TO 1" }));
  assert.equal(await connect(settings({ onConnect: "SET a.b TO 1" })), first);
  await using second = await connect(settings({ onConnect: () => "SET a.b TO 2" }));
  await assert.rejects(first.query("SELECT 1"), { code: "CLOSED", message: /had another onConnect\./ });
  assert.equal(await second.sql`SHOW a.b`.value(), "2");
});

test("a closed connection says why it is closed", async ({ settings }) => {
  const first = await connect(settings());
  await using second = await connect(settings({ max: 3, statementTimeout: 60 }));
  const replaced = /closed, \w+ a later connect\(\) for the same database and role had another max, statementTimeout\./;
  await assert.rejects(first.query("SELECT 1"), { code: "CLOSED", message: replaced });
  await assert.rejects(first.transaction(() => {}), { code: "CLOSED", message: replaced });
  await second.close();
  await assert.rejects(second.query("SELECT 1"), {
    code: "CLOSED",
    message: /"databricks_postgres" .* close\(\) was called on it/,
  });
});

test("the module releases closed connections, with their pools and logins", async ({ local }) => {
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    const kept = [];
    async function use(endpoint) {
      const db = await connect({ endpoint, envFile: "/dev/null", connectTimeout: 30 });
      await db.query("SELECT 1");
      await db.close();
      kept.push(new WeakRef(db.pool));
    }
    const production = "projects/local/branches/production";
    for (const name of [production + "/endpoints/primary", production, "projects/local", "local"]) await use(name);
    let alive = kept.length;
    // No event tells that an object was collected, and deref() keeps a pool until the next turn of the event loop.
    for (let n = 0; n < 1500 && alive > 1; n++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      gc();
      alive = kept.filter((pool) => pool.deref()).length;
    }
    console.log(alive);`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--v8-flags=--expose-gc", ...LOCKED, script],
    env: local.env,
  }).output();
  // The last one stays, so that sql can say that it was closed.
  assert.equal(new TextDecoder().decode(stdout), "1\n", new TextDecoder().decode(stderr));
});

test("libpq's variables that the module does not use have no effect, whatever their values", async ({ local }) => {
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    const db = await connect({ envFile: "/dev/null" });
    console.log(await db.sql\`SELECT 'é' || \${1}::int + 1 AS a\`.value(), (await db.pool.query("SELECT 2 AS b")).rows[0].b);
    await db.close();`;
  const nonsense = {
    PGREPLICATION: "database",
    PGBINARY: "1",
    PGCLIENT_ENCODING: "LATIN9",
    PGCLIENTENCODING: "nonsense",
    PGCONNECT_TIMEOUT: "soon",
    PGTZ: "nowhere",
    PGDATESTYLE: "x",
    PGSSLNEGOTIATION: "x",
    PGTARGETSESSIONATTRS: "x",
    PGSERVICE: "x",
    PGPASSFILE: "/nowhere",
    PGHOSTADDR: "x",
    PGSSLCERT: "/nowhere",
    PGGSSENCMODE: "x",
    PGREQUIREAUTH: "x",
    PGCHANNELBINDING: "x",
    PGAPPNAME: "ä".repeat(500),
  };
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", ...LOCKED, script],
    env: { ...local.env, ...nonsense },
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "é2 2\n", new TextDecoder().decode(stderr));
});

test("(slow) connect({ local: true }) uses no proxy of the environment", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let asked = 0;
  const counting = (async () => {
    for await (const connection of listener) {
      asked++;
      connection.close();
    }
  })();
  const proxy = `http://127.0.0.1:${listener.addr.port}`;
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    await using db = await connect({ local: true });
    console.log(await db.sql\`SELECT 1\`.value());`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", ...LOCKED, script],
    env: {
      HTTP_PROXY: proxy,
      HTTPS_PROXY: proxy,
      ALL_PROXY: proxy,
      http_proxy: proxy,
      https_proxy: proxy,
      NO_PROXY: "",
    },
  }).output();
  listener.close();
  await counting;
  assert.equal(new TextDecoder().decode(stdout), "1\n", new TextDecoder().decode(stderr));
  assert.equal(asked, 0);
});

test("connect() refuses an invalid PGPORT even with LAKEBASE_LOCAL", async () => {
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    await connect({ envFile: false }).catch((error) => console.log(error.code, error.message));`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", ...LOCKED, script],
    env: { LAKEBASE_LOCAL: "true", PGPORT: "none" },
  }).output();
  assert.match(new TextDecoder().decode(stdout), /^BAD_SETTING .*PGPORT is "none"/, new TextDecoder().decode(stderr));
});

test("sql runs on the connection that the last connect() returned, newly opened or not", async ({ settings }) => {
  await using dev = await connect(settings());
  await using prod = await connect(settings({ readOnly: true }));
  const readOnly = async () => await sql`SHOW default_transaction_read_only`.value();
  assert.equal(await readOnly(), "on");
  assert.equal(await connect(settings()), dev); // the cell is run again
  assert.equal(await readOnly(), "off");
  const [, last] = await Promise.all([connect(settings()), connect(settings({ readOnly: true }))]);
  assert.equal(last, prod);
  assert.equal(await readOnly(), "on");
  const slow = connect(settings({ max: 2 })); // this call closes a connection and logs in, so it ends after the call below
  await connect(settings({ readOnly: true }));
  assert.equal(await readOnly(), "on");
  await using _slow = await slow;
  assert.equal(await readOnly(), "on");
});

test("sql does not move to another connection when its own was closed", async ({ settings }) => {
  await using _dev = await connect(settings());
  const prod = await connect(settings({ readOnly: true }));
  await prod.close();
  await assert.rejects(sql`SELECT 1`.then(), { code: "CLOSED", message: /close\(\) was called on it/ });
  await using _again = await connect(settings());
  await sql`SELECT 1`;
  const failing = connect(settings({ max: 1, host: "db.invalid" }));
  await assert.rejects(failing, { code: "DNS" });
  assert.equal(await sql`SHOW default_transaction_read_only`.value(), "off");
});

test("sql does not open a connection after connect() has failed", async ({ local }) => {
  await using folder = await emptyHome();
  const script = `import { connect, sql } from "lakebase";
    await connect({ database: "nope" }).catch(() => {});
    const failure = await sql\`CREATE TABLE mine (a int)\`.then(() => ({ code: "" }), ({ code, message }) => ({ code, message }));
    console.log(JSON.stringify(failure));`;
  const { code, message } = await inShell(folder.path, script, local.env);
  assert.equal(code, "DATABASE_NOT_FOUND");
  assert.match(
    message,
    /there is no connection, because connect\(\) failed. Call connect\(\) again. It failed with: .*"nope"/,
  );
});

test("connect() opens a new connection after close()", async ({ settings }) => {
  const first = await connect(settings());
  await first.close();
  await first.close();
  await using second = await connect(settings());
  assert.notEqual(second, first);
});

onBoth("connect() keeps two databases or roles apart", async ({ settings }) => {
  await using one = await connect(settings());
  await using other = await connect(settings({ readOnly: true }));
  assert.notEqual(one, other);
  assert.equal(one.closed, false);
  await assert.rejects(other.query("CREATE TABLE no (a int)"), { code: "QUERY_FAILED", sqlstate: "25006" });
});

test("connect({ local: true }) starts a local Lakebase, and a second call returns its connection", async () => {
  await using db = await connect({ local: true });
  assert.equal(await connect({ local: true }), db);
  assert.match(await db.version(), /PGlite/);
});

test("sql waits for a connect() whose await was forgotten, and fails with its error", async ({ settings }) => {
  const opening = connect(settings());
  assert.equal(await sql`SELECT current_user`.value(), "you@example.com");
  await using db = await opening;
  const failing = connect(settings({ database: "nope" }));
  await assert.rejects(sql`SELECT 1`.then(), { code: "DATABASE_NOT_FOUND" });
  await assert.rejects(failing, { code: "DATABASE_NOT_FOUND" });
  assert.equal(await sql`SELECT current_database()`.value(), "databricks_postgres");
  assert.equal(await connect(settings()), db);
});

const ENDPOINT = "projects/local/branches/production/endpoints";

const REFUSED: [name: string, code: LakebaseErrorCode, options: ConnectOptions, message: RegExp][] = [
  ["a wrong host", "DNS", { host: "db.invalid" }, /"db.invalid"/],
  ["a wrong port", "UNREACHABLE", { port: 1 }, /nothing listens there/],
  ["a wrong user", "LOGIN_REFUSED", { user: "nobody@example.com" }, /"nobody@example.com" have a role/],
  ["a wrong database", "DATABASE_NOT_FOUND", { database: "nope" }, /database "nope" does not exist/],
  [
    "a wrong endpoint",
    "ENDPOINT_NOT_FOUND",
    { endpoint: `${ENDPOINT}/prim` },
    new RegExp(`There is ${ENDPOINT}/primary`),
  ],
  ["a wrong branch", "ENDPOINT_NOT_FOUND", { endpoint: "projects/local/branches/b" }, /There is .*production/],
  ["a wrong project", "ENDPOINT_NOT_FOUND", { endpoint: "loca" }, /There is projects\/local/],
  ["a wrong native password", "LOGIN_REFUSED", { password: "wrong" }, /PGPASSWORD/],
  ["an address instead of a name", "TLS", { host: "127.0.0.1" }, /does not have SNI/],
  ["plain text to a server that demands TLS", "TLS", { sslMode: "disable" }, /SSL/],
  ["a CA file that is missing", "BAD_SETTING", { ca: "/no/such/file.pem" }, /PGSSLROOTCERT/],
  ["a CA that is no certificate", "BAD_SETTING", { ca: "-----BEGIN NOTHING-----" }, /no PEM certificate/],
];

for (const [name, code, options, message] of REFUSED) {
  const decidedThere = code === "LOGIN_REFUSED" || code === "DATABASE_NOT_FOUND";
  (decidedThere ? onBoth : test)(`connect() refuses ${name}`, async ({ settings }) => {
    const error = await connectError(settings(options));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  });
}

test("connect() says what to do if there are no settings at all", async () => {
  await using folder = await emptyHome();
  const { code, message } = await failureInShell(folder.path, {});
  assert.equal(code, "WORKSPACE_AUTH");
  assert.match(message, /none is configured.*DATABRICKS_HOST.*databricks auth login.*local: true/);
});

test("connect() lists the profiles of ~/.databrickscfg if there are several and none is chosen", async () => {
  await using folder = await emptyHome();
  const profiles = "[a]\nhost = https://a\ntoken = x\n\n[b]\nhost = https://b\n\n[empty]\n";
  await Deno.writeTextFile(`${folder.path}/.databrickscfg`, profiles);
  const { code, message } = await failureInShell(folder.path, {});
  assert.equal(code, "WORKSPACE_AUTH");
  assert.match(message, /\.databrickscfg has the profiles a, b, and none of them is chosen\. .*name the "profile"/);
  const missing = await failureInShell(folder.path, { profile: "c" });
  assert.match(missing.message, /no profile "c" with a host in ~\/\.databrickscfg, which has a, b\./);
});

test("connect() names the profile that is missing, whatever is in the environment", async ({ local }) => {
  await using folder = await emptyHome();
  const { code, message } = await failureInShell(folder.path, { profile: "dev" }, local.env);
  assert.equal(code, "WORKSPACE_AUTH");
  assert.match(message, /no profile "dev"/);
});

test("connect() logs in with a profile of ~/.databrickscfg, which takes precedence over the environment", async ({ local }) => {
  await using folder = await emptyHome();
  const { DATABRICKS_HOST, DATABRICKS_TOKEN, ...env } = local.env;
  await Deno.writeTextFile(
    `${folder.path}/.databrickscfg`,
    `[dev]\nhost = ${DATABRICKS_HOST}\ntoken = ${DATABRICKS_TOKEN}\n`,
  );
  const elsewhere = { DATABRICKS_HOST: "http://localhost:9", DATABRICKS_TOKEN: "dapi0000" };
  assert.deepEqual(await failureInShell(folder.path, { profile: "dev" }, { ...env, ...elsewhere }), {
    code: "",
    message: "",
  });
});

test("connect() does not show a token that can't be sent", async ({ local }) => {
  await using folder = await emptyHome();
  const env = { ...local.env, DATABRICKS_TOKEN: "unlike-a-token\nand-a-rest" };
  const { code, message } = await failureInShell(folder.path, {}, env);
  assert.equal(code, "WORKSPACE_AUTH");
  assert.match(message, /DATABRICKS_TOKEN.*line break/);
  assert.doesNotMatch(message, /unlike|rest"/);
});

test("connect() reports the failure of a password function as a bad setting, not as a failure of the network", async ({ settings }) => {
  const cases: [() => unknown, RegExp][] = [
    [() => {
      throw new Error("the vault is down");
    }, /"password" threw/],
    [() => undefined, /"password" returned undefined/],
  ];
  for (const [password, message] of cases) {
    const error = await connectError(settings({ user: "app", password: password as () => string }));
    assert.equal(error.code, "BAD_SETTING");
    assert.match(error.message, message);
  }
});

test("(slow) a script that does not close its local Lakebase ends and leaves no file", async () => {
  await using folder = await emptyHome();
  const script = `import { connect } from "${import.meta.resolve("../../mod.ts")}";
    const db = await connect({ local: true });
    await db.query("CREATE TABLE t (n int)");
    console.log((await db.version()).slice(0, 10), [...Deno.readDirSync(Deno.env.get("TMPDIR"))].length);`;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", ...LOCKED, script],
    env: { TMPDIR: folder.path },
    cwd: folder.path,
    signal: AbortSignal.timeout(120_000),
  }).output();
  assert.equal(new TextDecoder().decode(stdout).trim(), "PostgreSQL 0");
  assert.equal(code, 0);
  assert.deepEqual([...Deno.readDirSync(folder.path)], []);
});

test("connect() reads the environment and .env, and needs nothing else", async ({ local }) => {
  await using folder = await emptyHome();
  const { DATABRICKS_TOKEN, ...env } = local.env;
  await Deno.writeTextFile(`${folder.path}/.env`, `export DATABRICKS_TOKEN="${DATABRICKS_TOKEN}" # the PAT`);
  assert.deepEqual(await failureInShell(folder.path, {}, env), { code: "", message: "" });
});

test("connect() names the line of .env that set a wrong host", async ({ local }) => {
  await using folder = await emptyHome();
  const { PGHOST: _, DATABRICKS_HOST, DATABRICKS_TOKEN, PGPORT: port, ...env } = local.env;
  const login = `DATABRICKS_HOST=${DATABRICKS_HOST}\nDATABRICKS_TOKEN=${DATABRICKS_TOKEN}\n`;
  await Deno.writeTextFile(`${folder.path}/.env`, `${login}PGHOST=ep-old.invalid\n`);
  const { code, message } = await failureInShell(folder.path, {}, { ...env, PGPORT: port! });
  assert.equal(code, "DNS");
  assert.match(message, /\. The host is set by PGHOST in \.env, line 3$/);
  await Deno.writeTextFile(`${folder.path}/.env`, "DATABRICKS_HOST=http://localhost:9\nDATABRICKS_TOKEN=t\n");
  const refused = await failureInShell(folder.path, { connectTimeout: 2 }, env);
  assert.equal(refused.code, "WORKSPACE_UNAVAILABLE");
  assert.match(refused.message, /\. The workspace is set by DATABRICKS_HOST in \.env, line 1$/);
});

/** A folder without a `.env` and a `.databrickscfg`. */
async function emptyHome(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Connects in a separate process, whose environment has only the given variables. */
async function failureInShell(home: string, options: ConnectOptions, env: Record<string, string> = {}) {
  const script = `import { connect } from "lakebase";
    const failure = { code: "", message: "" };
    await connect(${JSON.stringify({ connectTimeout: 20, ...options })}).then((db) => db.close(), (error) => {
      failure.code = error.code;
      failure.message = error.message;
    });
    console.log(JSON.stringify(failure));`;
  return await inShell(home, script, env);
}

/** Runs a script in a separate process, whose environment has only the given variables. The script prints its result. */
async function inShell(home: string, script: string, env: Record<string, string>) {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", ...LOCKED, script],
    clearEnv: true,
    env: { HOME: home, PATH: Deno.env.get("PATH") ?? "", DENO_DIR: denoDir(), ...env },
    cwd: home,
  }).output();
  const output = new TextDecoder().decode(stdout);
  assert.ok(output !== "", new TextDecoder().decode(stderr));
  return JSON.parse(output) as { code: string; message: string };
}

const WORKSPACE: [name: string, fault: WorkspaceFault, code: LakebaseErrorCode, message: RegExp][] = [
  ["HTML", { body: "<html>Log in</html>" }, "WORKSPACE_UNAVAILABLE", /a web page. Is DATABRICKS_HOST/],
  ["401", { status: 401 }, "WORKSPACE_AUTH", /401.*databricks auth login/],
  ["403", { status: 403 }, "WORKSPACE_AUTH", /403.*Ask for access/],
  ["404", { status: 404 }, "ENDPOINT_NOT_FOUND", /is not in the workspace/],
  ["409", { status: 409 }, "WORKSPACE_REFUSED", /409/],
  ["429 forever", { status: 429 }, "WORKSPACE_UNAVAILABLE", /429/],
  ["429, to come back in an hour", { status: 429, retryAfter: 3600 }, "WORKSPACE_UNAVAILABLE", /429/],
  ["503 forever", { status: 503 }, "WORKSPACE_UNAVAILABLE", /503/],
  ["500 forever", { status: 500 }, "WORKSPACE_UNAVAILABLE", /500/],
  ["a redirect", { status: 302 }, "WORKSPACE_UNAVAILABLE", /redirect/],
  ["half a JSON", { answer: "truncated" }, "WORKSPACE_UNAVAILABLE", /half an answer/],
  ["an array", { body: "[]" }, "WORKSPACE_UNAVAILABLE", /not JSON/],
  ["nothing", { answer: "never" }, "WORKSPACE_UNAVAILABLE", /does not answer/],
];

for (const [name, fault, code, message] of WORKSPACE) {
  test(`connect() reports a workspace that answers ${name}`, async ({ local, settings }) => {
    local.faults.workspace("*", fault);
    const error = await connectError(settings({ connectTimeout: 5 }));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  });
}

test("connect() reports what the workspace answered, although its next answer does not come in time", async ({ local, settings }) => {
  local.faults.workspace("*", { status: 503, times: 1 });
  local.faults.workspace("*", { answer: "never" });
  const error = await connectError(settings({ connectTimeout: 5 }));
  assert.equal(error.code, "WORKSPACE_UNAVAILABLE");
  assert.match(error.message, /503/);
});

test("connect() reports a token that was revoked", async ({ local, settings }) => {
  local.faults.revokeToken();
  const error = await connectError(settings());
  assert.equal(error.code, "WORKSPACE_AUTH");
});

for (const retryAfter of [1, new Date(Date.now() + 2000).toUTCString(), "soon"]) {
  test(`connect() tries again when the workspace is busy with Retry-After: ${retryAfter}`, async ({ local, settings }) => {
    local.faults.workspace("POST *", { status: 429, retryAfter, times: 1 });
    local.faults.workspace("GET *", { status: 503, retryAfter, times: 1 });
    await using db = await connect(settings({ connectTimeout: 30 }));
    assert.ok(await db.version());
  });
}

test("connect() waits for a workspace that is slow", async ({ local, settings }) => {
  local.faults.latency = 400;
  await using db = await connect(settings({ connectTimeout: 30 }));
  assert.ok(await db.version());
});

test("connect() reports an endpoint that the credentials service does not know", async ({ local, settings }) => {
  local.faults.workspace("POST *", { status: 404, message: "endpoint id not found" });
  const error = await connectError(settings());
  assert.equal(error.code, "ENDPOINT_NOT_FOUND", error.message);
  assert.match(error.message, /it is not in the workspace; its branch may have been deleted/);
});

for (const certificate of ["wrong-name", "expired", "self-signed"] as const) {
  test(`connect() refuses a certificate that is ${certificate}`, async ({ local, settings }) => {
    local.faults.certificate = certificate;
    const error = await connectError(settings());
    assert.equal(error.code, "TLS");
    assert.match(error.message, /certificate is not valid/);
  });
}

test("connect() refuses a certificate of an unknown authority", async ({ settings }) => {
  const { ca: _, ...rest } = settings();
  assert.equal((await connectError(rest)).code, "TLS");
});

for (const [greeting, code] of [["http", "TLS"], ["close", "UNREACHABLE"], ["reset", "UNREACHABLE"]] as const) {
  test(`connect() reports a server whose greeting is ${greeting}`, async ({ local, settings }) => {
    local.faults.greeting = greeting;
    const error = await connectError(settings({ connectTimeout: 5 }));
    assert.equal(error.code, code);
  });
}

test("connect() fails if a server never answers", async ({ local, settings }) => {
  local.faults.blackhole = true;
  const error = await connectError(settings({ connectTimeout: 5 }));
  assert.equal(error.code, "CONNECT_TIMEOUT");
});

for (const refuse of ["hold", "28000", "reset", "close"] as const) {
  test(`connect() wakes a compute that takes a while and meanwhile answers with ${refuse}`, async ({ local, settings }) => {
    local.faults.suspend({ wakeAfter: 1500, refuse });
    await using db = await connect(settings({ connectTimeout: 20 }));
    assert.ok(await db.version());
  });
}

test("connect() wakes a compute that takes 5 s", async ({ local, settings }) => {
  local.faults.suspend({ wakeAfter: 5000, refuse: "28000" });
  await using db = await connect(settings({ connectTimeout: 20 }));
  assert.ok(await db.version());
});

test("connect() fails if a compute does not wake within connectTimeout", async ({ local, settings }) => {
  local.faults.suspend({ wakeAfter: 60_000, refuse: "28000" });
  const error = await connectError(settings({ connectTimeout: 5 }));
  assert.deepEqual([error.code, error.sqlstate], ["LOGIN_REFUSED", "28000"]);
});

test("connect() chooses an endpoint by its type, and lists the endpoints if several fit", async () => {
  await using other = await ownLakebase({
    projects: [
      { id: "off", branches: [{ id: "main", endpoints: [{ id: "rw", disabled: true }] }] },
      { id: "two", branches: [{ id: "main", endpoints: [{ id: "a", type: "READ_ONLY" }, { id: "rw" }] }] },
      {
        id: "three",
        branches: [{ id: "main", endpoints: [{ id: "a", type: "READ_ONLY" }, { id: "b", type: "READ_ONLY" }] }],
      },
      { id: "new", branches: [{ id: "main", endpoints: [{ id: "rw", withoutHosts: true }] }] },
    ],
  });
  const { endpoint: _, host: __, ...rest } = optionsOf(other);
  const chosen: [ConnectOptions, RegExp][] = [
    [{ endpoint: "two" }, /two\/branches\/main\/endpoints\/rw/],
    [{ endpoint: "two", readOnly: true }, /two\/branches\/main\/endpoints\/a/],
  ];
  for (const [options, name] of chosen) {
    await using db = await connect({ ...rest, ...options });
    assert.match(Deno.inspect(db), name);
  }
  const refused: [ConnectOptions, LakebaseErrorCode, RegExp][] = [
    [{}, "ENDPOINT_AMBIGUOUS", /projects\/off, projects\/two, projects\/three/],
    [{ endpoint: "off" }, "ENDPOINT_NOT_READY", /disabled/],
    [{ endpoint: "three" }, "ENDPOINT_NOT_FOUND", /no READ_WRITE endpoint, only .*endpoints\/a, .*endpoints\/b/],
    [{ endpoint: "three", readOnly: true }, "ENDPOINT_AMBIGUOUS", /endpoints\/a, .*endpoints\/b/],
    [{ endpoint: "new" }, "ENDPOINT_NOT_READY", /no host yet/],
  ];
  for (const [options, code, message] of refused) {
    const error = await connectError({ ...rest, ...options });
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  }
});

test("connect() reaches a Provisioned instance by name", async () => {
  await using other = await ownLakebase({ instances: [{ name: "shop" }, { name: "off", state: "STOPPED" }] });
  const { endpoint: _, host: __, ...rest } = optionsOf(other);
  await using db = await connect({ ...rest, instance: "shop" });
  assert.ok(await db.version());
  const refused: [string, LakebaseErrorCode, RegExp][] = [
    ["off", "ENDPOINT_NOT_READY", /STOPPED/],
    ["shopp", "ENDPOINT_NOT_FOUND", /There is shop, off/],
  ];
  for (const [instance, code, message] of refused) {
    const error = await connectError({ ...rest, instance });
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
  }
});

test("connect() logs in with OAuth for machines, as a group, and with a native password", async () => {
  await using other = await ownLakebase({
    groups: ["analysts"],
    passwords: { app: "pa$$ word#1" },
    servicePrincipals: [{ clientId: "11111111-2222-3333-4444-555555555555", clientSecret: "dose0123456789abcdef" }],
  });
  const options = optionsOf(other);
  const role = async (more: ConnectOptions) => {
    await using db = await connect({ ...options, ...more });
    const [row] = await db.query<{ role: string }>("SELECT current_user AS role");
    return [row!.role, /login +(\w+)/.exec(Deno.inspect(db))?.[1]];
  };
  const { user: _, ...withoutUser } = options;
  await using group = await connect({ ...withoutUser, group: "analysts" });
  assert.deepEqual([...await group.query("SELECT current_user AS role")], [{ role: "analysts" }]);
  assert.deepEqual(await role({ user: "app", password: "pa$$ word#1" }), ["app", "native"]);
  assert.deepEqual(await role({ user: "app", password: () => Promise.resolve("pa$$ word#1") }), ["app", "native"]);
  await using folder = await emptyHome();
  const { DATABRICKS_TOKEN: __, PGUSER: ___, ...env } = other.env;
  const machine = {
    DATABRICKS_CLIENT_ID: "11111111-2222-3333-4444-555555555555",
    DATABRICKS_CLIENT_SECRET: "dose0123456789abcdef",
  };
  assert.deepEqual(await failureInShell(folder.path, {}, { ...env, ...machine }), { code: "", message: "" });
});

onBoth("connect() leaves no connection open after an error or a close()", async ({ local, settings }) => {
  await using _db = await connect(settings());
  await connectError(settings({ database: "nope" }));
  await eventually("the others are closed", () => local.connections === 1);
});

import assert from "node:assert/strict";
import type { ConnectOptions } from "../../src/settings/options.ts";
import { denoDir, LOCKED } from "../support/files.ts";
import { jupyterMissing, runCells } from "../support/jupyter.ts";
import { requires } from "../support/requirements.ts";
import { ownLakebase } from "../support/lakebase.ts";
import { notebookFolder } from "../support/notebook.ts";

/** A folder that someone else has written, and a home folder with the user's own login. */
async function makeFolders(): Promise<{ folder: string; home: string } & AsyncDisposable> {
  const [folder, home] = await Promise.all([Deno.makeTempDir(), Deno.makeTempDir()]);
  const remove = async () => {
    await Promise.all([folder, home].map((path) => Deno.remove(path, { recursive: true })));
  };
  return { folder, home, [Symbol.asyncDispose]: remove };
}

interface Run {
  cwd: string;
  home: string;
  env?: Record<string, string>;
  options?: ConnectOptions;
  code?: string;
}

const CONNECT = `await connect(options).then((db) => db.close(), ({ code, message }) => console.log(code, message));`;

/** Connects in a separate process, like a script in a folder. */
async function run({ cwd, home, env = {}, options = {}, code = CONNECT }: Run) {
  const script = `import { connect, check } from "lakebase";
    const options = ${JSON.stringify({ connectTimeout: 3, ...options })}; void check;
    ${code}`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", ...LOCKED, script],
    clearEnv: true,
    env: { HOME: home, PATH: Deno.env.get("PATH") ?? "", DENO_DIR: denoDir(), NO_COLOR: "1", ...env },
    cwd,
  }).output();
  const [output, warnings] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { output: output!, warnings: warnings! };
}

/** A server that waits for a login over HTTP or any other protocol, and records all bytes that it gets. */
function attacker() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let got = "";
  const serving = (async () => {
    for await (const connection of listener) {
      const bytes = new Uint8Array(65_536);
      void (async () => {
        for (let size; (size = await connection.read(bytes).catch(() => null)) !== null;) {
          got += new TextDecoder().decode(bytes.subarray(0, size));
          await connection.write(new TextEncoder().encode("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")).catch(
            () => {},
          );
        }
        connection.close();
      })();
    }
  })().catch(() => {});
  return {
    port: listener.addr.port,
    got: () => got,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test("(slow) no variable of a .env can run a program", async () => {
  await using folders = await makeFolders();
  const { folder, home } = folders;
  const tool = `${folder}/tool`;
  await Deno.writeTextFile(tool, `#!/bin/sh\nenv > ${folder}/ran\n`, { mode: 0o755 });
  const names = [
    ...[`DATABRICKS_CLI_PATH=${tool}`, `PATH=${folder}`, `DATABRICKS_CONFIG_FILE=${folder}/.env`],
    `DATABRICKS_AZURE_RESOURCE_ID='/subscriptions/$(${tool})/x'`,
  ];
  await Deno.writeTextFile(`${home}/.databrickscfg`, "[p]\nhost=http://localhost:9\ntoken=dapi1\n", { mode: 0o600 });
  const env = { DATABRICKS_HOST: "http://localhost:9", DATABRICKS_TOKEN: "dapi1" };
  const check = `console.log(await check(options))`;
  const runs: Partial<Run>[] = [{ env }, { env, code: check }, { options: { profile: "p" } }, {}];
  for (const method of ["", "DATABRICKS_AUTH_TYPE=databricks-cli", "DATABRICKS_AUTH_TYPE=azure-cli"]) {
    await Deno.writeTextFile(`${folder}/.env`, [...names, method].join("\n"));
    for (const more of runs) {
      const { output, warnings } = await run({ cwd: folder, home, ...more });
      assert.match(
        output,
        method === "" || more.options ? /WORKSPACE|failed/ : /DATABRICKS_AUTH_TYPE in \.env, line 5/,
      );
      await assert.rejects(Deno.stat(`${folder}/ran`), Deno.errors.NotFound, output);
      if (method !== "") continue;
      assert.match(
        warnings,
        /^lakebase: Not taken from \.env: DATABRICKS_CONFIG_FILE, since it names a configuration file/,
      );
      assert.match(warnings, /DATABRICKS_CLI_PATH, since it names a program/);
    }
  }
});

Deno.test("(slow) a .env gets no login from another source", async () => {
  await using folders = await makeFolders();
  await using thief = attacker();
  const { folder, home } = folders;
  const secret = "s3cret-of-the-person";
  const [host, local] = [`http://localhost:${thief.port}`, "http://localhost:9"];
  const machine = { DATABRICKS_CLIENT_ID: "id", DATABRICKS_CLIENT_SECRET: secret };
  const native = { PGUSER: "u", PGPASSWORD: secret };
  const cases: [file: string, profiles: string, env: Record<string, string>][] = [
    [`DATABRICKS_HOST=${host}`, "", { DATABRICKS_TOKEN: secret }],
    [`DATABRICKS_HOST=${host}`, "", machine],
    [`DATABRICKS_HOST=${host}`, `[DEFAULT]\nhost=${local}\ntoken=${secret}`, {}],
    [`DATABRICKS_HOST=${host}\nDATABRICKS_CONFIG_PROFILE=p`, `[p]\nhost=${local}\ntoken=${secret}`, {}],
    [`DATABRICKS_HOST=${host}\nDATABRICKS_CONFIG_PROFILE=p`, `[p]\ntoken=${secret}`, {}],
    [`PGHOST=localhost\nPGPORT=${thief.port}\nPGSSLMODE=disable`, "", native],
    [`PGPORT=${thief.port}\nPGSSLMODE=disable`, "", { ...native, PGHOST: "localhost" }],
    [`DATABRICKS_HOST=${host}\nDATABRICKS_TOKEN=x`, "", native],
  ];
  for (const [file, profiles, env] of cases) {
    await Deno.writeTextFile(`${folder}/.env`, file);
    await Deno.writeTextFile(`${home}/.databrickscfg`, profiles, { mode: 0o600 });
    const { output } = await run({ cwd: folder, home, env });
    assert.match(output, /^BAD_SETTING Cannot connect: \w+ in \.env, line \d/, file);
    assert.doesNotMatch(output + thief.got(), new RegExp(secret), file);
  }
  assert.equal(thief.got(), "");
});

/** The time limit for a login, which takes seconds on a busy machine. */
const LONG_TIMEOUT = { connectTimeout: 60 };

/** The PostgreSQL server of the local Lakebase outlives a test. */
const SHARED = { sanitizeOps: false, sanitizeResources: false };

Deno.test("(slow) a minted token goes to the server that the workspace names, not to one of .env", SHARED, async () => {
  await using folders = await makeFolders();
  await using thief = attacker();
  await using local = await ownLakebase();
  const { folder, home } = folders;
  const { PGHOST, PGPORT, PGSSLROOTCERT, ...env } = local.env as Record<string, string>;
  const server = { PGPORT: PGPORT!, PGSSLROOTCERT: PGSSLROOTCERT! };
  const cases: [file: string, env: Record<string, string>, output: RegExp][] = [
    [
      `PGHOST=127.0.0.1`,
      { ...env, ...server },
      /^BAD_SETTING .*PGHOST in \.env, line 1 .*DATABRICKS_TOKEN.*host is "localhost"/,
    ],
    [`PGHOST=${PGHOST}\nPGPORT=${thief.port}`, env, /^BAD_SETTING .*PGPORT in \.env, line 2/],
    [`PGSSLROOTCERT=${folder}/ca.pem`, { ...env, PGPORT: PGPORT! }, /^BAD_SETTING .*PGSSLROOTCERT in \.env, line 1/],
    [`PGHOST=${PGHOST}`, { ...env, ...server }, /^$/],
    [Object.entries(local.env).map(([name, value]) => `${name}=${value}`).join("\n"), {}, /^$/],
  ];
  for (const [file, env, expected] of cases) {
    await Deno.writeTextFile(`${folder}/.env`, file);
    const { output, warnings } = await run({ cwd: folder, home, env, options: LONG_TIMEOUT });
    assert.match(output, expected, file);
    if (output === "") assert.match(warnings, /^lakebase: From \.env: .*PGHOST/);
  }
  assert.equal(thief.got(), "");
});

Deno.test(
  "(slow) what is taken from .env is reported once, by name; envFile: false and LAKEBASE_ENV_FILE= turn it off",
  SHARED,
  async () => {
    await using folders = await makeFolders();
    await using local = await ownLakebase({ passwords: { app: "s3cret-of-the-person" } });
    const { folder, home } = folders;
    const { PGHOST, PGPORT, PGSSLROOTCERT, PGDATABASE } = local.env as Record<string, string>;
    const file = { PGHOST, PGPORT, PGSSLROOTCERT, PGDATABASE, PGUSER: "app", PGPASSWORD: "s3cret-of-the-person" };
    await Deno.writeTextFile(
      `${folder}/.env`,
      Object.entries(file).map(([name, value]) => `${name}='${value}'`).join("\n"),
    );
    const twice = `for (const max of [1, 2]) await (await connect({ ...options, max })).close();`;
    const { warnings } = await run({ cwd: folder, home, code: twice, options: LONG_TIMEOUT });
    assert.equal(warnings, "lakebase: From .env: PGPASSWORD, PGHOST, PGSSLROOTCERT, PGUSER, PGPORT, PGDATABASE.\n");
    for (const off of [{ options: { envFile: false as const } }, { env: { LAKEBASE_ENV_FILE: "" } }]) {
      const { output, warnings } = await run({ cwd: folder, home, ...off });
      assert.match(output, /^WORKSPACE_AUTH/);
      assert.equal(warnings, "");
    }
    await Deno.rename(`${folder}/.env`, `${folder}/other.env`);
    assert.equal(
      (await run({ cwd: folder, home, env: { LAKEBASE_ENV_FILE: "other.env" }, options: LONG_TIMEOUT })).output,
      "",
    );
  },
);

Deno.test("(slow) LAKEBASE_LOCAL in .env is reported, and refused if code or the environment names a server", async () => {
  await using folders = await makeFolders();
  const { folder, home } = folders;
  await Deno.writeTextFile(`${folder}/.env`, "LAKEBASE_LOCAL=1");
  const { warnings } = await run({ cwd: folder, home, options: { connectTimeout: 60 } });
  assert.match(
    warnings,
    /^lakebase: From \.env: LAKEBASE_LOCAL\. This database is on this machine and keeps no data\.\n$/,
  );
  const { output } = await run({ cwd: folder, home, env: { DATABRICKS_HOST: "https://w.invalid" } });
  assert.match(output, /^BAD_SETTING .*LAKEBASE_LOCAL in \.env, line 1 .*DATABRICKS_HOST/);
});

Deno.test({
  name: "a profile file that others may write is refused",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using folders = await makeFolders();
    const { folder, home } = folders;
    await Deno.writeTextFile(`${home}/.databrickscfg`, "[DEFAULT]\nhost=http://localhost:9\ntoken=dapi1\n");
    for (const mode of [0o666, 0o620]) {
      await Deno.chmod(`${home}/.databrickscfg`, mode);
      assert.match(
        (await run({ cwd: folder, home })).output,
        /^BAD_SETTING .*other users can write to it; run: chmod go-w/,
      );
    }
  },
});

Deno.test({
  ...requires("(slow) a cell shows once what was taken from .env and what was not, without values", jupyterMissing),
  fn: async () => {
    await using folder = await notebookFolder();
    await Deno.writeTextFile(`${folder.path}/.env`, "LAKEBASE_LOCAL=yes\nDATABRICKS_CLI_PATH=./hostile-tool\n");
    const cells = [
      'import { connect } from "lakebase";\nvar db = await connect();\nundefined',
      "db = await connect();\nundefined",
    ];
    const { cells: [first, second] } = await runCells(cells, {
      cwd: folder.path,
      env: { NO_COLOR: "1" },
      timeout: 120,
    });
    const shown = (cell: typeof first) => {
      const messages = cell?.messages.filter(({ type }) => ["display_data", "stream", "error"].includes(type)) ?? [];
      return messages.map(({ content: { data, text, evalue } }) =>
        (data as Record<string, string> | undefined)?.["text/plain"] ?? text ?? evalue
      );
    };
    assert.deepEqual(shown(first), [
      "From .env: LAKEBASE_LOCAL. Not taken from .env: DATABRICKS_CLI_PATH, since it names a program. " +
      "This database is on this machine and keeps no data.",
    ]);
    assert.deepEqual(shown(second), []);
  },
});

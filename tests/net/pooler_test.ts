import assert from "node:assert/strict";
import { connect, type ConnectOptions, type Lakebase } from "../../mod.ts";
import { freePort } from "../support/port.ts";
import { postgresMissing, startPostgres } from "../support/postgres.ts";
import { drawn, errorOf } from "../support/queries.ts";
import { requires } from "../support/requirements.ts";
import { ServerProcess, unprivilegedAccount } from "../support/server_process.ts";

const PROGRAM = "/usr/sbin/pgbouncer";

function pgbouncerMissing(): string | undefined {
  try {
    return Deno.statSync(PROGRAM).isFile ? undefined : `${PROGRAM} is no program`;
  } catch {
    return "no PgBouncer found; apt-get install pgbouncer";
  }
}

const LOGIN: ConnectOptions = { host: "127.0.0.1", database: "postgres", password: "none", sslMode: "disable" };

/** Each feature behind a pooler in transaction mode, with its result. */
const USES: Record<string, (db: Lakebase, folder: string) => PromiseLike<unknown>> = {
  "values": async (db) => {
    const query = () =>
      db.sql`SELECT ${1}::int AS n, '2026-02-03'::date AS day, decode('00ff', 'hex') AS bytes,
      timestamptz '2026-02-03 04:05:06.789Z' AS moment, ${[]}::text AS list`;
    const expected = { n: 1, day: "2026-02-03", bytes: Uint8Array.of(0, 255), list: "{}" };
    for (const [row] of await Promise.all(Array.from({ length: 20 }, query))) {
      assert.deepEqual({ ...row }, { ...expected, moment: new Date("2026-02-03T04:05:06.789Z") });
    }
  },
  "a drawn query": async (db) =>
    assert.match(await drawn(db.sql`SELECT n, lower('A') FROM generate_series(1, 1000) n`), /first 20 rows/),
  "a loop": async (db) => {
    let count = 0;
    for await (const { n } of db.sql`SELECT n FROM generate_series(1, 20000) n`) count += Number(n) > 0 ? 1 : 0;
    assert.equal(count, 20_000);
  },
  "a transaction": (db) =>
    db.transaction(async (tx) => {
      await tx.sql`CREATE TEMP TABLE passing (a int) ON COMMIT DROP`;
      await tx.sql`INSERT INTO passing VALUES (${1})`;
      assert.equal(await tx.sql`SELECT count(*) FROM passing`.value(), 1);
    }),
  "load and pull": async (db, folder) => {
    await db.load("kept", [{ id: 1, day: "2026-01-02" }], { create: true });
    await db.load("kept", db.sql`SELECT 2 AS id, '2026-02-03'::date AS day`);
    for (const format of ["csv", "parquet"]) await db.pull("kept", `${folder}/kept.${format}`);
    assert.equal(await Deno.readTextFile(`${folder}/kept.csv`), "id,day\n1,2026-01-02\n2,2026-02-03\n");
    assert.equal((await db.pull("kept", `${folder}/kept.arrow`, { parallel: 2 })).rows, 2);
    assert.equal((await db.sql`SELECT * FROM kept`.columns()).length, 2);
    await db.query("DROP TABLE kept");
  },
  "a canceled query": async (db) => {
    assert.equal((await errorOf(db.sql`SELECT pg_sleep(60)`.with({ timeout: 0.3 }))).code, "CANCELED");
    assert.equal(await db.sql`SELECT 1`.value(), 1);
  },
  "a catalog": async (db) => void await db.tables(),
};

Deno.test({
  ...requires(
    "everything works behind PgBouncer, whatever formats the role has set",
    postgresMissing,
    pgbouncerMissing,
  ),
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using server = await startPostgres();
    const folder = await Deno.makeTempDir({ prefix: "lakebase-pooler-" });
    await Deno.chmod(folder, 0o777);
    const port = freePort();
    const config = `[databases]\n* = host=127.0.0.1 port=${server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1
listen_port = ${port}\nauth_type = trust\nauth_file = ${folder}/users\npool_mode = transaction\nunix_socket_dir =
default_pool_size = 3\n`;
    await Deno.writeTextFile(`${folder}/users`, '"postgres" ""\n"odd" ""\n');
    await Deno.writeTextFile(`${folder}/config`, config);
    const command = { command: PROGRAM, args: [`${folder}/config`], log: `${folder}/log`, cwd: folder };
    const pooler = await ServerProcess.start({ ...command, account: unprivilegedAccount() });
    try {
      assert.ok(await pooler.ready(async () => (await pooler.log()).includes("process up")), await pooler.log());
      {
        await using direct = await connect({ ...LOGIN, port: server.port, user: "postgres" });
        await direct.query(`CREATE ROLE odd LOGIN SUPERUSER; ALTER ROLE odd SET DateStyle = 'German';
          ALTER ROLE odd SET bytea_output = 'escape'; ALTER ROLE odd SET IntervalStyle = 'sql_standard'`);
      }
      for (const user of ["postgres", "odd"]) {
        await using db = await connect({ ...LOGIN, port, user, max: 5 });
        for (const [name, use] of Object.entries(USES)) {
          await use(db, folder).then(undefined, (error) => assert.fail(`${name} as ${user}: ${error.message}`));
        }
      }
      // Each loop is the first statement of its connection, and the pooler has fewer sessions than there are loops.
      await using db = await connect({ ...LOGIN, port, user: "odd", max: 10 });
      await Promise.all(Array.from({ length: 10 }, () => USES["a loop"]!(db, folder)));
      const refused = await errorOf(() => connect({ ...LOGIN, port, user: "postgres", readOnly: true }));
      assert.equal(refused.code, "POOLED_HOST");
    } finally {
      await pooler.end("SIGINT");
      await Deno.remove(folder, { recursive: true });
    }
  },
});

import assert from "node:assert/strict";
import { connect } from "lakebase";
import { type LocalLakebase, startLocal } from "lakebase/local";
import { SESSION } from "../../src/api/lakebase.ts";
import { describeInDetail } from "../../src/explore/describe.ts";
import { mint } from "../local/client.ts";
import { eventually } from "../support/eventually.ts";
import { optionsOf } from "../support/lakebase.ts";
import { postgresMissing, psqlMissing, startPostgres } from "../support/postgres.ts";
import { requires } from "../support/requirements.ts";

const server = postgresMissing() === undefined ? await startPostgres({ password: "owner-secret" }) : undefined;
const onPglite = await startLocal({ lockTimeout: 300_000, handshakeTimeout: 300_000 });
const onPostgres = server && await startLocal({ database: server.url, handshakeTimeout: 300_000 });
let local = onPglite;
let password = "";
Deno.test.afterAll(async () => {
  await onPglite.close();
  await onPostgres?.close();
  await server?.stop();
});

/** A test with PGlite and with PostgreSQL. The servers run in this process, and their timers outlive a test. */
function psqlTest(name: string, fn: () => Promise<void>): void {
  const run = async (lakebase: LocalLakebase) => {
    local = lakebase;
    password = await mint(local);
    await fn();
  };
  const quiet = { sanitizeOps: false, sanitizeResources: false };
  Deno.test({ ...requires(`${name} [PGlite]`, psqlMissing), ...quiet, fn: () => run(onPglite) });
  const real = requires(`${name} [PostgreSQL]`, psqlMissing, postgresMissing);
  Deno.test({ ...real, ...quiet, fn: () => run(onPostgres!) });
}

interface Output {
  stdout: string;
  stderr: string;
}

async function psql(commands: string[], env: Record<string, string> = {}, input = ""): Promise<Output> {
  const args = ["--no-psqlrc", "--tuples-only", "--no-align", ...commands.flatMap((command) => ["-c", command])];
  const child = new Deno.Command("psql", {
    args,
    env: { ...local.env, PGPASSWORD: password, PGSSLMODE: "verify-full", PGCONNECT_TIMEOUT: "300", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { stdout, stderr } = await child.output();
  return { stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

for (const PGSSLMODE of ["verify-full", "require"]) {
  psqlTest(`psql connects with sslmode=${PGSSLMODE} and PGSSLROOTCERT`, async () => {
    const { stdout, stderr } = await psql(["SELECT session_user", "\\conninfo"], { PGSSLMODE });
    assert.equal(stderr, "");
    assert.match(stdout, /^you@example\.com\n.*SSL connection \(protocol: TLSv1\.3/s);
  });
}

psqlTest("psql refuses another authority's certificate under require", async () => {
  local.faults.certificate = "self-signed";
  const { stderr } = await psql(["SELECT 1"], { PGSSLMODE: "require" });
  local.faults.certificate = undefined;
  assert.match(stderr, /certificate verify failed/);
});

psqlTest("psql gets the reason of a refusal", async () => {
  const refusals: [Record<string, string>, RegExp][] = [
    [{ PGSSLMODE: "disable" }, /FATAL: {2}Insecure connection/],
    [{ PGHOST: "127.0.0.1" }, /FATAL: {2}Connection does not have SNI\.\nDETAIL: {2}Please upgrade your client/],
    [{ PGHOST: "localhost-pooler.localhost", PGHOSTADDR: "127.0.0.1" }, /FATAL: {2}SASL authentication failed/],
    [{ PGPASSWORD: "dapi1" }, /FATAL: {2}Provided authentication token is not a valid JWT encoding/],
  ];
  for (const [env, expected] of refusals) assert.match((await psql(["SELECT 1"], env)).stderr, expected);
});

psqlTest("\\copy carries a table in and out unchanged", async () => {
  const rows = Array.from({ length: 50_000 }, (_, i) => `${i}\tname ${i} é\t${i % 7 ? i / 4 : "\\N"}\n`).join("");
  const { stderr } = await psql(
    ["CREATE TABLE copied (id int, name text, value numeric)", "\\copy copied FROM pstdin"],
    {},
    rows,
  );
  assert.equal(stderr, "");
  const { stdout } = await psql(["\\copy (SELECT * FROM copied ORDER BY id) TO pstdout"]);
  assert.equal(stdout, rows);
});

psqlTest("a failed \\copy does not harm its session or others", async () => {
  const { stdout, stderr } = await psql(
    ["CREATE TABLE failing (id int)", "\\copy failing FROM pstdin", "SELECT count(*) FROM failing"],
    {},
    "1\nno number\n".repeat(1000),
  );
  assert.match(stderr, /invalid input syntax for type integer: "no number"/);
  assert.equal(stdout, "CREATE TABLE\n0\n");
});

psqlTest("psql that is killed during \\copy leaves nothing behind", async () => {
  await psql(["CREATE TABLE killed (id int)"]);
  const child = new Deno.Command("psql", {
    args: ["--no-psqlrc", "-c", "\\copy killed FROM pstdin"],
    env: { ...local.env, PGPASSWORD: password },
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("1\n".repeat(100_000))); // more than a pipe holds: psql has sent some of it
  child.kill("SIGKILL");
  await child.status;
  await writer.close().catch(() => {});
  assert.equal((await psql(["SELECT count(*) FROM killed"])).stdout, "0\n");
});

psqlTest("Ctrl-C in psql cancels the query", async () => {
  const child = new Deno.Command("psql", {
    args: ["--no-psqlrc", "--echo-queries", "-c", "SELECT pg_sleep(30)"],
    env: { ...local.env, PGPASSWORD: password },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const reader = child.stdout.getReader();
  await reader.read(); // psql prints its query, and then sends it
  let hasEnded = false;
  child.status.then(() => hasEnded = true);
  await eventually("psql has ended", () => {
    if (!hasEnded) child.kill("SIGINT"); // a signal before the query is sent does nothing
    return hasEnded;
  });
  await reader.cancel();
  assert.match(await stderr, /canceling statement due to user request/);
});

/** The rows that psql's `\\d+` prints, and the lines below them. */
async function psqlDetails(name: string): Promise<{ rows: string[][]; below: string }> {
  const { stdout } = await psql(["\\t off", `\\d+ ${name}`]);
  const [, , ...lines] = stdout.slice(stdout.indexOf('"public.')).split("\n");
  const count = lines.findIndex((line) => line.split("|").length < 7);
  return { rows: lines.slice(0, count).map((line) => line.split("|")), below: lines.slice(count).join("\n") };
}

psqlTest("\\d+ of a cell shows what psql's \\d+ does", async () => {
  await using db = await connect(optionsOf(local));
  await db.query(`CREATE TABLE d_zones (id int PRIMARY KEY) WITH (fillfactor = 70, autovacuum_enabled = false)`);
  await db.query(`CREATE TABLE d_trips (id bigint NOT NULL, zone int REFERENCES d_zones, "a name" text COLLATE "C",
    kept text DEFAULT 'x', at timestamptz) PARTITION BY RANGE (id)`);
  await db.query(`ALTER TABLE d_trips ALTER kept SET STORAGE EXTERNAL, ALTER "a name" SET COMPRESSION pglz,
    ALTER id SET STATISTICS 500`);
  await db.query("CREATE TABLE d_trips_1 PARTITION OF d_trips FOR VALUES FROM (0) TO (10)");
  await db.query("CREATE TABLE d_trips_2 PARTITION OF d_trips DEFAULT");
  await db.query("COMMENT ON COLUMN d_trips.at IS 'when it began'");
  await db.query("CREATE VIEW d_view WITH (security_barrier = true) AS SELECT id, zone FROM d_trips WHERE id > 1");
  await db.query("CREATE MATERIALIZED VIEW d_kept AS SELECT 1 AS one");
  await db.query("CREATE UNLOGGED TABLE d_unlogged (a int)");
  await db.query("CREATE FUNCTION d_note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
  await db.query("CREATE TRIGGER d_noted BEFORE INSERT ON d_zones FOR EACH ROW EXECUTE FUNCTION d_note()");
  const text = (value: unknown) => value === null ? "" : String(value);
  for (const name of ["d_zones", "d_trips", "d_trips_1", "d_view", "d_kept", "d_unlogged"]) {
    const expected = await psqlDetails(name);
    const { rows, below = [], facts } = await describeInDetail(() => db[SESSION], name);
    const ours = rows.map((
      { name, type, collation, nullable, default: by, storage, compression, statistics, comment },
    ) => [name, type, collation, nullable ? "" : "not null", by, storage, compression, statistics, comment].map(text));
    // For a view, psql has no columns for the compression and the statistics.
    const isView = facts.kind === "view";
    assert.deepEqual(isView ? ours.map((row) => row.toSpliced(6, 2)) : ours, expected.rows, name);
    const other: Record<string, RegExp> = {
      "access method": /^Access method: (.*)$/m,
      options: /^Options: (.*)$/m,
      "partition key": /^Partition key: (.*)$/m,
      "partition of": /^Partition of: (.*)$/m,
      definition: /^View definition:\n([^]*;)$/m,
      triggers: /^Triggers:\n +(.*)$/m,
      "referenced by": /^Referenced by:\n +(.*)$/m,
      partitions: /^Partitions: (.*(?:\n +.*)*)$/m,
    };
    const plain = (value: string | undefined) => value?.replace(/CREATE TRIGGER |TABLE |CONSTRAINT |[":\s,]/g, "");
    for (const [fact, pattern] of Object.entries(other)) {
      const found = below.find(([name]) => name === fact)?.[1];
      assert.equal(plain(found), plain(pattern.exec(expected.below)?.[1]), `${name}: ${fact}`);
    }
  }
  const unlogged = await describeInDetail(() => db[SESSION], "d_unlogged");
  assert.deepEqual(unlogged.below?.[1], ["persistence", "unlogged"]);
  await db.query(
    "DROP TABLE d_zones, d_trips, d_unlogged CASCADE; DROP MATERIALIZED VIEW d_kept; DROP FUNCTION d_note",
  );
});

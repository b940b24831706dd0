/**
 * Pulls and loads beside what a user would pick instead, on a real PostgreSQL, without TLS and with: medians of 5 and ratios.
 * Run with `deno task bench` or `deno run -A --v8-flags=--expose-gc bench/transfer.ts`.
 */

// @ts-types="@types/pg"
import pg from "pg";
import copyStreams from "pg-copy-streams";
import postgres from "postgres";
import { connect, type ConnectOptions, type Lakebase } from "../mod.ts";
import { CertificateAuthority } from "../src/local/certificate.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { type Contender, contest } from "./support/contest.ts";
import { peakMemory } from "./support/pull_memory.ts";
import { psqlTime } from "./support/psql.ts";
import { pythonTimes } from "./support/python.ts";
import { startSlowLink } from "./support/slow_link.ts";

const ROWS = Number(Deno.env.get("LAKEBASE_BENCH_ROWS") ?? 1_000_000);
const MANY_ROWS = 10 * ROWS;
const PASSWORD = "bench";
/** One way, in milliseconds: a round trip is twice that. */
const LINK_DELAY = 20;

const lines: { what: string; ours: string; beside: string; ratio: string; limit: string }[] = [];

const authority = await CertificateAuthority.create();
await using server = await startPostgres({ password: PASSWORD, certificate: authority.issue() });
const folder = await Deno.makeTempDir({ prefix: "lakebase-bench-" });
const caFile = `${folder}/ca.pem`;
await Deno.writeTextFile(caFile, authority.ca);
const csv = `${folder}/from-psql.csv`;

{
  await using db = await open(server.port, false);
  await prepare(db);
}
for (const tls of [false, true]) await compare(tls);
await slow();
await memory();
await Deno.remove(folder, { recursive: true });
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);

async function open(port: number, tls: boolean, more: ConnectOptions = {}): Promise<Lakebase> {
  return await connect({
    ...{ host: "127.0.0.1", port, user: "postgres", database: "postgres", password: PASSWORD },
    ...(tls ? { ca: authority.ca } : { sslMode: "disable" as const }),
    ...more,
  });
}

async function prepare({ sql }: Lakebase): Promise<void> {
  const table = (rows: number) =>
    sql`SELECT n::int AS id, now() + n * interval '1 s' AS at, n / 7.0::float8 AS f,
      (n / 3.0)::numeric(10, 2) AS fare, 'zone ' || n AS zone, n % 2 = 0 AS paid FROM generate_series(1, ${rows}) n`;
  await sql`CREATE TABLE bench AS ${table(ROWS)}`;
  await sql`CREATE TABLE many AS ${table(MANY_ROWS)}`;
  await sql`CREATE TABLE copy (LIKE bench)`;
  await sql`VACUUM ANALYZE bench`;
  await sql`VACUUM ANALYZE many`;
}

async function compare(tls: boolean): Promise<void> {
  const wire = tls ? "TLS" : "no TLS";
  const target = { port: server.port, password: PASSWORD, ca: tls ? caFile : undefined };
  await using db = await open(server.port, tls);
  const pull = (file: string, options = {}): Contender => async () =>
    void await db.pull("bench", `${folder}/${file}`, options);

  const bare = await contest({
    psql: () => psqlTime(`\\copy bench to '${csv}' with (format csv, header)`, target),
    csv: pull("ours.csv"),
  });
  line(`${wire}: pull .csv`, bare.csv, "psql \\copy", bare.psql, 1.1);

  const files = await contest({
    csv: pull("ours.csv"),
    two: pull("two.csv", { parallel: 2 }),
    ndjson: pull("ours.ndjson"),
    arrow: pull("ours.arrow"),
    parquet: pull("ours.parquet"),
  });
  line(`${wire}: pull .csv, parallel 2`, files.two, "parallel 1", files.csv, 1);
  line(`${wire}: pull .arrow`, files.arrow, "pull .csv", files.csv, 1.6);
  line(`${wire}: pull .parquet`, files.parquet, "pull .csv", files.csv, 2.5);
  line(`${wire}: pull .ndjson`, files.ndjson, "pull .csv", files.csv);

  await memoryOfResults(db, wire, tls);
  await loads(db, wire, target);
}

async function memoryOfResults(db: Lakebase, wire: string, tls: boolean): Promise<void> {
  const ssl = tls ? { ca: authority.ca } : false;
  const login = { host: "127.0.0.1", port: server.port, user: "postgres", database: "postgres", password: PASSWORD };
  const raw = new pg.Client({ ...login, ssl });
  await raw.connect();
  const other = postgres({ ...login, max: 1, ssl });
  const columns = await contest({
    columns: async () => void await db.sql`SELECT * FROM bench`.columns(),
    pg: async () => void await raw.query("SELECT * FROM bench"),
    postgresJs: async () => void await other`SELECT * FROM bench`,
    stream: async () => {
      await raw.query("SELECT 1"); // without it a second COPY on one client waits for ever, under Deno
      for await (const _ of raw.query(copyStreams.to("COPY bench TO STDOUT (FORMAT binary)")));
    },
  });
  await raw.end();
  await other.end();
  line(`${wire}: columns()`, columns.columns, "pg, row objects", columns.pg, 0.3);
  line(`${wire}: columns()`, columns.columns, "postgres.js, row objects", columns.postgresJs, 0.45);
  line(`${wire}: columns()`, columns.columns, "pg-copy-streams, bytes dropped", columns.stream, 1.4);
  const query = `sslmode=${tls ? "require" : "disable"}`;
  const python = await pythonTimes(`${server.url}?${query}`, "SELECT * FROM bench");
  for (const [name, took] of Object.entries(python ?? {})) {
    line(`${wire}: columns()`, columns.columns, `${name}, Python, to Arrow`, took);
  }
}

async function loads(db: Lakebase, wire: string, target: Parameters<typeof psqlTime>[1]): Promise<void> {
  const emptied = (run: Contender): Contender => async () => {
    await db.sql`TRUNCATE copy`;
    const started = performance.now();
    return await run() ?? performance.now() - started;
  };
  const took = await contest({
    psql: emptied(() => psqlTime(`\\copy copy from '${csv}' with (format csv, header)`, target)),
    csv: emptied(async () => void await db.load("copy", csv)),
  });
  // Made only now: a million objects in memory slow down whatever else this process does.
  const rows = [...await db.query("SELECT * FROM bench")];
  const others = await contest({
    objects: emptied(async () => void await db.load("copy", rows)),
    parquet: emptied(async () => void await db.load("copy", `${folder}/ours.parquet`)),
  });
  line(`${wire}: load .csv`, took.csv, "psql \\copy from", took.psql, 1.1);
  line(`${wire}: load row objects`, others.objects, "psql \\copy from", took.psql, 3);
  line(`${wire}: load .parquet`, others.parquet, "psql \\copy from", took.psql);
}

/** Over a link with latency, with TLS: what counts there is how much is on its way at once. */
async function slow(): Promise<void> {
  await using link = await startSlowLink(server.port, LINK_DELAY);
  await using db = await open(link.port, true);
  const took = await contest({
    psql: () =>
      psqlTime(`\\copy bench to '${csv}' with (format csv, header)`, {
        port: link.port,
        password: PASSWORD,
        ca: caFile,
      }),
    csv: async () => void await db.pull("bench", `${folder}/slow.csv`),
    two: async () => void await db.pull("bench", `${folder}/slow-two.csv`, { parallel: 2 }),
  });
  line(`TLS, ${2 * LINK_DELAY} ms: pull .csv`, took.csv, "psql \\copy", took.psql, 1.2);
  line(`TLS, ${2 * LINK_DELAY} ms: pull .csv, parallel 2`, took.two, "psql \\copy", took.psql, 1.2);
}

async function memory(): Promise<void> {
  for (const format of ["csv", "arrow", "parquet"]) {
    const peak = await peakMemory({
      port: server.port,
      password: PASSWORD,
      caFile,
      target: `${folder}/many.${format}`,
    });
    const limit = format === "csv" ? "200 MB" : "";
    lines.push({
      what: `TLS: resident memory, ${MANY_ROWS.toLocaleString("en")} rows to .${format}`,
      ours: `${peak.toFixed(0)} MB`,
      beside: "",
      ratio: "",
      limit,
    });
  }
}

function line(what: string, ours: number, beside: string, theirs: number, limit?: number): void {
  lines.push({
    what,
    ours: `${ours.toFixed(0)} ms`,
    beside: `${theirs.toFixed(0)} ms: ${beside}`,
    ratio: (ours / theirs).toFixed(2),
    limit: limit === undefined ? "" : `${limit}`,
  });
}

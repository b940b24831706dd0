/**
 * Compares pulls and loads with the alternatives that a user would choose, on a real PostgreSQL, without and with TLS.
 * Prints medians of 5 and ratios. Each comparison runs in its own process, as a script would, because leftovers in memory
 * would slow down the next one.
 * Run with `deno task bench` or `deno run -A --lock=tests/deno.lock bench/transfer.ts [comparison | memory]...`. The
 * comparisons that load files load the files that `pullCsv` and `pullFormats` wrote.
 */

import { connect } from "../mod.ts";
import { CertificateAuthority } from "../src/local/certificate.ts";
import { startPostgres } from "../tests/support/postgres.ts";
import { peakMemory } from "./support/peak_memory.ts";
import { writeLargeGroups } from "./support/python.ts";
import { type Line, PARTS, type Place, runPart, TLS_PARTS } from "./support/transfer_parts.ts";

const ROWS = Number(Deno.env.get("LAKEBASE_BENCH_ROWS") ?? 1_000_000);
const MANY_ROWS = 10 * ROWS;
const NAMES = [...PARTS, ...TLS_PARTS, "memory"];

const chosen = Deno.args.length > 0 ? Deno.args : NAMES;
const unknown = chosen.find((name) => !NAMES.includes(name));
if (unknown !== undefined) {
  throw new Error(`There is no comparison ${unknown}; the comparisons are ${NAMES.join(", ")}`);
}

const authority = await CertificateAuthority.create();
await using server = await startPostgres({ password: "bench", certificate: authority.issue() });
const folder = await Deno.makeTempDir({ prefix: "lakebase-bench-" });
await Deno.writeTextFile(`${folder}/ca.pem`, authority.ca);
const place: Place = { port: server.port, password: "bench", folder, caFile: `${folder}/ca.pem` };

await prepare();
const lines: Line[] = [];
for (const tls of [false, true]) {
  for (const part of tls ? [...PARTS, ...TLS_PARTS] : PARTS) {
    if (chosen.includes(part)) lines.push(...await runPart(part, { ...place, tls }));
  }
}
if (chosen.includes("memory")) lines.push(...await memory());
await Deno.remove(folder, { recursive: true });
// deno-lint-ignore no-console -- a benchmark's output
console.table(lines);

async function prepare(): Promise<void> {
  await using db = await connect({
    host: "127.0.0.1",
    port: place.port,
    user: "postgres",
    database: "postgres",
    password: place.password,
    ca: authority.ca,
  });
  const { sql } = db;
  const table = (rows: number) =>
    sql`SELECT n::int AS id, now() + n * interval '1 s' AS at, n / 7.0::float8 AS f,
      (n / 3.0)::numeric(10, 2) AS fare, 'zone ' || n AS zone, n % 2 = 0 AS paid FROM generate_series(1, ${rows}) n`;
  await sql`CREATE TABLE bench AS ${table(ROWS)}`;
  await sql`CREATE TABLE copy (LIKE bench)`;
  await sql`VACUUM ANALYZE bench`;
  if (!chosen.includes("memory") && !chosen.includes("loadMany")) return;
  await sql`CREATE TABLE many AS ${table(MANY_ROWS)}`;
  await sql`VACUUM ANALYZE many`;
}

async function memory(): Promise<Line[]> {
  const found: Line[] = [];
  const measure = async (action: "pull" | "load", table: string, file: string, what: string, limit: string) => {
    const login = { host: "127.0.0.1", port: place.port, user: "postgres", database: "postgres", password: "bench" };
    const { megabytes, seconds } = await peakMemory({ connect: { ...login, ca: place.caFile }, action, table, file });
    const beside = `in ${seconds.toFixed(1)} s`;
    found.push({ what: `TLS: resident memory, ${what}`, ours: `${megabytes.toFixed(0)} MB`, beside, ratio: "", limit });
  };
  const rows = `${MANY_ROWS.toLocaleString("en")} rows`;
  const limits = { csv: ["200 MB", "200 MB"], arrow: ["", ""], parquet: ["", "400 MB"] } as const;
  for (const [format, [pulled, loaded]] of Object.entries(limits)) {
    await measure("pull", "many", `${folder}/many.${format}`, `${rows} to .${format}`, pulled);
    await measure("load", `many_${format}`, `${folder}/many.${format}`, `${rows} from .${format}`, loaded);
  }
  const [groups, wide] = [`${folder}/groups.parquet`, `${folder}/wide.parquet`];
  if (await writeLargeGroups(`${folder}/many.parquet`, groups, wide)) {
    await measure("load", "groups", groups, `${rows} from .parquet, row groups of 1,000,000`, "400 MB");
    await measure("load", "wide", wide, "1,000,000 rows of 30 texts from .parquet, one row group", "900 MB");
  }
  return found;
}
